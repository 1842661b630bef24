//! A module that leaks.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    load::{Calls, Load, codes},
    rig::{Options, Rig},
};

/// SoftHSM2 leaks a quarter of a kilobyte for each key that it unwraps; with room for one handle, every call unwraps one.
#[test]
fn a_worker_that_grows_is_replaced_without_an_error_to_anyone() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options { cached_handles: 1, growth_bytes: 512 << 10, ..Options::default() });
    let first = rig.faults().instances();
    let loads = [Load::closed(&rig, &Calls::of(&rig), 2), Load::closed(&rig, &Calls::of(&rig), 2)];
    let began = Instant::now();
    while rig.hsm.standing()[0].restarts == 0 && began.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(50));
    }
    let replaced = began.elapsed();
    thread::sleep(Duration::from_secs(1));
    for load in loads {
        let done = load.stop(&rig);
        println!("replaced after {replaced:.1?}: {:?}", codes(&done));
        assert_eq!(codes(&done).len(), 1, "{:?}", codes(&done));
    }
    assert!(rig.hsm.standing()[0].restarts >= 1, "it was not replaced within {replaced:?}");
    assert!(rig.faults().instances().iter().all(|pid| !first.contains(pid)), "the old worker is still there");
    assert_eq!(rig.faults().complaints(), Vec::<String>::new());
}
