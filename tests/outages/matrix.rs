//! Every operation that touches the HSM × every C call that it makes × every fault.
//!
//! Each cell: the fault strikes at one call of one operation. The answer is a success or an exception that is declared for
//! the operation and blames nobody's data, in time; soon after the fault everything works again; and nothing is left behind
//! in the HSM, nor was anything done there that must not be.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cryptoki_sys::*;
use strongroom::kms::KeyStoreKind;
use strongroom_faults::{
    rule::{Action, Crash, Lie, Rule},
    world::World,
};

use crate::{
    in_full,
    operations::{self, Bench, THREADS, Work},
    rig::Answer,
};

/// An answer may come this much after its deadline.
const GRACE: Duration = Duration::from_millis(250);
/// By when everything works again.
const RECOVERY: Duration = Duration::from_secs(2);
/// How long a call hangs: longer than calls may take that make no key.
const HANG: Duration = Duration::from_millis(500);

/// Codes that modules answer when they, or what is behind them, are not well, or that speak of sessions, handles and logins.
const CODES: &[(&str, CK_RV)] = &[
    ("SESSION_HANDLE_INVALID", CKR_SESSION_HANDLE_INVALID),
    ("SESSION_CLOSED", CKR_SESSION_CLOSED),
    ("SESSION_COUNT", CKR_SESSION_COUNT),
    ("DEVICE_ERROR", CKR_DEVICE_ERROR),
    ("DEVICE_REMOVED", CKR_DEVICE_REMOVED),
    ("DEVICE_MEMORY", CKR_DEVICE_MEMORY),
    ("HOST_MEMORY", CKR_HOST_MEMORY),
    ("TOKEN_NOT_PRESENT", CKR_TOKEN_NOT_PRESENT),
    ("TOKEN_NOT_RECOGNIZED", CKR_TOKEN_NOT_RECOGNIZED),
    ("SLOT_ID_INVALID", CKR_SLOT_ID_INVALID),
    ("USER_NOT_LOGGED_IN", CKR_USER_NOT_LOGGED_IN),
    ("CRYPTOKI_NOT_INITIALIZED", CKR_CRYPTOKI_NOT_INITIALIZED),
    ("FUNCTION_FAILED", CKR_FUNCTION_FAILED),
    ("FUNCTION_CANCELED", CKR_FUNCTION_CANCELED),
    ("GENERAL_ERROR", CKR_GENERAL_ERROR),
    ("a vendor's code", 0x8000_0001),
    ("a code that nobody knows", 0x7fff_0001),
    ("OPERATION_ACTIVE", CKR_OPERATION_ACTIVE),
    ("OPERATION_NOT_INITIALIZED", CKR_OPERATION_NOT_INITIALIZED),
    ("BUFFER_TOO_SMALL", CKR_BUFFER_TOO_SMALL),
    ("OBJECT_HANDLE_INVALID", CKR_OBJECT_HANDLE_INVALID),
    ("KEY_HANDLE_INVALID", CKR_KEY_HANDLE_INVALID),
    ("DATA_INVALID", CKR_DATA_INVALID),
    ("DATA_LEN_RANGE", CKR_DATA_LEN_RANGE),
    ("RANDOM_NO_RNG", CKR_RANDOM_NO_RNG),
];

/// Codes that mean something to one function only.
const CODES_OF: &[(&str, &str, CK_RV)] = &[
    ("C_Login", "USER_ALREADY_LOGGED_IN", CKR_USER_ALREADY_LOGGED_IN),
    ("C_OpenSession", "ARGUMENTS_BAD", CKR_ARGUMENTS_BAD),
    ("C_OpenSession", "SESSION_READ_WRITE_SO_EXISTS", CKR_SESSION_READ_WRITE_SO_EXISTS),
    ("C_UnwrapKey", "WRAPPED_KEY_INVALID", CKR_WRAPPED_KEY_INVALID),
    ("C_UnwrapKey", "UNWRAPPING_KEY_HANDLE_INVALID", CKR_UNWRAPPING_KEY_HANDLE_INVALID),
    ("C_WrapKey", "WRAPPING_KEY_HANDLE_INVALID", CKR_WRAPPING_KEY_HANDLE_INVALID),
];

