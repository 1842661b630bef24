//! A wrong PIN meets a token that locks.

use std::time::Duration;

use strongroom::hsm::{Hsm, Kind, PinSource, Settings};
use strongroom_faults::control::{self, Controller, World};

use crate::{in_full, rig, tokens};

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
        Hsm::open(vec![settings.clone()], Some(rig::worker()))
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
