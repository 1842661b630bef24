//! The database itself, as another process could read and write it past the store. All SQL of these tests is here, and of one
//! database are only the connection and the way to lock.

use serde_json::Value;
use sqlx::{
    Connection, QueryBuilder, Sqlite, SqliteConnection, query, query_as, query_scalar, sqlite::SqliteConnectOptions,
};

use super::{REGION, World, hex};

/// A row of `documents`: kind, id and body.
pub type Document = (String, String, String);

/// Rows that are inserted by one statement; a statement has a bound for its parameters.
const ROWS: usize = 500;

/// Another process, which writes and lets nobody else until it is done.
pub struct Writer {
    connection: SqliteConnection,
    /// The last entry of the feed.
    seq: i64,
}

impl Writer {
    pub async fn begin(world: &World) -> Self {
        let mut connection = connect(world).await;
        query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        let seq = query_scalar("SELECT last FROM feed").fetch_one(&mut connection).await.unwrap();
        Self { connection, seq }
    }

    /// Changes the body of a document.
    pub async fn change(&mut self, kind: &str, id: &str, change: impl FnOnce(&mut Value)) {
        let mut body = self.body(kind, id).await;
        change(&mut body);
        let text = "UPDATE documents SET body = $1, revision = $2 WHERE kind = $3 AND id = $4";
        let seq = self.next_seq(kind, id).await;
        query(text).bind(body.to_string()).bind(seq).bind(kind).bind(id).execute(&mut self.connection).await.unwrap();
    }

    /// Has a document belong to another parent.
    pub async fn move_to(&mut self, kind: &str, id: &str, parent: &str) {
        let text = "UPDATE documents SET parent = $1 WHERE kind = $2 AND id = $3";
        query(text).bind(parent).bind(kind).bind(id).execute(&mut self.connection).await.unwrap();
    }

    pub async fn delete(&mut self, kind: &str, id: &str) {
        let text = "DELETE FROM documents WHERE kind = $1 AND id = $2";
        query(text).bind(kind).bind(id).execute(&mut self.connection).await.unwrap();
        self.next_seq(kind, id).await;
    }

    pub async fn commit(mut self) {
        query("UPDATE feed SET last = $1").bind(self.seq).execute(&mut self.connection).await.unwrap();
        query("COMMIT").execute(&mut self.connection).await.unwrap();
    }

    async fn body(&mut self, kind: &str, id: &str) -> Value {
        let text = "SELECT body FROM documents WHERE kind = $1 AND id = $2";
        let body: String = query_scalar(text).bind(kind).bind(id).fetch_one(&mut self.connection).await.unwrap();
        serde_json::from_str(&body).unwrap()
    }

    /// Puts a change of a document that was in the feed before into it once more.
    async fn next_seq(&mut self, kind: &str, id: &str) -> i64 {
        self.seq += 1;
        let text = "UPDATE changes SET seq = $1 WHERE kind = $2 AND id = $3";
        query(text).bind(self.seq).bind(kind).bind(id).execute(&mut self.connection).await.unwrap();
        self.seq
    }

    /// Inserts documents of one parent, each an id and a body.
    async fn insert(&mut self, kind: &str, parent: &str, documents: &[(String, Value)]) {
        let first = self.seq + 1;
        self.seq += i64::try_from(documents.len()).unwrap();
        let numbered = || documents.iter().zip(first..);
        let mut rows = QueryBuilder::<Sqlite>::new("INSERT INTO documents (kind, id, parent, revision, body) ");
        rows.push_values(numbered(), |mut row, ((id, body), seq)| {
            row.push_bind(kind).push_bind(id).push_bind(parent).push_bind(seq).push_bind(body.to_string());
        });
        rows.build().execute(&mut self.connection).await.unwrap();
        let mut rows = QueryBuilder::<Sqlite>::new("INSERT INTO changes (kind, id, seq) ");
        rows.push_values(numbered(), |mut row, ((id, _), seq)| {
            row.push_bind(kind).push_bind(id).push_bind(seq);
        });
        rows.build().execute(&mut self.connection).await.unwrap();
    }
}

impl World {
    /// All documents that are stored.
    pub async fn documents(&self) -> Vec<Document> {
        let all = query_as("SELECT kind, id, body FROM documents ORDER BY kind, id");
        all.fetch_all(&mut connect(self).await).await.unwrap()
    }

    /// Copies a grant that the key has: each without a name, and with `change` made to its body and number.
    pub async fn copy_grant(&self, key: &str, count: usize, change: impl Fn(&mut Value, usize)) {
        let parent = format!("{REGION}/{key}");
        let mut writer = Writer::begin(self).await;
        let text = "SELECT body FROM documents WHERE kind = 'grant' AND parent = $1 LIMIT 1";
        let grant: String = query_scalar(text).bind(&parent).fetch_one(&mut writer.connection).await.unwrap();
        let mut body: Value = serde_json::from_str(&grant).unwrap();
        body["terms"]["name"] = Value::Null;
        let copies = (1..=count).map(|number| {
            let mut id = [0; 32];
            getrandom::fill(&mut id).unwrap();
            let id = hex(&id);
            let mut body = body.clone();
            body["id"] = id.clone().into();
            change(&mut body, number);
            (format!("{parent}/{id}"), body)
        });
        for copies in copies.collect::<Vec<_>>().chunks(ROWS) {
            writer.insert("grant", &parent, copies).await;
        }
        writer.commit().await;
        self.store.follow().await.unwrap();
    }
}

async fn connect(world: &World) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(&world.database);
    SqliteConnection::connect_with(&options).await.unwrap()
}
