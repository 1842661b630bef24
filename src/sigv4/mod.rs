//! AWS Signature Version 4: whose request is this, and did they sign it?
//!
//! 1. [`claim`] reads what a request says about itself and refuses all that is wrong whoever signed it, in AWS's order
//!    and with AWS's sentences.
//! 2. The caller looks up the access key that the [`Claim`] names.
//! 3. [`Claim::verify`] compares signatures. Nothing of a claim is to be believed before.
//!
//! A signature is valid for five minutes to either side of its date, as in AWS KMS; there is no other replay bound. Query
//! authentication (a presigned URL) is refused: no client presigns KMS calls.

mod canonical;
mod header;
mod key;
mod scope;

use std::{borrow::Cow, fmt};

use subtle::{Choice, ConstantTimeEq};

pub use self::key::{DateKey, SigningKey};
use self::{
    header::{Authorization, incomplete, shown, signed_names},
    scope::CredentialScope,
};
use crate::{
    clock::Timestamp,
    error::{Code, KmsError},
    secret::SecretText,
};

const SERVICE: &str = "kms";
const TERMINATOR: &str = "aws4_request";

/// How far the date of a request may be from now.
const MAX_SKEW_MS: i64 = 5 * 60 * 1000;

/// Headers that must be signed if they are there, because we act on them. Others may be added on the way by proxies,
/// and are left out by some clients (PHP does not sign `content-type`).
const ACTED_ON: [&str; 6] = [
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-source-account",
    "x-amz-source-arn",
    "x-amz-target",
];

/// Headers of which a second one would leave open which one was meant.
const ONCE: [&str; 9] = [
    "authorization",
    "date",
    "host",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-source-account",
    "x-amz-source-arn",
    "x-amz-target",
];

/// A request as it came in; for [`sign`], as it will go out.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The path as received: still encoded, without the query.
    pub path: &'a str,
    /// The query, which follows the `?`.
    pub query: Option<&'a str>,
    /// Names in lower case with their values, in the order received.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The bytes of the body.
    pub body: &'a [u8],
}

impl<'a> Received<'a> {
    /// Every value of a header.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(header, _)| *header == name).map(|(_, value)| *value)
    }

    /// A header as text. What is not UTF-8 cannot be valid where we read text; it is replaced so that it can be quoted.
    fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        // Headers are nearly always text, and looking is faster than replacing.
        self.all(name)
            .next()
            .map(|value| str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::from))
    }

    fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    fn has_query_authentication(&self) -> bool {
        let mut parameters = self.query.unwrap_or_default().split('&');
        parameters.any(|parameter| parameter.split('=').next() == Some("X-Amz-Algorithm"))
    }

    fn date_header(&self) -> &'static str {
        if self.has("x-amz-date") { "x-amz-date" } else { "date" }
    }
}

/// The claim of a request about who signed it. Not to be believed before [`Claim::verify`].
pub struct Claim {
    /// Which access key.
    pub access_key_id: String,
    /// The day of the signing key, `YYYYMMDD`.
    pub date: String,
    /// The region of the signing key.
    pub region: String,
    /// The session token, if the credentials are temporary.
    pub session_token: Option<String>,
    string_to_sign: String,
    /// `None` if it has not the form of one.
    signature: Option<[u8; 32]>,
    /// True if `x-amz-content-sha256`, if it is there, is the hash of the body.
    body_is_as_declared: bool,
}

/// The session token is a credential and the signature may be replayed: neither is shown.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { access_key_id, date, region, .. } = self;
        f.debug_struct("Claim")
            .field("access_key_id", access_key_id)
            .field("date", date)
            .field("region", region)
            .finish_non_exhaustive()
    }
}

/// Reads and checks all of a request's authentication but who it is and whether the signature fits.
pub fn claim(received: &Received<'_>, now: Timestamp, valid_region: impl Fn(&str) -> bool) -> Result<Claim, KmsError> {
    let header = authorization_header(received)?;
    let date_header = received.date_header();
    let date = received.text(date_header);
    let authorization = Authorization::parse(&header, date.as_deref())?;
    let signed = authorization.signed_headers.to_ascii_lowercase();
    let names = signed_names(&signed)?;
    check_signed(received, date_header, &names)?;
    check_time(authorization.date, now)?;
    let scope = CredentialScope::parse(authorization.credential)?;
    scope.check(authorization.date, valid_region)?;

    let body_hash = canonical::hash(received.body);
    let canonical_request = canonical::request(received, &names, &body_hash);
    let declared = received.all("x-amz-content-sha256").next();
    Ok(Claim {
        access_key_id: scope.access_key_id.to_owned(),
        date: scope.date.to_owned(),
        region: scope.region.to_owned(),
        session_token: received.text("x-amz-security-token").map(Cow::into_owned),
        string_to_sign: canonical::string_to_sign(authorization.date, scope.text, &canonical_request),
        signature: canonical::unhex(authorization.signature),
        body_is_as_declared: declared.is_none_or(|declared| declared == body_hash.as_bytes()),
    })
}