/// Functions whose outputs can be spoilt; what becomes of the answers is in `wrong_answers`.
const OUTPUTS: &[&str] = &["C_Encrypt", "C_Decrypt", "C_Sign", "C_WrapKey", "C_GenerateRandom", "C_GetAttributeValue"];

struct Fault {
    name: String,
    strike: Strike,
}

enum Strike {
    Rule(Rule),
    World(World),
}

/// Every fault at the n-th call of a function.
fn faults(function: &str, nth: u64) -> Vec<Fault> {
    let rule = || Rule::on(function).nth(nth).once();
    let fault = |name: String, rule| Fault { name, strike: Strike::Rule(rule) };
    let of_this = CODES_OF.iter().filter(|(of, ..)| *of == function).map(|(_, name, code)| (name, code));
    let mut all: Vec<Fault> = CODES
        .iter()
        .map(|(name, code)| (name, code))
        .chain(of_this)
        .flat_map(|(name, code)| {
            let before = fault(format!("{name} before"), rule().before().answer(*code));
            [before, fault(format!("{name} after"), rule().after().answer(*code))]
        })
        .collect();
    all.push(fault("late before".to_owned(), rule().before().delay_ms(30)));
    all.push(fault("late after".to_owned(), rule().after().delay_ms(30)));
    all.push(fault("hangs before".to_owned(), rule().before().hang()));
    all.push(fault("hangs after".to_owned(), rule().after().hang()));
    all.push(fault("left active".to_owned(), rule().act(Action::LeaveActive(CKR_GENERAL_ERROR))));
    for (name, lie) in [("longer", Lie::Longer(1 << 20)), ("shorter", Lie::Shorter(3)), ("too small", Lie::TooSmall)] {
        all.push(fault(format!("length: {name}"), rule().after().act(Action::Length(lie))));
    }
    if OUTPUTS.contains(&function) {
        all.push(fault("flips a bit".to_owned(), rule().flip_bit().after()));
    }
    // Apart from each other, because a worker that keeps crashing is started with pauses.
    for (number, (name, crash)) in
        [("segfault", Crash::Segv), ("abort", Crash::Abort), ("exit", Crash::Exit(0))].iter().enumerate()
    {
        all.insert(number * all.len() / 3, fault(format!("{name} before"), rule().before().crash(*crash)));
    }
    all.push(fault("abort after".to_owned(), rule().after().crash(Crash::Abort)));
    all
}

/// What befalls the HSM as a whole, right before the call.
fn events() -> Vec<Fault> {
    let events = [
        ("sessions killed", World::KillSessions),
        ("logged out", World::LogOut),
        ("rebooted", World::Reboot),
        ("failover", World::Failover { millis: 50 }),
        ("token away", World::vanish()),
        ("device away", World::Vanish { code: CKR_DEVICE_REMOVED }),
        ("one session", World::CapSessions { sessions: 1, code: CKR_SESSION_COUNT }),
        ("full", World::Full { on: true }),
        ("objects hidden", World::Hide { id: None }),
        ("objects found twice", World::DuplicateFinds { on: true }),
        ("constant randomness", World::ConstantRandom { byte: Some(7) }),
    ];
    events.into_iter().map(|(name, world)| Fault { name: name.to_owned(), strike: Strike::World(world) }).collect()
}

/// What happens in a cell.
struct Cell<'a> {
    work: &'a Work,
    at: String,
    fault: Fault,
}

#[derive(Default)]
struct Totals {
    cells: usize,
    outcomes: BTreeMap<String, usize>,
    recoveries: Vec<Duration>,
    defects: Vec<String>,
    skipped: usize,
}

