//! The AWS door: JSON 1.1 over HTTP into the service, and its answers back (AWS JSON 1.1 protocol).
//!
//! Only POST with `application/x-amz-json-1.1` is a call; any other content type gets AWS's 404 and any other method a bare
//! 405, and neither leaves an audit record, for it is no call of the API. A call whose client has gone is finished and recorded
//! all the same. Buffers of the HTTP and TLS libraries are not wiped; ours are.

mod body;
mod budget;
mod cors;
mod signature;

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use http::request::Parts;
use serde::Serialize;
use uuid::Uuid;

use self::budget::Budget;
pub use self::cors::Origin;
use crate::{
    audit::RequestParameters,
    call::{Call, Calls, Reply},
    client::Client,
    error::{Code, KmsError},
    operations,
};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The limits of request bodies.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimits {
    /// Longest body.
    pub body_bytes: usize,
    /// Memory for all large bodies together, in bytes.
    pub all_bodies_bytes: usize,
    /// Time for the body.
    pub body_timeout: Duration,
}

/// Where a request came from: the client's address.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// How a request came here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrival {
    /// Where it came from; `None` where that is not known.
    pub peer: Option<Peer>,
    /// True if it came over TLS.
    pub over_tls: bool,
}

impl Peer {
    /// The network of the peer: its IPv4 address, or its IPv6 prefix, within which one client may have every address.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
            address => address,
        }
    }
}

/// The unspecified address, which stands for an unknown peer.
impl Default for Peer {
    fn default() -> Self {
        Self(Ipv6Addr::UNSPECIFIED.into())
    }
}

/// The answer to a request.
pub struct Answer {
    /// The answer itself.
    pub response: Response,
    /// True if the request was authenticated, whether or not it was allowed.
    pub is_authenticated: bool,
}

impl From<Response> for Answer {
    /// The answer to a request that was not authenticated.
    fn from(response: Response) -> Self {
        Self { response, is_authenticated: false }
    }
}

/// The door. It serves every path, since clients sign and send the path that their endpoint URL has.
pub struct Api {
    calls: Arc<Calls>,
    limits: BodyLimits,
    budget: Budget,
    origins: Box<[Origin]>,
}

/// The door as a router, whose requests came nobody knows how.
pub fn router(calls: Arc<Calls>, limits: BodyLimits, origins: &[Origin]) -> Router {
    let api = Arc::new(Api::new(calls, limits, origins));
    Router::new().fallback(async move |request: Request<Body>| api.answer(Arrival::default(), request).await.response)
}

impl Api {
    /// The door to these calls. Pages of these origins may call.
    pub fn new(calls: Arc<Calls>, limits: BodyLimits, origins: &[Origin]) -> Self {
        let budget = Budget::new(limits.all_bodies_bytes, limits.body_bytes);
        Self { calls, limits, budget, origins: origins.into() }
    }

    /// Answers a request.
    pub async fn answer<B>(&self, arrival: Arrival, request: Request<B>) -> Answer
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let (head, body) = request.into_parts();
        let origin = cors::allowed(&self.origins, &head.headers);
        let mut answer = match origin.as_ref().and_then(|_| cors::preflight(&head)) {
            Some(preflight) => preflight.into(),
            None => self.answer_call(arrival, head, body).await,
        };
        if let Some(origin) = origin {
            cors::share(&mut answer.response, origin);
        }
        answer
    }

    async fn answer_call<B>(&self, arrival: Arrival, head: Parts, body: B) -> Answer
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        if head.method != Method::POST {
            return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response().into();
        }
        if !is_json_1_1(&head.headers) {
            return foreign_content_type().into();
        }
        let body = body::read(self, arrival, &head, body).await;
        let call = call(arrival, &head);
        let operation = call.operation;
        let kms = Arc::clone(self.calls.kms());
        let prove = move || async move {
            let (proved, entry, body) = signature::prove(&kms, &head, operation, body).await?;
            Ok((proved, move |shown: &mut RequestParameters| entry.read(&body, shown)))
        };
        respond(self.calls.perform(call, prove).await)
    }
}

/// The call that a head is of.
fn call(arrival: Arrival, head: &Parts) -> Call {
    let client = Client {
        source_ip: arrival.peer.map(|Peer(address)| address),
        secure_transport: arrival.over_tls,
        user_agent: signature::header(&head.headers, &header::USER_AGENT).to_owned(),
    };
    let target = signature::header(&head.headers, &signature::TARGET);
    Call { operation: operations::find(target), target: target.to_owned(), client }
}

/// The answer to a request that nobody reads, because there is no room for another connection.
pub fn no_room() -> Response {
    let text = "There are too many connections. You can retry the request.";
    let Answer { mut response, .. } = respond(Reply::refusal(KmsError::new(Code::ServiceUnavailableException, text)));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Parameters such as `; charset=utf-8` are tolerated.
fn is_json_1_1(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(CONTENT_TYPE)
}

/// The answer of AWS's front end to another protocol.
fn foreign_content_type() -> Response {
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/xml")], "<UnknownOperationException/>\n").into_response()
}

/// The exception as JSON 1.1 carries it. AWS writes the message of a denial with a capital letter.
#[derive(Serialize)]
struct Exception<'a> {
    #[serde(rename = "__type")]
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
    denial: Option<&'a str>,
}

fn respond(Reply { request_id, proved, outcome }: Reply<operations::Body>) -> Answer {
    let (status, body) = match outcome {
        Ok(body) => (StatusCode::OK, Bytes::from_owner(body)),
        Err(error) => {
            let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Bytes::from(exception(&error)))
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // In AWS's order.
    if let Ok(id) = HeaderValue::from_str(request_id.hyphenated().encode_lower(&mut Uuid::encode_buffer())) {
        headers.insert(REQUEST_ID, id);
    }
    // Some answers are secrets: nothing on the way may keep them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate, private"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Answer { response, is_authenticated: proved }
}

fn exception(error: &KmsError) -> Vec<u8> {
    let message = error.message.as_deref();
    let denied = error.code == Code::AccessDeniedException;
    let (message, denial) = if denied { (None, message) } else { (message, None) };
    serde_json::to_vec(&Exception { code: error.code.as_str(), message, denial }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_ipv6_network_is_one_client() {
        let network = |address: &str| Peer(address.parse().unwrap()).network();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
    }
}
