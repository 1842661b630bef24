//! Positions in the trail: how far it was written at some time, and the records behind that.
//!
//! The record of a change is stored with the position at which the trail ended then. After a crash it is not known which stored
//! records have reached the trail; those that have are behind that position, in that file or in one that has taken its name.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata},
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use uuid::Uuid;

/// The end of a file of records at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TrailPosition {
    device: u64,
    inode: u64,
    length: u64,
}

impl TrailPosition {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), length: metadata.len() }
    }

    /// The form in which it is stored: three numbers.
    pub(super) fn to_text(self) -> String {
        format!("{} {} {}", self.device, self.inode, self.length)
    }

    /// Reads the stored form. `None` for any other text, which stands for the beginning of the file.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(' ').map(str::parse);
        Some(Self { device: numbers.next()?.ok()?, inode: numbers.next()?.ok()?, length: numbers.next()?.ok()? })
    }

    fn is_in(self, metadata: &Metadata) -> bool {
        (self.device, self.inode) == (metadata.dev(), metadata.ino())
    }
}

/// The address of a trail, which may be another process's: the absolute path of its file.
#[derive(Debug, Clone)]
pub struct TrailAddress(PathBuf);

impl TrailAddress {
    /// The address of the trail at `path`: the same from every working directory and over restarts, also for a pipe.
    ///
    /// # Errors
    /// If the path is empty, or relative to a directory that is gone.
    pub fn of(path: &Path) -> io::Result<Self> {
        std::path::absolute(path).map(Self)
    }

    /// The name of the trail: the path of its file.
    pub fn name(&self) -> String {
        self.0.display().to_string()
    }

    /// The position at which the trail ends now; an empty text, which stands for its beginning, if there is no file yet.
    pub fn position(&self) -> String {
        fs::metadata(&self.0).map(|metadata| TrailPosition::of(&metadata).to_text()).unwrap_or_default()
    }
}

/// Which of these records are in the trail at `path`, behind `position`. Files that were rotated since then are looked for beside
/// it; one that was moved elsewhere or deleted is taken to have none of them.
pub(super) fn records_after(
    path: &Path,
    position: Option<TrailPosition>,
    wanted: &HashSet<Uuid>,
) -> io::Result<HashSet<Uuid>> {
    let mut found = HashSet::new();
    for (file, metadata) in written_since(path, position) {
        let from = position.filter(|position| position.is_in(&metadata)).map_or(0, |position| position.length);
        look_in(&file, from, wanted, &mut found)?;
    }
    Ok(found)
}

/// The file that has the trail's name, the file of `position` under whatever name, and those that came between: their names begin
/// as the trail's does, and they were written to later.
fn written_since(path: &Path, position: Option<TrailPosition>) -> Vec<(PathBuf, Metadata)> {
    let mut files = files_beside(path);
    let is_begun = |metadata: &Metadata| position.is_some_and(|position| position.is_in(metadata));
    let begun = files.iter().find(|(_, metadata)| is_begun(metadata)).and_then(|(_, begun)| begun.modified().ok());
    let is_later = |metadata: &Metadata| begun.is_some_and(|begun| metadata.modified().is_ok_and(|at| at >= begun));
    let stem = path.file_stem().unwrap_or_default().as_bytes();
    files.retain(|(file, metadata)| {
        let name = file.file_name().unwrap_or_default();
        Some(name) == path.file_name() || is_begun(metadata) || name.as_bytes().starts_with(stem) && is_later(metadata)
    });
    files
}

/// The files of the trail's directory.
fn files_beside(path: &Path) -> Vec<(PathBuf, Metadata)> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| fs::metadata(entry.path()).ok().map(|metadata| (entry.path(), metadata)));
    files.filter(|(_, metadata)| metadata.is_file()).collect()
}

fn look_in(path: &Path, from: u64, wanted: &HashSet<Uuid>, found: &mut HashSet<Uuid>) -> io::Result<()> {
    let mut file = File::open(path)?;
    // A file that was cut is read from its beginning.
    let from = if file.metadata()?.len() < from { 0 } else { from };
    file.seek(SeekFrom::Start(from))?;
    for line in BufReader::new(file).split(b'\n') {
        found.extend(event_id(&line?).filter(|id| wanted.contains(id)));
    }
    Ok(())
}

/// The `eventID` of the record in a line.
fn event_id(line: &[u8]) -> Option<Uuid> {
    #[derive(serde::Deserialize)]
    struct IdOnly {
        #[serde(rename = "eventID")]
        event_id: Uuid,
    }
    serde_json::from_slice::<IdOnly>(line).ok().map(|record| record.event_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: u128) -> String {
        format!("{{\"eventID\":\"{}\"}}\n", Uuid::from_u128(n))
    }

    fn found(path: &Path, position: Option<TrailPosition>) -> Vec<u128> {
        let wanted = (1..=9).map(Uuid::from_u128).collect();
        let mut found: Vec<_> =
            records_after(path, position, &wanted).expect("read").into_iter().map(|id| id.as_u128()).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn records_are_found_behind_a_position_also_when_the_file_was_rotated() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.jsonl");
        assert_eq!(found(&path, None), [0; 0], "there is no file yet");
        fs::write(&path, line(1)).expect("written");
        let position = TrailPosition::of(&fs::metadata(&path).expect("there"));
        assert_eq!(TrailPosition::parse(&position.to_text()), Some(position));
        fs::write(&path, [line(1), line(2), "torn".to_owned()].concat()).expect("written");
        assert_eq!((found(&path, Some(position)), found(&path, None)), (vec![2], vec![1, 2]));
        fs::rename(&path, directory.path().join("audit.jsonl.1")).expect("rotated");
        fs::write(&path, line(3)).expect("written");
        assert_eq!(found(&path, Some(position)), [2, 3]);
        fs::rename(&path, directory.path().join("audit-2.jsonl")).expect("rotated");
        fs::write(&path, line(4)).expect("written");
        assert_eq!(found(&path, Some(position)), [2, 3, 4], "rotated again");
        fs::remove_file(directory.path().join("audit.jsonl.1")).expect("removed");
        assert_eq!(found(&path, Some(position)), [4]);
    }
}
