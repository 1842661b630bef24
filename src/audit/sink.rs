//! The file that records are appended to.
//!
//! A record is a whole line. Lines that cannot be written are kept and written before all others, from the byte where the file
//! ends, so that no record is lost or written twice while this process lives. A line that a crash has torn is ended before the
//! next record, so that only the torn one is lost.
//!
//! The file may be renamed or removed while it is open. Lines that went into a removed one are written again into a new one.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};

/// Space that is reserved as a test of whether the disk is full: that of a few records.
const RESERVED_BYTES: u64 = 4096;

/// An open file of records.
pub(super) struct Sink {
    path: PathBuf,
    file: File,
    sync: bool,
    /// True if the file ends in the middle of a line that another process has begun.
    torn: bool,
    unwritten: Unwritten,
}

/// Lines that could not be written, or not to their end.
#[derive(Default)]
struct Unwritten {
    lines: Vec<u8>,
    written: usize,
}

impl Sink {
    /// Opens the file for appending, and makes it if there is none. With `sync`, records are on the disk, and not only
    /// with the kernel, when [`Self::append`] answers.
    pub(super) fn open(path: &Path, sync: bool) -> Result<Self, io::Error> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { torn: ends_torn(path)?, path: path.to_owned(), file, sync, unwritten: Unwritten::default() })
    }

    /// Opens the file anew by its name, which a log rotation may have given to another file. A line that was begun in the
    /// old one is written whole.
    pub(super) fn reopen(&mut self) -> Result<(), io::Error> {
        let fresh = Self::open(&self.path, self.sync)?;
        let Unwritten { lines, written } = std::mem::take(&mut self.unwritten);
        let line = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        *self = Self { unwritten: Unwritten { lines, written: line }, ..fresh };
        Ok(())
    }

    /// True if the file was renamed, replaced or removed since it was opened.
    pub(super) fn is_moved(&self) -> bool {
        let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Ok(named), Ok(ours)) => id(named) != id(ours),
            (Err(error), _) => error.kind() == io::ErrorKind::NotFound,
            (Ok(_), Err(_)) => false,
        }
    }

    /// Reserves space for the next records, so that a full disk is noticed before a record needs it. Does nothing on a file system
    /// that cannot reserve space.
    pub(super) fn reserve_space(&mut self) -> Result<(), io::Error> {
        if self.is_removed() {
            self.reopen()?;
        }
        let metadata = self.file.metadata()?;
        if !metadata.is_file() {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, metadata.len(), RESERVED_BYTES) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => Ok(()),
            asked => Ok(asked?),
        }
    }

    /// Appends whole lines, after those that could not be written before. If that fails, they are written the next time.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), io::Error> {
        self.catch_up().inspect_err(|_| self.unwritten.lines.extend_from_slice(lines))?;
        let mut written = 0;
        self.write(lines, &mut written).inspect_err(|_| self.unwritten = Unwritten { lines: lines.to_vec(), written })
    }

    /// Writes the lines that could not be written before.
    pub(super) fn catch_up(&mut self) -> Result<(), io::Error> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        if self.unwritten.lines.is_empty() {
            return Ok(());
        }
        let Unwritten { lines, mut written } = std::mem::take(&mut self.unwritten);
        self.write(&lines, &mut written).inspect_err(|_| self.unwritten = Unwritten { lines, written })
    }

    /// The metadata of the open file.
    pub(super) fn metadata(&self) -> Result<Metadata, io::Error> {
        self.file.metadata()
    }

    /// The open file, to be forced to the disk while others go on writing.
    pub(super) fn file(&self) -> Result<File, io::Error> {
        self.file.try_clone()
    }

    fn write(&mut self, lines: &[u8], written: &mut usize) -> Result<(), io::Error> {
        while *written < lines.len() {
            match self.file.write(&lines[*written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => *written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sync {
            self.sync().inspect_err(|_| *written = 0)?;
        }
        if !self.is_removed() {
            return Ok(());
        }
        // Nobody can read a removed file.
        *written = 0;
        self.reopen()?;
        self.write(lines, written)
    }

    /// True if the file was removed. A directory is looked at only if the open file has no name left.
    fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 0) && self.is_moved()
    }

    /// The kernel reports a failed write-back once and then forgets it, so the next success would prove nothing for
    /// this file descriptor. We go on with a new one.
    fn sync(&mut self) -> Result<(), io::Error> {
        self.file.sync_data().inspect_err(|_| drop(self.reopen()))
    }
}

