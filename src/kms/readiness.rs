//! Readiness, as `/readyz` answers it.
//!
//! Every resource that calls need is checked, and faults are texts for a person: without names of Rust's types, and without
//! anything about tokens of others. Troubles that calls still survive are told beside "ready".
//!
//! What was sealed once in this process is opened on every HSM that is open: a known answer proves the HSM, and this proves
//! that it has the wrapping key of the store's keys. The store is written now and then, for one that can only be read is of no
//! use.

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

/// How long a check of the HSM or of the audit trail is valid.
const CHECK_VALID: Duration = Duration::from_secs(1);

/// How long a successful write to the store is valid.
const WRITE_VALID: Duration = Duration::from_secs(5);
/// How long a failed check is valid.
const FAILURE_VALID: Duration = Duration::from_millis(500);

/// The last results of the checks, and facts that others have noted.
pub struct Readiness {
    pub(super) began: Timestamp,
    hsm: AsyncMutex<HsmCheck>,
    store: AsyncMutex<Option<CheckResult<()>>>,
    trail: AsyncMutex<Option<CheckResult<()>>>,
    certificate: Mutex<Option<Certificate>>,
    /// Why the audit trail cannot go on in another file, after its own was renamed or removed.
    lost_trail: Mutex<Option<String>>,
}

/// The server's certificate.
#[derive(Clone)]
pub(super) struct Certificate {
    pub(super) file: String,
    pub(super) validity: Validity,
}

/// The result of a check.
struct CheckResult<T> {
    at: Instant,
    result: Result<T, String>,
}

/// The last check of the HSMs.
#[derive(Default)]
struct HsmCheck {
    /// The result: the faults of some of them, if others do the work.
    last: Option<CheckResult<Vec<String>>>,
    /// Opens a text that was sealed once in this process.
    open: Option<command::Open>,
}

impl Readiness {
    /// Nothing is checked yet. The process began at `began`.
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

    /// Notes, and logs once, that the trail goes on in a file that was renamed or removed, or does so no more.
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
    /// Checks that calls can work.
    ///
    /// # Errors
    /// As [`Self::readiness`].
    pub async fn ready(&self) -> Result<(), String> {
        self.readiness().await.map(drop)
    }

    /// Checks that calls can work: the view is up to date, audit trail and store can be written, the certificate is valid, and an
    /// HSM gives known answers and opens a text that was sealed under the service's own material. Answers what an operator should
    /// know all the same.
    ///
    /// # Errors
    /// The fault, in words for an operator.
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

    /// Troubles that an operator should know of although calls work, as far as they are noted already.
    pub fn warning(&self) -> Option<String> {
        let lost = self.readiness.lost_trail.lock().clone();
        let lost = lost.map(|why| {
            let why = without_number(&why);
            format!(
                "the audit trail goes on in a file that was renamed, for no other can be opened in its place: {why}"
            )
        });
        let jump = self.running_time.jump().map(|Jump { from, to }| {
            format!(
                "the clock has jumped from {from} to {to}: nothing is deleted, expires or rotates until it is confirmed"
            )
        });
        let all: Vec<_> = lost.into_iter().chain(jump).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// Notes the file and the dates of the server's certificate.
    pub fn note_certificate(&self, file: &Path, validity: Validity) {
        let certificate = Certificate { file: file.display().to_string(), validity };
        *self.readiness.certificate.lock() = Some(certificate);
    }

    /// Checks the server's certificate: clients do not connect if it is not valid.
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
        checked(&self.readiness.trail, CHECK_VALID, async {
            let trail = self.trail.clone();
            let asked = tokio::task::spawn_blocking(move || trail.prove_writable()).await;
            asked.map_err(|error| error.to_string()).and_then(|asked| asked.map_err(cannot))
        })
        .await
    }

    async fn store_is_writable(&self) -> Result<(), String> {
        checked(&self.readiness.store, WRITE_VALID, async {
            let written = self.store.prove_writable().await;
            let place = self.store.path().display();
            written.map_err(|error| format!("the store cannot be written: {place}: {}", error.kind.why()))
        })
        .await
    }

    /// Checks the HSMs, one check at a time, each valid for [`CHECK_VALID`]. Answers the faults of some HSMs while others do the work.
    async fn hsms_answer(&self) -> Result<Vec<String>, String> {
        let mut check = self.readiness.hsm.lock().await;
        if let Some(last) = check.last.as_ref().filter(|last| last.at.elapsed() < CHECK_VALID) {
            return last.result.clone();
        }
        let result = self.ask_hsms(&mut check.open).await;
        check.last = Some(CheckResult { at: Instant::now(), result: result.clone() });
        result
    }

    async fn ask_hsms(&self, open: &mut Option<command::Open>) -> Result<Vec<String>, String> {
        let standing = self.hsm.standing();
        let deadline = Instant::now() + self.settings.deadline;
        let several = standing.len() > 1;
        let mut faults = Vec::new();
        let mut well = false;
        for hsm in &standing {
            if let Some(trouble) = &hsm.trouble {
                let why = hsm.refusal.as_ref().map_or_else(|| trouble.clone(), |error| self.words(error));
                faults.push(about(&hsm.name, several, &why));
            }
        }
        if faults.len() < standing.len() {
            if !self.vault.has_material() {
                return Err("the deployment is about to be founded".to_owned());
            }
            // All are asked for a known answer before any is asked to open the sealed text.
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

    /// The command that opens a text which was sealed in this process, and is sealed now if none was.
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

    /// The fault of an HSM, in words for a person.
    fn words(&self, error: &HsmError) -> String {
        let function = &error.function;
        let code = &error.code;
        match (error.kind, error.login_refusal()) {
            (Kind::NoWrappingKey | Kind::KeyMissing, _) if self.vault.has_material() => ANOTHER_KEY.to_owned(),
            (Kind::Timeout, _) => "it does not answer in time".to_owned(),
            (Kind::Busy, _) => "it has more to do than it can in time".to_owned(),
            _ if error.is_of_no_token() => {
                "no token fits hsm.token, or several do; `strongroom hsm probe` names those that are there".to_owned()
            }
            (_, Some(refusal)) if code.starts_with("CKR_") => format!("{} ({code})", refused(refusal)),
            _ if code.starts_with("CKR_") => format!("{function} answered {code}"),
            // A text of the engine's own, which is for an operator to read.
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

/// The text of an error of the system, without its number.
fn without_number(text: &str) -> &str {
    text.split(" (os error").next().unwrap_or(text)
}

/// The result of a check, made anew unless the last is still valid. There is one check at a time, so that many clients of `/readyz`
/// cause no load.
async fn checked(
    last: &AsyncMutex<Option<CheckResult<()>>>,
    valid_for: Duration,
    check: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let mut last = last.lock().await;
    let is_valid =
        |last: &&CheckResult<()>| last.at.elapsed() < if last.result.is_ok() { valid_for } else { FAILURE_VALID };
    if let Some(valid) = last.as_ref().filter(is_valid) {
        return valid.result.clone();
    }
    let result = check.await;
    *last = Some(CheckResult { at: Instant::now(), result: result.clone() });
    result
}
