//! A caller of a server, and the names of the errors that it gets.

use std::{io, sync::Arc, time::Duration};

use serde_json::Value;

use super::{connection::Connection, endpoint::Endpoint};
use crate::bench::load::Caller;

/// A connection over which one request is sent over and over.
pub struct ServerCaller {
    connection: Connection,
    request: Arc<[u8]>,
}

impl ServerCaller {
    /// So many callers of a server, each with a connection of its own.
    pub fn several(number: usize, endpoint: &Endpoint, request: &Arc<[u8]>) -> Vec<Self> {
        let one = |_| Self { connection: Connection::to(endpoint), request: Arc::clone(request) };
        (0..number).map(one).collect()
    }

    /// The body of the last answer.
    pub fn last_body(&self) -> &[u8] {
        self.connection.body()
    }
}

impl Caller for ServerCaller {
    async fn ask(&mut self) -> Result<(), String> {
        match self.connection.ask(&self.request).await {
            Ok(200) => Ok(()),
            Ok(status) => Err(exception(status, self.connection.body())),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err("no answer".to_owned()),
            Err(error) => {
                // A server that is away answers at once; without a pause, this would be all that is counted.
                tokio::time::sleep(Duration::from_millis(10)).await;
                Err(format!("connection: {}", error.kind()))
            }
        }
    }
}

/// The name of an exception, or the status of what is none.
pub(super) fn exception(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.get("__type").and_then(Value::as_str).map_or_else(|| format!("status {status}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_has_its_name_and_other_answers_their_status() {
        assert_eq!(exception(400, br#"{"__type":"ThrottlingException","message":"x"}"#), "ThrottlingException");
        assert_eq!(exception(404, b"<UnknownOperationException/>"), "status 404");
    }
}
