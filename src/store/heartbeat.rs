//! The time, as the store keeps it: one row, which every process adds to.

use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{Actor, Store, StoreError};
use crate::{
    clock::{
        Running, Timestamp,
        heartbeat::{Heartbeat, Jump},
    },
    identity::Asker,
};

impl Store {
    /// Stores the heartbeat that `next` makes of the last one, and answers it.
    ///
    /// # Errors
    /// If the store fails; nothing is counted then.
    pub async fn beat(&self, next: impl Fn(Option<Heartbeat>) -> Heartbeat) -> Result<Heartbeat, StoreError> {
        const WHAT: &str = "store the heartbeat";
        let mut write = self.0.driver.write(WHAT, Asker::SERVICE).await?;
        let heartbeat = next(read(write.connection(), WHAT).await?);
        put(write.connection(), WHAT, &heartbeat).await?;
        write.commit().await?;
        Ok(heartbeat)
    }

    /// The last heartbeat; `None` before the first.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn heartbeat(&self) -> Result<Option<Heartbeat>, StoreError> {
        const WHAT: &str = "read the heartbeat";
        let mut connection = self.0.driver.reader(WHAT).await?;
        let heartbeat = read(&mut connection, WHAT).await?;
        connection.give_back();
        Ok(heartbeat)
    }

    /// Forgets the jump of the clock, if there was one, and answers it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn confirm_clock(&self, actor: &impl Actor) -> Result<Option<Jump>, StoreError> {
        const WHAT: &str = "confirm the clock";
        let mut write = self.begin(WHAT, actor).await?;
        let heartbeat = read(write.connection(), WHAT).await?;
        let Some(doubted) = heartbeat.filter(|heartbeat| heartbeat.jump.is_some()) else {
            return write.roll_back().await.map(|()| None);
        };
        put(write.connection(), WHAT, &Heartbeat { jump: None, ..doubted }).await?;
        self.commit(write, actor).await?;
        Ok(doubted.jump)
    }
}

async fn read(connection: &mut SqliteConnection, what: &'static str) -> Result<Option<Heartbeat>, StoreError> {
    let text = "SELECT began, last, running, jump_from, jump_to FROM heartbeat WHERE id = 1";
    let row = sqlx::query(text).fetch_optional(connection).await.map_err(StoreError::sql(what))?;
    row.map(|row| from_row(&row)).transpose().map_err(StoreError::sql(what))
}

fn from_row(row: &SqliteRow) -> Result<Heartbeat, sqlx::Error> {
    let date = |name| row.try_get(name).map(Timestamp::from_ms);
    let jump: (Option<i64>, Option<i64>) = (row.try_get("jump_from")?, row.try_get("jump_to")?);
    let jump = match jump {
        (Some(from), Some(to)) => Some(Jump { from: Timestamp::from_ms(from), to: Timestamp::from_ms(to) }),
        _ => None,
    };
    let running =
        u64::try_from(row.try_get::<i64, _>("running")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Heartbeat { began: date("began")?, last: date("last")?, running: Running::from_ms(running), jump })
}

async fn put(connection: &mut SqliteConnection, what: &'static str, heartbeat: &Heartbeat) -> Result<(), StoreError> {
    let text = "INSERT INTO heartbeat (id, began, last, running, jump_from, jump_to) VALUES (1, $1, $2, $3, $4, $5) \
                ON CONFLICT (id) DO UPDATE SET last = excluded.last, running = excluded.running, \
                jump_from = excluded.jump_from, jump_to = excluded.jump_to";
    let query = sqlx::query(text)
        .bind(heartbeat.began.ms())
        .bind(heartbeat.last.ms())
        .bind(bigint(heartbeat.running))
        .bind(heartbeat.jump.map(|jump| jump.from.ms()))
        .bind(heartbeat.jump.map(|jump| jump.to.ms()));
    query.execute(connection).await.map_err(StoreError::sql(what)).map(drop)
}

/// As the database has it.
pub(super) fn bigint(running: Running) -> i64 {
    i64::try_from(running.ms()).unwrap_or(i64::MAX)
}
