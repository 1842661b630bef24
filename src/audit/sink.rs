//! The file that records are appended to.
//!
//! A record is a whole line. A line that a crash or a full disk has torn is ended before the next record, so it spoils
//! itself and nothing else.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// An open file of records.
pub(super) struct Sink {
    path: PathBuf,
    file: File,
    sync: bool,
    /// Whether the file ends in the middle of a line.
    torn: bool,
}

impl Sink {
    /// Opens the file for appending, and makes it if there is none. With `sync`, records are on the disk, and not only
    /// with the kernel, when [`Self::append`] answers.
    pub(super) fn open(path: &Path, sync: bool) -> Result<Self, io::Error> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { torn: ends_torn(path)?, path: path.to_owned(), file, sync })
    }

    /// Opens the file anew by its name, which a log rotation may have given to another file.
    pub(super) fn reopen(&mut self) -> Result<(), io::Error> {
        *self = Self::open(&self.path, self.sync)?;
        Ok(())
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), io::Error> {
        if self.torn {
            self.write(b"\n")?;
        }
        self.write(lines)?;
        if self.sync { self.sync() } else { Ok(()) }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), io::Error> {
        while let Some(last) = bytes.last() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.torn = bytes.get(n - 1).unwrap_or(last) != &b'\n';
                    bytes = &bytes[n..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The kernel reports a failed write-back once and then forgets it, so the next success would prove nothing for
    /// this file descriptor. We go on with a new one.
    fn sync(&mut self) -> Result<(), io::Error> {
        self.file.sync_data().inspect_err(|_| drop(self.reopen()))
    }
}

/// Whether the file ends in the middle of a line. A device has no end, and is none.
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
