//! Where a PIN comes from. The PIN itself is read by whoever logs in, when it logs in, and kept by nobody.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::secret::SecretText;

use super::error::{HsmError, Kind};

/// How long a thread waits for a PIN that is to be fetched.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// A PIN that this process gives whenever somebody logs in, to a worker process over its socket. It is in no file, open or not.
#[derive(Clone)]
pub struct HeldPin {
    first: Arc<Mutex<Option<SecretText>>>,
    again: Arc<dyn Fn() -> Coming + Send + Sync>,
    runtime: Handle,
}

/// A PIN on its way, or why it does not come.
type Coming = Pin<Box<dyn Future<Output = Result<SecretText, String>> + Send>>;

impl HeldPin {
    /// A PIN that is `first` the first time and is fetched by `again` from then on: in between nobody has it. Must be called
    /// in a runtime, which does the fetching.
    pub(super) fn new<C>(first: SecretText, again: impl Fn() -> C + Send + Sync + 'static) -> Self
    where
        C: Future<Output = Result<SecretText, String>> + Send + 'static,
    {
        let again = Arc::new(move || -> Coming { Box::pin(again()) });
        Self { first: Arc::new(Mutex::new(Some(first))), again, runtime: Handle::current() }
    }

    /// The PIN from a place that gives it only once, which is a pipe; none if `source` is another. It stays in the memory of
    /// this process, which has nowhere else to fetch it from.
    ///
    /// # Errors
    /// If the pipe cannot be read.
    pub fn of_pipe(source: &PinSource) -> io::Result<Option<Self>> {
        let PinSource::Fd(fd) = source else { return Ok(None) };
        let mut pipe = fs::File::open(format!("/dev/fd/{fd}"))?;
        if pipe.metadata()?.is_file() {
            return Ok(None);
        }
        let mut text = Zeroizing::new(String::new());
        pipe.read_to_string(&mut text)?;
        let pin = trimmed(&text);
        let kept = pin.clone();
        Ok(Some(Self::new(pin, move || std::future::ready(Ok(kept.clone())))))
    }

    /// The PIN, for one login.
    pub(super) async fn give(&self) -> Result<SecretText, HsmError> {
        let first = self.first.lock().take();
        match first {
            Some(pin) => Ok(pin),
            None => (self.again)().await.map_err(|text| HsmError::new(Kind::DeviceLost, "PIN", text)),
        }
    }

    /// The same, to a thread that may wait.
    pub(super) fn give_here(&self) -> Result<SecretText, HsmError> {
        let (giver, taker) = std::sync::mpsc::sync_channel(1);
        let held = self.clone();
        self.runtime.spawn(async move { giver.send(held.give().await) });
        taker.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(HsmError::timeout()))
    }
}

impl fmt::Debug for HeldPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldPin")
    }
}

fn trimmed(text: &str) -> SecretText {
    SecretText::from(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn file(path: PathBuf) -> Result<SecretText, String> {
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(trimmed(&Zeroizing::new(text)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    fn pin(text: &str) -> SecretText {
        SecretText::from(text.to_owned())
    }

    #[tokio::test]
    async fn a_held_pin_is_fetched_anew_each_time_after_the_first() {
        let held = HeldPin::new(pin("first"), || async { Ok(SecretText::from("again".to_owned())) });
        let given = [held.give().await, held.clone().give().await, held.give().await];
        assert_eq!(given.map(|given| given.ok().unwrap().expose().to_owned()), ["first", "again", "again"]);
        let lost = HeldPin::new(pin("first"), || async { Err("it is away".to_owned()) });
        assert!(lost.give().await.is_ok());
        assert_eq!(lost.give().await.err().unwrap().to_string(), "PIN: it is away");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_comes_through_a_pipe_is_given_again_and_again_and_is_in_no_file() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"1234567\n").unwrap();
        drop(writer);
        let held = HeldPin::of_pipe(&PinSource::Fd(reader.as_raw_fd().unsigned_abs())).unwrap().unwrap();
        let thread = std::thread::spawn(move || [held.give_here(), held.give_here()]);
        for given in thread.join().unwrap() {
            assert_eq!(given.ok().unwrap().expose(), "1234567");
        }
    }

    #[test]
    fn nowhere_there_is_no_pin() {
        assert!(PinSource::nowhere().read().is_err());
    }
}
