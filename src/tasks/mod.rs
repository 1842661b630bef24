//! Background work: idempotent, without input, by period. A crash anywhere is mended by the next round.

mod clear_intents;
mod delete_keys;
mod deliver_records;
mod finish_deletions;
mod table;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use self::table::{Round, Task, rounds};
use crate::{
    error::{Code, KmsError},
    kms::Kms,
};

/// How often the store is asked for changes that another process made. A disabled key stops working everywhere
/// within this time and one read.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// How often it is seen whether custom key stores are connected that are to be.
const TEND_EVERY: Duration = Duration::from_millis(250);
/// How often it is seen whether the audit trail's file has lost its name, and whether records of changes wait in the store. A
/// change brings its own at once, if it can.
const DELIVER_EVERY: Duration = Duration::from_secs(1);
/// How often it is tried to found the deployment.
const FOUND_EVERY: Duration = Duration::from_secs(1);
/// How often work that is due is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Runs every task until the runtime ends.
pub fn start(kms: &Arc<Kms>) {
    let founding = Arc::clone(kms);
    tokio::spawn(async move {
        // At the first start the HSM may not be there yet; after it there is nothing to do.
        while founding.found().await.is_err() {
            tokio::time::sleep(FOUND_EVERY).await;
        }
    });
    repeat(kms, FOLLOW_EVERY, |kms| async move { rounds(&kms, &[Task::FollowStore]).await });
    repeat(kms, TEND_EVERY, |kms| async move { rounds(&kms, &[Task::TendKeyStores]).await });
    repeat(kms, DELIVER_EVERY, |kms| async move { rounds(&kms, &[Task::FollowTrail, Task::DeliverRecords]).await });
    repeat(kms, SWEEP_EVERY, |kms| async move { sweep(&kms).await });
}

/// Does a round of some tasks at once, and then one each `period`.
fn repeat<F, R>(kms: &Arc<Kms>, period: Duration, round: F)
where
    F: Fn(Arc<Kms>) -> R + Send + 'static,
    R: Future<Output = Vec<Round>> + Send,
{
    let kms = Arc::clone(kms);
    tokio::spawn(async move {
        let mut ticks = interval(period);
        let mut log = TaskLog::default();
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for (task, outcome) in round(Arc::clone(&kms)).await {
                log.report(task, outcome);
            }
        }
    });
}

/// One round of every task.
///
/// # Errors
/// The error of the first task that failed; the others have done their round.
pub async fn once(kms: &Kms) -> Result<(), KmsError> {
    let first = rounds(kms, &[Task::FollowStore, Task::TendKeyStores]).await;
    let swept = sweep(kms).await;
    let last = rounds(kms, &[Task::FollowTrail, Task::DeliverRecords]).await;
    first.into_iter().chain(swept).chain(last).try_for_each(|(_, outcome)| outcome.map(drop))
}

/// The last round at a stop, of the tasks whose work another process could not do later.
pub async fn stop(kms: &Kms) {
    let written = Task::WriteUses.round(kms).await;
    let counted = ("count the time", kms.moment().await.map(|_| 0));
    let delivered = Task::DeliverRecords.round(kms).await;
    let mut log = TaskLog::default();
    for (task, outcome) in [written, counted, delivered] {
        log.report(task, outcome);
    }
}

/// Looks for work that is due. What is done by date is done only while the clock can be believed.
async fn sweep(kms: &Kms) -> Vec<Round> {
    let mut swept = rounds(kms, &[Task::DeliverRecords, Task::WriteUses]).await;
    let moment = kms.moment().await.unwrap_or_else(|error| {
        swept.push(("count the time", Err(error)));
        None
    });
    // Nothing is done of which no record could be made.
    if kms.writes_down() {
        if let Some(moment) = moment {
            swept.extend(rounds(kms, &[Task::DeleteKeys(moment), Task::ExpireMaterial(moment)]).await);
        }
        swept.extend(rounds(kms, &[Task::RotateKeys(moment), Task::FinishDeletions]).await);
    }
    swept.extend(rounds(kms, &[Task::ClearIntents, Task::AdoptRecords, Task::ScrubStore]).await);
    swept
}

/// Logs the rounds of tasks: one line when a task begins to fail, or fails in another way, and one when it works again.
#[derive(Default)]
struct TaskLog(BTreeMap<&'static str, Code>);

impl TaskLog {
    /// Logs the outcome of a round: how many things it did.
    fn report(&mut self, task: &'static str, outcome: Result<usize, KmsError>) {
        match outcome {
            Ok(count) => {
                if self.0.remove(task).is_some() {
                    tracing::info!(task, "background work succeeds again");
                }
                if count > 0 {
                    tracing::debug!(task, count, "a round of background work");
                }
            }
            Err(error) => {
                if self.is_news(task, error.code) {
                    let error = error.with_causes();
                    tracing::warn!(task, error, "background work failed; it is tried again until it succeeds");
                }
            }
        }
    }

    fn is_news(&mut self, task: &'static str, code: Code) -> bool {
        self.0.insert(task, code) != Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_goes_on_failing_is_told_of_once() {
        let mut log = TaskLog::default();
        let (timeout, internal) = (Code::DependencyTimeoutException, Code::KMSInternalException);
        assert!(log.is_news("a", timeout) && !log.is_news("a", timeout));
        assert!(log.is_news("b", timeout), "another task");
        assert!(log.is_news("a", internal) && !log.is_news("a", internal), "another failure");
        log.report("a", Ok(0));
        assert!(log.is_news("a", internal) && !log.is_news("b", timeout));
    }
}
