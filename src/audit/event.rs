//! The audit record of one call, in CloudTrail's form (AWS CloudTrail: "CloudTrail record contents for management, data, and network
//! activity events").
//!
//! Texts that the caller chooses are bounded and have no control characters. The bounds are tight for a caller who has not
//! authenticated. Escapes of JSON keep such a text from looking like other members.

use std::{borrow::Cow, fmt, net::IpAddr};

use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    clock::Timestamp,
    identity::Identity,
    principal::{Principal, PrincipalKind},
};

/// The longest texts in a record that the caller chooses, in bytes.
struct TextLimits {
    /// Names: of the client, its access key, the region or an operation.
    name: usize,
    /// The error message.
    message: usize,
}

const OF_PROVED: TextLimits = TextLimits { name: 1024, message: 1024 };
/// Four names and a message, each character of which needs an escape, and what every record has are less than 2 KiB.
const OF_UNPROVED: TextLimits = TextLimits { name: 96, message: 256 };

/// One call, answered or refused.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// The id of the record.
    pub event_id: Uuid,
    /// When the call came in.
    pub time: Timestamp,
    /// The request id that the answer carries.
    pub request_id: Uuid,
    /// The name of the operation, or the text that the caller sent instead of one.
    pub event_name: &'a str,
    /// The region of the call.
    pub region: &'a str,
    /// The address that the call came from.
    pub source_ip: Option<IpAddr>,
    /// The `User-Agent` of the client.
    pub user_agent: &'a str,
    /// The caller.
    pub caller: UserIdentity<'a>,
    /// The request, without anything secret.
    pub parameters: &'a Value,
    /// ARNs of the keys that the call was about.
    pub resources: &'a [String],
    /// The account that owns the keys.
    pub account: &'a str,
    /// True if the operation changes nothing.
    pub read_only: bool,
    /// `additionalEventData`: the recipient that gets the plaintext instead of the caller, and the grant that allowed the call;
    /// `null` for neither.
    pub additional: &'a Value,
    /// The error, if the call failed.
    pub error: Option<EventError<'a>>,
}

/// The caller of an audited call (AWS CloudTrail: "CloudTrail userIdentity element").
#[derive(Debug, Clone, Copy)]
pub enum UserIdentity<'a> {
    /// A caller whose signature was verified.
    Proved(&'a Identity),
    /// A caller whose signature was not verified: the access key id that the request names.
    Claimed(&'a str),
    /// A request that names no access key.
    Unknown,
}

/// The error with which a call was answered.
#[derive(Debug, Clone, Copy)]
pub struct EventError<'a> {
    /// The exception.
    pub code: &'a str,
    /// Its message.
    pub message: Option<&'a str>,
}

impl UserIdentity<'_> {
    fn limits(&self) -> TextLimits {
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

/// Initial capacity of a line, in bytes: most records have no more.
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
        let limits = event.caller.limits();
        let mut out = serializer.serialize_struct("Record", 21)?;
        out.serialize_field("eventVersion", "1.11")?;
        out.serialize_field("userIdentity", &event.caller)?;
        out.serialize_field("eventTime", &AsText(event.time))?;
        out.serialize_field("eventSource", "kms.amazonaws.com")?;
        out.serialize_field("eventName", &bounded(event.event_name, limits.name))?;
        out.serialize_field("awsRegion", &bounded(event.region, limits.name))?;
        out.serialize_field("sourceIPAddress", &SourceIp(event.source_ip))?;
        out.serialize_field("userAgent", &bounded(event.user_agent, limits.name))?;
        if let Some(error) = &event.error {
            out.serialize_field("errorCode", error_code(error.code))?;
            if let Some(message) = error.message {
                out.serialize_field("errorMessage", &bounded(message, limits.message))?;
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
        out.serialize_field("resources", &KeyResources { account: event.account, arns: event.resources })?;
        out.serialize_field("eventType", "AwsApiCall")?;
        out.serialize_field("managementEvent", &true)?;
        out.serialize_field("recipientAccountId", event.account)?;
        out.serialize_field("eventCategory", "Management")?;
        out.end()
    }
}

/// The audit record of something that the service did of its own accord (AWS KMS: "DeleteKey", "DeleteExpiredKeyMaterial" and their like among
/// the examples of CloudTrail records).
#[derive(Debug, Clone)]
pub struct ServiceEvent<'a> {
    /// The id of the record.
    pub event_id: Uuid,
    /// When it was done.
    pub time: Timestamp,
    /// The name of the event.
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

/// CloudTrail's text in the place of a caller, where there is none.
const NO_CALLER: &str = "AWS Internal";

impl Serialize for ServiceEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Record", 18)?;
        out.serialize_field("eventVersion", "1.11")?;
        out.serialize_field("userIdentity", &ServiceIdentity { account: self.account, invoked_by: NO_CALLER })?;
        out.serialize_field("eventTime", &AsText(self.time))?;
        out.serialize_field("eventSource", "kms.amazonaws.com")?;
        out.serialize_field("eventName", self.event_name)?;
        out.serialize_field("awsRegion", self.region)?;
        out.serialize_field("sourceIPAddress", NO_CALLER)?;
        out.serialize_field("userAgent", NO_CALLER)?;
        out.serialize_field("requestParameters", &Value::Null)?;
        out.serialize_field("responseElements", self.response)?;
        out.serialize_field("eventID", &self.event_id)?;
        out.serialize_field("readOnly", &false)?;
        let key = [self.key.to_owned()];
        out.serialize_field("resources", &KeyResources { account: self.account, arns: &key })?;
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
struct ServiceIdentity<'a> {
    #[serde(rename = "accountId")]
    account: &'a str,
    invoked_by: &'a str,
}

/// CloudTrail drops the ending of this one exception.
fn error_code(code: &str) -> &str {
    if code == "AccessDeniedException" { "AccessDenied" } else { code }
}

/// Bytes for the mark of a text that was cut: "… (1048576 bytes)".
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

/// Serializes a value as the text that its `Display` writes.
pub(super) struct AsText<T>(pub(super) T);

impl<T: fmt::Display> Serialize for AsText<T> {
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

impl Serialize for UserIdentity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("UserIdentity", 6)?;
        match self {
            Self::Proved(identity) => {
                write_principal::<S>(&mut out, &identity.principal)?;
                out.serialize_field("accessKeyId", &identity.access_key_id)?;
                if let PrincipalKind::User { name } = identity.principal.kind() {
                    out.serialize_field("userName", name)?;
                }
            }
            Self::Claimed(access_key_id) => {
                out.serialize_field("type", "Unknown")?;
                out.serialize_field("accessKeyId", &bounded(access_key_id, self.limits().name))?;
            }
            Self::Unknown => out.serialize_field("type", "Unknown")?,
        }
        out.end()
    }
}

fn write_principal<S: Serializer>(out: &mut S::SerializeStruct, principal: &Principal) -> Result<(), S::Error> {
    let kind = match principal.kind() {
        PrincipalKind::Root => "Root",
        PrincipalKind::User { .. } => "IAMUser",
        PrincipalKind::Role { .. } => "Role",
        PrincipalKind::Session { .. } => "AssumedRole",
    };
    out.serialize_field("type", kind)?;
    if matches!(principal.kind(), PrincipalKind::Root) {
        out.serialize_field("principalId", principal.account())?;
    }
    out.serialize_field("arn", principal.arn())?;
    out.serialize_field("accountId", principal.account())
}

struct KeyResources<'a> {
    account: &'a str,
    arns: &'a [String],
}

impl Serialize for KeyResources<'_> {
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
