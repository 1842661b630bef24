//! Failed RSA decryptions are limited per caller and key. An attack on the padding asks thousands of times (Manger's
//! on RSAES-OAEP one to two thousand), an honest client hardly ever fails.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use crate::{clock::Timestamp, error::KmsError, failure, key::reference::KeyId, principal::Principal};

/// Failures that one caller may have with one key in one [`WINDOW`].
const MAX_FAILURES: u32 = 100;
/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);
/// The most windows that are kept; beyond, those that are over are dropped, and then all.
const MAX_WINDOWS: usize = 10_000;

/// The failures of the last minute.
#[derive(Default)]
pub struct PaddingFailures(Mutex<HashMap<(String, KeyId), Window>>);

#[derive(Clone, Copy)]
struct Window {
    ends: Timestamp,
    failures: u32,
}

impl PaddingFailures {
    /// Whether `caller` may try `key` again.
    ///
    /// # Errors
    /// `ThrottlingException`.
    pub fn check(&self, caller: &Principal, key: KeyId, now: Timestamp) -> Result<(), KmsError> {
        let windows = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let window = windows.get(&(caller.arn().to_owned(), key)).filter(|window| now < window.ends);
        if window.is_none_or(|window| window.failures < MAX_FAILURES) {
            return Ok(());
        }
        Err(failure::throttled())
    }

    /// Counts a failure, and raises the alarm at the last one allowed.
    pub fn count(&self, caller: &Principal, key: KeyId, now: Timestamp) {
        let mut windows = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if windows.len() >= MAX_WINDOWS {
            windows.retain(|_, window| now < window.ends);
        }
        if windows.len() >= MAX_WINDOWS {
            windows.clear();
        }
        let new = Window { ends: now.plus(WINDOW), failures: 0 };
        let window = windows.entry((caller.arn().to_owned(), key)).or_insert(new);
        if now >= window.ends {
            *window = new;
        }
        window.failures += 1;
        if window.failures == MAX_FAILURES {
            tracing::error!(%caller, %key, "too many failed RSA decryptions: this may be an attack on the padding");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn the_hundred_and_first_failure_of_a_minute_is_not_tried() {
        let failures = PaddingFailures::default();
        let caller =
            |name: &str| Principal::try_from(format!("arn:aws:iam::000000000000:user/{name}")).expect("an ARN");
        let (eve, key, now) = (caller("eve"), KeyId::random(false), Timestamp::from_ms(0));
        for _ in 0..MAX_FAILURES {
            failures.check(&eve, key, now).expect("not yet");
            failures.count(&eve, key, now);
        }
        let refused = failures.check(&eve, key, now).expect_err("enough");
        assert_eq!(refused.code, Code::ThrottlingException);
        failures.check(&eve, KeyId::random(false), now).expect("another key");
        failures.check(&caller("bob"), key, now).expect("another caller");
        failures.check(&eve, key, now.plus(WINDOW)).expect("another minute");
    }
}
