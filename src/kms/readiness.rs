//! Whether calls can work: what `/readyz` answers.
//!
//! Whatever no call works without is looked at, and what is the matter is said in words for a person: no names of Rust's, and
//! nothing of tokens that are not ours. What only endangers calls is said beside "ready".

use std::{
    path::Path,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    clock::{Timestamp, heartbeat::Jump, validity::Validity},
    error::KmsError,
    hsm::{
        HsmError, Kind, LoginRefusal,
        command::{self, Check},
    },
    kms::Kms,
};

/// How long one known answer of the HSM proves it well, and room for the trail that there is some.
const PROOF: Duration = Duration::from_secs(1);

/// How long a write proves that the store can be written, and how long what failed proves that nothing can.
const PROOF_OF_WRITING: Duration = Duration::from_secs(5);
const PROOF_OF_FAILURE: Duration = Duration::from_millis(500);

/// The last proofs, and what others have noted.
pub struct Readiness {
    pub(super) began: Timestamp,
    hsm: AsyncMutex<OfHsm>,
    store: AsyncMutex<Option<Proof<()>>>,
    trail: AsyncMutex<Option<Proof<()>>>,
    certificate: Mutex<Option<Certificate>>,
    /// Why the audit trail's file, which has lost its name, cannot be opened anew.
    lost_trail: Mutex<Option<String>>,
}

/// The certificate that clients are shown.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) file: String,
    pub(super) validity: Validity,
}

struct Proof<T> {
    at: Instant,
    result: Result<T, String>,
}

/// What the HSMs have proved last.
#[derive(Default)]
struct OfHsm {
    /// What is the matter with some of them, if others do the work.
    last: Option<Proof<Vec<String>>>,
    /// Opens what was sealed once in this process.
    open: Option<command::Open>,
}

impl Readiness {
    /// Nothing is proved yet, by a process that began then.
    pub(super) fn new(began: Timestamp) -> Self {
        Self {
            began,
            hsm: AsyncMutex::default(),
            store: AsyncMutex::default(),
            trail: AsyncMutex::default(),
            certificate: Mutex::default(),
            lost_trail: Mutex::default(),
        }
    }

    /// Notes, and tells once, that the trail goes on in a file that has lost its name, or does so no more.
    pub(super) fn note_lost_trail(&self, trail: &str, why: Option<String>) {
        let mut lost = self.lost_trail.lock();
        match (&*lost, &why) {
            (None, Some(why)) => tracing::error!(
                trail,
                why,
                "the audit trail's file was renamed or removed, and no other can be opened in its place"
            ),
            (Some(_), None) => tracing::info!(trail, "the audit trail's file is where it should be again"),
            _ => {}
        }
        *lost = why;
    }

    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.certificate.lock().clone()
    }
}

impl Kms {
    /// Whether calls can work.
    ///
    /// # Errors
    /// As [`Self::readiness`].
    pub async fn ready(&self) -> Result<(), String> {
        self.readiness().await.map(drop)
    }

    /// Whether calls can work: the view is up to date, audit trail and store can be written, the certificate is valid, and an
    /// HSM gives known answers and opens what is the service's own. If so, what an operator should know all the same.
    ///
    /// # Errors
    /// What is wrong, in words for an operator.
    pub async fn readiness(&self) -> Result<Vec<String>, String> {
        let age = self.store.freshness();
        if age > self.settings.staleness {
            return Err(format!("the store has not been read for {} ms", age.as_millis()));
        }
        self.trail_is_writable().await?;
        self.store_is_writable().await?;
        self.certificate_is_valid()?;
        let mut known = self.hsms_answer().await?;
        if !self.store.view().has_enabled_access_key() {
            known
                .push("no access key is enabled, so nobody can sign a call: `strongroom access-key create`".to_owned());
        }
        known.extend(self.warning());
        Ok(known)
    }

