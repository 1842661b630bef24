//! The `Authorization` header: `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use crate::error::{Code, KmsError};

/// The one algorithm.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Names in `SignedHeaders`: more than a request may have headers, few enough to look each of them up.
const MAX_SIGNED_HEADERS: usize = 100;

/// Longer than any algorithm, date, region or credential.
const MAX_SHOWN_CHARACTERS: usize = 100;

/// The parameters of the header as far as they are there.
#[derive(Default)]
pub(super) struct HeaderParameters<'a> {
    credential: Option<&'a str>,
    signed_headers: Option<&'a str>,
    signature: Option<&'a str>,
}

/// The header with all it must have.
pub(super) struct Authorization<'a> {
    /// `KEY/DATE/REGION/SERVICE/TERMINATOR`, unread.
    pub(super) credential: &'a str,
    /// Names separated by semicolons.
    pub(super) signed_headers: &'a str,
    /// Hexadecimal, unread.
    pub(super) signature: &'a str,
    /// Not of this header, but AWS lists all that is missing in one message.
    pub(super) date: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header and joins it with the date, which is another header's.
    pub(super) fn parse(header: &'a str, date: Option<&'a str>) -> Result<Self, KmsError> {
        let (algorithm, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if algorithm != ALGORITHM {
            return Err(incomplete(format!("Unsupported AWS 'algorithm': '{}'.", shown(algorithm))));
        }
        let found = HeaderParameters::read(parameters.trim(), header)?;
        match (found.credential, found.signed_headers, found.signature, date) {
            (Some(credential), Some(signed_headers), Some(signature), Some(date)) => {
                Ok(Self { credential, signed_headers, signature, date })
            }
            _ => Err(found.missing(date.is_some(), header)),
        }
    }
}

/// Names separated by semicolons, as the canonical request wants them: sorted, each once.
pub(super) fn signed_names(list: &str) -> Result<Vec<&str>, KmsError> {
    let mut names: Vec<&str> = list.split(';').take(MAX_SIGNED_HEADERS + 1).collect();
    if names.len() > MAX_SIGNED_HEADERS {
        return Err(incomplete(format!("More than {MAX_SIGNED_HEADERS} 'SignedHeaders' in the AWS Authorization.")));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

impl<'a> HeaderParameters<'a> {
    /// Order is free, and so is space around the commas. HeaderParameters of other names have no meaning and no influence.
    fn read(text: &'a str, header: &str) -> Result<Self, KmsError> {
        let mut parameters = Self::default();
        let pairs = if text.is_empty() { None } else { Some(text.split(',').map(str::trim)) };
        for pair in pairs.into_iter().flatten() {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                let hash = hashed(header);
                incomplete(format!(
                    "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded \
                     with Base64): '{hash}'."
                ))
            })?;
            let slot = match name {
                "Credential" => &mut parameters.credential,
                "SignedHeaders" => &mut parameters.signed_headers,
                "Signature" => &mut parameters.signature,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                let hash = hashed(header);
                return Err(incomplete(format!(
                    "Authorization header has more than one '{name}' parameter. {HASHED}Authorization={hash}"
                )));
            }
        }
        Ok(parameters)
    }

    fn missing(&self, is_dated: bool, header: &str) -> KmsError {
        let mut message = String::new();
        for (name, is_missing) in [
            ("Credential", self.credential.is_none()),
            ("Signature", self.signature.is_none()),
            ("SignedHeaders", self.signed_headers.is_none()),
        ] {
            if is_missing {
                message += &format!("Authorization header requires '{name}' parameter. ");
            }
        }
        if !is_dated {
            message += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
        }
        incomplete(message + HASHED + "Authorization=" + &hashed(header))
    }
}

/// AWS's words for a header in a message that does not repeat it.
const HASHED: &str = "(Hashed with SHA-256 and encoded with Base64) ";

/// As AWS repeats a header.
pub(super) fn hashed(header: &str) -> String {
    STANDARD.encode(Sha256::digest(header))
}

/// The part of the header as a message repeats it: the whole of what could be right, and of the rest the beginning.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.split_at(end).0).into(),
        None => text.into(),
    }
}

/// The request does not say all that its signature needs.
pub(super) fn incomplete(message: impl Into<String>) -> KmsError {
    KmsError::new(Code::IncompleteSignatureException, message)
}