impl Claim {
    /// True if `key` made the signature. Takes the same time wherever a wrong signature differs.
    pub fn verify(&self, key: &SigningKey) -> Result<(), KmsError> {
        let calculated = key.sign(&self.string_to_sign);
        let fits = calculated.ct_eq(&self.signature.unwrap_or_default())
            & Choice::from(u8::from(self.signature.is_some()))
            & Choice::from(u8::from(self.body_is_as_declared))
            & Choice::from(u8::from(key.is_somebodys()));
        if fits.into() { Ok(()) } else { Err(wrong(MISMATCH)) }
    }
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
                        Secret Access Key and signing method. Consult the service documentation for details.";

/// The request is authenticated in a way that cannot be accepted.
fn wrong(message: impl Into<String>) -> KmsError {
    KmsError::new(Code::InvalidSignatureException, message)
}

fn authorization_header<'a>(received: &Received<'a>) -> Result<Cow<'a, str>, KmsError> {
    let Some(header) = received.text("authorization") else {
        return Err(KmsError::new(Code::MissingAuthenticationTokenException, "Missing Authentication Token"));
    };
    if received.has_query_authentication() {
        let message = "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";
        return Err(wrong(message));
    }
    match ONCE.iter().find(|name| received.all(name).nth(1).is_some()) {
        Some(name) => Err(incomplete(format!("HTTP header '{name}' must not be repeated."))),
        None => Ok(header),
    }
}

fn check_signed(received: &Received<'_>, date_header: &str, names: &[&str]) -> Result<(), KmsError> {
    let is_signed = |name: &str| names.binary_search(&name).is_ok();
    if !is_signed("host") {
        return Err(wrong("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    let acted_on = ACTED_ON.into_iter().filter(|name| received.has(name)).chain([date_header]);
    match acted_on.into_iter().find(|name| !is_signed(name)) {
        Some(name) => Err(wrong(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."))),
        None => Ok(()),
    }
}

fn check_time(date: &str, now: Timestamp) -> Result<(), KmsError> {
    let signed_at = Timestamp::from_basic_iso8601(date).ok_or_else(|| {
        incomplete(format!(
            "Date must be in ISO-8601 'basic format'. Got '{}'. See http://en.wikipedia.org/wiki/ISO_8601",
            shown(date)
        ))
    })?;
    let bound = |ms: i64| Timestamp::from_ms(now.ms().saturating_add(ms));
    let (earliest, latest) = (bound(-MAX_SKEW_MS), bound(MAX_SKEW_MS));
    if signed_at < earliest {
        let (earliest, now) = (earliest.basic_iso8601(), now.basic_iso8601());
        return Err(wrong(format!("Signature expired: {date} is now earlier than {earliest} ({now} - 5 min.)")));
    }
    if signed_at > latest {
        let (latest, now) = (latest.basic_iso8601(), now.basic_iso8601());
        let text = format!("Signature not yet current: {date} is still later than {latest} ({now} + 5 min.)");
        return Err(wrong(text));
    }
    Ok(())
}

/// The signer of a request.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    /// The access key.
    pub access_key_id: &'a str,
    /// Its secret.
    pub secret: &'a SecretText,
    /// Where the request goes.
    pub region: &'a str,
}

/// Signs a request as a client: the value for its `Authorization` header.
///
/// Every header of the request is signed. `host` must be among them, and `x-amz-date` with the value of
/// [`Timestamp::basic_iso8601`] of `at`.
pub fn sign(request: &Received<'_>, signer: &Signer<'_>, at: Timestamp) -> String {
    sign_for(SERVICE, request, signer, at)
}

fn sign_for(service: &str, request: &Received<'_>, signer: &Signer<'_>, at: Timestamp) -> String {
    let Signer { access_key_id, secret, region } = signer;
    let date = at.basic_iso8601();
    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{region}/{service}/{TERMINATOR}");
    let mut names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    let canonical_request = canonical::request(request, &names, &canonical::hash(request.body));
    let key = DateKey::derive(secret, day).signing_key_for(service, region);
    let signature = canonical::hex(&key.sign(&canonical::string_to_sign(&date, &scope, &canonical_request)));
    let algorithm = header::ALGORITHM;
    let names = names.join(";");
    format!("{algorithm} Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

#[cfg(test)]
mod tests;
