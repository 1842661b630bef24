//! Where a PIN comes from. The PIN itself is read by whoever logs in, when it logs in, and kept by nobody.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
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
    /// No place at all: for an HSM whose PIN is brought when it is opened.
    pub fn nowhere() -> Self {
        Self::Environment(String::new())
    }

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

/// A PIN that was brought: in a memory file, which worker processes inherit. It is gone when this is.
#[derive(Debug)]
pub struct HeldPin(fs::File);

impl HeldPin {
    /// Holds a PIN ready.
    ///
    /// # Errors
    /// If there is no file or memory left.
    pub(super) fn new(pin: &SecretText) -> io::Result<Self> {
        let mut memory = fs::File::from(rustix::fs::memfd_create("pin", MemfdFlags::empty())?);
        memory.write_all(pin.expose().as_bytes())?;
        Ok(Self(memory))
    }

    /// Where it is.
    pub(super) fn source(&self) -> PinSource {
        PinSource::Fd(self.0.as_raw_fd().unsigned_abs())
    }
}

/// Processes that have inherited the file find it empty then, which is no PIN at all.
impl Drop for HeldPin {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
    }
}

fn file(path: PathBuf) -> Result<SecretText, String> {
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = zeroize::Zeroizing::new(text);
    Ok(SecretText::from(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn a_held_pin_is_read_again_and_again_and_gone_with_its_holder() {
        let held = HeldPin::new(&SecretText::from("1234567".to_owned())).unwrap();
        let source = held.source();
        for _ in 0..2 {
            assert_eq!(source.read().ok().unwrap().expose(), "1234567");
        }
        // As a worker process inherits it.
        let mut inherited = held.0.try_clone().unwrap();
        drop(held);
        let mut text = String::new();
        inherited.rewind().unwrap();
        inherited.read_to_string(&mut text).unwrap();
        assert_eq!(text, "");
    }

    #[test]
    fn nowhere_there_is_no_pin() {
        assert!(PinSource::nowhere().read().is_err());
    }
}
