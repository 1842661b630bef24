//! What the audit trail says of one call.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::request::Parts;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    arn::AccountId,
    attestation::{Attested, Measurements},
    audit::{AuditError, Caller, Event, Failure, Parameters, Trail, bounded},
    clock::Timestamp,
    error::{Code, KmsError},
    identity::Identity,
    key::reference::KeyId,
    operations::{self, Entry},
    sigv4::Claim,
};

/// The longest name of an enclave's module that is shown, in bytes; a real one has 50.
const MAX_MODULE_ID_BYTES: usize = 256;

/// The record of one call, gathered while it is served.
pub struct Record<'a> {
    /// What the answer is known by.
    pub request_id: Uuid,
    /// What the audit record is known by.
    pub event_id: Uuid,
    /// When the call came.
    pub time: Timestamp,
    /// Who called, once proved.
    pub identity: Option<Identity>,
    /// What the call was about.
    pub notes: Notes,
    /// What the call asks for, if it is anything.
    pub operation: Option<&'static Entry>,
    claimed: Option<String>,
    /// The region of the call, once it is known.
    pub region: String,
    target: &'a str,
    user_agent: &'a str,
    source_ip: String,
    /// What was read of the request, once it is known who asks.
    pub parameters: Parameters,
}

/// What a call was about.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Key ARNs.
    pub resources: Vec<String>,
    /// The keys of the caller's realm among them.
    pub keys: Vec<KeyId>,
    /// Who was attested to get a plaintext instead of the caller, which grant the call was about or allowed by.
    pub additional: Map<String, Value>,
    /// Whether the record is stored, with what the call has changed.
    pub is_recorded: bool,
}

impl<'a> Record<'a> {
    /// A record of a call that nothing is known of yet.
    pub fn new(time: Timestamp, head: &'a Parts, source_ip: String) -> Self {
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let target = header("x-amz-target");
        Self {
            request_id: Uuid::new_v4(),
            event_id: Uuid::new_v4(),
            time,
            identity: None,
            notes: Notes::default(),
            operation: operations::find(target),
            claimed: None,
            region: String::new(),
            target,
            user_agent: header("user-agent"),
            source_ip,
            parameters: Parameters::default(),
        }
    }

    /// The call says that it is signed so.
    pub fn claim(&mut self, claim: &Claim) {
        self.claimed = Some(claim.access_key_id.clone());
        self.region.clone_from(&claim.region);
    }

    /// The operation's name, for metrics; what a caller makes up is not a label.
    pub fn operation_name(&self) -> &'static str {
        self.operation.map_or("Unknown", |entry| entry.name)
    }

    /// The failure, as the operation may answer it.
    pub fn answer(&self, error: KmsError) -> KmsError {
        match self.operation {
            Some(operation) => operation.answer(error),
            None => error,
        }
    }

    /// Writes the audit record.
    ///
    /// # Errors
    /// As the trail answers.
    pub async fn write(&self, trail: &Trail, account: &AccountId, error: Option<&KmsError>) -> Result<(), AuditError> {
        let additional = self.notes.additional();
        trail.record(&self.event(account, &self.notes, &additional, error)).await
    }

    /// The record of the call as one that succeeded, if `notes` is what it was about.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn line(&self, account: &AccountId, notes: &Notes) -> Result<String, serde_json::Error> {
        self.event(account, notes, &notes.additional(), None).line()
    }

    fn event<'b>(
        &'b self,
        account: &'b AccountId,
        notes: &'b Notes,
        additional: &'b Value,
        error: Option<&'b KmsError>,
    ) -> Event<'b> {
        Event {
            event_id: self.event_id,
            time: self.time,
            request_id: self.request_id,
            event_name: self.operation.map_or(self.target, |entry| entry.name),
            region: &self.region,
            source_ip: &self.source_ip,
            user_agent: self.user_agent,
            caller: self.caller(),
            parameters: self.parameters.as_json(),
            resources: &notes.resources,
            account: account.as_str(),
            read_only: self.operation.is_some_and(|entry| entry.read_only),
            additional,
            error: error.map(failure),
        }
    }

    fn caller(&self) -> Caller<'_> {
        match (&self.identity, &self.claimed) {
            (Some(identity), _) => Caller::Proved(identity),
            (None, Some(id)) => Caller::Claimed(id),
            (None, None) => Caller::Unknown,
        }
    }
}

impl Notes {
    /// The same, where a later decision was about `decided`.
    pub fn decided(&self, decided: Option<Self>) -> Self {
        let Some(mut decided) = decided else { return self.clone() };
        decided.additional.extend(self.additional.clone());
        decided
    }

    /// As `additionalEventData` has it.
    fn additional(&self) -> Value {
        if self.additional.is_empty() { Value::Null } else { Value::Object(self.additional.clone()) }
    }
}

/// CloudTrail's own word for a denial is shorter than the exception.
fn failure(error: &KmsError) -> Failure<'_> {
    let code = match error.code {
        Code::AccessDeniedException => "AccessDenied",
        code => code.as_str(),
    };
    Failure { code, message: error.message.as_deref() }
}

/// An attested recipient, as CloudTrail shows it ("Monitoring requests for Nitro enclaves", "… for NitroTPM").
pub fn recipient(attested: &Attested) -> Value {
    let (platform, shown, registers) = match attested.measurements() {
        Measurements::Enclave(registers) => ("Enclave", &[0, 1, 2, 3, 4, 8], registers),
        Measurements::NitroTpm(registers) => ("NitroTPM", &[4, 7, 8, 9, 16, 23], registers),
    };
    let name = |number: &u8| match (platform, number) {
        ("Enclave", 0) => "attestationDocumentEnclaveImageDigest".to_owned(),
        _ => format!("attestationDocument{platform}PCR{number}"),
    };
    let measured =
        shown.iter().filter_map(|number| Some((name(number), STANDARD.encode(registers.get(number)?).into())));
    let module = ("attestationDocumentModuleId".to_owned(), bounded(attested.module_id(), MAX_MODULE_ID_BYTES).into());
    Value::Object(std::iter::once(module).chain(measured).collect())
}
