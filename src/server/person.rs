//! Who runs this program, for the record of what they do.

use std::{env, fs};

use crate::identity::Person;

const USERS: &str = "/etc/passwd";
/// The kernel keeps who logged in, through su and sudo, where the system's login has told it.
const LOGIN: &str = "/proc/self/loginuid";
/// What the kernel says where nobody logged in, as in a service.
const NOBODY: u32 = u32::MAX;

/// Whoever runs this program.
pub fn whoever_runs_this() -> Person {
    let user_id = rustix::process::geteuid().as_raw();
    let login = fs::read_to_string(LOGIN).ok().and_then(|text| text.trim().parse().ok());
    Person {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(NOBODY - 1), None);
        assert_eq!(whoever_runs_this().user_id, rustix::process::geteuid().as_raw());
    }
}
