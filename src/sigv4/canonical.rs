//! The text that is signed: the canonical request, and the string to sign that carries its hash.
//!
//! AWS: "Create a signed AWS API request". The caller's client builds the same bytes; both doors of this module, the
//! one that verifies and the one that signs, go through here.

use sha2::{Digest, Sha256};

use super::{Received, header::ALGORITHM};

/// The canonical request, of which only the headers in `names` (lower case, sorted) are part.
pub(super) fn request(received: &Received<'_>, names: &[&str], body_hash: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(received.method.as_bytes());
    out.push(b'\n');
    put_path(&mut out, received.path);
    out.push(b'\n');
    put_query(&mut out, received.query.unwrap_or_default());
    out.push(b'\n');
    for name in names {
        put_header(&mut out, name, received);
    }
    out.push(b'\n');
    put_joined(&mut out, names.iter().map(|name| name.as_bytes()), b';');
    out.push(b'\n');
    out.extend_from_slice(body_hash.as_bytes());
    out
}

/// The string to sign: `scope` is `DATE/REGION/SERVICE/aws4_request`.
pub(super) fn string_to_sign(date: &str, scope: &str, canonical_request: &[u8]) -> String {
    [ALGORITHM, date, scope, &hash(canonical_request)].join("\n")
}

/// SHA-256 in lower-case hexadecimal.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    let digits: Vec<u8> = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
    // Digits are always text.
    String::from_utf8(digits).unwrap_or_default()
}

/// 32 bytes in lower-case hexadecimal; a signature in capitals is not AWS's.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? * 16 + value(*low)?;
    }
    Some(bytes)
}

/// The path as received, dot segments and empty segments resolved, encoded once more: clients sign it encoded twice.
fn put_path(out: &mut Vec<u8>, path: &str) {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    for segment in &segments {
        out.push(b'/');
        put_encoded(out, segment.as_bytes());
    }
    if segments.is_empty() || path.ends_with('/') {
        out.push(b'/');
    }
}

/// The parameters, encoded as RFC 3986 has it whatever encoding they came in, sorted by name and then value.
fn put_query(out: &mut Vec<u8>, query: &str) {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    let mut parameters: Vec<(Vec<u8>, Vec<u8>)> = parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (recoded(name), recoded(value))
        })
        .collect();
    parameters.sort_unstable();
    put_joined(out, parameters.into_iter().map(|(name, value)| [name, value].join(&b'=')), b'&');
}

fn recoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    put_encoded(&mut out, &decoded(text.as_bytes()));
    out
}

/// Percent-decoding; what is not an escape stands for itself.
fn decoded(mut text: &[u8]) -> Vec<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut out = Vec::with_capacity(text.len());
    while let [first, rest @ ..] = text {
        let escaped = match rest {
            [high, low, ..] if *first == b'%' => value(*high).zip(value(*low)),
            _ => None,
        };
        let (byte, length) = escaped.map_or((*first, 1), |(high, low)| (high * 16 + low, 3));
        out.push(byte);
        text = text.get(length..).unwrap_or_default();
    }
    out
}

/// Percent-encoding of all but RFC 3986's unreserved characters.
fn put_encoded(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS[usize::from(value & 15)];
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            _ => out.extend_from_slice(&[b'%', digit(byte >> 4), digit(*byte)]),
        }
    }
}

/// `name:value\n`. A header given several times has its values joined in the order received; one that is absent though
/// it is named is as one that is empty.
fn put_header(out: &mut Vec<u8>, name: &str, received: &Received<'_>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    for (index, value) in received.all(name).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_trimmed(out, value);
    }
    out.push(b'\n');
}

/// The value without blanks around it, and with one where it has several in a row.
fn put_trimmed(out: &mut Vec<u8>, value: &[u8]) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    put_joined(out, words, b' ');
}

fn put_joined(out: &mut Vec<u8>, parts: impl Iterator<Item = impl AsRef<[u8]>>, separator: u8) {
    for (index, part) in parts.enumerate() {
        if index > 0 {
            out.push(separator);
        }
        out.extend_from_slice(part.as_ref());
    }
}
