//! What befalls an HSM as a whole, at 200 calls a second: how long after its end the last call fails.

use std::{
    thread,
    time::{Duration, Instant},
};

use strongroom_faults::{
    control::{Controller, World},
    rule::{Crash, Rule},
};

use crate::{
    in_full,
    load::{Calls, Done, Load, assert_only_retryable, codes},
    rig::{Options, Rig},
};

const PERIOD: Duration = Duration::from_millis(5);
/// An HSM without failures for so long has recovered.
const QUIET: Duration = Duration::from_millis(600);
/// By when no call fails any more.
const RECOVERY: Duration = Duration::from_secs(2);

/// Something that befalls the HSM: makes it happen, and comes back when it is over.
struct Event {
    name: &'static str,
    happen: fn(&Controller),
}

const EVENTS: &[Event] = &[
    Event { name: "sessions killed", happen: |faults| faults.world(World::KillSessions) },
    Event { name: "logged out", happen: |faults| faults.world(World::LogOut) },
    Event { name: "rebooted", happen: |faults| faults.world(World::Reboot) },
    Event { name: "failover, 300 ms", happen: fail_over },
    Event { name: "token away, 1 s", happen: vanish },
    Event { name: "worker killed", happen: kill },
    Event { name: "worker crashed", happen: crash },
    Event { name: "repeats its randomness, 300 ms", happen: repeat },
];

fn fail_over(faults: &Controller) {
    faults.world(World::Failover { millis: 300 });
    thread::sleep(Duration::from_millis(300));
}

fn vanish(faults: &Controller) {
    faults.world(World::vanish());
    thread::sleep(Duration::from_secs(1));
    faults.world(World::Return);
}

fn kill(faults: &Controller) {
    for pid in faults.instances() {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn crash(faults: &Controller) {
    let rule = faults.rule(Rule::on("C_Encrypt").once().before().crash(Crash::Segv));
    let began = Instant::now();
    while faults.hits(rule) == 0 && began.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(1));
    }
    faults.remove(rule);
}

fn repeat(faults: &Controller) {
    faults.world(World::ConstantRandom { byte: Some(7) });
    thread::sleep(Duration::from_millis(300));
    faults.world(World::ConstantRandom { byte: None });
}

#[test]
fn recovery_after_each_event() {
    let _turn = crate::turn();
    let count = if in_full() { 50 } else { 4 };
    println!("{:32} {:>6} {:>10} {:>10} {:>8} {:>8}", "event", "times", "median", "longest", "calls", "failed");
    for event in EVENTS {
        let rig = Rig::new(&Options { sessions: 4, cached_handles: 16, ..Options::default() });
        let load = Load::every(&rig, &Calls::of(&rig), PERIOD);
        thread::sleep(Duration::from_millis(300));
        let mut ends = Vec::new();
        for _ in 0..count {
            (event.happen)(rig.faults());
            let end = Instant::now();
            wait_for_quiet(&load, end);
            ends.push((end, Instant::now()));
        }
        let done = load.stop(&rig);
        assert_only_retryable(&done);
        let mut recoveries: Vec<Duration> = ends.iter().map(|(end, next)| recovery(&done, *end, *next)).collect();
        recoveries.sort_unstable();
        let (median, longest) = (recoveries[recoveries.len() / 2], recoveries[recoveries.len() - 1]);
        let failed = done.len() - codes(&done).get("").copied().unwrap_or_default();
        println!("{:32} {count:>6} {median:>10.1?} {longest:>10.1?} {:>8} {failed:>8}", event.name, done.len());
        assert!(longest <= RECOVERY, "{}: {recoveries:?}", event.name);
        assert_eq!(rig.faults().complaints(), Vec::<String>::new(), "{}", event.name);
    }
}

/// Waits until nothing has failed for a while, or recovery has taken too long.
fn wait_for_quiet(load: &Load, end: Instant) {
    loop {
        thread::sleep(Duration::from_millis(50));
        let is_quiet = load.last_failure().is_none_or(|failure| failure.elapsed() > QUIET);
        if end.elapsed() > 2 * RECOVERY || is_quiet && end.elapsed() > QUIET {
            return;
        }
    }
}

/// How long after `end` the last call that began after it and before the next event failed.
fn recovery(done: &[Done], end: Instant, next: Instant) -> Duration {
    let failed = done.iter().filter(|done| !done.code.is_empty() && done.began >= end && done.began < next);
    failed.map(|done| done.began - end).max().unwrap_or_default()
}
