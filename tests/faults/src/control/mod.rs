//! The side that tells the module what to do: a test, or the console.
//!
//! A [`Controller`] listens in the module's directory. Every instance of the module connects to it when it is loaded and gets
//! all that holds before its first call; several processes may have it loaded, one after the other or at once. A method comes
//! back when every instance that is connected has done what it says, so a test needs no waiting.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::function::Function;
use crate::rule::Rule;
use crate::wire::{Answer, SOCKET, What};
pub use crate::wire::{Gauges, Outcome, RuleId};
pub use crate::world::World;

mod listen;
mod state;

use state::Shared;
pub use state::{Call, Login};

/// Dropping it releases what hangs, ends what lasts and removes all rules.
pub struct Controller {
    shared: Arc<Shared>,
    socket: PathBuf,
}

impl Controller {
    /// Listens in the directory in which the module lies.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let socket = dir.join(SOCKET);
        // A socket of one that has been killed; two controllers of one directory are not meant to be.
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let shared = Arc::new(Shared::new());
        let listening = Arc::clone(&shared);
        thread::Builder::new()
            .name("faults-control".to_owned())
            .spawn(move || listen::accept(&listening, &listener))?;
        Ok(Self { shared, socket })
    }

    /// # Panics
    ///
    /// When there is no function of that name: the rule would be silent for ever.
    pub fn rule(&self, rule: Rule) -> RuleId {
        if let Some(name) = &rule.function {
            assert!(Function::named(name).is_some(), "there is no function `{name}`");
        }
        let mut id = 0;
        self.shared.tell_all(|state| {
            id = state.plan(rule.clone());
            What::Install(id, rule)
        });
        id
    }

    /// Calls that hang by it go on.
    pub fn remove(&self, rule: RuleId) {
        self.shared.tell_all(|state| {
            state.forget(rule);
            What::Remove(rule)
        });
    }

    /// Removes all rules; what the world is like stays.
    pub fn clear(&self) {
        self.shared.tell_all(|state| {
            state.forget_all();
            What::Clear
        });
    }

    /// Everything that hangs now goes on, except what hangs for ever. Their rules stay.
    pub fn release(&self) {
        self.shared.tell_all(|state| {
            state.note_release();
            What::Release
        });
    }

    pub fn world(&self, event: World) {
        self.shared.tell_all(|state| {
            state.befall(&event);
            What::World(event)
        });
    }

    /// How often a rule has acted, in all instances, those included that are gone.
    pub fn hits(&self, rule: RuleId) -> u64 {
        self.shared.tell_all(|_| What::Gauges);
        self.shared.look(|state| state.hits(rule))
    }

    /// Waits until a call has come to the barrier of this rule since the last release.
    pub fn wait_stopped(&self, rule: RuleId, at_most: Duration) -> bool {
        self.shared.wait(at_most, |state| state.is_stopped(rule))
    }

    /// The calls of all instances in the order in which they came in, those included that have not come back. Of an
    /// instance that is gone there are those up to the last time that this was called, and all if it crashed by a rule.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.tell(|connection| What::Calls { from: connection.wanted_from() });
        self.shared.look(|state| state.calls())
    }

    /// Calls that came in before now are not told any more.
    pub fn reset_calls(&self) {
        self.shared.look(|state| state.reset_calls());
    }

    /// What callers have done wrong, each kind once, with `(3 times)` where that is so.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.tell_all(|_| What::Gauges);
        self.shared.look(|state| state.complaints())
    }

    /// The processes that have the module loaded now.
    pub fn instances(&self) -> Vec<u32> {
        self.shared.look(|state| state.pids())
    }

    /// Waits until so many instances are connected.
    pub fn wait_instances(&self, count: usize, at_most: Duration) -> bool {
        self.shared.wait(at_most, |state| state.pids().len() == count)
    }

    /// Sessions that callers have open, in all instances.
    pub fn open_sessions(&self) -> usize {
        self.gauges().iter().map(|gauges| gauges.sessions).sum()
    }

    /// Operations that have been begun and have not ended.
    pub fn active_operations(&self) -> usize {
        self.gauges().iter().map(|gauges| gauges.operations).sum()
    }

    /// How often each function has been called, in the instances that are connected.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (function, count) in self.gauges().into_iter().flat_map(|gauges| gauges.calls) {
            *counts.entry(function).or_insert(0) += count;
        }
        counts
    }

    /// How often RSA without padding has been used: no defect by itself.
    pub fn raw_rsa(&self) -> u64 {
        self.gauges().iter().map(|gauges| gauges.raw_rsa).sum()
    }

    /// What C_Login has been called with and has answered, over all instances.
    pub fn logins(&self) -> Vec<Login> {
        self.shared.tell_all(|_| What::Gauges);
        self.shared.look(|state| state.logins())
    }

    fn gauges(&self) -> Vec<Gauges> {
        let answers = self.shared.tell_all(|_| What::Gauges);
        let gauges = answers.into_iter().filter_map(|answer| match answer {
            Answer::Gauges(gauges) => Some(gauges),
            _ => None,
        });
        gauges.collect()
    }
}

impl Controller {
    /// Everything as if nothing had ever been told; what hangs goes on.
    pub fn calm(&self) {
        self.clear();
        self.release();
        self.world(World::Calm);
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.calm();
        self.shared.look(|state| state.close());
        // Wakes the listener, which sees that it is over.
        drop(UnixStream::connect(&self.socket));
        let _ = fs::remove_file(&self.socket);
    }
}

/// Copies the module into a directory, to stand in front of the real one; the answer is the copy's path.
pub fn install(dir: &Path, module: &Path, real: &Path) -> io::Result<PathBuf> {
    let copy = dir.join("faults.so");
    fs::copy(module, &copy)?;
    fs::write(dir.join("real"), real.as_os_str().as_encoded_bytes())?;
    Ok(copy)
}

/// Where cargo has built the module, for a test that depends on this package: beside the test itself.
///
/// # Panics
///
/// When it is not there.
pub fn built() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|error| panic!("this program's own path: {error}"));
    let beside = own.with_file_name("libstrongroom_faults.so");
    assert!(beside.exists(), "{} is missing: cargo build --tests makes it", beside.display());
    beside
}
