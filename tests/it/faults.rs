//! The module of `tests/faults`, told what to do: a copy for each test, so that tests do not disturb each other.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use strongroom::hsm::Settings;
use tempfile::TempDir;

/// A copy of the module for faults and the directory in which it is told what to do.
pub struct Faults {
    dir: TempDir,
}

/// While this is there, calls of one function do not go on to the HSM.
pub struct Hold {
    file: PathBuf,
}

impl Faults {
    /// The module in front of that of `settings`, and the same settings through it.
    pub fn before(settings: Settings) -> (Self, Settings) {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("faults.so");
        std::fs::copy(built(), &module).unwrap();
        std::fs::write(dir.path().join("real"), settings.module.to_str().unwrap()).unwrap();
        (Self { dir }, Settings { module, ..settings })
    }

    /// Holds every call of `function` until the answer is dropped.
    pub fn hold(&self, function: &str) -> Hold {
        let file = self.file(&format!("hold-{function}"));
        std::fs::write(&file, "").unwrap();
        Hold { file }
    }

    /// The sessions in which `function` has been called so far, in order.
    pub fn calls(&self, function: &str) -> Vec<String> {
        let calls = std::fs::read_to_string(self.file("calls")).unwrap_or_default();
        let of_it = calls.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| *name == function);
        of_it.map(|(_, session)| session.to_owned()).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Cargo builds the module beside this program, because the tests depend on its package.
fn built() -> PathBuf {
    let beside = std::env::current_exe().unwrap().with_file_name("libstrongroom_faults.so");
    assert!(Path::exists(&beside), "{} is missing: cargo build --tests makes it", beside.display());
    beside
}

/// Waits until it is so, for at most five seconds.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(5), "not within five seconds: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
