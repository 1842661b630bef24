//! Kill -9 while keys are deleted: each goes whole and for good, and nothing of it stays on the HSM.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::server::{Server, within};

/// So many that no start has time for all of them before it is killed.
const KEYS: usize = 200;
const KILLS: u64 = 10;

/// A key whose material is an object on the HSM, rotated so that it has two, and scheduled for deletion.
fn doom(server: &Server) -> String {
    let made = server.call("CreateKey", &json!({})).json();
    let key = made["KeyMetadata"]["KeyId"].clone();
    for operation in ["RotateKeyOnDemand", "ScheduleKeyDeletion"] {
        assert_eq!(server.call(operation, &json!({"KeyId": key})).status, 200, "{operation}");
    }
    key.as_str().unwrap().to_owned()
}

/// What would take a month: the date and the running time of each deletion are over.
fn let_time_pass(data: &Path) {
    let text = "UPDATE documents SET body = json_set(body, '$.deletion_date', 0, '$.scheduled.after', 0) \
                WHERE kind = 'key' AND json_extract(body, '$.state') = 'PendingDeletion'";
    let options = SqliteConnectOptions::new().filename(data.join("strongroom.sqlite"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let changed = sqlx::query(text).execute(&mut connection).await.unwrap().rows_affected();
        assert_eq!(changed, KEYS as u64);
    });
}

/// The keys that the audit trail says are gone. A line that a kill tore says nothing.
fn gone(data: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(data.join("audit.jsonl")).unwrap();
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let deletions = records.filter(|record| record["eventName"] == "DeleteKey");
    let arn = |record: Value| record["responseElements"]["keyId"].as_str().unwrap().to_owned();
    deletions.map(|record| arn(record).rsplit('/').next().unwrap().to_owned()).collect()
}

fn objects(directory: &Path) -> BTreeSet<PathBuf> {
    let (mut files, mut directories) = (BTreeSet::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => directories.push(entry.path()),
                false => drop(files.insert(entry.path())),
            }
        }
    }
    files
}

#[test]
fn deletions_go_on_after_kills() {
    let mut server = Server::new().with("STRONGROOM__HSM__KEEPING", "token");
    server.start();
    let (data, tokens) = (server.data(), server.data().join("tokens"));
    let pristine = objects(&tokens);
    let doomed: BTreeSet<String> = (0..KEYS).map(|_| doom(&server)).collect();
    assert!(objects(&tokens).len() >= pristine.len() + 2 * KEYS, "each key has two objects");
    server.kill();
    let_time_pass(&data);

    let mut progress = Vec::new();
    for kill in 1..=KILLS {
        server.start();
        thread::sleep(Duration::from_millis(20 * kill));
        server.kill();
        progress.push(gone(&data).len());
    }
    server.start();
    assert!(within(Duration::from_secs(60), || gone(&data) == doomed), "{} of {KEYS} are gone", gone(&data).len());

    println!("keys that were gone after each kill: {progress:?}");
    assert!(progress.iter().any(|count| (1..KEYS).contains(count)), "no kill came between: {progress:?}");
    for key in &doomed {
        let answer = server.call("DescribeKey", &json!({"KeyId": key}));
        assert_eq!(answer.exception(), "NotFoundException");
    }
    assert_eq!(objects(&tokens), pristine, "left in the HSM");
    assert!(server.stop().success());
}
