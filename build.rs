//! What `--version` says: the package's version, and the commit that a release was built from.
//!
//! `STRONGROOM_COMMIT` names it where there is no repository, as in a container's build. A program that is being worked on has
//! none: it would be built anew for each commit.

use std::{env, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=STRONGROOM_COMMIT");
    let package = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit() {
        Some(commit) => format!("{package} ({commit})"),
        None => package,
    };
    println!("cargo:rustc-env=STRONGROOM_VERSION={version}");
}

fn commit() -> Option<String> {
    let named = env::var("STRONGROOM_COMMIT").ok().filter(|commit| !commit.is_empty());
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    named.or_else(|| is_release.then(commit_of_repository).flatten())
}

fn commit_of_repository() -> Option<String> {
    // Each new commit is noted there.
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
