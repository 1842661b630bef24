//! What the store has against what the audit trail says: changes of many kinds, each with a mark of its own, and whether effects and
//! records are the same, none without the other, in one order.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use sqlx::{ConnectOptions, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::{
    server::{ACCOUNT, Credentials},
    wire::{Answer, Connection, Request},
};

/// A document that the store has.
pub struct Document {
    pub kind: String,
    pub revision: i64,
    pub body: Value,
}

/// The database of a server, read from beside it.
pub struct Store(PathBuf);

impl Store {
    pub fn of(path: PathBuf) -> Self {
        Self(path)
    }

    /// The documents that were changed after a revision, in the order of their last changes.
    pub fn documents(&self, after: i64) -> Vec<Document> {
        let query = sqlx::query("SELECT kind, revision, body FROM documents WHERE revision > $1 ORDER BY revision");
        let rows = self.ask(async |database| query.bind(after).fetch_all(database).await);
        let document = |row: sqlx::sqlite::SqliteRow| Document {
            kind: row.get("kind"),
            revision: row.get("revision"),
            body: serde_json::from_str(row.get("body")).unwrap(),
        };
        rows.into_iter().map(document).collect()
    }

    /// How many changes there have been so far.
    pub fn changes(&self) -> i64 {
        self.ask(async |database| sqlx::query_scalar("SELECT MAX(seq) FROM changes").fetch_one(database).await)
    }

    /// How many records of changes are not known to be in the trail.
    pub fn waiting_records(&self) -> i64 {
        self.ask(async |database| sqlx::query_scalar("SELECT COUNT(*) FROM records").fetch_one(database).await)
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(&self.0).pragma("query_only", "on");
            let mut database = options.connect().await.unwrap();
            question(&mut database).await.unwrap()
        })
    }
}

/// A client's share of the load: keys of its own, and one that others change, too.
pub struct Load<'a> {
    pub address: SocketAddr,
    pub credentials: Credentials,
    pub shared_key: &'a str,
    /// The next mark.
    pub marks: &'a AtomicUsize,
    /// Requests that were answered with success.
    pub acknowledged: &'a Mutex<Vec<String>>,
    /// Requests that were answered otherwise.
    pub refused: &'a Mutex<Vec<String>>,
}

impl Load<'_> {
    /// Makes changes until `over`, or until there is no answer.
    pub fn go_on(&self, over: &AtomicBool) {
        let Some(mut connection) = Connection::try_open(self.address) else { return };
        while !over.load(Ordering::Relaxed) && self.round(&mut connection).is_some() {}
    }

    /// A key, and then what is changed of it and of the shared one. What is refused is left out.
    fn round(&self, connection: &mut Connection) -> Option<()> {
        let created = self.call(connection, "CreateKey", |mark| json!({"Description": mark}))?;
        if created.status != 200 {
            return Some(());
        }
        let (key, shared) = (created.json()["KeyMetadata"]["KeyId"].clone(), self.shared_key);
        let grantee = format!("arn:aws:iam::{ACCOUNT}:user/grantee");
        self.call(connection, "CreateAlias", |mark| json!({"AliasName": format!("alias/{mark}"), "TargetKeyId": key}))?;
        self.call(connection, "PutKeyPolicy", |mark| json!({"KeyId": shared, "Policy": policy(mark)}))?;
        self.call(connection, "DisableKey", |_| json!({"KeyId": key}))?;
        self.call(
            connection,
            "CreateGrant",
            |mark| json!({"KeyId": shared, "Name": mark, "GranteePrincipal": grantee, "Operations": ["Encrypt"]}),
        )?;
        self.call(
            connection,
            "TagResource",
            |mark| json!({"KeyId": shared, "Tags": [{"TagKey": "mark", "TagValue": mark}]}),
        )?;
        self.call(connection, "EnableKey", |_| json!({"KeyId": key}))?;
        self.call(connection, "UpdateKeyDescription", |mark| json!({"KeyId": shared, "Description": mark}))?;
        self.call(connection, "ScheduleKeyDeletion", |_| json!({"KeyId": key})).map(drop)
    }

    fn call(&self, connection: &mut Connection, operation: &str, body: impl FnOnce(&str) -> Value) -> Option<Answer> {
        let mark = format!("m{}", self.marks.fetch_add(1, Ordering::Relaxed));
        let request = Request::signed(self.address, &self.credentials, operation, &body(&mark));
        let answer = connection.try_send(&request.bytes()).then(|| connection.try_answer()).flatten()?;
        let answered = if answer.status == 200 { self.acknowledged } else { self.refused };
        answered.lock().unwrap().push(answer.request_id().to_owned());
        Some(answer)
    }
}

