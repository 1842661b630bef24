//! A client of Strongroom: makes the keys, prepares signed requests, and looks whether answers are right.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use strongroom::{bench::server::Sender, secret::SecretText};

use crate::{Outcome, load, raw::Calls, strongroom::Server};

const REGION: &str = "us-east-1";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Encrypt(usize),
    Decrypt(usize),
    GenerateDataKey,
    /// RSA-2048, by the name of the algorithm.
    RsaDecrypt(&'static str),
    SignRsaPss,
    SignP256,
    GenerateMac,
    GenerateDataKeyPair,
}

impl Workload {
    pub const ALL: [Self; 11] = [
        Self::Encrypt(32),
        Self::Encrypt(4096),
        Self::Decrypt(32),
        Self::Decrypt(4096),
        Self::GenerateDataKey,
        Self::RsaDecrypt("RSAES_OAEP_SHA_1"),
        Self::RsaDecrypt("RSAES_OAEP_SHA_256"),
        Self::SignRsaPss,
        Self::SignP256,
        Self::GenerateMac,
        Self::GenerateDataKeyPair,
    ];

    pub fn name(self) -> String {
        match self {
            Self::Encrypt(size) => format!("Encrypt {size} B"),
            Self::Decrypt(size) => format!("Decrypt {size} B"),
            Self::GenerateDataKey => "GenerateDataKey".to_owned(),
            Self::RsaDecrypt(algorithm) => format!("RSA-2048 Decrypt {}", algorithm.trim_start_matches("RSAES_OAEP_")),
            Self::SignRsaPss => "RSA-2048 Sign PSS".to_owned(),
            Self::SignP256 => "P-256 Sign".to_owned(),
            Self::GenerateMac => "GenerateMac HMAC_256".to_owned(),
            Self::GenerateDataKeyPair => "GenerateDataKeyPair P256".to_owned(),
        }
    }

    /// The calls that an HSM gets for it.
    pub fn calls(self) -> Calls {
        match self {
            Self::Encrypt(size) => Calls::Encrypt(size),
            Self::Decrypt(size) => Calls::Decrypt(size),
            Self::GenerateDataKey => Calls::GenerateDataKey,
            Self::RsaDecrypt("RSAES_OAEP_SHA_1") => Calls::RsaOaepSha1,
            Self::RsaDecrypt(_) => Calls::RsaRaw,
            Self::SignRsaPss => Calls::SignRsaPss,
            Self::SignP256 => Calls::SignP256,
            Self::GenerateMac => Calls::Mac,
            Self::GenerateDataKeyPair => Calls::GeneratePair,
        }
    }
}

/// A request, signed and ready to be sent as often as one likes for five minutes.
pub struct Prepared {
    pub workload: Workload,
    pub bytes: Vec<u8>,
    /// What its answer is checked by: a plaintext, or a request.
    known: Value,
}

impl Prepared {
    /// The same bytes, but for a path that tells the echo server how many to answer.
    pub fn for_echo(&self, answer_bytes: usize) -> Self {
        let path = format!("POST /{answer_bytes} ");
        let bytes = [path.as_bytes(), self.bytes.get("POST / ".len()..).unwrap_or_default()].concat();
        Self { bytes, known: Value::Null, ..*self }
    }
}

pub struct Client {
    host: String,
    address: std::net::SocketAddr,
    access_key_id: String,
    secret: SecretText,
    aes: String,
    rsa: String,
    sign_rsa: String,
    sign_p256: String,
    mac: String,
}

impl Client {
    /// A client of a server that has no keys yet; makes one of each kind.
    pub async fn new(server: &Server) -> Outcome<Self> {
        let mut client = Self {
            host: server.address.to_string(),
            address: server.address,
            access_key_id: server.access_key_id.clone(),
            secret: server.secret.clone().into(),
            aes: String::new(),
            rsa: String::new(),
            sign_rsa: String::new(),
            sign_p256: String::new(),
            mac: String::new(),
        };
        client.aes = client.create_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT").await?;
        client.rsa = client.create_key("RSA_2048", "ENCRYPT_DECRYPT").await?;
        client.sign_rsa = client.create_key("RSA_2048", "SIGN_VERIFY").await?;
        client.sign_p256 = client.create_key("ECC_NIST_P256", "SIGN_VERIFY").await?;
        client.mac = client.create_key("HMAC_256", "GENERATE_VERIFY_MAC").await?;
        Ok(client)
    }

