//! The operator's verbs on the files and the HSMs that the configuration names.

pub mod config_check;
pub mod hsm;
pub mod os_user;