    /// What an operator should know of a service that does its work, as far as nothing has to be asked.
    pub fn warning(&self) -> Option<String> {
        let lost = self.readiness.lost_trail.lock().clone();
        let lost = lost.map(|why| {
            let why = without_number(&why);
            format!(
                "the audit trail goes on in a file that was renamed, for no other can be opened in its place: {why}"
            )
        });
        let jump = self.pulse.jump().map(|Jump { from, to }| {
            format!(
                "the clock has jumped from {from} to {to}: nothing is deleted, expires or rotates until it is confirmed"
            )
        });
        let all: Vec<_> = lost.into_iter().chain(jump).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Notes the dates of the certificate that clients are shown, which is in this file.
    pub fn note_certificate(&self, file: &Path, validity: Validity) {
        let certificate = Certificate { file: file.display().to_string(), validity };
        *self.readiness.certificate.lock() = Some(certificate);
    }

    /// A client that looks at a certificate does not call a server whose own is not valid.
    fn certificate_is_valid(&self) -> Result<(), String> {
        let Some(Certificate { file, validity }) = self.readiness.certificate() else { return Ok(()) };
        let fault = validity.fault(self.clock.now());
        fault.map_or(Ok(()), |fault| Err(format!("the certificate in {file} {fault}")))
    }

    async fn trail_is_writable(&self) -> Result<(), String> {
        let cannot =
            |why: String| format!("the audit trail cannot be written: {}: {}", self.trail.name(), without_number(&why));
        if let Some(trouble) = self.trail.trouble() {
            return Err(cannot(trouble));
        }
        proved(&self.readiness.trail, PROOF, async {
            let trail = self.trail.clone();
            let asked = tokio::task::spawn_blocking(move || trail.prove_writable()).await;
            asked.map_err(|error| error.to_string()).and_then(|asked| asked.map_err(cannot))
        })
        .await
    }

    async fn store_is_writable(&self) -> Result<(), String> {
        proved(&self.readiness.store, PROOF_OF_WRITING, async {
            let written = self.store.prove_writable().await;
            let place = self.store.path().display();
            written.map_err(|error| format!("the store cannot be written: {place}: {}", error.kind.why()))
        })
        .await
    }

    /// One look at a time, each good for [`PROOF`]; what is the matter with some HSMs while others do the work.
    async fn hsms_answer(&self) -> Result<Vec<String>, String> {
        let mut of_hsm = self.readiness.hsm.lock().await;
        if let Some(proof) = of_hsm.last.as_ref().filter(|proof| proof.at.elapsed() < PROOF) {
            return proof.result.clone();
        }
        let result = self.ask_hsms(&mut of_hsm.open).await;
        of_hsm.last = Some(Proof { at: Instant::now(), result: result.clone() });
        result
    }

    async fn ask_hsms(&self, open: &mut Option<command::Open>) -> Result<Vec<String>, String> {
        let (standing, deadline) = (self.hsm.standing(), Instant::now() + self.settings.deadline);
        let several = standing.len() > 1;
        let (mut faults, mut well) = (Vec::new(), false);
        for hsm in &standing {
            if let Some(trouble) = &hsm.trouble {
                let why = hsm.refusal.as_ref().map_or_else(|| trouble.clone(), |error| self.words(error));
                faults.push(about(&hsm.name, several, &why));
            }
        }
        if faults.len() < standing.len() {
            if !self.vault.is_furnished() {
                return Err("the deployment is about to be founded".to_owned());
            }
            // An HSM that is well tells that it cannot open; one that is not need not be asked.
            for (name, answer) in self.hsm.ask_each(&Check, deadline).await {
                faults.extend(answer.err().map(|error| about(&name, several, &self.words(&error))));
            }
            if faults.len() < standing.len() {
                for (name, answer) in self.hsm.ask_each(self.opening(open, deadline).await?, deadline).await {
                    match answer {
                        Ok(_) => well = true,
                        Err(error) => faults.push(about(&name, several, &self.words(&error))),
                    }
                }
            }
        }
        faults.sort_unstable();
        faults.dedup();
        if well { Ok(faults) } else { Err(faults.join("; ")) }
    }

    /// What opens something that was sealed in this process, which is sealed now if nothing was.
    async fn opening<'a>(
        &self,
        open: &'a mut Option<command::Open>,
        deadline: Instant,
    ) -> Result<&'a command::Open, String> {
        match open {
            Some(command) => Ok(command),
            None => {
                let proof = self.vault.proof(deadline).await;
                Ok(open.insert(proof.map_err(|error| about("", false, &self.words_of(&error)))?))
            }
        }
    }

    fn words_of(&self, error: &KmsError) -> String {
        let of_hsm = error.cause().and_then(|cause| cause.downcast_ref::<HsmError>());
        of_hsm.map_or_else(|| "what is the service's own cannot be sealed".to_owned(), |error| self.words(error))
    }

    /// Why an HSM cannot do its work, for a person.
    fn words(&self, error: &HsmError) -> String {
        let (function, code) = (&error.function, &error.code);
        match (error.kind, error.login_refusal()) {
            (Kind::NoWrappingKey | Kind::KeyMissing, _) if self.vault.is_furnished() => ANOTHER_KEY.to_owned(),
            (Kind::Timeout, _) => "it does not answer in time".to_owned(),
            (Kind::Busy, _) => "it has more to do than it can in time".to_owned(),
            _ if error.is_of_no_token() => {
                "no token fits hsm.token, or several do; `strongroom hsm probe` names those that are there".to_owned()
            }
            (_, Some(refusal)) if code.starts_with("CKR_") => format!("{} ({code})", refused(refusal)),
            _ if code.starts_with("CKR_") => format!("{function} answered {code}"),
            // What the engine says itself is for an operator to read.
            _ => code.to_string(),
        }
    }
}

const ANOTHER_KEY: &str = "it does not have the wrapping key that the keys in the store are wrapped under; bring that one back from \
                           the HSM's backup, or from another HSM with `strongroom hsm join`";

fn refused(refusal: LoginRefusal) -> &'static str {
    match refusal {
        LoginRefusal::WrongPin => "it refused the PIN; correct it where it is kept",
        LoginRefusal::Locked => "its user PIN is locked; its security officer has to set another",
        LoginRefusal::NoUser => "its token has no user PIN yet",
    }
}

fn about(hsm: &str, is_one_of_several: bool, why: &str) -> String {
    if is_one_of_several { format!("the HSM `{hsm}`: {why}") } else { format!("the HSM: {why}") }
}

/// What the system says, without its number.
fn without_number(text: &str) -> &str {
    text.split(" (os error").next().unwrap_or(text)
}

/// One proof at a time, which is good for a while: many who ask do not become a load.
async fn proved(
    last: &AsyncMutex<Option<Proof<()>>>,
    good_for: Duration,
    prove: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let mut last = last.lock().await;
    let lasts =
        |proof: &&Proof<()>| proof.at.elapsed() < if proof.result.is_ok() { good_for } else { PROOF_OF_FAILURE };
    if let Some(proof) = last.as_ref().filter(lasts) {
        return proof.result.clone();
    }
    let result = prove.await;
    *last = Some(Proof { at: Instant::now(), result: result.clone() });
    result
}
