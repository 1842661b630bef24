//! The log of calls that failed: the first of each kind with its cause, and then one a minute with how many there
//! were. All are in the audit trail and in the metrics; what callers or an outage can bring about without end is not told
//! one by one.

use std::{
    collections::{HashMap, hash_map::Entry},
    error::Error,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    audit::bounded,
    clock::Timestamp,
    error::{KmsError, with_causes},
    kms::record::Record,
};

/// How long nothing more is told of a kind that was told of.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest cause that is told, in bytes: a part of it may be a caller's.
const MAX_CAUSE_BYTES: usize = 1024;

/// The kind by which failures are counted: the exception, and the operation where it is not the caller who chooses it. There are
/// some thousand at most.
type Kind = (&'static str, &'static str);

/// The log of calls that failed.
#[derive(Default)]
pub struct Log(Mutex<HashMap<Kind, Told>>);

/// When a kind was told of, and how many there have been since.
struct Told {
    at: Timestamp,
    since: u64,
}

impl Log {
    /// Tells of a call that failed so, or counts it.
    pub fn tell(&self, record: &Record, error: &KmsError) {
        let is_ours = error.code.status() >= 500;
        let operation = record.operation_name();
        let kind = (error.code.as_str(), if is_ours { operation } else { "" });
        let Some(untold) = self.untold(kind, record.time) else { return };
        let request_id = record.request_id;
        let code = error.code.as_str();
        match error.cause().map(|cause| told_whole(cause)) {
            Some(cause) if is_ours => tracing::warn!(%request_id, operation, code, cause, untold, "a call failed"),
            Some(cause) => tracing::info!(%request_id, operation, code, cause, untold, "a call was refused"),
            None => tracing::debug!(%request_id, operation, code, untold, "a call was refused"),
        }
    }

    /// The number of failures of this kind that were not logged since the last that was; `None` if this one is not to be logged. A clock that was set, ahead
    /// or back, ends the silence.
    fn untold(&self, kind: Kind, now: Timestamp) -> Option<u64> {
        let mut kinds = self.0.lock();
        match kinds.entry(kind) {
            Entry::Vacant(new) => {
                new.insert(Told { at: now, since: 0 });
                Some(0)
            }
            Entry::Occupied(mut known) => {
                let told = known.get_mut();
                if u128::from(now.since_ms(told.at).unsigned_abs()) < SILENCE.as_millis() {
                    told.since += 1;
                    return None;
                }
                Some(std::mem::replace(told, Told { at: now, since: 0 }).since)
            }
        }
    }
}

/// An error with all that is underneath it, as far as there is room in a line of the log.
fn told_whole(cause: &(dyn Error + 'static)) -> String {
    bounded(&with_causes(cause), MAX_CAUSE_BYTES).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_and_then_one_a_minute_with_a_count() {
        let (log, start) = (Log::default(), Timestamp::from_ms(1_000_000));
        let after = |ms| start.plus(Duration::from_millis(ms));
        let denied = ("AccessDeniedException", "");
        assert_eq!(log.untold(denied, start), Some(0));
        for ms in 0..59_999 {
            assert_eq!(log.untold(denied, after(ms)), None);
        }
        assert_eq!(log.untold(("ThrottlingException", ""), after(1)), Some(0), "another kind");
        assert_eq!(log.untold(denied, after(60_000)), Some(59_999));
        assert_eq!(log.untold(denied, after(60_001)), None);
        assert_eq!(log.untold(denied, after(500_000)), Some(1));
        assert_eq!(log.untold(denied, start), Some(0), "the clock was set back");
    }

    #[test]
    fn a_cause_is_told_whole_and_bounded() {
        let outer = KmsError::internal(KmsError::internal("x\n".repeat(10_000)));
        let told = told_whole(&outer);
        assert!(told.starts_with("KMSInternalException: KMSInternalException: x x "), "{told}");
        assert!(told.ends_with("bytes)") && told.len() <= MAX_CAUSE_BYTES, "{told}");
    }
}
