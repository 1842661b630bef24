//! What befalls the HSM, as seen through this copy of the module. The real HSM is not touched except that sessions which this
//! copy has opened are closed: other copies in the process, and other processes, notice nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use cryptoki_sys::CK_RV;

use super::{Module, pins};
use crate::world::World;

/// What holds until it is ended.
#[derive(Default)]
pub struct Standing {
    /// Spares calls the look at the rest when there is nothing.
    any: AtomicBool,
    state: RwLock<State>,
}

#[derive(Clone, Default, PartialEq)]
pub struct State {
    pub vanished: Option<CK_RV>,
    pub broken_until: Option<Instant>,
    pub cap: Option<(usize, CK_RV)>,
    pub pin_tries: Option<u32>,
    /// None is all token objects.
    pub hidden: Vec<Option<Vec<u8>>>,
    pub duplicates: bool,
    pub random: Option<u8>,
    pub full: bool,
}

impl Standing {
    /// What holds, if anything does.
    pub fn state(&self) -> Option<State> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        Some(self.state.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        self.any.store(*state != State::default(), Ordering::Release);
    }
}

pub fn befall(module: &Module, event: &World) {
    match event {
        World::KillSessions => kill_sessions(module),
        World::LogOut => log_out(module),
        World::Reboot => reboot(module),
        _ => {
            module.world.change(|state| last(state, event));
            follow(module, event);
        }
    }
}

/// What lasts of an event.
fn last(state: &mut State, event: &World) {
    match event {
        World::Vanish { code } => state.vanished = Some(*code),
        World::Return => state.vanished = None,
        World::Failover { millis } => state.broken_until = Some(Instant::now() + Duration::from_millis(*millis)),
        World::CapSessions { sessions, code } => state.cap = Some((*sessions, *code)),
        World::UncapSessions => state.cap = None,
        World::LockPinAfter { tries } => state.pin_tries = Some(*tries),
        World::Hide { id } => state.hidden.push(id.clone()),
        World::Show => state.hidden.clear(),
        World::DuplicateFinds { on } => state.duplicates = *on,
        World::ConstantRandom { byte } => state.random = *byte,
        World::Full { on } => state.full = *on,
        World::Calm => *state = State::default(),
        World::KillSessions | World::LogOut | World::Reboot | World::ResetPin => {}
    }
}

/// What happens at once.
fn follow(module: &Module, event: &World) {
    match event {
        World::Vanish { .. } => reboot(module),
        World::Failover { .. } => module.objects.end_epoch(|_| true),
        World::ResetPin => pins::reset(&module.dir),
        _ => {}
    }
}

fn kill_sessions(module: &Module) {
    for session in module.sessions.all() {
        module.sessions.doom(module, &session);
        module.objects.forget_owned(&session);
    }
}

/// Only those who are logged in through this copy; they must log in again.
fn log_out(module: &Module) {
    module.login.lose();
    module.objects.end_epoch(|object| object.about.private);
    module.sessions.all().iter().for_each(|session| session.lose_operations());
}

fn reboot(module: &Module) {
    module.login.lose();
    kill_sessions(module);
    module.objects.end_epoch(|_| true);
}
