//! The ledger of logins: one small file beside the store, which every process of the deployment shares.
//!
//! Its lock is the turn at the HSM: SoftHSM2 rewrites its token in place when somebody logs in, and whoever looks for the
//! token at that moment does not find it. So nobody looks or logs in without the lock.
//!
//! Its lines are the PINs that an HSM has refused, each as a keyed hash of member and PIN. A refused PIN is never tried
//! again, by any thread, by any process, after any restart: tokens lock after three or ten tries, some erase themselves. The
//! line goes away when another PIN is accepted, or by `strongroom hsm retry-pin`.
//!
//! A worker is killed only with the lock in hand, for SoftHSM2 loses its token when it is killed in a login. A refused PIN does
//! not end the service: other members may be well, the API can say what is the matter, and a corrected PIN needs no restart.
//! The ledger keeps 32 bits of a keyed hash: enough to tell PINs apart, little help to guess one.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::SecretText;

use super::error::HsmError;

/// Bytes of a fingerprint that are kept: enough to tell PINs apart, and little help to who would guess one from it.
const FINGERPRINT_BYTES: usize = 4;

const SALT_BYTES: usize = 16;

/// The ledger, locked: while this lives, nobody else of the deployment logs in.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    salt: [u8; SALT_BYTES],
    /// `member fingerprint`, one a line.
    refused: Vec<String>,
}

impl Ledger {
    /// Waits for the turn, and reads what is written.
    pub(super) fn lock(path: &Path) -> Result<Self, HsmError> {
        Self::open(path).map_err(|error| HsmError::misconfigured("ledger", format!("{}: {error}", path.display())))
    }

    fn open(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut options = File::options();
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut lines = text.lines().map(str::to_owned);
        let salt = match lines.next().and_then(|line| parse_salt(&line)) {
            Some(salt) => salt,
            None => new_salt()?,
        };
        Ok(Self { path: path.to_owned(), file, salt, refused: lines.collect() })
    }

    /// Waits for the turn, but not for ever; nothing is read.
    pub(super) fn lock_within(path: &Path, patience: Duration) -> Option<File> {
        let file = File::options().read(true).open(path).ok()?;
        let until = Instant::now() + patience;
        while file.try_lock().is_err() {
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(file)
    }

    /// True if the HSM called `member` has refused this PIN.
    pub(super) fn has_refused(&self, member: &str, pin: &SecretText) -> bool {
        self.refused.contains(&self.line(member, pin))
    }

    /// Remembers that the HSM called `member` has refused this PIN.
    pub(super) fn note_refused(&mut self, member: &str, pin: &SecretText) -> Result<(), HsmError> {
        let line = self.line(member, pin);
        self.refused.push(line);
        self.write()
    }

    /// The HSM called `member` has accepted a PIN, so what it refused before was another.
    pub(super) fn note_accepted(&mut self, member: &str) -> Result<(), HsmError> {
        self.forget(member).map(|_| ())
    }

    /// Forgets what the HSM called `member` has refused; whether there was anything.
    pub(super) fn forget(&mut self, member: &str) -> Result<bool, HsmError> {
        let before = self.refused.len();
        self.refused.retain(|line| line.rsplit_once(' ').is_none_or(|(name, _)| name != member));
        let forgotten = self.refused.len() != before;
        if forgotten {
            self.write()?;
        }
        Ok(forgotten)
    }

    fn line(&self, member: &str, pin: &SecretText) -> String {
        // HMAC takes a key of any length, so this cannot fail.
        let mut line = format!("{member} ");
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.salt) {
            mac.update(member.as_bytes());
            mac.update(&[0]);
            mac.update(pin.expose().as_bytes());
            hex(&mut line, &mac.finalize().into_bytes()[..FINGERPRINT_BYTES]);
        }
        line
    }

    /// In place and flushed: others wait for the lock of this very file. One that is cut off here has lost at most the memory
    /// of a refusal, never a PIN.
    fn write(&mut self) -> Result<(), HsmError> {
        let mut text = String::new();
        hex(&mut text, &self.salt);
        self.refused.iter().for_each(|line| {
            let _ = write!(text, "\n{line}");
        });
        text.push('\n');
        let written = self.replace(text.as_bytes());
        written.map_err(|error| HsmError::misconfigured("ledger", format!("{}: {error}", self.path.display())))
    }

    fn replace(&mut self, text: &[u8]) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(0o600))?;
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text)?;
        self.file.sync_data()
    }
}

fn hex(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| {
        let _ = write!(text, "{byte:02x}");
    });
}

fn parse_salt(line: &str) -> Option<[u8; SALT_BYTES]> {
    let mut salt = [0; SALT_BYTES];
    if line.len() != 2 * SALT_BYTES {
        return None;
    }
    for (i, byte) in salt.iter_mut().enumerate() {
        *byte = u8::from_str_radix(line.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(salt)
}

fn new_salt() -> io::Result<[u8; SALT_BYTES]> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(io::Error::other)?;
    Ok(salt)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin(text: &str) -> SecretText {
        SecretText::from(text.to_owned())
    }

    #[test]
    fn a_refused_pin_is_remembered_by_the_next_process_and_no_other_pin_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/ledger");
        Ledger::lock(&path).unwrap().note_refused("a", &pin("1234")).unwrap();
        let ledger = Ledger::lock(&path).unwrap();
        assert!(ledger.has_refused("a", &pin("1234")));
        assert!(!ledger.has_refused("a", &pin("1235")) && !ledger.has_refused("b", &pin("1234")));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("1234"), "{text}");
    }

    #[test]
    fn an_accepted_pin_clears_the_member_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut ledger = Ledger::lock(&path).unwrap();
        ledger.note_refused("a", &pin("1")).unwrap();
        ledger.note_refused("ab", &pin("1")).unwrap();
        ledger.note_accepted("a").unwrap();
        drop(ledger);
        let mut ledger = Ledger::lock(&path).unwrap();
        assert!(!ledger.has_refused("a", &pin("1")) && ledger.has_refused("ab", &pin("1")));
        ledger.note_refused("ab so", &pin("1")).unwrap();
        ledger.note_accepted("ab").unwrap();
        assert!(ledger.has_refused("ab so", &pin("1")), "the security officer's PIN is another");
        ledger.note_refused("ab", &pin("1")).unwrap();
        assert!(ledger.forget("ab").unwrap() && !ledger.forget("ab").unwrap());
    }

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let first = Ledger::lock(&path).unwrap();
        let other = std::thread::spawn({
            let path = path.clone();
            move || Ledger::lock(&path).map(drop)
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!other.is_finished());
        drop(first);
        assert!(other.join().unwrap().is_ok());
    }
}
