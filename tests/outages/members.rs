//! Two HSMs with one wrapping key, one of which dies and comes back again and again.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use strongroom::{
    hsm::Kind,
    key::{
        material::{Keeping, Material, MaterialId},
        spec::{KeySpec, KeyUsage},
    },
};
use strongroom_faults::{control::World, rule::Rule};

use crate::{
    in_full,
    load::{Calls, Load, assert_only_retryable, codes},
    rig::{Options, Rig},
};

fn rig() -> Rig {
    Rig::new(&Options { members: 2, sessions: 4, cached_handles: 16, ..Options::default() })
}

/// How many calls are answered in a while by this many HSMs, each of which takes its time.
fn answered_by(members: usize) -> usize {
    let rig = Rig::new(&Options { members, sessions: 2, cached_handles: 16, ..Options::default() });
    let calls = Calls::of(&rig);
    // Times at which the HSM works and the machine does not, so that the HSMs are what there is too little of.
    for faults in &rig.faults {
        faults.rule(Rule::on("C_Encrypt").delay_ms(10));
        faults.rule(Rule::on("C_Decrypt").delay_ms(10));
    }
    let load = Load::closed(&rig, &calls, 16);
    thread::sleep(Duration::from_secs(2));
    codes(&load.stop(&rig))[""]
}

#[test]
fn two_hsms_do_more_than_one() {
    let _turn = crate::turn();
    let (one, two) = (answered_by(1), answered_by(2));
    let ratio = two as f64 / one as f64;
    println!("slow HSMs: one answers {one} calls in two seconds, two answer {two}: {ratio:.2} times as many");
    assert!(ratio > 1.6, "{ratio}");
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[test]
fn one_of_two_dies_and_comes_back_and_nothing_fails_that_is_not_tried_again() {
    let _turn = crate::turn();
    let (rig, times) = (rig(), if in_full() { 100 } else { 10 });
    let load = Load::every(&rig, &Calls::of(&rig), Duration::from_millis(5));
    thread::sleep(Duration::from_millis(300));
    for number in 0..times {
        let member = &rig.faults[number % 2];
        match number % 4 {
            0 | 1 => member.instances().into_iter().for_each(kill),
            _ => {
                member.world(World::vanish());
                thread::sleep(Duration::from_millis(400));
                member.world(World::Return);
            }
        }
        // The other is not to die before this one is back, which begins with its death being noticed.
        thread::sleep(Duration::from_millis(100));
        let began = Instant::now();
        while rig.hsm.standing().iter().any(|hsm| hsm.trouble.is_some()) {
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", rig.hsm.standing());
            thread::sleep(Duration::from_millis(5));
        }
    }
    let done = load.stop(&rig);
    assert_only_retryable(&done);
    let failed = done.len() - codes(&done)[""];
    println!("{times} deaths of one of two HSMs: {} calls, {failed} failed: {:?}", done.len(), codes(&done));
    assert!(failed <= times, "more than those in flight: {:?}", codes(&done));
    rig.faults.iter().for_each(|member| assert_eq!(member.complaints(), Vec::<String>::new()));
}

/// An object that is said to be on the HSM of that name.
fn object(member: &str) -> Arc<Material> {
    let (spec, usage) = (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let keeping = Keeping::Token { cka_id: vec![7; 16], member: Some(member.to_owned()) };
    Arc::new(Material { id: MaterialId([7; 32]), spec, usage, keeping, public_key: None })
}

#[test]
fn an_object_is_not_said_to_be_destroyed_on_an_hsm_that_is_not_there() {
    let _turn = crate::turn();
    let rig = rig();
    let destroy = |member: &str| {
        let deadline = Instant::now() + Duration::from_secs(5);
        rig.runtime.block_on(rig.hsm.destroy(&object(member), deadline)).map_err(|error| error.kind)
    };
    let name = rig.hsm.standing()[0].name.clone();
    assert!(destroy(&name).is_ok());
    assert_eq!(destroy("taken out of the configuration").err(), Some(Kind::DeviceLost));
    rig.faults[0].world(World::vanish());
    let began = Instant::now();
    while destroy(&name).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    rig.faults[0].world(World::Return);
}

#[test]
fn the_work_is_shared() {
    let _turn = crate::turn();
    let rig = rig();
    let done = {
        let load = Load::closed(&rig, &Calls::of(&rig), 8);
        thread::sleep(Duration::from_secs(1));
        load.stop(&rig)
    };
    assert_eq!(codes(&done).len(), 1, "{:?}", codes(&done));
    let shares: Vec<u64> =
        rig.faults.iter().map(|member| member.counts().get("C_Encrypt").copied().unwrap_or(0)).collect();
    assert!(shares.iter().all(|share| *share > shares.iter().sum::<u64>() / 5), "{shares:?}");
}
