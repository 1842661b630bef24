//! A client of Strongroom: makes the keys, prepares signed requests, and looks whether answers are right.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use strongroom::{
    clock::{Clock, SystemClock},
    secret::SecretText,
    sigv4::{self, Received, Signer},
};

use crate::{Outcome, load::Connection, raw::Calls, strongroom::Server};

const REGION: &str = "us-east-1";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Encrypt(usize),
    Decrypt(usize),
    GenerateDataKey,
    /// RSA-2048, by the name of the algorithm.
    RsaDecrypt(&'static str),
}

impl Workload {
    pub const ALL: [Self; 7] = [
        Self::Encrypt(32),
        Self::Encrypt(4096),
        Self::Decrypt(32),
        Self::Decrypt(4096),
        Self::GenerateDataKey,
        Self::RsaDecrypt("RSAES_OAEP_SHA_1"),
        Self::RsaDecrypt("RSAES_OAEP_SHA_256"),
    ];

    pub fn name(self) -> String {
        match self {
            Self::Encrypt(size) => format!("Encrypt {size} B"),
            Self::Decrypt(size) => format!("Decrypt {size} B"),
            Self::GenerateDataKey => "GenerateDataKey".to_owned(),
            Self::RsaDecrypt(algorithm) => format!("RSA-2048 Decrypt {}", algorithm.trim_start_matches("RSAES_OAEP_")),
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
        }
    }
}

/// A request, signed and ready to be sent as often as one likes for five minutes.
pub struct Prepared {
    pub workload: Workload,
    pub bytes: Vec<u8>,
    plaintext: String,
}

impl Prepared {
    /// The same bytes, but for a path that tells the echo server how many to answer.
    pub fn for_echo(&self, answer_bytes: usize) -> Self {
        let path = format!("POST /{answer_bytes} ");
        let bytes = [path.as_bytes(), self.bytes.get("POST / ".len()..).unwrap_or_default()].concat();
        Self { bytes, plaintext: String::new(), ..*self }
    }
}

pub struct Client {
    host: String,
    address: std::net::SocketAddr,
    access_key_id: String,
    secret: SecretText,
    aes: String,
    rsa: String,
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
        };
        client.aes = client.create_key("SYMMETRIC_DEFAULT").await?;
        client.rsa = client.create_key("RSA_2048").await?;
        Ok(client)
    }

    /// A request of that kind, with random data.
    pub async fn prepare(&self, workload: Workload) -> Outcome<Prepared> {
        let (target, body, plaintext) = match workload {
            Workload::Encrypt(size) => {
                let plaintext = random(size)?;
                ("Encrypt", json!({ "KeyId": self.aes, "Plaintext": plaintext }), plaintext)
            }
            Workload::Decrypt(size) => {
                let plaintext = random(size)?;
                let sealed = self.ask("Encrypt", &json!({ "KeyId": self.aes, "Plaintext": plaintext })).await?;
                ("Decrypt", json!({ "CiphertextBlob": text(&sealed, "CiphertextBlob")? }), plaintext)
            }
            Workload::GenerateDataKey => {
                ("GenerateDataKey", json!({ "KeyId": self.aes, "KeySpec": "AES_256" }), String::new())
            }
            Workload::RsaDecrypt(algorithm) => {
                let plaintext = random(32)?;
                let request = json!({ "KeyId": self.rsa, "Plaintext": plaintext, "EncryptionAlgorithm": algorithm });
                let sealed = self.ask("Encrypt", &request).await?;
                let blob = text(&sealed, "CiphertextBlob")?;
                let request = json!({ "KeyId": self.rsa, "CiphertextBlob": blob, "EncryptionAlgorithm": algorithm });
                ("Decrypt", request, plaintext)
            }
        };
        Ok(Prepared { workload, bytes: self.sign(target, &body), plaintext })
    }

    /// Whether an answer to the prepared request is right.
    pub async fn check(&self, prepared: &Prepared, answer: &[u8]) -> Outcome<()> {
        let answer: Value = serde_json::from_slice(answer)?;
        let opened = match prepared.workload {
            Workload::Encrypt(_) => self.open(&answer).await? == prepared.plaintext,
            Workload::GenerateDataKey => self.open(&answer).await? == text(&answer, "Plaintext")?,
            Workload::Decrypt(_) | Workload::RsaDecrypt(_) => text(&answer, "Plaintext")? == prepared.plaintext,
        };
        if opened { Ok(()) } else { Err(format!("a wrong answer to {}", prepared.workload.name()).into()) }
    }

    async fn open(&self, sealed: &Value) -> Outcome<String> {
        let opened = self.ask("Decrypt", &json!({ "CiphertextBlob": text(sealed, "CiphertextBlob")? })).await?;
        text(&opened, "Plaintext")
    }

    async fn create_key(&self, spec: &str) -> Outcome<String> {
        let made = self.ask("CreateKey", &json!({ "KeySpec": spec, "KeyUsage": "ENCRYPT_DECRYPT" })).await?;
        text(made.get("KeyMetadata").ok_or("no KeyMetadata")?, "KeyId")
    }

    async fn ask(&self, target: &str, body: &Value) -> Outcome<Value> {
        let mut connection = Connection::open(self.address).await?;
        connection.ask(&self.sign(target, body)).await?;
        Ok(serde_json::from_slice(&connection.body())?)
    }

    /// The headers of an SDK's request, and no more.
    fn sign(&self, operation: &str, body: &Value) -> Vec<u8> {
        let body = body.to_string();
        let (at, target) = (SystemClock.now(), format!("TrentService.{operation}"));
        let date = at.basic_iso8601();
        let headers: [(&str, &str); 5] = [
            ("content-type", "application/x-amz-json-1.1"),
            ("host", &self.host),
            ("user-agent", "aws-sdk-rust/1.3.14 os/linux lang/rust/1.95.0"),
            ("x-amz-date", &date),
            ("x-amz-target", &target),
        ];
        let signed = headers.map(|(name, value)| (name, value.as_bytes()));
        let received = Received { method: "POST", path: "/", query: None, headers: &signed, body: body.as_bytes() };
        let signer = Signer { access_key_id: &self.access_key_id, secret: &self.secret, region: REGION };
        let authorization = sigv4::sign(&received, &signer, at);
        let mut head =
            format!("POST / HTTP/1.1\r\ncontent-length: {}\r\nauthorization: {authorization}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + "\r\n" + &body).into_bytes()
    }
}

fn text(json: &Value, member: &str) -> Outcome<String> {
    Ok(json.get(member).and_then(Value::as_str).ok_or_else(|| format!("no {member} in {json}"))?.to_owned())
}

fn random(size: usize) -> Outcome<String> {
    let mut bytes = vec![0; size];
    getrandom::fill(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}
