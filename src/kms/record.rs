//! The audit record of one call, collected while it is served.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    arn::AccountId,
    attestation::{Attested, Measurements},
    audit::{AuditError, Event, EventError, RequestParameters, Trail, UserIdentity, bounded},
    authn::Proved,
    client::Client,
    clock::Timestamp,
    error::{Code, KmsError},
    identity::Identity,
    key::reference::KeyId,
};

/// The longest module id of an enclave in a record, in bytes; a real one has 50.
const MAX_MODULE_ID_BYTES: usize = 256;

/// The operation that a call names.
pub struct NamedOperation {
    /// The operation's name, and true if it changes nothing; `None` if there is no such operation.
    pub operation: Option<(&'static str, bool)>,
    /// The text by which the caller names it.
    pub target: String,
}

/// The caller that a request names, before its signature is verified.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The id of the access key.
    pub access_key_id: String,
    /// The region that the call is for.
    pub region: String,
}

/// The record of one call, collected while it is served.
pub struct Record {
    /// The request id, which the answer carries.
    pub request_id: Uuid,
    /// The event id, which the audit record carries.
    pub event_id: Uuid,
    /// The time of the call.
    pub time: Timestamp,
    /// The client that sent it.
    pub client: Client,
    /// Keys and other things that the call is about.
    pub notes: Notes,
    /// The region of the call, once it is known.
    pub region: String,
    /// Members of the request, once the caller is authenticated.
    pub parameters: RequestParameters,
    identity: Option<Identity>,
    claimed: Option<String>,
    named: NamedOperation,
}

/// The keys and other things that a call is about.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Key ARNs.
    pub resources: Vec<String>,
    /// The keys of the caller's realm among them.
    pub keys: Vec<KeyId>,
    /// The attested recipient of a plaintext, and the grant that the call was about or allowed by.
    pub additional: Map<String, Value>,
    /// True if the record is stored already, with the change that the call has made.
    pub is_recorded: bool,
}

impl Record {
    /// The record of a call whose caller is not authenticated yet.
    pub fn new(time: Timestamp, named: NamedOperation, client: Client) -> Self {
        Self {
            request_id: Uuid::new_v4(),
            event_id: Uuid::new_v4(),
            time,
            client,
            notes: Notes::default(),
            region: String::new(),
            parameters: RequestParameters::default(),
            identity: None,
            claimed: None,
            named,
        }
    }

    /// Notes the caller that the request names.
    pub fn claim(&mut self, claimed: Option<Claimed>) {
        let Some(Claimed { access_key_id, region }) = claimed else { return };
        self.claimed = Some(access_key_id);
        self.region = region;
    }

    /// Notes the authenticated caller.
    pub fn prove(&mut self, proved: &Proved) {
        self.identity = Some(proved.identity().clone());
        proved.region().clone_into(&mut self.region);
    }

    /// True if the caller is authenticated.
    pub fn is_proved(&self) -> bool {
        self.identity.is_some()
    }

    /// The operation's name, for metrics; `Unknown` for a name that the caller made up.
    pub fn operation_name(&self) -> &'static str {
        self.named.operation.map_or("Unknown", |(name, _)| name)
    }

    /// Writes the audit record.
    ///
    /// # Errors
    /// As the trail answers.
    pub async fn write(&self, trail: &Trail, account: &AccountId, error: Option<&KmsError>) -> Result<(), AuditError> {
        let additional = self.notes.additional(error.and_then(|error| error.denial));
        trail.record(&self.event(account, &self.notes, &additional, error)).await
    }

    /// The record of the call with `notes`, as one that succeeded.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn line(&self, account: &AccountId, notes: &Notes) -> Result<String, serde_json::Error> {
        self.event(account, notes, &notes.additional(None), None).line()
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
            event_name: self.named.operation.map_or(&self.named.target, |(name, _)| name),
            region: &self.region,
            source_ip: self.client.source_ip,
            user_agent: &self.client.user_agent,
            caller: self.caller(),
            parameters: self.parameters.as_json(),
            resources: &notes.resources,
            account: account.as_str(),
            read_only: self.named.operation.is_some_and(|(_, read_only)| read_only),
            additional,
            error: error.map(event_error),
        }
    }

    fn caller(&self) -> UserIdentity<'_> {
        match (&self.identity, &self.claimed) {
            (Some(identity), _) => UserIdentity::Proved(identity),
            (None, Some(id)) => UserIdentity::Claimed(id),
            (None, None) => UserIdentity::Unknown,
        }
    }
}

impl Notes {
    /// These notes, replaced by those of a later decision where there was one.
    pub fn decided(&self, decided: Option<Self>) -> Self {
        let Some(mut decided) = decided else { return self.clone() };
        decided.additional.extend(self.additional.clone());
        decided
    }

    /// `additionalEventData`, with the reason if policies denied the call.
    fn additional(&self, denial: Option<&'static str>) -> Value {
        let mut additional = self.additional.clone();
        additional.extend(denial.map(|reason| ("denialReason".to_owned(), reason.into())));
        if additional.is_empty() { Value::Null } else { Value::Object(additional) }
    }
}

/// The error as CloudTrail writes it, whose code for a denial is shorter than the exception.
fn event_error(error: &KmsError) -> EventError<'_> {
    let code = match error.code {
        Code::AccessDeniedException => "AccessDenied",
        code => code.as_str(),
    };
    EventError { code, message: error.message.as_deref() }
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
