//! One request, told as its parts, and one test for each thing that can be wrong with it.

use super::{header::hashed, *};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const REGION: &str = "eu-central-1";
const DATE: &str = "20260821T100000Z";
const TARGET: (&str, &str) = ("x-amz-target", "TrentService.Encrypt");
const TYPE: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const HOST: (&str, &str) = ("host", "localhost:8080");
const DATED: (&str, &str) = ("x-amz-date", DATE);

/// A request that can be changed part by part.
#[derive(Clone)]
struct Parts {
    method: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Parts {
    fn new(headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let body = br#"{"KeyId":"alias/a","Plaintext":"aGVsbG8="}"#.to_vec();
        Self { method: "POST".to_owned(), path: "/".to_owned(), query: None, headers, body }
    }

    /// A request as the AWS CLI sends it, with an `Authorization` header that the test supplies.
    fn with_authorization(authorization: &str) -> Self {
        Self::new(&[HOST, TYPE, TARGET, DATED, ("authorization", authorization)])
    }

    fn signed(headers: &[(&str, &str)]) -> Self {
        let parts = Self::new(headers);
        let authorization = parts.with(|request| sign(request, &signer(&secret()), at(DATE)));
        parts.and("authorization", &authorization)
    }

    fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| header != name);
        self
    }

    fn with<T>(&self, use_it: impl FnOnce(&Received<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        use_it(&Received {
            method: &self.method,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &headers,
            body: &self.body,
        })
    }

    fn claim_at(&self, now: Timestamp) -> Result<Claim, KmsError> {
        self.with(|received| claim(received, now, |region| region == REGION))
    }

    fn claim(&self) -> Result<Claim, KmsError> {
        self.claim_at(at(DATE))
    }

    fn verify(&self) -> Result<Claim, KmsError> {
        let claim = self.claim()?;
        claim.verify(&DateKey::derive(&secret(), &claim.date).signing_key(&claim.region)).map(|()| claim)
    }

    /// Asserts that the request is refused so.
    fn check(&self, code: Code, message: &str) {
        check(self.claim(), code, message);
    }
}

fn check(result: Result<Claim, KmsError>, code: Code, message: &str) {
    let error = result.expect_err(message);
    assert_eq!((error.code, error.message.as_deref()), (code, Some(message)));
}

fn at(date: &str) -> Timestamp {
    Timestamp::from_basic_iso8601(date).expect("a date")
}

fn secret() -> SecretText {
    SecretText::from(SECRET.to_owned())
}

fn signer(secret: &SecretText) -> Signer<'_> {
    Signer { access_key_id: "AKIDEXAMPLE", secret, region: REGION }
}

/// An `Authorization` header without a valid signature; the rows before the signature do not care.
fn authorization(credential: &str, signed_headers: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed_headers}, Signature={}", "0".repeat(64))
}

const SCOPE: &str = "AKIDEXAMPLE/20260821/eu-central-1/kms/aws4_request";
const SIGNED: &str = "content-type;host;x-amz-date;x-amz-target";