    /// A request of that kind, with random data.
    pub async fn prepare(&self, workload: Workload) -> Outcome<Prepared> {
        let (target, body, known) = match workload {
            Workload::Encrypt(size) => {
                let plaintext = random(size)?;
                ("Encrypt", json!({ "KeyId": self.aes, "Plaintext": plaintext }), plaintext.into())
            }
            Workload::Decrypt(size) => {
                let plaintext = random(size)?;
                let sealed = self.ask("Encrypt", &json!({ "KeyId": self.aes, "Plaintext": plaintext })).await?;
                ("Decrypt", json!({ "CiphertextBlob": text(&sealed, "CiphertextBlob")? }), plaintext.into())
            }
            Workload::GenerateDataKey => {
                ("GenerateDataKey", json!({ "KeyId": self.aes, "KeySpec": "AES_256" }), Value::Null)
            }
            Workload::RsaDecrypt(algorithm) => {
                let plaintext = random(32)?;
                let request = json!({ "KeyId": self.rsa, "Plaintext": plaintext, "EncryptionAlgorithm": algorithm });
                let sealed = self.ask("Encrypt", &request).await?;
                let blob = text(&sealed, "CiphertextBlob")?;
                let request = json!({ "KeyId": self.rsa, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm });
                ("Decrypt", request, plaintext.into())
            }
            Workload::SignRsaPss => to_sign(&self.sign_rsa, "RSASSA_PSS_SHA_256")?,
            Workload::SignP256 => to_sign(&self.sign_p256, "ECDSA_SHA_256")?,
            Workload::GenerateMac => {
                let request = json!({ "KeyId": self.mac, "Message": random(32)?, "MacAlgorithm": "HMAC_SHA_256" });
                ("GenerateMac", request.clone(), request)
            }
            Workload::GenerateDataKeyPair => {
                ("GenerateDataKeyPair", json!({ "KeyId": self.aes, "KeyPairSpec": "ECC_NIST_P256" }), Value::Null)
            }
        };
        Ok(Prepared { workload, bytes: self.sign(target, &body), known })
    }

    /// Whether an answer to the prepared request is right.
    pub async fn check(&self, prepared: &Prepared, answer: &[u8]) -> Outcome<()> {
        let answer: Value = serde_json::from_slice(answer)?;
        let known = &prepared.known;
        let is_right = match prepared.workload {
            Workload::Encrypt(_) => self.open(&answer, "CiphertextBlob").await? == *known,
            Workload::GenerateDataKey => self.open(&answer, "CiphertextBlob").await? == text(&answer, "Plaintext")?,
            Workload::GenerateDataKeyPair => {
                self.open(&answer, "PrivateKeyCiphertextBlob").await? == text(&answer, "PrivateKeyPlaintext")?
            }
            Workload::Decrypt(_) | Workload::RsaDecrypt(_) => text(&answer, "Plaintext")? == *known,
            Workload::SignRsaPss | Workload::SignP256 => self.verified("Verify", known, &answer, "Signature").await?,
            Workload::GenerateMac => self.verified("VerifyMac", known, &answer, "Mac").await?,
        };
        if is_right { Ok(()) } else { Err(format!("a wrong answer to {}", prepared.workload.name()).into()) }
    }

    async fn open(&self, sealed: &Value, blob: &str) -> Outcome<String> {
        let opened = self.ask("Decrypt", &json!({ "CiphertextBlob": text(sealed, blob)? })).await?;
        text(&opened, "Plaintext")
    }

    /// Whether `operation` accepts the member of `answer` that a request was answered with.
    async fn verified(&self, operation: &str, request: &Value, answer: &Value, member: &str) -> Outcome<bool> {
        let mut request = request.clone();
        request[member] = text(answer, member)?.into();
        let verified = self.ask(operation, &request).await?;
        Ok([verified.get("SignatureValid"), verified.get("MacValid")].contains(&Some(&true.into())))
    }

    async fn create_key(&self, spec: &str, usage: &str) -> Outcome<String> {
        let made = self.ask("CreateKey", &json!({ "KeySpec": spec, "KeyUsage": usage })).await?;
        text(made.get("KeyMetadata").ok_or("no KeyMetadata")?, "KeyId")
    }

    async fn ask(&self, target: &str, body: &Value) -> Outcome<Value> {
        Ok(serde_json::from_slice(&load::ask(self.address, &self.sign(target, body)).await?)?)
    }

    fn sign(&self, operation: &str, body: &Value) -> Vec<u8> {
        let Self { host, access_key_id, secret, .. } = self;
        Sender { host, access_key_id, secret, region: REGION }.sign(operation, body)
    }
}

/// A request of Sign, which is what its answer is verified with, too.
fn to_sign(key: &str, algorithm: &str) -> Outcome<(&'static str, Value, Value)> {
    let request = json!({ "KeyId": key, "Message": random(32)?, "SigningAlgorithm": algorithm });
    Ok(("Sign", request.clone(), request))
}

fn text(json: &Value, member: &str) -> Outcome<String> {
    Ok(json.get(member).and_then(Value::as_str).ok_or_else(|| format!("no {member} in {json}"))?.to_owned())
}

fn random(size: usize) -> Outcome<String> {
    let mut bytes = vec![0; size];
    getrandom::fill(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}
