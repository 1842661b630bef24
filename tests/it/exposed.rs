//! What of a process can be read by whoever may look at it in `/proc`.

use std::{fs, path::Path};

/// Where in `/proc` of this process a secret can be read: its environment, its command line, the files that it has open.
pub fn exposures(pid: u32, secret: &str) -> Vec<String> {
    let process = Path::new("/proc").join(pid.to_string());
    let open = fs::read_dir(process.join("fd")).unwrap().flatten().map(|entry| entry.path());
    // A file or memory; to read anything else might wait.
    let files = open.filter(|path| fs::metadata(path).is_ok_and(|file| file.is_file()));
    let places = files.chain(["environ", "cmdline"].map(|name| process.join(name)));
    let tells = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
    };
    places.filter(|path| tells(path)).map(|path| format!("{}: {:?}", path.display(), fs::read_link(&path))).collect()
}
