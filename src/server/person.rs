//! Who runs this program, for the record of what they do.

use std::{env, fs, os::unix::fs::MetadataExt, path::Path};

use super::Failure;
use crate::identity::OsUser;

const USERS: &str = "/etc/passwd";
/// The kernel keeps who logged in, through su and sudo, where the system's login has told it.
const LOGIN: &str = "/proc/self/loginuid";
/// What the kernel says where nobody logged in, as in a service.
const NOBODY: u32 = u32::MAX;

/// Whoever runs this program.
pub fn whoever_runs_this() -> OsUser {
    let user_id = rustix::process::geteuid().as_raw();
    let login = fs::read_to_string(LOGIN).ok().and_then(|text| text.trim().parse().ok());
    OsUser {
        user_id,
        user_name: user_name(user_id),
        sudo_user: env::var("SUDO_USER").ok().filter(|name| !name.is_empty()),
        login_user_id: login.filter(|id| *id != NOBODY),
    }
}

/// The name of a user of this machine, as far as its own file of users has it.
pub fn user_name(id: u32) -> Option<String> {
    let users = fs::read_to_string(USERS).ok()?;
    let line = users.lines().find(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(id))?;
    line.split(':').next().map(str::to_owned)
}

/// What root makes in a directory of the service's user, the service cannot open.
///
/// # Errors
/// If this is root, and the directory another user's.
pub fn refuse_to_make_for_another(directory: &Path) -> Result<(), Failure> {
    let Ok(metadata) = fs::metadata(directory) else { return Ok(()) };
    refuse_to_make(rustix::process::geteuid().as_raw(), metadata.uid(), directory)
}

fn refuse_to_make(us: u32, owner: u32, directory: &Path) -> Result<(), Failure> {
    if us != 0 || owner == 0 {
        return Ok(());
    }
    let owner = user_name(owner).unwrap_or_else(|| format!("user {owner}"));
    let directory = directory.display();
    Err(Failure::new(format!(
        "{directory} belongs to {owner}, who could not open what root makes there: run this as {owner}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_makes_nothing_for_another() {
        let refused = |us, owner| refuse_to_make(us, owner, Path::new("/d")).err().map(|failure| failure.text);
        assert_eq!((refused(0, 0), refused(1, 1), refused(1, 0)), (None, None, None));
        let text = "/d belongs to daemon, who could not open what root makes there: run this as daemon";
        assert_eq!(refused(0, 1).as_deref(), Some(text));
    }

    #[test]
    fn users_have_names() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(NOBODY - 1), None);
        assert_eq!(whoever_runs_this().user_id, rustix::process::geteuid().as_raw());
    }
}
