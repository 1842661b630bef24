//! The head of a signed request (AWS Signature Version 4): a request line, headers, an empty line, and the body.

use strongroom::{
    clock::Timestamp,
    secret::SecretText,
    sigv4::{Claim, DateKey, Received, Signer, SigningKey, claim, sign},
};

/// The beginning of the year 2026.
const NOW: Timestamp = Timestamp::from_ms(1_767_225_600_000);
const REGION: &str = "eu-test-1";

/// What is said of a signature that nobody can have made is not believed, no answer repeats much of what was sent, and what a
/// client signs verifies until a byte of it is touched.
pub fn check(bytes: &[u8]) {
    let Some(message) = Message::parse(bytes) else { return };
    match message.claim() {
        Ok(claim) => assert!(claim.verify(&DateKey::of_nobody().signing_key(REGION)).is_err()),
        Err(message) => assert!(message.len() < 2000, "{message}"),
    }
    if let Some(mut signed) = message.signed() {
        let key = key();
        let claim = signed.claim().expect("it was just signed");
        assert!(claim.verify(&key).is_ok());
        signed.body.push(b' ');
        assert!(signed.claim().is_ok_and(|claim| claim.verify(&key).is_err()));
    }
}

#[derive(Clone)]
struct Message {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Message {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).position(|window| window == b"\n\n")?;
        let (head, body) = (&bytes[..end], bytes[end + 2..].to_vec());
        let mut lines = head.split(|byte| *byte == b'\n');
        let line = str::from_utf8(lines.next()?).ok()?;
        let (method, target) = line.split_once(' ')?;
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let headers = lines.map(header).collect::<Option<Vec<_>>>()?;
        Some(Self { method: method.to_owned(), path: path.to_owned(), query: query.map(str::to_owned), headers, body })
    }

    fn with_received<T>(&self, then: impl FnOnce(&Received<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let Self { method, path, query, body, .. } = self;
        then(&Received { method, path, query: query.as_deref(), headers: &headers, body })
    }

    /// The claim, or the message of its refusal.
    fn claim(&self) -> Result<Claim, String> {
        let claim = self.with_received(|received| claim(received, NOW, |region| region == REGION));
        claim.map_err(|error| error.message.unwrap_or_default())
    }

    /// The same message, dated now and signed by a client; `None` for one that no client signs.
    fn signed(&self) -> Option<Self> {
        let ours = ["authorization", "date", "host", "x-amz-content-sha256", "x-amz-date"];
        let mut signed = Self { query: None, ..self.clone() };
        signed.headers.retain(|(name, _)| !ours.contains(&&**name));
        signed.headers.push(("host".to_owned(), b"kms.test".to_vec()));
        signed.headers.push(("x-amz-date".to_owned(), NOW.basic_iso8601().into_bytes()));
        let mut names: Vec<_> = signed.headers.iter().map(|(name, _)| name).collect();
        names.sort();
        if names.len() > 100 || names.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        let secret = secret();
        let signer = Signer { access_key_id: "AKIDEXAMPLE", secret: &secret, region: REGION };
        let authorization = signed.with_received(|received| sign(received, &signer, NOW));
        signed.headers.push(("authorization".to_owned(), authorization.into_bytes()));
        Some(signed)
    }
}

/// A header as the server's HTTP reads it: a name of letters that HTTP allows, in lower case.
fn header(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    is_name.then(|| (name, line[colon + 1..].trim_ascii().to_vec()))
}

fn secret() -> SecretText {
    SecretText::from("a-secret-access-key".to_owned())
}

fn key() -> SigningKey {
    DateKey::derive(&secret(), &NOW.basic_iso8601()[..8]).signing_key(REGION)
}
