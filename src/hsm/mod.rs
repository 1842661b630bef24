//! The HSMs: the one place where PKCS#11 is spoken.
//!
//! ```text
//! Hsm::call(command, deadline)      which member? once more elsewhere if that may help       here
//!   member    may calls go to it? what became of them; who brings it back                     members/
//!   dispatch  handles, fair queues, deadlines; what is done about failures                    dispatch/
//!   memory    shared with the worker process of the HSM, which is started and told by `process`   memory/, process/
//!   engine    in the worker process: one login, sessions, PKCS#11                             engine/
//!
//! carry_out(OneShot)          what an operator orders of one HSM, in a worker process of its own  engine/setup/, join
//! ```
//!
//! A key store has one or several members: HSMs that hold the same wrapping key, so that each can serve every wrapped key.

mod cluster;
mod counts;
mod dispatch;
mod engine;
mod error;
mod join;
mod ledger;
mod members;
mod memory;
mod pin;
mod process;
mod settings;
mod token_selector;
mod token_uri;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::identity::Asker;
use crate::key::algorithm::SigningAlgorithm;
use crate::key::material::{Keeping, Material};
use crate::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};

use command::Command;
use members::Member;

pub use cluster::{Cluster, Clusters};
pub use counts::{ErrorCount, Gauges};
pub use engine::profile::features::{Feature, TrialOutcome};
pub use engine::profile::{IvMaker, OaepMethod, Profile, TokenFacts};
pub use engine::setup::{Leaves, WrappingKeyReport, init_token, init_wrapping_key};
pub use engine::{command, end_process, probe, setup};
pub use error::{HsmError, Kind, LoginRefusal};
pub use join::{Joined, join};
pub use members::{Backend, Standing};
pub use memory::MAX_SESSIONS;
pub use pin::{HeldPin, PinSource};
pub use process::{Launch, carry_out, serve_as_worker};
pub use settings::Settings;
pub use token_selector::TokenSelector;

/// Forgets the PINs that the HSM called `member` has refused, the user's and the security officer's, so that they are tried
/// again; whether there were any.
///
/// # Errors
/// If the ledger cannot be read or written.
pub fn retry_pin(member: &Settings) -> Result<bool, HsmError> {
    let mut ledger = ledger::Ledger::lock(&member.ledger)?;
    let user = ledger.forget(&member.name)?;
    let officer = ledger.forget(&engine::so_name(&member.name))?;
    Ok(user || officer)
}

/// The HSMs of a key store, as everyone holds them. Clones are the same HSMs.
#[derive(Clone)]
pub struct Hsm {
    members: Arc<[Arc<Member>]>,
}

impl Hsm {
    /// HSMs that are opened, watched and opened again in the background, from now on: whatever is wrong with them, this
    /// succeeds. Each has a worker process of its own. Must be called in a runtime.
    pub fn open(members: Vec<Settings>, launch: Launch) -> Self {
        Self { members: members.into_iter().map(|settings| Member::kept(settings, launch.clone())).collect() }
    }

