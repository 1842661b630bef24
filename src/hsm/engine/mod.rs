//! One HSM, as one worker process uses it: a module, a token, a login, sessions.
//!
//! ```text
//! an order comes through the shared memory (`memory`), from the service (`dispatch`)
//!   lanes      a thread that owns a session takes it                                          lanes/
//!   leases     is the handle that it needs still leased? The anchor loads and leases handles  leases, lanes/anchor
//!   command    the calls of the command, and a proof of some answers                          command/, calls/
//! ```
//!
//! Rules that hold everywhere in here:
//! * A session belongs to one thread.
//! * A session whose call did not end in a known way is closed, not used again.
//! * A wrong PIN is tried once.

mod calls;
pub mod command;
mod lanes;
pub(super) mod leases;
pub(super) mod order;
mod probe;
pub(super) mod profile;
pub mod setup;
mod state;
mod token;

use std::sync::Arc;
use std::time::Duration;

use crate::hsm::counts::ErrorCount;
use crate::hsm::error::HsmError;
use crate::hsm::memory::Memory;
use crate::hsm::settings::Settings;

use calls::session_calls::SessionCalls;
use calls::wrapping;
use lanes::Lanes;
use profile::Profile;
use state::login_session::LoginSession;
use state::{EngineState, FIRST_EPOCH, LoginObjects};
use token::login::{self, Admission};
use token::module::Module;

pub use calls::raw::end_process;
pub use probe::probe;
pub(super) use token::login::so_name;

/// The HSM, as its worker process has it.
pub(super) struct Engine {
    lanes: Lanes,
}

impl Engine {
    /// Loads the module, finds the token, logs in once, tries what the HSM can do and starts the threads, which take their
    /// orders from `memory`. What this very HSM, firmware and module could do before is not tried again. Blocks while it does so.
    ///
    /// # Errors
    /// Why not; also if it lacks the wrapping key.
    pub(super) fn start(settings: Settings, known: Option<Profile>, memory: Memory) -> Result<Self, HsmError> {
        // Before the module is loaded: a PIN that was refused costs nothing.
        let mut admission = Admission::ask(&settings)?;
        let module = Module::of(&settings)?;
        let (slot, login_session, login_objects, profile) = {
            let _alone = module.setting_up();
            let token = settings.token.find(&module)?;
            let slot = token.slot;
            let session = module.open(slot)?;
            login::log_in(&module, slot, &session, &settings, &mut admission)?;
            drop(admission);
            let calls = SessionCalls { functions: &module.functions, session: &session };
            let open = || module.open_another(slot);
            let profile = Profile::of(calls, &open, &token, settings.allow_raw_rsa, known)?.that_serves()?;
            let login_session = LoginSession::new(session, FIRST_EPOCH);
            let login_objects = LoginObjects::take(&login_session, &module, &settings, profile.allowed)?;
            (slot, login_session, login_objects, profile)
        };
        let state = EngineState::new(settings, module, slot, profile, login_objects);
        if lacks_wrapping_key(&state) {
            return Err(wrapping::no_key(&state.settings.wrapping_key_label));
        }
        Ok(Self { lanes: Lanes::start(state, login_session.session, memory)? })
    }

    /// The abilities of this HSM.
    pub(super) fn profile(&self) -> Arc<Profile> {
        Arc::clone(&self.lanes.state().profile)
    }

    /// Codes but CKR_OK that were answered to calls of no command.
    pub(super) fn errors(&self) -> Vec<ErrorCount> {
        self.lanes.state().counts.all()
    }

    /// True if the wrapping key is not there and should be.
    pub(super) fn lacks_wrapping_key(&self) -> bool {
        lacks_wrapping_key(self.lanes.state())
    }

    /// Threads that were given up and are still in their calls.
    pub(super) fn threads_lost(&self) -> u64 {
        self.lanes.lost()
    }

    /// Threads that were given up and whose calls have returned after all.
    pub(super) fn threads_returned(&self) -> u64 {
        self.lanes.returned()
    }

    /// True if the shared memory is not as the service has left it: the module has written over it.
    pub(super) fn is_corrupted(&self) -> bool {
        self.lanes.is_corrupted()
    }

    /// Starts another thread in the place of one whose call does not return.
    ///
    /// # Errors
    /// If none can be started.
    pub(super) fn replace(&self, thread: usize) -> Result<(), HsmError> {
        self.lanes.replace(thread)
    }

    /// Takes no more work. Threads end when they have done what they have; nobody waits for one that hangs.
    pub(super) fn stop(&self) {
        self.lanes.stop();
    }

    /// Waits, after `stop`, until every thread has closed its session; false if one has not by then, which is how a call
    /// that hangs looks. A process that exits while a thread is in the module may crash in the module's destructors.
    pub(super) fn wait_until_stopped(&self, timeout: Duration) -> bool {
        self.lanes.wait(timeout)
    }
}

fn lacks_wrapping_key(state: &EngineState) -> bool {
    state.settings.holds_wrapping_key && !state.has_wrapping_key()
}
