//! One call as CloudTrail writes it (AWS CloudTrail: "CloudTrail record contents for management, data, and network
//! activity events").
//!
//! What a caller can write into a record is bounded and has no control characters, tightly where nothing proved who it is;
//! JSON keeps the rest in its place.

use std::{borrow::Cow, fmt, net::IpAddr};

use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    identity::Identity,
    principal::{Kind, Principal},
};

/// The longest texts that a record repeats, in bytes.
struct Longest {
    /// Of what the caller calls itself, its access key or an operation.
    name: usize,
    /// Of what the caller was told.
    message: usize,
}

const OF_PROVED: Longest = Longest { name: 1024, message: 1024 };
/// Four names and a message, each character of which needs an escape, and what every record has are less than 2 KiB.
const OF_UNPROVED: Longest = Longest { name: 96, message: 256 };

/// One call, answered or refused.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// The record's own name.
    pub event_id: Uuid,
    /// When the call came in.
    pub time: Timestamp,
    /// The request id that the answer carries.
    pub request_id: Uuid,
    /// The operation, or what the caller asked for instead of one.
    pub event_name: &'a str,
    /// The region of the call.
    pub region: &'a str,
    /// The address that the call came from.
    pub source_ip: Option<IpAddr>,
    /// What the client calls itself.
    pub user_agent: &'a str,
    /// Who called.
    pub caller: Caller<'a>,
    /// The request, without anything secret.
    pub parameters: &'a Value,
    /// ARNs of the keys that the call was about.
    pub resources: &'a [String],
    /// The account that owns the keys.
    pub account: &'a str,
    /// Whether the operation changes nothing.
    pub read_only: bool,
    /// What `additionalEventData` has: who was to get the plaintext instead of the caller, which grant it was; `null` for
    /// nothing.
    pub additional: &'a Value,
    /// How the call failed, if it did.
    pub error: Option<Failure<'a>>,
}

/// Who called.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// The signature proved it.
    Proved(&'a Identity),
    /// Nothing proved it; this is the access key id that the request names.
    Claimed(&'a str),
    /// The request names nobody.
    Unknown,
}

/// How a call failed: what the caller was told.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// The exception.
    pub code: &'a str,
    /// Its message.
    pub message: Option<&'a str>,
}

impl Caller<'_> {
    fn longest(&self) -> Longest {
        match self {
            Self::Proved(_) => OF_PROVED,
            Self::Claimed(_) | Self::Unknown => OF_UNPROVED,
        }
    }
}

impl Event<'_> {
    /// The record: one line of JSON, with its newline.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which would be a defect.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        line(self)
    }
}

/// Room for most records.
const LINE_CAPACITY: usize = 2048;

pub(super) fn line(record: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut line = Vec::with_capacity(LINE_CAPACITY);
    serde_json::to_writer(&mut line, record)?;
    line.push(b'\n');
    String::from_utf8(line).map_err(serde::de::Error::custom)
}

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self;
        let longest = event.caller.longest();
        let mut out = serializer.serialize_struct("Record", 21)?;
        out.serialize_field("eventVersion", "1.11")?;
        out.serialize_field("userIdentity", &event.caller)?;
        out.serialize_field("eventTime", &Shown(event.time))?;
        out.serialize_field("eventSource", "kms.amazonaws.com")?;
        out.serialize_field("eventName", &bounded(event.event_name, longest.name))?;
        out.serialize_field("awsRegion", &bounded(event.region, longest.name))?;
        out.serialize_field("sourceIPAddress", &SourceIp(event.source_ip))?;
        out.serialize_field("userAgent", &bounded(event.user_agent, longest.name))?;
        if let Some(failure) = &event.error {
            out.serialize_field("errorCode", error_code(failure.code))?;
            if let Some(message) = failure.message {
                out.serialize_field("errorMessage", &bounded(message, longest.message))?;
            }
        }
        out.serialize_field("requestParameters", event.parameters)?;
        out.serialize_field("responseElements", &Value::Null)?;
        if !event.additional.is_null() {
            out.serialize_field("additionalEventData", event.additional)?;
        }
        out.serialize_field("requestID", &event.request_id)?;
        out.serialize_field("eventID", &event.event_id)?;
        out.serialize_field("readOnly", &event.read_only)?;
        out.serialize_field("resources", &Resources { account: event.account, arns: event.resources })?;
        out.serialize_field("eventType", "AwsApiCall")?;
        out.serialize_field("managementEvent", &true)?;
        out.serialize_field("recipientAccountId", event.account)?;
        out.serialize_field("eventCategory", "Management")?;
        out.end()
    }
}

/// Something that the service did of its own accord (AWS KMS: "DeleteKey", "DeleteExpiredKeyMaterial" and their like among
/// the examples of CloudTrail records).
#[derive(Debug, Clone)]
pub struct ServiceEvent<'a> {
    /// The record's own name.
    pub event_id: Uuid,
    /// When it was done.
    pub time: Timestamp,
    /// What was done.
    pub event_name: &'a str,
    /// The region of the key.
    pub region: &'a str,
    /// The ARN of the key.
    pub key: &'a str,
    /// The account that owns the key.
    pub account: &'a str,
    /// `responseElements`, `null` for none.
    pub response: &'a Value,
    /// `serviceEventDetails`, `null` for none.
    pub details: &'a Value,
}

