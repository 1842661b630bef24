//! One HSM, as one process uses it: a module, a token, a login, sessions.
//!
//! ```text
//! Engine::call(Command, deadline)
//!   handles   is the key in the HSM already? else the anchor unwraps or finds it      handles/, dispatch/anchor
//!   queue     bounded; askers take turns; full, or too long, is an answer (Busy)         dispatch/queue
//!   worker    a thread that owns a session does the command and proves some answers      dispatch/worker, command/, calls/
//!   answer    or a failure: mended and tried once more, or judged                      dispatch/retry, dispatch/blame
//! ```
//!
//! Rules that hold everywhere in here:
//! * A session belongs to one thread. No C call is made in a future, and none on a runtime thread.
//! * A session whose call did not end in a known way is closed, not used again.
//! * The caller's data is blamed only when the HSM is known to be well.
//! * A wrong PIN is tried once.

mod calls;
pub mod command;
mod dispatch;
mod handles;
mod hangs;
mod probe;
pub(super) mod profile;
pub mod setup;
mod state;
mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::hsm::error::HsmError;
use crate::hsm::settings::Settings;
use crate::identity::Asker;
use crate::key::material::{Keeping, Material, MaterialId};

use calls::session_calls::SessionCalls;
use calls::wrapping;
use command::{Command, Destroy, QueuedCommand, queued};
use dispatch::Dispatcher;
use profile::Profile;
use state::login_session::LoginSession;
use state::{EngineState, FIRST_EPOCH, LoginObjects};
use token::login::{self, Admission};
use token::module::Module;

pub use calls::raw::end_process;
pub(super) use hangs::HangWatch;
pub use probe::probe;
pub use state::counts::{ErrorCount, Gauges};
pub(super) use token::login::so_name;

/// The HSM, as everyone holds it. Clones are the same HSM; with the last one the engine stops, and
/// dropping that one waits a moment for the threads to close their sessions.
#[derive(Clone)]
pub struct Engine {
    dispatcher: Arc<Dispatcher>,
}

impl Engine {
    /// Loads the module, finds the token, logs in once, tries what the HSM can do and starts the threads. Blocks while it
    /// does so; the wrapping key may be absent.
    pub fn start(settings: Settings) -> Result<Self, HsmError> {
        Self::start_knowing(settings, None)
    }

    /// As [`Self::start`]; what this very HSM, firmware and module could do before is not tried again.
    pub(super) fn start_knowing(settings: Settings, known: Option<Profile>) -> Result<Self, HsmError> {
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
        let dispatcher = Dispatcher::start(state, login_session.session)?;
        Ok(Self { dispatcher: Arc::new(dispatcher) })
    }

    /// Does one command for the service itself, or says why not, by the deadline.
    pub async fn call<C: Command>(&self, command: C, deadline: Instant) -> Result<C::Answer, HsmError> {
        self.call_for(Asker::SERVICE, command, deadline).await
    }

    /// Does one command for `asker`, or says why not, by the deadline.
    pub async fn call_for<C: Command>(
        &self,
        asker: Asker,
        command: C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        let (done, mut answer) = oneshot::channel();
        self.dispatcher.perform(asker, queued(command, |result| drop(done.send(result))), deadline).await;
        answer.try_recv().unwrap_or_else(|_| Err(HsmError::timeout()))
    }

    /// Does one command as `call_for` does; the task hands out what came of it, on any thread. Must be called in a runtime,
    /// which does what takes waiting. After the deadline nothing may be handed out at all.
    pub(super) fn post(&self, asker: Asker, command: Box<dyn QueuedCommand>, deadline: Instant) {
        self.dispatcher.post(asker, command, deadline);
    }

    /// Logs in on a new session and takes no handle of before for good any more: an HSM that was away may have other objects
    /// under the old numbers.
    pub async fn renew(&self, deadline: Instant) -> Result<(), HsmError> {
        self.dispatcher.renew(deadline).await
    }

    /// Destroys the token object of this material, if it has one, and forgets its handles.
    pub async fn destroy(&self, material: &Arc<Material>, deadline: Instant) -> Result<(), HsmError> {
        match &material.keeping {
            Keeping::Token { .. } => self.call(Destroy { material: Arc::clone(material) }, deadline).await,
            Keeping::Wrapped { .. } => {
                self.forget(material.id);
                Ok(())
            }
        }
    }

    /// Forgets the handles of this material. Of what is wrapped the HSM keeps nothing else.
    pub(super) fn forget(&self, material: MaterialId) {
        self.dispatcher.forget(material);
    }

    /// The abilities of this HSM.
    pub fn profile(&self) -> Arc<Profile> {
        Arc::clone(&self.dispatcher.state().profile)
    }

    /// Numbers of this moment.
    pub fn gauges(&self) -> Gauges {
        self.dispatcher.gauges()
    }

    /// Every code but CKR_OK that the HSM has answered to a command, and how often.
    pub fn errors(&self) -> Vec<ErrorCount> {
        self.dispatcher.state().counts.errors()
    }

    /// How many calls have not returned so far, so that their threads were given up: what there is to say against the HSM that
    /// no call answers.
    pub(super) fn hangs(&self) -> HangWatch {
        HangWatch::new(self.dispatcher.state().counts.replaced.subscribe())
    }

    /// True if the wrapping key is there, without which nothing can be wrapped or unwrapped.
    pub fn has_wrapping_key(&self) -> bool {
        self.dispatcher.state().has_wrapping_key()
    }

    /// True if the wrapping key is not there and should be.
    pub(super) fn lacks_wrapping_key(&self) -> bool {
        self.dispatcher.state().settings.holds_wrapping_key && !self.has_wrapping_key()
    }

    /// Itself, if it lacks no wrapping key.
    pub(super) fn with_wrapping_key(self) -> Result<Self, HsmError> {
        match self.lacks_wrapping_key() {
            false => Ok(self),
            true => Err(wrapping::no_key(&self.dispatcher.state().settings.wrapping_key_label)),
        }
    }

    /// Takes no more work. Threads end when they have done what they have; nobody waits for one that hangs.
    pub fn stop(&self) {
        self.dispatcher.stop();
    }

    /// Waits, after `stop`, until every thread has closed its session; false if one has not by then, which is how a call
    /// that hangs looks. A process that exits while a thread is in the module may crash in the module's destructors.
    pub fn wait_until_stopped(&self, timeout: Duration) -> bool {
        self.dispatcher.wait(timeout)
    }
}
