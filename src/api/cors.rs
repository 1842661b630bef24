//! Browsers (Fetch standard: "CORS protocol"): pages of which origins may call, as AWS's endpoint lets those of any. Nobody is
//! given a permission by it: each call is signed, and nothing is known of a caller but by the signature.

use std::fmt;

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use serde::{Deserialize, Serialize};

/// How long a browser may keep what it was told, in seconds: two days, as AWS says.
const MAX_AGE: HeaderValue = HeaderValue::from_static("172800");
/// The headers of an answer that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date");

/// An origin whose pages may call, such as `https://console.example.com`, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

impl TryFrom<String> for Origin {
    type Error = String;

    /// Browsers write an origin in one way: in small letters, and without the path that a URL has.
    fn try_from(text: String) -> Result<Self, String> {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b);
        match text == "*" || !host.is_empty() && host.bytes().all(is_plain) {
            true => Ok(Self(text)),
            false => Err(format!("`{text}` is not an origin, such as https://console.example.com, and not *")),
        }
    }
}

impl From<Origin> for String {
    fn from(Origin(text): Origin) -> Self {
        text
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// With whom an answer is shared: the page's own origin, or everybody. `None` if it is no page's request, or of one that may
/// not call.
pub(super) fn allowed(origins: &[Origin], headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let is_any = origins.iter().any(|Origin(allowed)| allowed == "*");
    let is_named = || origins.iter().any(|Origin(allowed)| allowed.as_bytes() == origin.as_bytes());
    if is_any { Some(HeaderValue::from_static("*")) } else { is_named().then(|| origin.clone()) }
}

/// The answer to a browser that asks whether a page may call at all; `None` if it does not ask.
pub(super) fn preflight(head: &Parts) -> Option<Response> {
    let asked = &head.headers;
    if head.method != Method::OPTIONS || !asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let mut answer = Response::new(Body::empty());
    let headers = answer.headers_mut();
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    Some(answer)
}

/// Lets a page of this origin read the answer.
pub(super) fn share(answer: &mut Response, origin: HeaderValue) {
    let headers = answer.headers_mut();
    if origin != "*" {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(texts: &[&str]) -> Vec<Origin> {
        texts.iter().map(|text| Origin::try_from((*text).to_owned()).unwrap()).collect()
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in ["*", "https://a.example", "http://localhost:3000", "https://[::1]:8443"] {
            assert!(Origin::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in
            ["", "a.example", "https://", "https://a.example/", "https://A.example", "null", "ftp://a", "https://*.a"]
        {
            assert!(Origin::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_answer_is_shared_with_who_may_call_and_nobody_else() {
        let page = |origin: &'static str| HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
        let two = origins(&["https://a.example", "https://b.example:8443"]);
        assert_eq!(allowed(&two, &page("https://b.example:8443")).unwrap(), "https://b.example:8443");
        for other in ["https://b.example", "https://a.example.evil", "null", "*", "http://a.example"] {
            assert_eq!(allowed(&two, &page(other)), None, "{other}");
        }
        assert_eq!(allowed(&origins(&["*"]), &page("https://anybody.example")).unwrap(), "*");
        assert_eq!(allowed(&origins(&["*"]), &HeaderMap::new()), None);
        assert_eq!(allowed(&[], &page("https://a.example")), None);
    }
}
