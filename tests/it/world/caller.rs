//! Who calls a service: requests as clients sign and send them, and what is looked at in each answer.

use std::sync::Arc;

use axum::body::Body;
use expect_test::Expect;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use strongroom::{
    clock::Timestamp,
    secret::SecretText,
    sigv4::{Received, Signer, sign},
};
use tower::ServiceExt;

use super::{ACCOUNT, ADMINISTRATORS_SECRET, answer::Answer, base64, realm, service::Service, text};
use crate::tokens::PIN;

/// Somebody who signs requests.
#[derive(Clone)]
pub struct Caller {
    pub(super) service: Arc<Service>,
    pub arn: String,
    pub access_key_id: String,
    pub region: String,
    pub(super) secret: SecretText,
}

/// A request before it is signed and sent. Tests spoil what they are about.
pub struct Draft {
    pub method: &'static str,
    pub path: &'static str,
    pub content_type: Option<&'static str>,
    pub target: Option<String>,
    pub body: Vec<u8>,
    pub at: Timestamp,
    pub access_key_id: String,
    pub signed: bool,
    pub forged: bool,
}

impl Caller {
    /// The same caller in another region.
    pub fn in_region(&self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self.clone() }
    }

    /// Calls an operation.
    pub async fn call(&self, operation: &str, body: impl Into<Value>) -> Answer {
        let body: Value = body.into();
        let answer = self.send(self.draft(operation, body.to_string())).await;
        answer.is_written_down_as(operation);
        answer.tells_nothing_of(&body);
        answer.is_one_of(operation);
        answer
    }

    /// What a call answers that succeeds; `null` for an empty body.
    pub async fn ok(&self, operation: &str, body: impl Into<Value>) -> Value {
        let answer = self.call(operation, body).await;
        assert_eq!(answer.status, 200, "{operation}: {}", answer.text());
        answer.json()
    }

    /// Compares what a call answers, with ids and blobs masked.
    pub async fn check(&self, operation: &str, body: impl Into<Value>, expected: Expect) {
        expected.assert_eq(&format!("{:#}", self.masked(operation, body).await));
    }

    /// Compares what a call answers, with ids and blobs masked, where most of it is in [`structures`](crate::structures).
    #[track_caller]
    pub fn check_only(&self, operation: &str, body: impl Into<Value>, expected: Value) -> impl Future<Output = ()> {
        let (at, body) = (std::panic::Location::caller(), body.into());
        async move {
            let answer = self.masked(operation, body).await;
            assert!(answer == expected, "{at}: {operation} answers\n{answer:#}\nand should\n{expected:#}");
        }
    }

    /// What a call answers that succeeds, with ids and blobs masked.
    pub async fn masked(&self, operation: &str, body: impl Into<Value>) -> Value {
        self.service.masks.masked("", &self.ok(operation, body).await)
    }

    /// A call is refused so. An empty `message` says that the answer has none.
    #[track_caller]
    pub fn refuse(
        &self,
        operation: &str,
        body: impl Into<Value>,
        code: &str,
        message: &str,
    ) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        let body: Value = body.into();
        async move {
            let shown: String = body.to_string().chars().take(300).collect();
            let answer = self.call(operation, body).await;
            assert_eq!(answer.refusal(), (400, code.to_owned(), message.to_owned()), "{at}: {operation} {shown}");
        }
    }

    /// A request of this caller, as a client would send it.
    pub fn draft(&self, operation: &str, body: impl Into<Vec<u8>>) -> Draft {
        Draft {
            method: "POST",
            path: "/",
            content_type: Some("application/x-amz-json-1.1"),
            target: Some(format!("TrentService.{operation}")),
            body: body.into(),
            at: strongroom::clock::Clock::now(&*self.service.clock),
            access_key_id: self.access_key_id.clone(),
            signed: true,
            forged: false,
        }
    }

    /// Signs and sends.
    pub async fn send(&self, draft: Draft) -> Answer {
        let response = self.service.router.clone().oneshot(self.request(draft)).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        // What the service has done meanwhile by itself is no record of this call.
        let records = self
            .service
            .new_records()
            .into_iter()
            .filter(|record| record["eventType"] == "AwsApiCall")
            .collect::<Vec<_>>();
        for secret in [PIN, ADMINISTRATORS_SECRET, self.secret.expose()] {
            let told = records.iter().map(Value::to_string).chain([String::from_utf8_lossy(&body).into_owned()]);
            told.for_each(|text| assert!(!text.contains(secret), "a secret is told: {text}"));
        }
        Answer { status: head.status.as_u16(), headers: head.headers, body, records }
    }

    fn request(&self, draft: Draft) -> Request<Body> {
        let date = draft.at.basic_iso8601();
        let mut headers = vec![("host", "kms.test"), ("x-amz-date", &date)];
        headers.extend(draft.content_type.map(|value| ("content-type", value)));
        headers.extend(draft.target.as_deref().map(|value| ("x-amz-target", value)));
        let authorization = self.authorization(&draft, &headers);
        let request = Request::builder().method(draft.method).uri(draft.path);
        let mut request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        if draft.signed {
            request = request.header("authorization", authorization);
        }
        request.body(Body::from(draft.body)).unwrap()
    }

    fn authorization(&self, draft: &Draft, headers: &[(&str, &str)]) -> String {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let Draft { method, path, body, .. } = draft;
        let received = Received { method, path, query: None, headers: &headers, body };
        let signer = Signer { access_key_id: &draft.access_key_id, secret: &self.secret, region: &self.region };
        let mut authorization = sign(&received, &signer, draft.at);
        if draft.forged {
            let last = authorization.pop().unwrap();
            authorization.push(if last == '0' { '1' } else { '0' });
        }
        authorization
    }

    /// The ARN of a key, or of an alias with its prefix, in this caller's region.
    pub fn arn_of(&self, name: &str) -> String {
        let resource = if name.starts_with("alias/") { name.to_owned() } else { format!("key/{name}") };
        realm(&self.region).arn(resource)
    }

    /// A new symmetric key; answers its id.
    pub async fn key(&self) -> String {
        text(&self.ok("CreateKey", json!({})).await["KeyMetadata"], "KeyId")
    }

    /// A new alias of a key.
    pub async fn alias(&self, name: &str, key: &str) {
        self.ok("CreateAlias", json!({"AliasName": name, "TargetKeyId": key})).await;
    }

    /// The ciphertext blob of a plaintext, in base64.
    pub async fn encrypt(&self, key: &str, plaintext: &[u8]) -> String {
        text(&self.ok("Encrypt", json!({"KeyId": key, "Plaintext": base64(plaintext)})).await, "CiphertextBlob")
    }

    /// Gives a key a policy of these statements, beside the one that leaves all to the account.
    pub async fn set_policy(&self, key: &str, statements: Value) {
        let root = json!({"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "kms:*", "Resource": "*"});
        let mut all = vec![root];
        all.extend(statements.as_array().unwrap().iter().cloned());
        let policy = json!({"Version": "2012-10-17", "Statement": all}).to_string();
        self.ok("PutKeyPolicy", json!({"KeyId": key, "Policy": policy})).await;
    }
}
