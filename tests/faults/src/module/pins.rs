//! A PIN that locks after so many wrong tries in a row, counted over all processes in a file with a lock.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use cryptoki_sys::{
    CK_FLAGS, CK_RV, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED, CKR_OK, CKR_PIN_INCORRECT,
    CKR_PIN_LOCKED,
};

const FILE: &str = "pin-failures";

/// A try, unless the PIN is locked. Without a limit nothing is counted. The lock is held during the try: two processes must
/// not both have the last one.
pub fn guarded(dir: &Path, limit: Option<u32>, login: impl FnOnce() -> CK_RV) -> CK_RV {
    let Some(limit) = limit else { return login() };
    let Ok(mut file) = open(dir) else { return login() };
    let failures = read(&mut file).unwrap_or(0);
    if failures >= limit {
        return CKR_PIN_LOCKED;
    }
    let code = login();
    let _ = write(&mut file, after(failures, code));
    code
}

/// How many tries have failed in a row.
pub fn failures(dir: &Path) -> u32 {
    open(dir).and_then(|mut file| read(&mut file)).unwrap_or(0)
}

pub fn reset(dir: &Path) {
    let _ = open(dir).and_then(|mut file| write(&mut file, 0));
}

fn after(failures: u32, code: CK_RV) -> u32 {
    match code {
        CKR_PIN_INCORRECT => failures + 1,
        CKR_OK => 0,
        _ => failures,
    }
}

/// The flags that C_GetTokenInfo has about the PIN.
pub fn flags(failures: u32, limit: u32) -> CK_FLAGS {
    match failures {
        0 => 0,
        _ if failures >= limit => CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_LOCKED,
        _ if failures + 1 == limit => CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY,
        _ => CKF_USER_PIN_COUNT_LOW,
    }
}

/// Locked until it is closed.
fn open(dir: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(FILE))?;
    file.lock()?;
    Ok(file)
}

fn read(file: &mut File) -> io::Result<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text.trim().parse().unwrap_or(0))
}

fn write(file: &mut File, failures: u32) -> io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(failures.to_string().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_say_how_near_the_lock_is() {
        assert_eq!(flags(0, 3), 0);
        assert_eq!(flags(1, 3), CKF_USER_PIN_COUNT_LOW);
        assert_eq!(flags(2, 3), CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY);
        assert_eq!(flags(3, 3), CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_LOCKED);
    }

    #[test]
    fn the_last_wrong_try_locks_and_a_right_one_forgives() {
        let dir = tempfile::tempdir().unwrap();
        let try_with = |code| guarded(dir.path(), Some(2), || code);
        assert_eq!(
            (try_with(CKR_PIN_INCORRECT), try_with(CKR_OK), failures(dir.path())),
            (CKR_PIN_INCORRECT, CKR_OK, 0)
        );
        assert_eq!((try_with(CKR_PIN_INCORRECT), try_with(CKR_PIN_INCORRECT)), (CKR_PIN_INCORRECT, CKR_PIN_INCORRECT));
        assert_eq!(try_with(CKR_OK), CKR_PIN_LOCKED);
        reset(dir.path());
        assert_eq!(try_with(CKR_OK), CKR_OK);
    }
}
