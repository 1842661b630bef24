//! A small volume of the test's own, to be full, to grow and to be read only.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::server::within;

const SOON: Duration = Duration::from_secs(20);

/// A tmpfs. Dropped, it is unmounted.
pub struct Volume {
    directory: TempDir,
    /// Takes room when it is to be full. Open from the beginning, so that it gives it back also on a read-only volume.
    filler: File,
}

impl Volume {
    /// A volume of so many KiB; none, and the test is counted as skipped, where this user may not mount anything.
    pub fn mount(kib: usize) -> Option<Self> {
        let directory = TempDir::with_prefix("strongroom-volume-").unwrap();
        let size = format!("size={kib}k");
        let mounted = mount(&["-t", "tmpfs", "-o", &size, "strongroom-live"], directory.path());
        if !mounted {
            skip("mount(8) is not allowed here");
        }
        mounted.then(|| Self { filler: File::create(directory.path().join("filler")).unwrap(), directory })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file on it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let (mut filler, zeros) = (&self.filler, [0; 4096]);
        filler.rewind().unwrap();
        while filler.write(&zeros).is_ok_and(|written| written > 0) {}
    }

    /// Takes what is left of the last page of a file of lines, by lines that say nothing.
    pub fn end_page_of(&self, name: &str) {
        const PAGE: usize = 4096;
        let mut file = OpenOptions::new().append(true).open(self.file(name)).unwrap();
        let left = PAGE - file.metadata().unwrap().len() as usize % PAGE;
        if (4..PAGE).contains(&left) {
            file.write_all(format!("\"{}\"\n", "-".repeat(left - 3)).as_bytes()).unwrap();
        }
    }

    /// Gives the room back.
    pub fn make_room(&self) {
        self.filler.set_len(0).unwrap();
    }

    /// Whoever opens a file from now on may only read it; who has it open already may still write.
    pub fn make_read_only(&self) {
        assert!(mount(&["--bind", self.path().to_str().unwrap()], self.path()), "mount --bind");
        // It cannot be done while somebody has just opened a file to write.
        let done = within(SOON, || mount(&["-o", "remount,bind,ro"], self.path()));
        assert!(done, "mount -o remount,bind,ro");
    }

    /// Files can be written again.
    pub fn make_writable(&self) {
        assert!(unmount(self.path()), "umount");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        while unmount(self.path()) {}
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    succeeds(Command::new("mount").args(arguments).arg(at))
}

/// Also while a process that is about to end has files open there.
fn unmount(at: &Path) -> bool {
    succeeds(Command::new("umount").arg("--lazy").arg(at))
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Says that this test is skipped, and why, past the harness.
fn skip(why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "skipped: {}: {why}", thread.name().unwrap_or_default());
}
