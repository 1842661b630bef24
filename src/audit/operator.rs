//! The audit record of an operator's verb on the command line. CloudTrail has no record of this kind, so `eventSource`, `eventType`
//! and the type of `userIdentity` are Strongroom's own.

use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::Value;
use uuid::Uuid;

use super::event::{AsText, bounded, line};
use crate::{clock::Timestamp, identity::OsUser};

/// The longest name or error message in a record, in bytes.
const LONGEST_MESSAGE: usize = 1024;

/// The audit record of something that an operator did, or was about to do.
#[derive(Debug, Clone)]
pub struct OperatorEvent<'a> {
    /// The id of the record.
    pub event_id: Uuid,
    /// When it was done.
    pub time: Timestamp,
    /// The name of the event.
    pub event_name: &'a str,
    /// The operator.
    pub os_user: &'a OsUser,
    /// The account of the deployment.
    pub account: &'a str,
    /// The arguments of the verb, without anything secret; `null` for none.
    pub parameters: &'a Value,
    /// The error message, if it failed.
    pub error: Option<&'a str>,
}

impl OperatorEvent<'_> {
    /// The record: one line of JSON, with its newline.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which would be a defect.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        line(self)
    }
}

const NAME: &str = "strongroom";
const HERE: &str = "localhost";

impl Serialize for OperatorEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Record", 17)?;
        out.serialize_field("eventVersion", "1.11")?;
        out.serialize_field("userIdentity", &OperatorIdentity { account: self.account, os_user: self.os_user })?;
        out.serialize_field("eventTime", &AsText(self.time))?;
        out.serialize_field("eventSource", NAME)?;
        out.serialize_field("eventName", self.event_name)?;
        out.serialize_field("awsRegion", "")?;
        out.serialize_field("sourceIPAddress", HERE)?;
        out.serialize_field("userAgent", concat!("strongroom/", env!("CARGO_PKG_VERSION")))?;
        if let Some(error) = self.error {
            out.serialize_field("errorCode", "Failed")?;
            out.serialize_field("errorMessage", &bounded(error, LONGEST_MESSAGE))?;
        }
        out.serialize_field("requestParameters", self.parameters)?;
        out.serialize_field("responseElements", &Value::Null)?;
        out.serialize_field("eventID", &self.event_id)?;
        out.serialize_field("readOnly", &false)?;
        out.serialize_field("eventType", "OperatorCommand")?;
        out.serialize_field("managementEvent", &true)?;
        out.serialize_field("recipientAccountId", self.account)?;
        out.serialize_field("eventCategory", "Management")?;
        out.end()
    }
}

struct OperatorIdentity<'a> {
    account: &'a str,
    os_user: &'a OsUser,
}

impl Serialize for OperatorIdentity<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OsUser { user_id, user_name, sudo_user, login_user_id } = self.os_user;
        let mut out = serializer.serialize_struct("UserIdentity", 6)?;
        out.serialize_field("type", "Operator")?;
        out.serialize_field("accountId", self.account)?;
        out.serialize_field("userId", user_id)?;
        if let Some(name) = user_name {
            out.serialize_field("userName", &bounded(name, LONGEST_MESSAGE))?;
        }
        if let Some(name) = sudo_user {
            out.serialize_field("sudoUser", &bounded(name, LONGEST_MESSAGE))?;
        }
        if let Some(id) = login_user_id {
            out.serialize_field("loginUserId", id)?;
        }
        out.end()
    }
}