    /// Waits until one HSM is open.
    ///
    /// # Errors
    /// After `patience`, or as soon as each has failed to open: why none is.
    pub async fn opened(&self, patience: Duration) -> Result<(), HsmError> {
        let until = Instant::now() + patience;
        while !self.is_open() {
            if let Some(refusal) = self.refusal() {
                return Err(refusal);
            }
            if Instant::now() >= until {
                return Err(self.away());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// True if calls go to one HSM at least.
    pub fn is_open(&self) -> bool {
        self.members.iter().any(|member| member.backend().is_some())
    }

    /// Why the first HSM could not be opened, where none is open and each has failed to.
    pub fn refusal(&self) -> Option<HsmError> {
        if self.is_open() {
            return None;
        }
        let refusals: Option<Vec<_>> = self.members.iter().map(|member| member.refusal()).collect();
        refusals?.into_iter().next()
    }

    /// Does one command for the service itself, or says why not, by the deadline.
    pub async fn call<C: Command>(&self, command: C, deadline: Instant) -> Result<C::Answer, HsmError> {
        self.call_for(Asker::SERVICE, command, deadline).await
    }

    /// Does one command for `asker`, or says why not, by the deadline. One that changes nothing in the HSM is tried on
    /// another member if the HSM is to blame that it failed.
    pub async fn call_for<C: Command>(
        &self,
        asker: Asker,
        command: C,
        deadline: Instant,
    ) -> Result<C::Answer, HsmError> {
        let (member, backend) = self.choose(&command, None).ok_or_else(|| self.away())?;
        let failed = match member.call(&backend, asker, &command, deadline).await {
            Ok(mut answer) => {
                C::note_member(&mut answer, member.name());
                return Ok(answer);
            }
            Err(error) if command.is_repeatable() && may_work_elsewhere(error.kind) => error,
            Err(error) => return Err(error),
        };
        match self.choose(&command, Some(member)).filter(|_| Instant::now() < deadline) {
            Some((other, backend)) => other.call(&backend, asker, &command, deadline).await,
            None => Err(failed),
        }
    }

    /// Has each HSM that is open do one command for the service itself; how that went, by the HSM's name.
    pub async fn ask_each<C: Command>(
        &self,
        command: &C,
        deadline: Instant,
    ) -> Vec<(String, Result<C::Answer, HsmError>)> {
        let mut answers = Vec::new();
        for member in self.members.iter() {
            if let Some(backend) = member.backend() {
                let answer = member.call(&backend, Asker::SERVICE, command, deadline).await;
                answers.push((member.name().to_owned(), answer));
            }
        }
        answers
    }

    /// The member with the least to do of those that are well and have what the command needs.
    fn choose(&self, command: &impl Command, not: Option<&Arc<Member>>) -> Option<(&Arc<Member>, Arc<Backend>)> {
        let others = self.members.iter().filter(|member| not.is_none_or(|not| !Arc::ptr_eq(member, not)));
        let well = others.filter_map(|member| Some((member, member.backend()?)));
        let fit = well.filter(|(member, _)| match command.material() {
            Some(material) if self.members.len() > 1 => member.has(material),
            _ => true,
        });
        fit.min_by_key(|(member, _)| member.load())
    }

    /// Destroys an object wherever it may be; wrapped material is forgotten by every member that may have a handle of it. That an
    /// HSM is not there, or not in the configuration any more, does not say that its object is gone.
    pub async fn destroy(&self, material: &Arc<Material>, deadline: Instant) -> Result<(), HsmError> {
        for member in self.concerned(material)? {
            match (member.backend(), &material.keeping) {
                (Some(backend), _) => member.destroy(&backend, material, deadline).await?,
                (None, Keeping::Token { .. }) => return Err(self.away()),
                (None, Keeping::Wrapped { .. }) => {}
            }
        }
        Ok(())
    }

    /// The members that may have an object or a handle of this material. The only one has all, whatever it is called now.
    fn concerned(&self, material: &Material) -> Result<Vec<&Arc<Member>>, HsmError> {
        let home = match &material.keeping {
            Keeping::Token { member: Some(home), .. } if self.members.len() > 1 => home,
            _ => return Ok(self.members.iter().collect()),
        };
        let at_home: Vec<_> = self.members.iter().filter(|member| member.name() == home).collect();
        match at_home.is_empty() {
            true => Err(HsmError::new(Kind::DeviceLost, "choose", format!("{home}: it is not in the configuration"))),
            false => Ok(at_home),
        }
    }

    /// The error where there is no member that calls may go to.
    fn away(&self) -> HsmError {
        let troubles = self.standing().into_iter().filter_map(|s| Some(format!("{}: {}", s.name, s.trouble?)));
        HsmError::new(Kind::DeviceLost, "choose", troubles.collect::<Vec<_>>().join("; "))
    }

    /// True if a key of this spec can be made and used for this, by each HSM that is known.
    ///
    /// # Errors
    /// If none was open so far.
    pub fn supports(&self, spec: KeySpec, usage: KeyUsage) -> Result<bool, HsmError> {
        let known: Vec<_> = self.members.iter().filter_map(|member| member.profile()).collect();
        match known.is_empty() {
            true => Err(self.away()),
            false => Ok(known.iter().all(|profile| profile.supports(spec, usage))),
        }
    }

    /// True if each HSM signs so with the keys that it has, as far as that is known.
    pub fn signs(&self, algorithm: SigningAlgorithm) -> bool {
        let known = self.profiles();
        algorithm.is_of_every_hsm() || !known.is_empty() && known.iter().all(|profile| profile.signs(algorithm))
    }

    /// True if each HSM that is known encrypts so with the keys that it has.
    pub fn encrypts(&self, algorithm: EncryptionAlgorithm) -> bool {
        self.profiles().iter().all(|profile| profile.encrypts(algorithm))
    }

    /// True if each HSM that is known lets such a key out wrapped, and takes it back.
    pub fn wraps(&self, spec: KeySpec, usage: KeyUsage) -> bool {
        self.members.iter().filter_map(|member| member.profile()).all(|profile| profile.wraps(spec, usage))
    }

    /// The profile of each HSM that was open so far.
    pub fn profiles(&self) -> Vec<Arc<Profile>> {
        self.members.iter().filter_map(|member| member.profile()).collect()
    }

    /// How each HSM stands.
    pub fn standing(&self) -> Vec<Standing> {
        self.members.iter().map(|member| member.standing()).collect()
    }

    /// Numbers of this moment, of all HSMs together.
    pub fn gauges(&self) -> Gauges {
        self.members.iter().map(|member| member.report().gauges).fold(Gauges::default(), Gauges::plus)
    }

    /// Every code but CKR_OK that the engines which run now have answered to commands, and how often.
    pub fn errors(&self) -> Vec<ErrorCount> {
        self.members.iter().flat_map(|member| member.report().errors).collect()
    }

    /// Takes no more work, and lets go of the HSMs.
    pub fn stop(&self) {
        self.members.iter().for_each(|member| member.stop());
    }

    /// Waits, after `stop`, until every session is closed or every worker process has ended; false if that has not come
    /// about by then, which is how a call that hangs looks.
    pub async fn stopped(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        while !self.members.iter().all(|member| member.has_stopped()) {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }
}

/// True if what failed so may succeed on another HSM.
fn may_work_elsewhere(kind: Kind) -> bool {
    members::is_strike(kind) || matches!(kind, Kind::NoWrappingKey | Kind::Busy)
}