#[test]
fn every_fault_at_every_call() {
    let _turn = crate::turn();
    let totals = Mutex::new(Totals::default());
    let began = Instant::now();
    thread::scope(|scope| {
        // A cell waits more than it works.
        let shares = |keeping, of| (0..of).map(move |share| (keeping, share, of));
        for (keeping, share, of) in shares(KeyStoreKind::Wrapped, 4).chain(shares(KeyStoreKind::Token, 2)) {
            let bench = Bench::new(keeping);
            let totals = &totals;
            scope.spawn(move || run(&bench, keeping, (share, of), totals));
        }
    });
    let mut totals = totals.into_inner().unwrap();
    totals.recoveries.sort_unstable();
    let median = totals.recoveries.get(totals.recoveries.len() / 2).copied().unwrap_or_default();
    let longest = totals.recoveries.last().copied().unwrap_or_default();
    println!(
        "cells {}, faults that did not come to act {}, {:.0?}; recovery: median {median:.1?}, longest {longest:.1?}",
        totals.cells,
        totals.skipped,
        began.elapsed()
    );
    println!("answers: {:#?}", totals.outcomes);
    let enough = match (std::env::var_os("STRONGROOM_CELLS"), in_full()) {
        (Some(_), _) => 1,
        (None, true) => 5_000,
        (None, false) => 1_000,
    };
    assert!(
        totals.defects.is_empty(),
        "{} defects:\n{}",
        totals.defects.len(),
        totals.defects[..totals.defects.len().min(60)].join("\n")
    );
    assert!(totals.cells >= enough, "only {} cells", totals.cells);
}

/// One lane's share of the cells.
fn run(bench: &Bench, keeping: KeyStoreKind, (share, of): (usize, usize), totals: &Mutex<Totals>) {
    let count = AtomicUsize::new(0);
    let all = operations::all(keeping);
    for work in all.iter() {
        let (began, calls) = (Instant::now(), calls(bench, work));
        for cell in cells(work, &calls) {
            let number = count.fetch_add(1, Ordering::Relaxed);
            // One in five, if not all are asked for; of those that take long, fewer.
            let is_wanted = in_full() || number.is_multiple_of(5) && number.is_multiple_of(work.stride());
            let name = format!("{}, {}, {}", work.name, cell.at, cell.fault.name);
            if number % of == share && is_wanted && is_asked_for(&name) {
                try_cell(bench, &cell).add_to(&mut totals.lock().unwrap());
            }
        }
        println!("{keeping:?} {share}/{of}: {}: {} calls, {:.1?}", work.name, calls.len(), began.elapsed());
    }
}

/// Every fault at every call, and every event before them. Of the calls that are made for each slot alike, and there is a slot
/// for each test that has run before, the first two of a function count and the last.
fn cells<'a>(work: &'a Work, calls: &[String]) -> Vec<Cell<'a>> {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut cells = Vec::new();
    for (position, function) in calls.iter().enumerate() {
        let nth = *seen.entry(function).and_modify(|n| *n += 1).or_insert(1);
        let is_for_each_slot = ["C_GetSlotInfo", "C_GetTokenInfo"].contains(&function.as_str());
        if is_for_each_slot && nth > 2 && calls[position + 1..].contains(function) {
            continue;
        }
        let at = format!("call {} ({function} {nth})", position + 1);
        cells.extend(faults(function, nth).into_iter().map(|fault| Cell { work, at: at.clone(), fault }));
    }
    cells.extend(events().into_iter().map(|fault| Cell { work, at: "before".to_owned(), fault }));
    cells
}

/// `STRONGROOM_CELLS=text` runs the cells only whose names have the text in them: `Decrypt, call 2 (C_Decrypt 1), hangs`.
fn is_asked_for(cell: &str) -> bool {
    std::env::var("STRONGROOM_CELLS").map_or(true, |text| cell.contains(&text))
}

/// The functions that an operation calls when nothing fails, in order.
fn calls(bench: &Bench, work: &Work) -> Vec<String> {
    let faults = bench.rig.faults();
    let began = Instant::now();
    let mut answer = work.perform(bench, || faults.reset_calls());
    // What befell the HSM last may take another way to mend than that of the probe.
    while answer.status != 200 && began.elapsed() < 2 * RECOVERY {
        answer = work.perform(bench, || faults.reset_calls());
    }
    assert_eq!(answer.status, 200, "{}: {}", work.name, answer.body);
    // What is done after the answer, such as destroying what was evicted, belongs to it.
    thread::sleep(Duration::from_millis(20));
    let calls: Vec<String> = faults.calls().into_iter().map(|call| call.function).collect();
    assert!(!calls.is_empty(), "{} does not touch the HSM", work.name);
    calls
}

struct Outcome {
    answer: String,
    recovery: Duration,
    hit: bool,
    defects: Vec<String>,
}

