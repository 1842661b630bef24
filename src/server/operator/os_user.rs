//! The user who runs this program, for audit records of what an operator does.

use std::{env, fs, os::unix::fs::MetadataExt, path::Path};

use super::super::ExitError;
use crate::identity::OsUser;

const USERS: &str = "/etc/passwd";
/// The audit UID, which pam_loginuid sets at a login and which stays through su and sudo.
const LOGIN: &str = "/proc/self/loginuid";
/// The audit UID outside of a login session, as in a service.
const UNSET: u32 = u32::MAX;

/// The user who runs this program.
pub fn current() -> OsUser {
    let user_id = rustix::process::geteuid().as_raw();
    let login = fs::read_to_string(LOGIN).ok().and_then(|text| text.trim().parse().ok());
    OsUser {
        user_id,
        user_name: user_name(user_id),
        sudo_user: env::var("SUDO_USER").ok().filter(|name| !name.is_empty()),
        login_user_id: login.filter(|id| *id != UNSET),
    }
}

/// The name of a user of this machine, if /etc/passwd has it.
pub fn user_name(id: u32) -> Option<String> {
    let users = fs::read_to_string(USERS).ok()?;
    let line = users.lines().find(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(id))?;
    line.split(':').next().map(str::to_owned)
}

/// Refuses to make files as root in a directory of another user: the service, which runs as that user, could not open them.
///
/// # Errors
/// If this process runs as root and the directory belongs to another user.
pub fn refuse_root_in_directory_of_another(directory: &Path) -> Result<(), ExitError> {
    let Ok(metadata) = fs::metadata(directory) else { return Ok(()) };
    refuse_root(rustix::process::geteuid().as_raw(), metadata.uid(), directory)
}

fn refuse_root(us: u32, owner: u32, directory: &Path) -> Result<(), ExitError> {
    if us != 0 || owner == 0 {
        return Ok(());
    }
    let owner = user_name(owner).unwrap_or_else(|| format!("user {owner}"));
    let directory = directory.display();
    Err(ExitError::new(format!(
        "{directory} belongs to {owner}, who could not open what root makes there: run this as {owner}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_makes_nothing_for_another() {
        let refused = |us, owner| refuse_root(us, owner, Path::new("/d")).err().map(|error| error.text);
        assert_eq!((refused(0, 0), refused(1, 1), refused(1, 0)), (None, None, None));
        let text = "/d belongs to daemon, who could not open what root makes there: run this as daemon";
        assert_eq!(refused(0, 1).as_deref(), Some(text));
    }

    #[test]
    fn users_have_names() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(UNSET - 1), None);
        assert_eq!(current().user_id, rustix::process::geteuid().as_raw());
    }
}