fn policy(mark: &str) -> String {
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    let statement =
        json!({"Sid": mark, "Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

/// What is known of effects and of records, and how far both are read.
pub struct Comparison {
    store: Store,
    trail: TrailReader,
    seen: i64,
    written: Marks,
    stored: Marks,
    requests: HashSet<String>,
    events: HashSet<String>,
}

/// Marks by what they were left with.
#[derive(Default)]
struct Marks {
    /// What is made and not changed: aliases and grants, in their order.
    made: Vec<(&'static str, String)>,
    /// What of a key is changed again and again, by the key's id.
    last: BTreeMap<(String, &'static str), String>,
}

impl Comparison {
    /// From now on, with the store and the trail in these files.
    pub fn of(store: PathBuf, trail: PathBuf) -> Self {
        let store = Store::of(store);
        // What was done before is none of the load's.
        let mut trail = TrailReader { path: trail, offset: 0, torn: 0 };
        drop(trail.news());
        Self {
            seen: store.changes(),
            store,
            trail,
            written: Marks::default(),
            stored: Marks::default(),
            requests: HashSet::new(),
            events: HashSet::new(),
        }
    }

    /// How many changes there were, and how many lines that a kill tore.
    pub fn counts(&self) -> (usize, usize) {
        (self.requests.len(), self.trail.torn)
    }

    /// The trail is renamed away, as whoever rotates logs does; what is not read of it is read now.
    pub fn rotate(&mut self, to: &Path) {
        self.read_trail();
        std::fs::rename(&self.trail.path, to).unwrap();
    }

    /// What came into a file that was rotated away after that.
    pub fn read_rest_of(&mut self, rotated: &Path) {
        let current = std::mem::replace(&mut self.trail.path, rotated.to_owned());
        self.read_trail();
        self.trail = TrailReader { path: current, offset: 0, ..self.trail };
    }

    /// Nobody changes anything just now: what the store has is what the trail says.
    #[track_caller]
    pub fn assert_same(&mut self, acknowledged: &[String]) {
        self.read_trail();
        self.read_store();
        assert_eq!(self.written.made.len(), self.stored.made.len(), "{}", self.difference());
        assert_eq!(self.written.made, self.stored.made, "in the trail, and in the store");
        let lost = acknowledged.iter().find(|request| !self.requests.contains(*request));
        assert_eq!(lost, None, "an acknowledged change without its record");
        for (what, mark) in &self.stored.last {
            assert_eq!(self.written.last.get(what), Some(mark), "the last record about {what:?}, and the store");
        }
        let gone = self.written.last.keys().find(|what| !self.stored.last.contains_key(*what));
        assert_eq!(gone, None, "a record without its effect");
    }

    /// What was refused has no record as if it had been done.
    #[track_caller]
    pub fn assert_not_done(&self, refused: &[String]) {
        assert_eq!(refused.iter().find(|request| self.requests.contains(*request)), None, "refused, and done");
    }

    fn difference(&self) -> String {
        let (written, stored): (HashSet<_>, HashSet<_>) =
            (self.written.made.iter().collect(), self.stored.made.iter().collect());
        let only = |one: &HashSet<_>, other: &HashSet<_>| format!("{:?}", one.difference(other).collect::<Vec<_>>());
        format!(
            "records without effects: {}; effects without records: {}",
            only(&written, &stored),
            only(&stored, &written)
        )
    }

    fn read_store(&mut self) {
        for Document { kind, revision, body } in self.store.documents(self.seen) {
            self.seen = revision;
            match kind.as_str() {
                "alias" => self.stored.made.push(("CreateAlias", text(&body["name"]).replace("alias/", ""))),
                "grant" => self.stored.made.push(("CreateGrant", text(&body["terms"]["name"]))),
                "key" => self.stored.note_key(&body),
                _ => {}
            }
        }
    }

    fn read_trail(&mut self) {
        for record in self.trail.news() {
            let event = text(&record["eventID"]);
            assert!(self.events.insert(event), "a record is there twice: {record}");
            if record["errorCode"].is_null() && record["eventType"] == "AwsApiCall" && record["readOnly"] == false {
                self.requests.insert(text(&record["requestID"]));
                self.written.note_record(&record);
            }
        }
    }
}

impl Marks {
    fn note_key(&mut self, key: &Value) {
        let id = text(&key["id"]);
        let policy: Value = serde_json::from_str(key["policy"].as_str().unwrap()).unwrap();
        let tag = &key["tags"][0]["TagValue"];
        let state = if key["state"] == "Enabled" { None } else { Some(&key["state"]) };
        let sid = &policy["Statement"][0]["Sid"];
        let sid = Some(sid).filter(|sid| sid.as_str().is_some_and(|sid| sid.starts_with('m')));
        for (what, mark) in
            [("description", Some(&key["description"])), ("policy", sid), ("tag", Some(tag)), ("state", state)]
        {
            if let Some(mark) = mark.filter(|mark| mark.as_str().is_some_and(|mark| !mark.is_empty())) {
                self.last.insert((id.clone(), what), text(mark));
            } else {
                self.last.remove(&(id.clone(), what));
            }
        }
    }

    fn note_record(&mut self, record: &Value) {
        let asked = &record["requestParameters"];
        let key = text(&record["resources"][0]["ARN"]).rsplit('/').next().unwrap().to_owned();
        let mut last = |what, mark: String| drop(self.last.insert((key.clone(), what), mark));
        match record["eventName"].as_str().unwrap() {
            "CreateAlias" => self.made.push(("CreateAlias", text(&asked["aliasName"]).replace("alias/", ""))),
            "CreateGrant" => self.made.push(("CreateGrant", text(&asked["name"]))),
            "CreateKey" | "UpdateKeyDescription" => last("description", text(&asked["description"])),
            "TagResource" => last("tag", text(&asked["tags"][0]["TagValue"])),
            "PutKeyPolicy" => {
                let policy: Value = serde_json::from_str(asked["policy"].as_str().unwrap()).unwrap();
                last("policy", text(&policy["Statement"][0]["Sid"]));
            }
            "DisableKey" => last("state", "Disabled".to_owned()),
            "ScheduleKeyDeletion" => last("state", "PendingDeletion".to_owned()),
            "EnableKey" => drop(self.last.remove(&(key, "state"))),
            other => panic!("{other} is no part of the load"),
        }
    }
}

/// Follows the audit trail over kills and rotations.
struct TrailReader {
    path: PathBuf,
    offset: u64,
    torn: usize,
}

impl TrailReader {
    /// The records that came since. A line that is no record is one that a kill tore, or one of the test's.
    fn news(&mut self) -> Vec<Value> {
        let Ok(file) = File::open(&self.path) else { return Vec::new() };
        let (mut file, mut line, mut records) = (BufReader::new(file), String::new(), Vec::new());
        file.seek(SeekFrom::Start(self.offset)).unwrap();
        while file.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            self.offset += line.len() as u64;
            match serde_json::from_str::<Value>(&line) {
                Ok(record) if record.is_object() => records.push(record),
                Ok(_) => {}
                Err(_) => self.torn += 1,
            }
            line.clear();
        }
        records
    }
}

/// Records of a trail, by the requests that they are about.
pub fn records_by_request(trail: &Path) -> HashMap<String, Vec<Value>> {
    let mut found: HashMap<String, Vec<Value>> = HashMap::new();
    for record in (TrailReader { path: trail.to_owned(), offset: 0, torn: 0 }).news() {
        if let Some(request) = record["requestID"].as_str() {
            found.entry(request.to_owned()).or_default().push(record);
        }
    }
    found
}

/// A text, or nothing.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
