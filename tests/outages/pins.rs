//! A wrong PIN meets a token that locks; a PIN that is brought is there at each login, and in between nowhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use strongroom::hsm::command;
use strongroom::hsm::{Cluster, Clusters, Hsm, Kind, PinSource, Settings};
use strongroom_faults::control::{self, Controller, World};

use crate::{exposed::exposures, in_full, rig, tokens};

/// One login for each PIN, however often the service is started, in however many processes at once; a token that locks
/// after ten tries never locks.
#[test]
fn a_wrong_pin_is_tried_once_by_all_starts_together() {
    let _turn = crate::turn();
    let starts = if in_full() { 1_000 } else { 30 };
    let dir = tempfile::tempdir().unwrap();
    let token = tokens::token();
    let faults = Controller::new(dir.path()).unwrap();
    let module = control::install(dir.path(), &control::built(), &token.module).unwrap();
    let pin = dir.path().join("pin");
    let settings =
        Settings { module, pin: PinSource::File(pin.clone()), ledger: dir.path().join("logins"), ..token.clone() };
    faults.world(World::LockPinAfter { tries: 10 });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let open = |settings: &Settings| {
        let _entered = runtime.enter();
        Hsm::open(vec![settings.clone()], rig::worker())
    };
    for (number, wrong) in ["wrong", "wrong too"].into_iter().enumerate() {
        std::fs::write(&pin, wrong).unwrap();
        for _ in 0..starts / 10 {
            let several: Vec<Hsm> = (0..5).map(|_| open(&settings)).collect();
            for hsm in several {
                let refused = runtime.block_on(hsm.opened(Duration::from_secs(20))).unwrap_err();
                assert_eq!(refused.kind, Kind::PinRefused, "{refused}");
                hsm.stop();
                assert!(runtime.block_on(hsm.stopped(Duration::from_secs(5))));
            }
        }
        let logins = faults.logins();
        assert_eq!(logins.len(), number + 1, "{logins:?}");
        assert!(logins.iter().all(|login| login.attempts == 1), "{logins:?}");
    }
    std::fs::write(&pin, tokens::PIN).unwrap();
    let hsm = open(&settings);
    runtime.block_on(hsm.opened(Duration::from_secs(20))).unwrap();
    hsm.stop();
    assert!(runtime.block_on(hsm.stopped(Duration::from_secs(5))));
}

#[test]
fn a_pin_that_is_brought_is_fetched_for_each_login_and_is_in_no_file_between() {
    let _turn = crate::turn();
    let dir = tempfile::tempdir().unwrap();
    let token = tokens::bare_token();
    let faults = Controller::new(dir.path()).unwrap();
    let module = control::install(dir.path(), &control::built(), &token.module).unwrap();
    let (pin, ledger) = (PinSource::nowhere(), dir.path().join("logins"));
    let settings = Settings { module, pin, ledger, holds_wrapping_key: false, ..token };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let fetched = Arc::new(AtomicUsize::new(0));
    let again = {
        let fetched = Arc::clone(&fetched);
        move || {
            fetched.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(tokens::secret(tokens::PIN)))
        }
    };
    let cluster = Cluster { settings, backup: None };
    let clusters = Clusters::new(vec![cluster.clone()], rig::worker());
    let entered = runtime.enter();
    let hsm = clusters.open(&cluster, tokens::secret(tokens::PIN), again);
    drop(entered);
    runtime.block_on(hsm.opened(Duration::from_secs(20))).unwrap();
    let is_well = || {
        let deadline = Instant::now() + Duration::from_secs(5);
        runtime.block_on(hsm.call(command::Check, deadline)).is_ok()
    };
    let is_nowhere = || {
        let workers = faults.instances();
        assert_eq!(workers.len(), 1);
        for pid in workers.into_iter().chain([std::process::id()]) {
            assert_eq!(exposures(pid, tokens::PIN), Vec::<String>::new());
        }
    };
    is_nowhere();
    assert_eq!(fetched.load(Ordering::Relaxed), 0, "the first login has it");
    for event in [World::LogOut, World::KillSessions, World::LogOut] {
        let (workers, before) = (faults.instances(), fetched.load(Ordering::Relaxed));
        faults.world(event);
        let began = Instant::now();
        while !is_well() {
            assert!(began.elapsed() < Duration::from_secs(5));
        }
        assert_eq!(faults.instances(), workers, "the worker logs in again by itself");
        assert!(fetched.load(Ordering::Relaxed) > before);
        is_nowhere();
    }
    hsm.stop();
    assert!(runtime.block_on(hsm.stopped(Duration::from_secs(5))));
}
