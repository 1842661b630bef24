//! Callers who wait for a session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom::hsm::command::{Check, Generate, Random};
use strongroom::hsm::{Kind, Settings};
use strongroom::key::material::MaterialId;
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{aes, kind, open, seal, wrapped};
use crate::engine::Engine;
use crate::tokens::token;

#[tokio::test]
async fn a_full_queue_is_busy() {
    let hsm = Engine::start(Settings { queue: 1, ..token() }).unwrap();
    let generate = |n| Generate {
        id: MaterialId([n; 32]),
        spec: KeySpec::Rsa4096,
        usage: KeyUsage::EncryptDecrypt,
        place: wrapped(),
    };
    let hurry = || Instant::now() + Duration::from_millis(300);
    let (one, two, three, other) = tokio::join!(
        hsm.call(generate(1), hurry()),
        hsm.call(generate(2), hurry()),
        hsm.call(generate(3), hurry()),
        hsm.call(Random { len: 8 }, hurry()),
    );
    let kinds = [one, two, three].map(|result| result.err().map(|error| error.kind));
    assert!(kinds.contains(&Some(Kind::Busy)), "{kinds:?}");
    assert!(other.is_ok(), "a slow call holds up the others");
}

#[tokio::test]
async fn a_deadline_that_has_passed_costs_no_call() {
    let hsm = Engine::start(token()).unwrap();
    assert_eq!(kind(hsm.call(Check, Instant::now()).await), Kind::Timeout);
    assert_eq!(hsm.gauges().calls_late, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_are_all_answered_rightly() {
    let hsm = Engine::start(Settings { cached_handles: 2, ..token() }).unwrap();
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(aes(&hsm).await);
    }
    let callers = (0..64u8).map(|caller| {
        let (hsm, key) = (hsm.clone(), Arc::clone(&keys[caller as usize % keys.len()]));
        tokio::spawn(async move {
            for round in 0..20 {
                let sealed = seal(&hsm, &key, &[caller, round]).await.unwrap();
                assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), [caller, round]);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let gauges = hsm.gauges();
    assert!(gauges.cached_handles <= 2 && gauges.queue_depth == 0, "{gauges:?}");
    assert_eq!(hsm.errors(), []);
}
