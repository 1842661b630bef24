//! The AWS door: JSON 1.1 over HTTP into the service, and its answers back (AWS JSON 1.1 protocol).

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    error::{Code, KmsError},
    kms::{Call, Kms, Reply},
};

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
/// How many times the longest body is read of one that is too long.
const PATIENCE: usize = 4;

/// What a client may take up with one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest body.
    pub body_bytes: usize,
    /// Time for the body.
    pub body_timeout: Duration,
}

/// Where a request came from; the accept loop puts it into each request.
#[derive(Debug, Clone)]
pub struct Peer(pub Arc<str>);

#[derive(Clone)]
struct Door {
    kms: Arc<Kms>,
    limits: Limits,
}

/// The door: every path, since clients sign and send whatever path their endpoint URL has.
pub fn router(kms: Arc<Kms>, limits: Limits) -> Router {
    Router::new().fallback(enter).with_state(Door { kms, limits })
}

async fn enter(State(door): State<Door>, request: Request) -> Response {
    if request.method() != Method::POST {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    }
    if !is_json_1_1(request.headers()) {
        return foreign_content_type();
    }
    let (head, body) = request.into_parts();
    let body = read(body, door.limits).await;
    let source_ip = head.extensions.get::<Peer>().map(|Peer(ip)| ip.to_string()).unwrap_or_default();
    let call = Call { head, body, source_ip };
    // A client that hangs up must not stop a call half way, between what it did and what is written down of it.
    let reply = tokio::spawn(async move { door.kms.perform(call).await }).await;
    respond(reply.unwrap_or_else(|panicked| {
        let outcome = Err(KmsError::internal(panicked));
        Reply { request_id: Uuid::new_v4(), outcome }
    }))
}

/// Parameters such as `; charset=utf-8` are tolerated.
fn is_json_1_1(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case(CONTENT_TYPE)
}

/// What AWS's front end says to another protocol.
fn foreign_content_type() -> Response {
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "text/xml")], "<UnknownOperationException/>\n").into_response()
}

/// The whole body, within its limits. The buffer is wiped when dropped, and made long enough at once, so that it does not
/// grow and leave copies behind.
async fn read(body: Body, limits: Limits) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(limits.body_bytes);
    let mut whole = Zeroizing::new(Vec::with_capacity(announced));
    let collected = tokio::time::timeout(limits.body_timeout, collect(body, limits.body_bytes, &mut whole)).await;
    match collected {
        Ok(Ok(length)) if length > limits.body_bytes => {
            let text = format!("The request body is longer than {} bytes.", limits.body_bytes);
            Err(KmsError::new(Code::RequestEntityTooLargeException, text))
        }
        Ok(Ok(_)) => Ok(whole),
        Ok(Err(_)) => Err(KmsError::bare(Code::SerializationException)),
        Err(_) => Err(KmsError::new(Code::RequestTimeoutException, "The request body did not arrive in time.")),
    }
}

/// Collects a body of up to `limit` bytes and answers its length. Of a longer one some more is read and forgotten, so
/// that a client that is still sending gets to read the answer.
async fn collect(mut body: Body, limit: usize, whole: &mut Vec<u8>) -> Result<usize, axum::Error> {
    let mut length: usize = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit {
            whole.extend_from_slice(&data);
        } else if length > limit.saturating_mul(PATIENCE) {
            break;
        }
    }
    Ok(length)
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

fn respond(Reply { request_id, outcome }: Reply) -> Response {
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
    if let Ok(id) = HeaderValue::from_str(&request_id.to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    // Some answers are secrets: nothing on the way may keep them.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate, private"));
    // What is left of an unread body is not the next request.
    if matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn exception(error: &KmsError) -> Vec<u8> {
    let message = error.message.as_deref();
    let denied = error.code == Code::AccessDeniedException;
    let (message, denial) = if denied { (None, message) } else { (message, None) };
    serde_json::to_vec(&Exception { code: error.code.as_str(), message, denial }).unwrap_or_default()
}