#[test]
fn row_1_header_and_query_authentication() {
    let mut parts = Parts::with_authorization(&authorization(SCOPE, SIGNED));
    parts.query = Some("a=b&X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned());
    let message = "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";
    parts.check(Code::InvalidSignatureException, message);
}

#[test]
fn row_2_no_authentication_and_query_authentication_alone() {
    let mut parts = Parts::new(&[HOST, TYPE, TARGET, DATED]);
    parts.check(Code::MissingAuthenticationTokenException, "Missing Authentication Token");
    parts.query = Some("X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned());
    parts.check(Code::MissingAuthenticationTokenException, "Missing Authentication Token");
}

#[test]
fn row_3_another_algorithm() {
    for (header, algorithm) in [
        ("AWS4-ECDSA-P256-SHA256 Credential=a", "AWS4-ECDSA-P256-SHA256"),
        ("Bearer abc", "Bearer"),
        ("aws4-hmac-sha256 Credential=a", "aws4-hmac-sha256"),
        ("", ""),
    ] {
        let message = format!("Unsupported AWS 'algorithm': '{algorithm}'.");
        Parts::with_authorization(header).check(Code::IncompleteSignatureException, &message);
    }
}

#[test]
fn row_4_a_part_that_is_no_pair() {
    for parameters in ["Credential", "Credential=a, b, Signature=c", "Signature=a,"] {
        let header = format!("AWS4-HMAC-SHA256 {parameters}");
        let message = format!(
            "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with \
             Base64): '{}'.",
            hashed(&header)
        );
        Parts::with_authorization(&header).check(Code::IncompleteSignatureException, &message);
    }
}

#[test]
fn row_5_all_that_is_missing_in_one_message() {
    let requires = |name: &str| format!("Authorization header requires '{name}' parameter. ");
    let all = requires("Credential") + &requires("Signature") + &requires("SignedHeaders");
    let bare = "AWS4-HMAC-SHA256";
    let tail = |header: &str| format!("(Hashed with SHA-256 and encoded with Base64) Authorization={}", hashed(header));
    Parts::with_authorization(bare).check(Code::IncompleteSignatureException, &format!("{all}{}", tail(bare)));

    let undated = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
    let header = "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b";
    let message = format!("{}{undated}{}", requires("Signature"), tail(header));
    Parts::with_authorization(header).without("x-amz-date").check(Code::IncompleteSignatureException, &message);
}

/// `printf %s 'AWS4-HMAC-SHA256 Credential' | openssl dgst -sha256 -binary | base64`
#[test]
fn a_header_is_hashed_as_anybody_can() {
    assert_eq!(hashed("AWS4-HMAC-SHA256 Credential"), "KfSoC26UaBDGXxo5AUFS45c1cmAbyLKDOxOTKcZYWt4=");
}

#[test]
fn no_message_repeats_more_than_a_piece_of_what_was_sent() {
    let long = "x".repeat(30_000);
    let scope = |at: usize| {
        let mut parts: Vec<&str> = SCOPE.split('/').collect();
        parts[at] = &long;
        parts.join("/")
    };
    let credentials = [1, 2, 3, 4].map(|at| authorization(&scope(at), SIGNED));
    let headers = [
        long.clone(),
        format!("AWS4-HMAC-SHA256 {long}"),
        format!("AWS4-HMAC-SHA256 Credential={long}"),
        format!("AWS4-HMAC-SHA256 Credential={long}, Credential={long}"),
        format!("AWS4-HMAC-SHA256 {}", "\u{e9}".repeat(15_000)),
        authorization(&long, SIGNED),
        authorization(SCOPE, &long),
    ];
    let dated = |date: &str| {
        Parts::with_authorization(&authorization(SCOPE, SIGNED)).without("x-amz-date").and("x-amz-date", date)
    };
    let all = headers.iter().chain(&credentials).map(|header| Parts::with_authorization(header));
    for parts in all.chain([dated(&long), dated(&"\u{e9}".repeat(8))]) {
        let message = parts.claim().err().and_then(|error| error.message).expect("a refusal with a message");
        assert!(message.len() <= 1024, "{} bytes: {}", message.len(), message.split_at(100).0);
    }
}

#[test]
fn a_part_or_a_header_given_twice() {
    let header = "AWS4-HMAC-SHA256 Credential=a, Credential=b";
    let message = format!(
        "Authorization header has more than one 'Credential' parameter. (Hashed with SHA-256 and encoded with Base64) \
         Authorization={}",
        hashed(header)
    );
    Parts::with_authorization(header).check(Code::IncompleteSignatureException, &message);
    for name in ["authorization", "host", "x-amz-date", "x-amz-target"] {
        let parts = Parts::signed(&[HOST, TYPE, TARGET, DATED]).and(name, "x");
        parts.check(Code::IncompleteSignatureException, &format!("HTTP header '{name}' must not be repeated."));
    }
}

#[test]
fn row_6_what_must_be_signed() {
    let must = |name: &str| format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.");
    let unsigned_host = Parts::with_authorization(&authorization(SCOPE, "content-type;x-amz-date;x-amz-target"));
    unsigned_host.check(
        Code::InvalidSignatureException,
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
    );
    for name in ["x-amz-content-sha256", "x-amz-security-token", "x-amz-source-arn", "x-amz-source-account"] {
        let parts = Parts::with_authorization(&authorization(SCOPE, SIGNED)).and(name, "x");
        parts.check(Code::InvalidSignatureException, &must(name));
    }
    for name in ["x-amz-date", "x-amz-target"] {
        let signed = SIGNED.replace(&format!(";{name}"), "");
        Parts::with_authorization(&authorization(SCOPE, &signed)).check(Code::InvalidSignatureException, &must(name));
    }
    let by_date = Parts::with_authorization(&authorization(SCOPE, "host;x-amz-target")).without("x-amz-date");
    by_date.and("date", DATE).check(Code::InvalidSignatureException, &must("date"));
}

#[test]
fn the_number_of_signed_headers_has_a_bound() {
    let parts = Parts::with_authorization(&authorization(SCOPE, &"host;".repeat(101)));
    parts.check(Code::IncompleteSignatureException, "More than 100 'SignedHeaders' in the AWS Authorization.");
    let most = Parts::with_authorization(&authorization(SCOPE, &["host"; 100].join(";")));
    let message = most.claim().err().and_then(|error| error.message).expect("not all is signed that must be");
    assert!(!message.contains("More than 100"), "{message}");
}

#[test]
fn the_values_of_a_header_that_is_given_twice_are_joined_by_a_comma() {
    let parts = Parts::signed(&[HOST, DATED, ("x-note", "one"), ("x-note", " two ")]);
    let request = parts.with(|received| canonical::request(received, &["x-note"], "hash"));
    let lines = String::from_utf8(request).expect("text");
    assert!(lines.lines().any(|line| line == "x-note:one,two"), "{lines}");
}

#[test]
fn row_7_a_date_in_another_format() {
    for date in ["Fri, 21 Aug 2026 10:00:00 GMT", "2026-08-21T10:00:00Z", "20260821T100000", "20261321T100000Z", ""] {
        let parts = Parts::with_authorization(&authorization(SCOPE, SIGNED)).without("x-amz-date");
        let message =
            format!("Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601");
        parts.and("x-amz-date", date).check(Code::IncompleteSignatureException, &message);
    }
}

#[test]
fn row_8_five_minutes_to_either_side() {
    let parts = Parts::signed(&[HOST, TYPE, TARGET, DATED]);
    for now in ["20260821T095501Z", "20260821T095500Z", "20260821T100459Z", "20260821T100500Z"] {
        assert!(parts.claim_at(at(now)).is_ok(), "{now}");
    }
    check(
        parts.claim_at(at("20260821T100501Z")),
        Code::InvalidSignatureException,
        "Signature expired: 20260821T100000Z is now earlier than 20260821T100001Z (20260821T100501Z - 5 min.)",
    );
    check(
        parts.claim_at(at("20260821T095459Z")),
        Code::InvalidSignatureException,
        "Signature not yet current: 20260821T100000Z is still later than 20260821T095959Z (20260821T095459Z + 5 min.)",
    );
}

#[test]
fn row_9_a_credential_has_five_parts() {
    for credential in ["", "AKID", "a/b/c/d", "a/b/c/d/e/f", "a/b/c/d/e/"] {
        let message = format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
             '{credential}'"
        );
        let parts = Parts::with_authorization(&authorization(credential, SIGNED));
        parts.check(Code::IncompleteSignatureException, &message);
    }
}

#[test]
fn row_10_the_scope() {
    let region = "Credential should be scoped to a valid region, not 'mars-1'. ";
    let service = "Credential should be scoped to correct service: 'kms'. ";
    let terminator = "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. ";
    let date = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                '20260820' != '20260821', from '20260821T100000Z'. ";
    let all = [region, service, terminator, date].concat();
    for (credential, message) in [
        ("A/20260821/mars-1/kms/aws4_request", region),
        ("A/20260821/eu-central-1/s3/aws4_request", service),
        ("A/20260821/eu-central-1/kms/aws5_request", terminator),
        ("A/20260820/eu-central-1/kms/aws4_request", date),
        ("A/20260820/mars-1/s3/aws5_request", &all),
    ] {
        let parts = Parts::with_authorization(&authorization(credential, SIGNED));
        parts.check(Code::InvalidSignatureException, message);
    }
}

#[test]
fn row_13_the_signature() {
    let parts = Parts::signed(&[HOST, TYPE, TARGET, DATED]);
    let claim = parts.claim().expect("well formed");
    assert_eq!((claim.access_key_id.as_str(), claim.date.as_str()), ("AKIDEXAMPLE", "20260821"));
    assert!(claim.verify(&DateKey::derive(&secret(), &claim.date).signing_key(REGION)).is_ok());
    let other = SecretText::from("another secret".to_owned());
    for key in [
        DateKey::derive(&other, &claim.date).signing_key(REGION),
        DateKey::derive(&secret(), "20260820").signing_key(REGION),
        DateKey::derive(&secret(), &claim.date).signing_key("eu-west-1"),
        DateKey::derive(&secret(), &claim.date).signing_key_for("s3", REGION),
        DateKey::of_nobody().signing_key(REGION),
    ] {
        let error = claim.verify(&key).expect_err("another key");
        assert_eq!((error.code, error.message.as_deref()), (Code::InvalidSignatureException, Some(MISMATCH)));
    }
}

#[test]
fn nobodys_key_refuses_what_is_signed_with_its_own_bytes() {
    let mut claim = Parts::signed(&[HOST, TYPE, TARGET, DATED]).claim().expect("well formed");
    claim.signature = Some(DateKey::of_nobody().signing_key(REGION).sign(&claim.string_to_sign));
    assert!(claim.verify(&DateKey::of_nobody().signing_key(REGION)).is_err());
}

#[test]
fn a_request_that_was_touched_is_refused() {
    type Touch = fn(&mut Parts);
    let touches: [(&str, Touch); 8] = [
        ("method", |parts| parts.method = "PUT".to_owned()),
        ("path", |parts| parts.path = "/kms".to_owned()),
        ("query", |parts| parts.query = Some("a=b".to_owned())),
        ("body", |parts| parts.body.push(b' ')),
        ("empty body", |parts| parts.body.clear()),
        ("host", |parts| *parts = parts.clone().without("host").and("host", "localhost:8081")),
        ("target", |parts| *parts = parts.clone().without("x-amz-target").and("x-amz-target", "TrentService.Decrypt")),
        ("no type", |parts| *parts = parts.clone().without("content-type")),
    ];
    for (what, touch) in touches {
        let mut parts = Parts::signed(&[HOST, TYPE, TARGET, DATED]);
        touch(&mut parts);
        check(parts.verify(), Code::InvalidSignatureException, MISMATCH);
        assert!(parts.claim().is_ok(), "{what} is the signature's matter");
    }
}

#[test]
fn a_signature_that_was_touched_is_refused() {
    let parts = Parts::signed(&[HOST, TYPE, TARGET, DATED]);
    let header = parts.with(|received| received.text("authorization").expect("signed").into_owned());
    let (before, signature) = header.split_once("Signature=").expect("signed");
    let flipped = |at: usize| {
        let other = if &signature[at..=at] == "0" { "1" } else { "0" };
        [&signature[..at], other, &signature[at + 1..]].concat()
    };
    let cut = signature[..63].to_owned();
    let longer = format!("{signature}0");
    for touched in (0..64).map(flipped).chain([cut, longer, String::new(), "z".repeat(64), "é".repeat(32)]) {
        let parts =
            parts.clone().without("authorization").and("authorization", &format!("{before}Signature={touched}"));
        check(parts.verify(), Code::InvalidSignatureException, MISMATCH);
    }
}

#[test]
fn the_order_and_spacing_of_parameters_is_free() {
    let parts = Parts::signed(&[HOST, TYPE, TARGET, DATED]);
    let header = parts.with(|received| received.text("authorization").expect("signed").into_owned());
    let (algorithm, parameters) = header.split_once(' ').expect("an algorithm");
    let mut parameters: Vec<&str> = parameters.split(", ").collect();
    parameters.reverse();
    for separator in [",", ", ", "  ,  "] {
        let header = format!("{algorithm}  {}", parameters.join(separator));
        let parts = parts.clone().without("authorization").and("authorization", &header);
        assert!(parts.verify().is_ok(), "{header}");
    }
}

/// Each SDK signs its own set of headers.
#[test]
fn what_is_signed_verifies() {
    let length = ("content-length", "42");
    let agent = ("x-amz-user-agent", "aws-sdk-rust/1.3  os/linux");
    let empty = ("x-amz-note", "");
    for headers in [
        vec![HOST, TYPE, TARGET, DATED],
        vec![DATED, length, TARGET, HOST, TYPE],
        vec![HOST, DATED, TARGET],
        vec![HOST, TARGET, ("date", DATE)],
        vec![HOST, TYPE, TARGET, DATED, agent, empty],
        vec![HOST, TYPE, TARGET, DATED, ("x-note", "one"), ("x-note", " two ")],
        vec![HOST, TYPE, TARGET, DATED, ("amz-sdk-request", "attempt=1; max=3"), ("x-latin", "caf\u{e9}")],
        vec![HOST, TYPE, TARGET, DATED, ("x-amz-security-token", "FwoGZXIvYXdz//==")],
    ] {
        let claim = Parts::signed(&headers).verify().expect("signed");
        let token = headers.iter().find(|(name, _)| *name == "x-amz-security-token").map(|(_, value)| *value);
        assert_eq!(claim.session_token.as_deref(), token);
    }
}

#[test]
fn headers_that_are_not_acted_on_may_be_unsigned() {
    let parts = Parts::signed(&[HOST, TYPE, TARGET, DATED]);
    let parts = parts.and("amz-sdk-request", "attempt=1").and("x-amz-user-agent", "boto3").and("x-amzn-trace-id", "1");
    assert!(parts.verify().is_ok());
}

#[test]
fn a_declared_hash_must_be_that_of_the_body() {
    let hash = canonical::hash(&Parts::new(&[]).body);
    let declared = |hash: &str| Parts::signed(&[HOST, TYPE, TARGET, DATED, ("x-amz-content-sha256", hash)]).verify();
    assert!(declared(&hash).is_ok());
    for wrong in ["UNSIGNED-PAYLOAD", "", &canonical::hash(b""), &hash.to_uppercase()] {
        check(declared(wrong), Code::InvalidSignatureException, MISMATCH);
    }
}

#[test]
fn neither_token_nor_signature_is_shown() {
    let parts = Parts::signed(&[HOST, TYPE, TARGET, DATED, ("x-amz-security-token", "very-secret")]);
    let shown = format!("{:?}", parts.claim().expect("well formed"));
    assert_eq!(shown, r#"Claim { access_key_id: "AKIDEXAMPLE", date: "20260821", region: "eu-central-1", .. }"#);
}

/// AWS General Reference, "Signature Version 4 signing process": the IAM example.
#[test]
fn the_example_of_the_aws_documentation() {
    let date = "20150830T123600Z";
    let request = Received {
        method: "GET",
        path: "/",
        query: Some("Action=ListUsers&Version=2010-05-08"),
        headers: &[
            ("content-type", b"application/x-www-form-urlencoded; charset=utf-8"),
            ("host", b"iam.amazonaws.com"),
            ("x-amz-date", date.as_bytes()),
        ],
        body: b"",
    };
    let hash = canonical::hash(b"");
    let canonical_request = canonical::request(&request, &["content-type", "host", "x-amz-date"], &hash);
    assert_eq!(canonical::hash(&canonical_request), "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59");
    let secret = secret();
    let signer = Signer { region: "us-east-1", ..signer(&secret) };
    assert_eq!(
        sign_for("iam", &request, &signer, at(date)),
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

/// Signatures that botocore 1.43.11 made.
#[test]
fn the_signatures_of_botocore() {
    let example = ("host", "kms.example.com");
    let token = ("x-amz-security-token", "TOKEN//==");
    let note = ("x-note", "  a   b  ");
    for (headers, path, query, body, signature) in [
        (
            vec![HOST],
            "/",
            None,
            r#"{"KeyId":"alias/a","Plaintext":"aGVsbG8="}"#,
            "049533095ba0be98dc329e0a7782eadf8598a8c4dcdede01da37d597a84816a2",
        ),
        (
            vec![("host", "kms.example.com:8443")],
            "/kms",
            None,
            "{}",
            "d83efdb421467caf646a781a1fbc427fcdd5a0dd63a6ef88c5720c3d55727665",
        ),
        (
            vec![example],
            "/a%20b/./c/../d//e/",
            None,
            "{}",
            "d17a0a777a51026452dfe32dce1f53b5312fcbeac6b7085eda482d7856df9f0f",
        ),
        (
            vec![example],
            "/",
            Some("b=2&a=x%2Fy&a=1"),
            "{}",
            "01dde654ac20a29426c3f3da5e3ab58623b43dfab6caf06d9a095ab00f662e39",
        ),
        (
            vec![HOST, token],
            "/",
            None,
            r#"{"KeyId":"alias/a"}"#,
            "d02fc7ca023f00310d0cbdd84feb0d34f9f6804d160b51bac0f5db366ae56fea",
        ),
        (vec![HOST, note], "/", None, "", "454a8b9f5f7a6a6352ec950b7b641bbc7226a135cf4ffb25bee1e87edffd3212"),
    ] {
        let mut parts = Parts::new(&[&headers[..], &[TYPE, TARGET, DATED]].concat());
        parts.path = path.to_owned();
        parts.query = query.map(str::to_owned);
        parts.body = body.as_bytes().to_vec();
        let authorization = parts.with(|request| sign(request, &signer(&secret()), at(DATE)));
        assert!(authorization.ends_with(signature), "{path}: {authorization}");
        assert!(parts.and("authorization", &authorization).verify().is_ok());
    }
}

proptest::proptest! {
    #[test]
    fn no_request_makes_it_fail_otherwise_than_by_an_error(
        path in ".{0,40}",
        query in ".{0,40}",
        header in "(AWS4-HMAC-SHA256 )?.{0,80}",
        date in "(20260821T100000Z)?.{0,4}",
    ) {
        let mut parts = Parts::new(&[HOST, TARGET, ("x-amz-date", &date), ("authorization", &header)]);
        (parts.path, parts.query) = (path, Some(query));
        let _ = parts.verify();
        let signed = authorization(SCOPE, "host;x-amz-date;x-amz-target");
        parts = parts.without("authorization").and("authorization", &signed);
        proptest::prop_assert!(parts.verify().is_err());
    }
}
