//! A development deployment with as many keys as one likes, and the server on it.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use strongroom::{bench::server::Sender, secret::SecretText};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Outcome, ask};

const REGION: &str = "us-east-1";

/// A directory with a token and a database.
pub struct Deployment {
    directory: TempDir,
    /// The memory that the server has resident with one key, in KiB.
    pub memory_of_one_kib: u64,
}

/// The server in a process of its own.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    host: String,
    access_key_id: String,
    secret: SecretText,
}

impl Deployment {
    /// A deployment of so many keys.
    pub async fn of(keys: usize) -> Outcome<Self> {
        let mut deployment = Self { directory: tempfile::tempdir()?, memory_of_one_kib: 0 };
        let server = deployment.start()?;
        ask(&server, "CreateKey", &json!({})).await?;
        drop(server);
        deployment.memory_of_one_kib = deployment.start()?.memory_kib()?;
        deployment.multiply(keys).await?;
        Ok(deployment)
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn start(&self) -> Outcome<Server> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_strongroom"))
            .args(["dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
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
        let address: SocketAddr = address.ok_or("the server did not become ready")?;
        Ok(Server { child, host: address.to_string(), address, access_key_id, secret: SecretText::from(secret) })
    }

    /// Copies the one key until there are so many, and gives each an alias.
    async fn multiply(&self, keys: usize) -> Outcome<()> {
        let database = fs::read_dir(self.data())?.filter_map(Result::ok).map(|file| file.path());
        let database =
            database.into_iter().find(|path| path.extension().is_some_and(|end| end == "sqlite" || end == "db"));
        let options = SqliteConnectOptions::new().filename(database.ok_or("no database")?);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        let mut all = connection.begin().await?;
        let text = "SELECT body FROM documents WHERE kind = 'key'";
        let body: Value = serde_json::from_str(&sqlx::query_scalar::<_, String>(text).fetch_one(&mut *all).await?)?;
        let mut seq: i64 = sqlx::query_scalar("SELECT MAX(seq) FROM changes").fetch_one(&mut *all).await?;
        let first = body["id"].as_str().ok_or("no id")?.to_owned();
        for number in 0..keys {
            let id = if number == 0 { first.clone() } else { Uuid::new_v4().to_string() };
            let (name, alias) = (format!("{REGION}/{id}"), format!("alias/number-{number:06}"));
            if number > 0 {
                let mut copy = body.clone();
                copy["id"] = json!(id);
                seq += 1;
                insert(&mut all, "key", &name, None, seq, &copy).await?;
            }
            let names = json!({"name": alias, "region": REGION, "target": id, "created": 0, "updated": 0});
            seq += 1;
            insert(&mut all, "alias", &format!("{REGION}/{alias}"), Some(&name), seq, &names).await?;
        }
        sqlx::query("UPDATE feed SET last = $1").bind(seq).execute(&mut *all).await?;
        all.commit().await?;
        Ok(())
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    kind: &str,
    id: &str,
    parent: Option<&str>,
    seq: i64,
    body: &Value,
) -> Outcome<()> {
    let text = "INSERT INTO documents (kind, id, parent, revision, body) VALUES ($1, $2, $3, $4, $5)";
    let query = sqlx::query(text).bind(kind).bind(id).bind(parent).bind(seq).bind(body.to_string());
    query.execute(&mut *connection).await?;
    let text = "INSERT INTO changes (kind, id, seq) VALUES ($1, $2, $3)";
    sqlx::query(text).bind(kind).bind(id).bind(seq).execute(&mut *connection).await?;
    Ok(())
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn sign(&self, operation: &str, body: &Value) -> Vec<u8> {
        let Self { host, access_key_id, secret, .. } = self;
        Sender { host, access_key_id, secret, region: REGION }.sign(operation, body)
    }

    /// Memory that it has resident, in KiB.
    pub fn memory_kib(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
