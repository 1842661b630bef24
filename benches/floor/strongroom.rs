//! The real server, as `strongroom dev` starts it: signatures, policies and the audit trail are on, since nothing turns
//! them off.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::Outcome;

/// The server in a process of its own, with a new token and a new store.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub access_key_id: String,
    pub secret: String,
    _directory: TempDir,
}

impl Server {
    pub fn start() -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(directory.path().join("data"))
            .env_remove("SOFTHSM2_CONF")
            .env("RUST_LOG", "warn")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = HashMap::new();
        let mut address = None;
        for line in BufReader::new(child.stdout.take().ok_or("no pipe")?).lines() {
            let line = line?;
            if let Some((name, value)) = line.strip_prefix("export ").and_then(|line| line.split_once('=')) {
                said.insert(name.to_owned(), value.to_owned());
            }
            if let Some(url) = line.trim_start_matches("# ").strip_prefix("strongroom is ready on http://") {
                address = Some(url.parse()?);
                break;
            }
        }
        let mut take = |name: &str| said.remove(name).ok_or_else(|| format!("the server did not say {name}"));
        let (access_key_id, secret) = (take("AWS_ACCESS_KEY_ID")?, take("AWS_SECRET_ACCESS_KEY")?);
        let address = address.ok_or("the server did not become ready")?;
        Ok(Self { child, address, access_key_id, secret, _directory: directory })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
