//! Calls that do not come back, on a module whose calls can be held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom::hsm::command::{Check, Command, Open, Seal, Sealed};
use strongroom::hsm::{HsmError, Kind, Settings};
use strongroom::identity::Asker;
use strongroom::key::material::Material;
use tokio::task::JoinHandle;

use super::{aes, input, kind, open, seal, soon};
use crate::engine::{Engine, program};
use crate::faults::{Faults, until};
use crate::tokens::token;

/// An answer may come this much after its deadline.
const GRACE: Duration = Duration::from_millis(250);

fn after(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// An engine with this many workers and places in its queue, a key whose handle is leased, and a ciphertext of it.
async fn start(sessions: usize, queue: usize) -> (Faults, Engine, Arc<Material>, Sealed) {
    let (faults, settings) = Faults::before(token());
    let hsm = Engine::start(Settings { sessions, queue, ..settings }).unwrap();
    let key = aes(&hsm).await;
    let sealed = seal(&hsm, &key, b"before").await.unwrap();
    (faults, hsm, key, sealed)
}

/// A Seal on its way, which calls C_EncryptInit and C_Encrypt once each.
fn sealing(hsm: &Engine, key: &Arc<Material>, deadline: Instant) -> JoinHandle<Result<Sealed, HsmError>> {
    let command = Seal { material: Arc::clone(key), aad: b"aad".to_vec(), input: input(b"x") };
    let hsm = hsm.clone();
    tokio::spawn(async move { hsm.call(command, deadline).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_costs_its_caller_an_error_and_the_engine_a_thread() {
    let (faults, hsm, key, sealed) = start(2, 16).await;
    let before = faults.calls("C_Encrypt").len();
    let hold = faults.hold("C_Encrypt");
    let deadline = after(400);
    let stuck = sealing(&hsm, &key, deadline);
    until("the call is in the module", || faults.calls("C_Encrypt").len() == before + 1).await;
    let session = faults.calls("C_Encrypt").pop().unwrap();
    let decrypted = faults.calls("C_Decrypt").len();
    assert_eq!(hsm.gauges().sessions_busy, 1);

    assert_eq!(kind(stuck.await.unwrap()), Kind::Timeout);
    assert!(Instant::now() <= deadline + GRACE, "answered {:?} after the deadline", deadline.elapsed());
    until("its thread is replaced", || hsm.gauges().threads_replaced == 1).await;
    assert!(Instant::now() <= deadline + GRACE, "replaced {:?} after the deadline", deadline.elapsed());
    for _ in 0..20 {
        assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"before");
    }
    // A worker answers first and counts as free a moment later.
    until("both workers are free", || hsm.gauges().sessions_busy == 0).await;
    let gauges = hsm.gauges();
    assert_eq!((gauges.sessions, gauges.calls_late), (2, 0), "{gauges:?}");
    assert!(!faults.calls("C_Decrypt")[decrypted..].contains(&session), "a session in a call was given to another");
    assert!(!faults.calls("C_CloseSession").contains(&session), "a session in a call was closed");

    drop(hold);
    until("its session is closed", || faults.calls("C_CloseSession").contains(&session)).await;
    assert_eq!(seal(&hsm, &key, b"after").await.unwrap().ciphertext.len(), 5 + 16);
    until("it is known that its call has ended", || hsm.gauges().calls_late == 1).await;
    let gauges = hsm.gauges();
    assert_eq!((gauges.threads_replaced, gauges.threads_lost, gauges.sessions), (1, 0, 2), "{gauges:?}");
    assert_eq!(hsm.errors(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_worker_hangs_their_successors_serve() {
    let (faults, hsm, key, sealed) = start(2, 16).await;
    let hold = faults.hold("C_Encrypt");
    let stuck = [sealing(&hsm, &key, after(300)), sealing(&hsm, &key, after(300))];
    until("both are in their calls", || hsm.gauges().sessions_busy == 2).await;
    for one in stuck {
        assert_eq!(kind(one.await.unwrap()), Kind::Timeout);
    }
    assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"before");
    until("both threads are replaced", || hsm.gauges().threads_replaced == 2).await;
    drop(hold);
    until("both calls have ended", || hsm.gauges().calls_late == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_hangs_is_replaced_and_makes_the_handles_anew() {
    let (faults, hsm, key, sealed) = start(2, 16).await;
    let other = aes(&hsm).await;
    let unwraps = faults.calls("C_UnwrapKey").len();
    let hold = faults.hold("C_UnwrapKey");
    // The handle of the one key is there and that of the other is not.
    let deadline = after(300);
    assert_eq!(kind(sealing(&hsm, &other, deadline).await.unwrap()), Kind::Timeout);
    assert!(Instant::now() <= deadline + GRACE);
    assert_eq!(faults.calls("C_UnwrapKey").len(), unwraps + 1);
    let session = faults.calls("C_UnwrapKey").pop().unwrap();
    assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"before", "handles that are there still serve");
    until("the anchor is replaced", || hsm.gauges().threads_replaced == 1).await;
    drop(hold);
    until("the session of the first anchor is closed", || faults.calls("C_CloseSession").contains(&session)).await;
    assert_eq!(open(&hsm, &key, b"aad", &sealed).await.unwrap(), b"before");
    assert!(seal(&hsm, &other, b"x").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_busy_at_once() {
    let (faults, hsm, key, _) = start(1, 2).await;
    let before = faults.calls("C_Encrypt").len();
    let hold = faults.hold("C_Encrypt");
    let first = sealing(&hsm, &key, soon());
    until("the worker is in its call", || faults.calls("C_Encrypt").len() == before + 1).await;
    let waiting = [sealing(&hsm, &key, soon()), sealing(&hsm, &key, soon())];
    until("the queue is full", || hsm.gauges().queue_depth == 2).await;
    let begun = Instant::now();
    assert_eq!(kind(sealing(&hsm, &key, soon()).await.unwrap()), Kind::Busy);
    assert!(begun.elapsed() < GRACE, "Busy was said after {:?}", begun.elapsed());
    drop(hold);
    for one in [first].into_iter().chain(waiting) {
        assert!(one.await.unwrap().is_ok());
    }
    assert_eq!(hsm.gauges().queue_depth, 0);
    assert_eq!(faults.calls("C_Encrypt").len(), before + 3, "the refused one cost no call");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_for_which_nobody_waits_is_dropped_before_its_first_call() {
    let (faults, hsm, key, _) = start(1, 16).await;
    let hold = faults.hold("C_Encrypt");
    let before = faults.calls("C_EncryptInit").len();
    let first = sealing(&hsm, &key, soon());
    until("the worker is in its call", || faults.calls("C_EncryptInit").len() == before + 1).await;
    let (late, left) = (sealing(&hsm, &key, after(50)), sealing(&hsm, &key, soon()));
    until("both wait", || hsm.gauges().queue_depth == 2).await;
    assert_eq!(kind(late.await.unwrap()), Kind::Timeout);
    // As when a client hangs up.
    left.abort();
    assert!(left.await.is_err());
    until("they are in the queue no more", || hsm.gauges().queue_depth == 0).await;
    drop(hold);
    assert!(first.await.unwrap().is_ok());
    // The queue is first in, first out, and there is one worker: when this is done, it has passed over them.
    assert!(hsm.call(Check, soon()).await.is_ok());
    assert_eq!(faults.calls("C_EncryptInit").len(), before + 1);
    let gauges = hsm.gauges();
    assert_eq!((gauges.queue_depth, gauges.calls_late, gauges.threads_replaced), (0, 0, 0), "{gauges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_call_that_hangs() {
    let (faults, settings) = Faults::before(token());
    let hsm = Engine::start_in(settings, program()).unwrap();
    let key = aes(&hsm).await;
    let before = faults.calls("C_Encrypt").len();
    let _hold = faults.hold("C_Encrypt");
    let stuck = sealing(&hsm, &key, after(10_000));
    until("the call is in the module", || faults.calls("C_Encrypt").len() == before + 1).await;
    let began = Instant::now();
    assert!(!hsm.retire(Duration::from_millis(50)), "its process is killed");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(kind(stuck.await.unwrap()), Kind::DeviceLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_turn_to_log_in_does_not_hang() {
    let settings = token();
    let hsm = Engine::start(settings.clone()).unwrap();
    let key = aes(&hsm).await;
    // As while somebody logs in to another HSM of the deployment.
    let turn = std::fs::File::open(&settings.ledger).unwrap();
    turn.lock().unwrap();
    assert_eq!(kind(hsm.check_anew(after(200)).await), Kind::Timeout);
    // A call of the anchor that lasted so long would be given up.
    let began = Instant::now();
    until("the anchor would be given up", || began.elapsed() > Duration::from_millis(2500)).await;
    assert_eq!(hsm.gauges().threads_replaced, 0);
    drop(turn);
    assert!(seal(&hsm, &key, b"after").await.is_ok());
}

/// A command of this asker on its way.
fn send<C: Command>(
    hsm: &Engine,
    asker: &str,
    command: C,
    deadline: Instant,
) -> JoinHandle<Result<C::Answer, HsmError>> {
    let (hsm, asker) = (hsm.clone(), Asker::named(asker));
    tokio::spawn(async move { hsm.call_for(asker, command, deadline).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hsm_that_cannot_be_asked_in_time_is_not_blamed_for_what_was_refused() {
    let (faults, settings) = Faults::before(token());
    let hsm = Engine::start(Settings { sessions: 1, ..settings }).unwrap();
    // From this one the engine knows how long all take that are not AES, the known answer among them.
    let slow = faults.slow("C_GenerateKey", 1000);
    let key = aes(&hsm).await;
    drop(slow);
    let Sealed { iv, ciphertext } = seal(&hsm, &key, b"x").await.unwrap();
    let _slow = faults.slow("C_Decrypt", 200);
    let wrong = Open { material: Arc::clone(&key), aad: b"other".to_vec(), iv, ciphertext };
    let refused = send(&hsm, "one", wrong, after(700));
    until("it is in its call", || hsm.gauges().sessions_busy == 1).await;
    let others = [send(&hsm, "other", Check, soon()), send(&hsm, "other", Check, soon())];
    assert_eq!(kind(refused.await.unwrap()), Kind::Busy);
    for one in others {
        assert!(one.await.unwrap().is_ok());
    }
}
