//! Where a PIN comes from. The PIN itself is read by whoever logs in, when it logs in, and kept by nobody.

use std::fs;
use std::io;
use std::os::fd::IntoRawFd;
use std::path::PathBuf;

use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use crate::secret::SecretText;

/// Where a PIN comes from; never from the command line, which every user of the host can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum PinSource {
    /// A file that holds it, and nothing else but a final newline.
    File(PathBuf),
    /// A file descriptor that the starting process left open.
    Fd(u32),
    /// A systemd credential of that name (`LoadCredential=`).
    Credential(String),
    /// An environment variable. The last resort: a process's environment can be read by its user.
    Environment(String),
}

impl PinSource {
    /// The same, from which the PIN can be read more than once: what comes through a pipe is moved to a memory file, which
    /// worker processes inherit. It passes from the one to the other inside the kernel.
    ///
    /// # Errors
    /// If the descriptor cannot be read.
    pub fn rereadable(self) -> io::Result<Self> {
        let Self::Fd(fd) = self else { return Ok(self) };
        let mut pipe = fs::File::open(format!("/dev/fd/{fd}"))?;
        if pipe.metadata()?.is_file() {
            return Ok(self);
        }
        let mut memory = fs::File::from(rustix::fs::memfd_create("pin", MemfdFlags::empty())?);
        io::copy(&mut pipe, &mut memory)?;
        let fd = u32::try_from(memory.into_raw_fd()).map_err(io::Error::other)?;
        Ok(Self::Fd(fd))
    }

    /// The PIN, as it is now, or why it cannot be read.
    pub(super) fn read(&self) -> Result<SecretText, String> {
        let pin = match self {
            Self::File(path) => file(path.clone()),
            Self::Fd(fd) => file(PathBuf::from(format!("/dev/fd/{fd}"))),
            Self::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or("CREDENTIALS_DIRECTORY is not set; is this a systemd service with LoadCredential=?")?;
                file(PathBuf::from(directory).join(name))
            }
            Self::Environment(name) => std::env::var(name)
                .map(SecretText::from)
                .map_err(|_| format!("the environment variable {name} is not set")),
        }?;
        if pin.expose().is_empty() { Err("the PIN is empty".to_owned()) } else { Ok(pin) }
    }
}

fn file(path: PathBuf) -> Result<SecretText, String> {
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = zeroize::Zeroizing::new(text);
    Ok(SecretText::from(text.trim_end_matches(['\r', '\n']).to_owned()))
}
