//! A module that has lost its way writes over the memory that its worker process shares with the service.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::rig::{Options, Rig};

/// How long it may take until all is well again.
const RECOVERY: Duration = Duration::from_secs(2);

/// The errors after which a client tries again.
const RETRYABLE: [&str; 3] = ["DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException"];

/// Bytes of the memory before the states of the slots, and what is used of the slots.
const BELLS: u64 = 4096;
const STATES: u64 = 512;
const CONTENTS: u64 = 1 << 20;

/// What is written over, and by how much at a time.
#[derive(Debug, Clone, Copy)]
enum Corruption {
    All,
    Bells,
    States,
    Words,
    Zeros,
}

/// The shared memory of the worker process that runs now.
fn memory() -> io::Result<File> {
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc")?.flatten() {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1).map(str::to_owned));
        if parent.as_deref() == Some(&own)
            && let Some(memory) = shared_by(process.path().join("fd"))
        {
            return File::options().write(true).open(memory);
        }
    }
    Err(io::Error::other("no worker process"))
}

fn shared_by(descriptors: PathBuf) -> Option<PathBuf> {
    let mut all = fs::read_dir(descriptors).ok()?.flatten().map(|entry| entry.path());
    all.find(|path| fs::read_link(path).is_ok_and(|file| file.to_string_lossy().starts_with("/memfd:strongroom")))
}

fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn corrupt(how: Corruption) -> io::Result<()> {
    let memory = memory()?;
    let len = memory.metadata()?.len();
    match how {
        Corruption::All => memory.write_all_at(&random(usize::try_from(len).unwrap()), 0),
        Corruption::Bells => memory.write_all_at(&random(usize::try_from(BELLS).unwrap()), 0),
        Corruption::States => memory.write_all_at(&random(usize::try_from(STATES).unwrap()), BELLS),
        Corruption::Zeros => memory.write_all_at(&vec![0; usize::try_from(len).unwrap()], 0),
        Corruption::Words => (0..2000).try_for_each(|_| {
            let at = u64::from_le_bytes(random(8).try_into().unwrap()) % (CONTENTS.min(len - BELLS) / 8);
            memory.write_all_at(&random(8), BELLS + 8 * at)
        }),
    }
}

/// Encrypts until it is to end; what came out, and how often there was an error.
fn encrypt(rig: &Rig, key: &str, number: usize, to_end: &AtomicBool) -> (Vec<(String, String)>, usize) {
    let (mut made, mut errors) = (Vec::new(), 0);
    for n in 0.. {
        if to_end.load(Ordering::Relaxed) {
            break;
        }
        let plaintext = STANDARD.encode(format!("{number}/{n}"));
        let answer = rig.call("Encrypt", &json!({"KeyId": key, "Plaintext": plaintext}));
        match answer.status {
            200 => made.push((plaintext, answer.body["CiphertextBlob"].as_str().unwrap().to_owned())),
            _ => {
                assert!(RETRYABLE.contains(&answer.code()), "{} {}", answer.status, answer.body);
                errors += 1;
            }
        }
    }
    (made, errors)
}

#[test]
fn random_bytes_over_the_shared_memory_spoil_no_answer_and_cost_a_worker() {
    let _turn = crate::turn();
    let rig = Rig::new(&Options { sessions: 4, cached_handles: 16, ..Options::default() });
    let made = rig.ok("CreateKey", &json!({}));
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    for how in [Corruption::All, Corruption::Bells, Corruption::States, Corruption::Words, Corruption::Zeros] {
        let before = rig.hsm.standing()[0].restarts;
        let to_end = AtomicBool::new(false);
        let outcomes = thread::scope(|scope| {
            let callers = [0, 1, 2, 3, 4, 5].map(|number| {
                let (rig, key, to_end) = (&rig, &key, &to_end);
                scope.spawn(move || encrypt(rig, key, number, to_end))
            });
            for _ in 0..5 {
                thread::sleep(Duration::from_millis(200));
                // There may be none just now.
                let _ = corrupt(how);
            }
            to_end.store(true, Ordering::Relaxed);
            callers.map(|caller| caller.join().unwrap())
        });
        let began = Instant::now();
        let probe = json!({"KeyId": key, "Plaintext": "eA=="});
        let recovery = rig.recovers("Encrypt", &probe, 2 * RECOVERY).expect("it is well again");
        assert!(recovery <= RECOVERY, "{how:?}: {recovery:?}, {:?}", began.elapsed());
        let made: usize = outcomes.iter().map(|(made, _)| made.len()).sum();
        let errors: usize = outcomes.iter().map(|(_, errors)| errors).sum();
        println!("{how:?}: {made} encrypted, {errors} errors, well after {recovery:?}");
        assert!(made > 0);
        for (plaintext, blob) in outcomes.iter().flat_map(|(made, _)| made) {
            let answer = rig.call("Decrypt", &json!({"CiphertextBlob": blob}));
            assert_eq!(answer.body["Plaintext"].as_str(), Some(&**plaintext), "{how:?}: {}", answer.body);
        }
        let replaced = rig.hsm.standing()[0].restarts - before;
        if matches!(how, Corruption::All | Corruption::States) {
            assert!(replaced > 0, "{how:?}");
        }
    }
}
