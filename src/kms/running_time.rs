//! Running time, and whether the clock has jumped: heartbeats (see [`heartbeat`](crate::clock::heartbeat)) are stored and read here.
//!
//! Time for which the service was down is not counted, so it delays: a new process cannot tell a week off from a clock that was
//! set a week ahead, and a deletion that comes late costs nothing. Imported material is destroyed as late, but its use ends by
//! the date alone: `Key::at` is the key without it, and nobody gets another from `Cx::resolve`. A minute at most is lost at
//! each stop. A machine that sleeps is down, and a sleep of more than an hour is a jump. A deletion from before running time
//! was counted waits for seven days of it.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::{
    clock::{
        Moment, Running, Timestamp,
        heartbeat::{Heartbeat, Jump, Reading},
    },
    error::KmsError,
    failure,
    kms::Kms,
};

/// The last heartbeat of this process.
#[derive(Default)]
pub struct RunningTime {
    last: Mutex<Option<(Reading, Heartbeat)>>,
    /// Held from the reading of the clocks until it is stored, so that readings are stored in their order.
    beating: tokio::sync::Mutex<()>,
}

impl RunningTime {
    fn last(&self) -> MutexGuard<'_, Option<(Reading, Heartbeat)>> {
        self.last.lock()
    }

    /// The jump that no operator has confirmed, as of the last heartbeat.
    pub(super) fn jump(&self) -> Option<Jump> {
        self.last().and_then(|(_, heartbeat)| heartbeat.jump)
    }

    /// How long the deployment has run: by the last heartbeat of this process, and the time since. Zero before the first.
    pub(super) fn running(&self, uptime: Duration) -> Running {
        let since = |reading: Reading| uptime.saturating_sub(reading.uptime);
        self.last().map_or(Running::default(), |(reading, heartbeat)| heartbeat.running.plus(since(reading)))
    }
}

impl Kms {
    /// Counts the time that has run since the last heartbeat; answers the moment now, or `None` while the clock is in doubt.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn moment(&self) -> Result<Option<Moment>, KmsError> {
        let (Reading { now, .. }, Heartbeat { running, jump, .. }) = self.beat().await?;
        Ok(jump.is_none().then_some(Moment { now, running }))
    }

    /// How long the deployment has run. It may be a little more than what is counted when the next heartbeat is stored, so
    /// what waits from now on waits no shorter.
    ///
    /// # Errors
    /// As the store answers, before the first heartbeat of this process.
    pub(super) async fn running(&self) -> Result<Running, KmsError> {
        self.last_beat().await?;
        Ok(self.running_time.running(self.clock.uptime()))
    }

    /// The date since which running time is counted, and uses of keys are noted.
    ///
    /// # Errors
    /// As [`Self::running`].
    pub(super) async fn began(&self) -> Result<Timestamp, KmsError> {
        Ok(self.last_beat().await?.1.began)
    }

    async fn last_beat(&self) -> Result<(Reading, Heartbeat), KmsError> {
        let known = *self.running_time.last();
        match known {
            Some(known) => Ok(known),
            None => self.beat().await,
        }
    }

    /// One heartbeat.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn beat(&self) -> Result<(Reading, Heartbeat), KmsError> {
        let _one_at_a_time = self.running_time.beating.lock().await;
        let before = *self.running_time.last();
        let reading = Reading { now: self.clock.now(), uptime: self.clock.uptime() };
        let next = |last: Option<Heartbeat>| match last {
            Some(last) => last.next(before.map(|(reading, _)| reading), reading),
            None => Heartbeat::first(reading.now),
        };
        let heartbeat = self.store.beat(next).await.map_err(failure::store)?;
        log_jump(before.and_then(|(_, heartbeat)| heartbeat.jump), heartbeat.jump);
        *self.running_time.last() = Some((reading, heartbeat));
        Ok((reading, heartbeat))
    }
}

/// Logs once that the clock has jumped, and once that an operator has confirmed it.
fn log_jump(before: Option<Jump>, now: Option<Jump>) {
    match (before, now) {
        (None, Some(Jump { from, to })) => tracing::error!(
            %from, %to,
            "the clock has jumped: nothing is deleted, expires or rotates until an operator has seen that it is right, and says so \
             with `strongroom clock confirm`"
        ),
        (Some(_), None) => tracing::info!("an operator has confirmed the clock"),
        _ => {}
    }
}