/// True if the file ends in the middle of a line. A device has no end, so this is false for one.
fn ends_torn(path: &Path) -> Result<bool, io::Error> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A sink whose file is full.
    fn full(path: &Path) -> Sink {
        let file = OpenOptions::new().append(true).open("/dev/full").expect("open");
        Sink { file, ..Sink::open(path, false).expect("open") }
    }

    fn written(sink: &mut Sink, path: &Path) -> String {
        sink.file = OpenOptions::new().append(true).open(path).expect("open");
        sink.catch_up().expect("written");
        fs::read_to_string(path).expect("text")
    }

    #[test]
    fn what_could_not_be_written_is_written_once_and_in_order_when_there_is_room() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        let mut sink = full(&path);
        for line in ["one\n", "two\nthree\n"] {
            sink.append(line.as_bytes()).expect_err("full");
        }
        assert_eq!(written(&mut sink, &path), "one\ntwo\nthree\n");
        sink.append(b"four\n").expect("written");
        assert_eq!(written(&mut sink, &path), "one\ntwo\nthree\nfour\n");
    }

    #[test]
    fn a_line_goes_on_where_the_file_ends_and_begins_anew_in_another_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        let mut sink = full(&path);
        fs::write(&path, "one\ntw").expect("written");
        sink.unwritten = Unwritten { lines: b"one\ntwo\n".to_vec(), written: 6 };
        assert_eq!(written(&mut sink, &path), "one\ntwo\n");
        fs::rename(&path, directory.path().join("audit.jsonl.1")).expect("rotated");
        sink.unwritten = Unwritten { lines: b"three\nfour\n".to_vec(), written: 8 };
        sink.reopen().expect("open");
        sink.catch_up().expect("written");
        assert_eq!(fs::read_to_string(&path).expect("text"), "four\n");
    }

    #[test]
    fn what_was_written_into_a_file_that_is_gone_is_written_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let inner = directory.path().join("log");
        let path = inner.join("audit.jsonl");
        fs::create_dir(&inner).expect("made");
        for sync in [false, true] {
            let mut sink = Sink::open(&path, sync).expect("open");
            assert!(!sink.is_moved());
            fs::remove_file(&path).expect("removed");
            assert!(sink.is_moved());
            sink.append(b"one\n").expect("written");
            assert_eq!(fs::read_to_string(&path).expect("text"), "one\n");
            fs::remove_dir_all(&inner).expect("removed");
            sink.reserve_space().expect_err("there is no directory");
            sink.append(b"two\n").expect_err("there is no directory");
            sink.append(b"three\n").expect_err("there is no directory");
            fs::create_dir(&inner).expect("made");
            sink.append(b"four\n").expect("written");
            assert_eq!(fs::read_to_string(&path).expect("text"), "two\nthree\nfour\n");
        }
    }

    #[test]
    fn a_file_that_was_renamed_or_replaced_is_moved() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        let mut sink = Sink::open(&path, false).expect("open");
        fs::rename(&path, path.with_extension("1")).expect("renamed");
        assert!(sink.is_moved());
        sink.append(b"one\n").expect("written");
        assert_eq!(fs::read_to_string(path.with_extension("1")).expect("text"), "one\n", "it is still somewhere");
        fs::write(&path, "another's").expect("made");
        assert!(sink.is_moved());
        sink.reopen().expect("open");
        assert!(!sink.is_moved());
    }

    #[test]
    fn space_is_reserved_where_that_is_possible() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        let mut sink = Sink::open(&path, false).expect("open");
        sink.reserve_space().expect("there is some");
        assert_eq!(fs::metadata(&path).expect("there").len(), 0);
        Sink::open(Path::new("/dev/null"), false).expect("open").reserve_space().expect("it takes everything");
    }
}