impl Outcome {
    fn add_to(self, totals: &mut Totals) {
        if self.hit {
            totals.cells += 1;
        } else {
            totals.skipped += 1;
        }
        *totals.outcomes.entry(self.answer).or_default() += 1;
        totals.recoveries.push(self.recovery);
        self.defects.iter().for_each(|defect| println!("DEFECT {defect}"));
        totals.defects.extend(self.defects);
    }
}

fn try_cell(bench: &Bench, cell: &Cell<'_>) -> Outcome {
    let (answer, hit) = strike(bench, cell);
    let faults = bench.rig.faults();
    faults.clear();
    faults.calm();
    let (operation, body) = bench.probe();
    let recovery = bench.rig.recovers(operation, &body, 2 * RECOVERY);
    let mut defects = judge(cell.work, &answer);
    defects.extend(match recovery {
        None => Some(format!("not well after {:?}", 2 * RECOVERY)),
        Some(after) => (after > RECOVERY).then(|| format!("well only after {after:?}")),
    });
    defects.extend(complaints(bench).into_iter().map(|complaint| format!("the module complains: {complaint}")));
    match loses_sessions(cell) {
        true => bench.note_lost_sessions(),
        false => defects.extend(leaks(bench)),
    }
    let name = |text| format!("{}, {}, {}: {text}", cell.work.name, cell.at, cell.fault.name);
    Outcome {
        answer: if answer.status == 200 { "success".to_owned() } else { answer.code().to_owned() },
        recovery: recovery.unwrap_or(2 * RECOVERY),
        hit,
        defects: defects.into_iter().map(name).collect(),
    }
}

/// Has the fault strike at the call; the answer, and whether it came to strike.
fn strike(bench: &Bench, cell: &Cell<'_>) -> (Answer, bool) {
    let (faults, mut rule) = (bench.rig.faults(), None);
    let answer = thread::scope(|scope| {
        cell.work.perform(bench, || match &cell.fault.strike {
            Strike::World(world) => faults.world(world.clone()),
            Strike::Rule(wanted) => {
                rule = Some(faults.rule(wanted.clone()));
                if matches!(wanted.action, Action::Hang) {
                    scope.spawn(|| {
                        thread::sleep(HANG);
                        faults.clear();
                    });
                }
            }
        })
    });
    // What the engine does after its answer.
    if answer.took < Duration::from_millis(5) {
        thread::sleep(Duration::from_millis(2));
    }
    (answer, rule.is_none_or(|rule| faults.hits(rule) > 0))
}

/// What is wrong with an answer.
fn judge(work: &Work, answer: &Answer) -> Vec<String> {
    let mut defects = Vec::new();
    if answer.status != 200 && !work.may_answer(answer.code()) {
        defects.push(format!("answered {} {}", answer.status, answer.body));
    }
    if answer.took > work.deadline() + GRACE {
        defects.push(format!("answered after {:?}", answer.took));
    }
    defects
}

/// Whether the HSM opens a session and denies it, or does not close one: then it is nobody's to close, for by the time that
/// it could be tried again the number may be another session's.
fn loses_sessions(cell: &Cell<'_>) -> bool {
    let fails_to_close = matches!(cell.fault.strike, Strike::World(World::Failover { .. }));
    fails_to_close || ["C_OpenSession", "C_CloseSession"].iter().any(|function| cell.at.contains(function))
}

/// What is left that should not be: sessions and threads beside those of the lanes, operations that nobody ends.
fn leaks(bench: &Bench) -> Option<String> {
    let faults = bench.rig.faults();
    let began = Instant::now();
    loop {
        let (sessions, operations) = (faults.open_sessions(), faults.active_operations());
        let threads = bench.threads();
        if sessions <= bench.sessions() && operations == 0 && threads <= THREADS {
            return None;
        }
        if began.elapsed() > RECOVERY {
            return Some(format!("{sessions} sessions, {threads} threads and {operations} operations are left"));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What the module has seen that must not be, since the last time that it was asked.
fn complaints(bench: &Bench) -> Vec<String> {
    let all = bench.rig.faults().complaints();
    let mut seen = bench.complaints.lock().unwrap();
    let new = all.iter().filter(|complaint| !seen.contains(complaint)).cloned().collect();
    *seen = all;
    new
}