impl ServiceEvent<'_> {
    /// The record: one line of JSON, with its newline.
    ///
    /// # Errors
    /// As [`Event::line`].
    pub fn line(&self) -> Result<String, serde_json::Error> {
        line(self)
    }
}

/// What CloudTrail has in the place of whoever would call.
const NOBODY: &str = "AWS Internal";

impl Serialize for ServiceEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Record", 18)?;
        out.serialize_field("eventVersion", "1.11")?;
        out.serialize_field("userIdentity", &Service { account: self.account, invoked_by: NOBODY })?;
        out.serialize_field("eventTime", &Shown(self.time))?;
        out.serialize_field("eventSource", "kms.amazonaws.com")?;
        out.serialize_field("eventName", self.event_name)?;
        out.serialize_field("awsRegion", self.region)?;
        out.serialize_field("sourceIPAddress", NOBODY)?;
        out.serialize_field("userAgent", NOBODY)?;
        out.serialize_field("requestParameters", &Value::Null)?;
        out.serialize_field("responseElements", self.response)?;
        out.serialize_field("eventID", &self.event_id)?;
        out.serialize_field("readOnly", &false)?;
        let key = [self.key.to_owned()];
        out.serialize_field("resources", &Resources { account: self.account, arns: &key })?;
        out.serialize_field("eventType", "AwsServiceEvent")?;
        out.serialize_field("managementEvent", &true)?;
        out.serialize_field("recipientAccountId", self.account)?;
        if !self.details.is_null() {
            out.serialize_field("serviceEventDetails", self.details)?;
        }
        out.serialize_field("eventCategory", "Management")?;
        out.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Service<'a> {
    #[serde(rename = "accountId")]
    account: &'a str,
    invoked_by: &'a str,
}

/// CloudTrail drops the ending of this one exception.
fn error_code(code: &str) -> &str {
    if code == "AccessDeniedException" { "AccessDenied" } else { code }
}

/// Room for the mark of a text that was cut: "… (1048576 bytes)".
const MARK_BYTES: usize = 24;

/// A caller's text with control characters as spaces, and in at most `max` bytes: a longer one ends in a mark that says how
/// long it was.
pub fn bounded(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return clean(text);
    }
    let beginning = clean(&text[..text.floor_char_boundary(max.saturating_sub(MARK_BYTES))]);
    Cow::Owned(format!("{beginning}… ({} bytes)", text.len()))
}

/// Control characters as spaces.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    // Nearly all texts are plain ASCII, which is seen faster byte by byte.
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain || !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(char::is_control, " "))
}

/// A value as its `Display` writes it.
pub(super) struct Shown<T>(pub(super) T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// An address; empty where a door knows none.
struct SourceIp(Option<IpAddr>);

impl Serialize for SourceIp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(address) => serializer.collect_str(&address),
            None => serializer.serialize_str(""),
        }
    }
}

/// AWS CloudTrail: "CloudTrail userIdentity element".
impl Serialize for Caller<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("UserIdentity", 6)?;
        match self {
            Self::Proved(identity) => {
                write_principal::<S>(&mut out, &identity.principal)?;
                out.serialize_field("accessKeyId", &identity.access_key_id)?;
                if let Kind::User { name } = identity.principal.kind() {
                    out.serialize_field("userName", name)?;
                }
            }
            Self::Claimed(access_key_id) => {
                out.serialize_field("type", "Unknown")?;
                out.serialize_field("accessKeyId", &bounded(access_key_id, self.longest().name))?;
            }
            Self::Unknown => out.serialize_field("type", "Unknown")?,
        }
        out.end()
    }
}

fn write_principal<S: Serializer>(out: &mut S::SerializeStruct, principal: &Principal) -> Result<(), S::Error> {
    let kind = match principal.kind() {
        Kind::Root => "Root",
        Kind::User { .. } => "IAMUser",
        Kind::Role { .. } => "Role",
        Kind::Session { .. } => "AssumedRole",
    };
    out.serialize_field("type", kind)?;
    if matches!(principal.kind(), Kind::Root) {
        out.serialize_field("principalId", principal.account())?;
    }
    out.serialize_field("arn", principal.arn())?;
    out.serialize_field("accountId", principal.account())
}

struct Resources<'a> {
    account: &'a str,
    arns: &'a [String],
}

impl Serialize for Resources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let resources = self.arns.iter().map(|arn| KeyResource { account: self.account, kind: KeyType::Key, arn });
        serializer.collect_seq(resources)
    }
}

#[derive(Serialize)]
struct KeyResource<'a> {
    #[serde(rename = "accountId")]
    account: &'a str,
    #[serde(rename = "type")]
    kind: KeyType,
    #[serde(rename = "ARN")]
    arn: &'a str,
}

#[derive(Serialize)]
enum KeyType {
    #[serde(rename = "AWS::KMS::Key")]
    Key,
}
