//! The caller of a request, by the Signature Version 4 in its head.

use std::{ops::Deref, time::Instant};

use http::{HeaderMap, HeaderName, request::Parts};

use crate::{
    authn::Proved,
    call::Unproved,
    error::{Code, KmsError},
    kms::{Kms, record::Claimed},
    operations::{self, Entry},
    sigv4::{self, Claim, Received},
};

/// The header that names the operation.
pub(super) const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// A header as text; empty if it is not there, or is none.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The error of a head that cannot be authenticated whatever the body is. Checked before a long body is read.
///
/// # Errors
/// As such a call is answered, if it names no operation, has no valid authentication, or no access key that is enabled.
pub(super) fn vouch(kms: &Kms, head: &Parts) -> Result<(), KmsError> {
    operations::find(header(&head.headers, &TARGET)).ok_or_else(unknown_operation)?;
    let claim = claim(kms, head, &[])?;
    kms.authn().access_key(&claim).map(drop)
}

/// Proves who sent a request for `operation`, by the signature over its head and body; gives that operation and the body.
///
/// # Errors
/// As such a call is answered, with the access key that it names.
pub(super) async fn prove<B: Deref<Target = [u8]>>(
    kms: &Kms,
    head: &Parts,
    operation: Option<&'static Entry>,
    body: Result<B, KmsError>,
) -> Result<(Proved, &'static Entry, B), Unproved> {
    let began = Instant::now();
    let body = body.map_err(|error| Unproved { claimed: claim(kms, head, &[]).ok().map(claimed), error })?;
    let nobody = |error| Unproved { claimed: None, error };
    let entry = operation.ok_or_else(unknown_operation).map_err(nobody)?;
    let claim = claim(kms, head, &body).map_err(nobody)?;
    match kms.authn().identify(&claim, kms.deadline(began)).await {
        Ok(proved) => Ok((proved, entry, body)),
        Err(error) => Err(Unproved { claimed: Some(claimed(claim)), error }),
    }
}

/// The claim in the head of a request about its caller, to be proved with the body.
fn claim(kms: &Kms, head: &Parts, body: &[u8]) -> Result<Claim, KmsError> {
    let headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let received = Received {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &headers,
        body,
    };
    sigv4::claim(&received, kms.now(), |region| kms.serves(region))
}

fn claimed(claim: Claim) -> Claimed {
    Claimed { access_key_id: claim.access_key_id, region: claim.region }
}

fn unknown_operation() -> KmsError {
    KmsError::bare(Code::UnknownOperationException)
}
