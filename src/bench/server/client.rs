//! A client of a server that asks for single things: keys before the load, their deletion after it.

use std::env;

use serde_json::Value;

use super::{caller::exception, connection::Connection, endpoint::Endpoint, request::Sender};
use crate::{cli::bench::BenchArgs, secret::SecretText};

/// A client of one server, with its credentials.
pub struct Client {
    pub endpoint: Endpoint,
    /// The server's URL as it was given.
    pub url: String,
    access_key_id: String,
    secret: SecretText,
    pub region: String,
}

impl Client {
    /// As arguments name it, and where they do not, the variables that AWS's own clients read.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn of(arguments: &BenchArgs) -> Result<Self, String> {
        let url = or_variable(arguments.endpoint_url.as_ref(), &["AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"]);
        let url = url.ok_or("no server: name it by --endpoint-url or AWS_ENDPOINT_URL_KMS")?;
        let region = or_variable(arguments.region.as_ref(), &["AWS_REGION", "AWS_DEFAULT_REGION"]);
        let region = region.ok_or("no region: name it by --region or AWS_REGION")?;
        let credential = |name| or_variable(None, &[name]).ok_or_else(|| format!("no credentials: {name} is not set"));
        let ca_bundle = arguments.ca_bundle.clone().or_else(|| or_variable(None, &["AWS_CA_BUNDLE"]).map(Into::into));
        Ok(Self {
            endpoint: Endpoint::parse(&url, ca_bundle.as_deref())?,
            url,
            access_key_id: credential("AWS_ACCESS_KEY_ID")?,
            secret: credential("AWS_SECRET_ACCESS_KEY")?.into(),
            region,
        })
    }

    /// A signed request.
    pub fn sign(&self, operation: &str, body: &Value) -> Vec<u8> {
        let Self { endpoint, access_key_id, secret, region, .. } = self;
        Sender { host: &endpoint.host, access_key_id, secret, region }.sign(operation, body)
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// The exception with its message, if it is not done.
    pub async fn ask(&self, operation: &str, body: &Value) -> Result<Value, String> {
        let failed = |error| format!("{}: {error}", self.url);
        let mut connection = Connection::to(&self.endpoint);
        let status = connection.ask(&self.sign(operation, body)).await.map_err(failed)?;
        let answer: Value = serde_json::from_slice(connection.body()).unwrap_or_default();
        if status == 200 {
            return Ok(answer);
        }
        let message = ["message", "Message"].iter().find_map(|name| answer.get(name)?.as_str());
        let name = exception(status, connection.body());
        Err(message.map_or_else(|| format!("{operation}: {name}"), |message| format!("{operation}: {name}: {message}")))
    }
}

/// What an argument says, or the first of these variables that says something.
fn or_variable(argument: Option<&String>, variables: &[&str]) -> Option<String> {
    let variable = || variables.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    argument.cloned().or_else(variable)
}
