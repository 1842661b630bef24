//! Every way in which the API makes the HSM work: what is done before, so that a handle is cached or is not, and the call.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use strongroom::kms::KeyStoreKind;

use crate::oaep::oaep;
use crate::rig::{Answer, DEADLINE, GENERATION_DEADLINE, Options, Rig};

/// A rig and what its calls are about.
pub struct Bench {
    pub rig: Rig,
    aes: [String; 2],
    rsa: String,
    sealed: Value,
    sealed_rsa: [Value; 2],
    others: Others,
    /// What the module has complained about so far.
    pub complaints: Mutex<Vec<String>>,
    /// Sessions that were opened or not closed without our being told.
    lost: Mutex<usize>,
}

/// One way to make the HSM work.
pub struct Work {
    pub name: &'static str,
    /// Who has no handle cached gets there by another key.
    cold: bool,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Encrypt,
    Decrypt,
    ReEncrypt,
    GenerateDataKey,
    GenerateDataKeyWithoutPlaintext,
    GenerateRandom,
    CreateKey,
    CreateRsaKey,
    EncryptRsa(usize),
    DecryptRsa(usize),
    Sign(Signer),
    Verify(Signer),
    GenerateMac,
    VerifyMac,
    DeriveSharedSecret,
    GenerateDataKeyPair,
    FirstCallOfAccessKey,
    Delete,
    Rotate,
    PrepareImport,
    Import,
    CreateGrant,
    UseToken,
    Start,
}

/// A key that signs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signer {
    P256,
    Rsa,
}

/// What the operations that do not encrypt are about.
struct Others {
    /// The request of Sign for each signer, and the same with its signature, which is that of Verify.
    sign: [Value; 2],
    verify: [Value; 2],
    mac: Value,
    verify_mac: Value,
    derive: Value,
    grant: Value,
    with_token: Value,
}

/// Sessions of an engine: of two workers, of the anchor, of slow calls, of what makes objects on the token.
const SESSIONS: usize = 5;

/// Threads of an engine: one for each of these sessions, and the watch.
pub const THREADS: usize = SESSIONS + 1;

const OAEP: [&str; 2] = ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"];

/// Everything; keys kept as objects on the HSM have fewer ways of their own.
pub fn all(keeping: KeyStoreKind) -> Vec<Work> {
    use Kind::*;
    let both = |name: [&'static str; 2], kind| [(name[0], false, kind), (name[1], true, kind)];
    let mut all = Vec::new();
    all.extend(both(["Encrypt", "Encrypt, cold"], Encrypt));
    all.extend(both(["Decrypt", "Decrypt, cold"], Decrypt));
    all.push(("CreateKey", false, CreateKey));
    all.push(("Sign, P-256, cold", true, Sign(Signer::P256)));
    all.push(("RotateKeyOnDemand", false, Rotate));
    all.push(("ImportKeyMaterial", false, Import));
    match keeping {
        KeyStoreKind::Token => all.push(("delete", false, Delete)),
        KeyStoreKind::Wrapped => {
            all.extend(both(["ReEncrypt", "ReEncrypt, cold"], ReEncrypt));
            all.extend(both(["GenerateDataKey", "GenerateDataKey, cold"], GenerateDataKey));
            all.push(("GenerateDataKeyWithoutPlaintext", false, GenerateDataKeyWithoutPlaintext));
            all.push(("GenerateRandom", false, GenerateRandom));
            all.push(("Encrypt, RSA, SHA-1", false, EncryptRsa(0)));
            all.push(("Encrypt, RSA, SHA-256", true, EncryptRsa(1)));
            all.push(("Decrypt, RSA, SHA-1", false, DecryptRsa(0)));
            all.push(("Decrypt, RSA, SHA-256", true, DecryptRsa(1)));
            all.push(("Sign, P-256", false, Sign(Signer::P256)));
            all.extend(both(["Sign, RSA-PSS", "Sign, RSA-PSS, cold"], Sign(Signer::Rsa)));
            all.push(("Verify, P-256", true, Verify(Signer::P256)));
            all.push(("Verify, RSA-PSS", true, Verify(Signer::Rsa)));
            all.push(("GenerateMac", true, GenerateMac));
            all.push(("VerifyMac", true, VerifyMac));
            all.push(("DeriveSharedSecret", true, DeriveSharedSecret));
            all.push(("GenerateDataKeyPair", false, GenerateDataKeyPair));
            all.push(("GetParametersForImport", false, PrepareImport));
            all.push(("CreateGrant", false, CreateGrant));
            all.push(("DescribeKey with a grant token", false, UseToken));
            all.push(("first call of an access key", false, FirstCallOfAccessKey));
            all.push(("CreateKey, RSA", false, CreateRsaKey));
            all.push(("start of a worker", false, Start));
        }
    }
    all.into_iter().map(|(name, cold, kind)| Work { name, cold, kind }).collect()
}

impl Work {
    /// By when it must be answered.
    pub fn deadline(&self) -> Duration {
        match self.kind {
            Kind::CreateKey | Kind::CreateRsaKey | Kind::Delete | Kind::Rotate | Kind::Start => GENERATION_DEADLINE,
            Kind::GenerateDataKeyPair | Kind::PrepareImport | Kind::Import => GENERATION_DEADLINE + DEADLINE,
            // Two calls, one after the other; each has the deadline of the request.
            _ => DEADLINE,
        }
    }

    /// Where not everything is tried, one in so many of its cells is: making an RSA key and starting a process take long, and
    /// what signs goes the way of what decrypts.
    pub fn stride(&self) -> usize {
        match self.kind {
            Kind::CreateRsaKey | Kind::Sign(_) | Kind::Verify(_) | Kind::GenerateMac | Kind::VerifyMac => 3,
            Kind::DeriveSharedSecret | Kind::GenerateDataKeyPair | Kind::Rotate => 3,
            Kind::CreateGrant | Kind::UseToken => 3,
            // Odd, so that the lanes share them.
            Kind::Start | Kind::PrepareImport | Kind::Import => 15,
            _ => 1,
        }
    }

    /// Whether an exception is declared for it, and may be retried or says what is wrong with the HSM. None says that a
    /// signature, a MAC, a public key or a grant token is wrong: all that are given here are right.
    pub fn may_answer(&self, code: &str) -> bool {
        let makes_key = matches!(self.kind, Kind::CreateKey | Kind::CreateRsaKey | Kind::Rotate);
        let makes = makes_key || matches!(self.kind, Kind::PrepareImport | Kind::Import);
        let macs = matches!(self.kind, Kind::GenerateMac | Kind::VerifyMac);
        let own = matches!(self.kind, Kind::GenerateRandom | Kind::CreateGrant | Kind::UseToken);
        match code {
            "ThrottlingException" => true,
            "DependencyTimeoutException" => !macs,
            "KMSInternalException" => macs,
            "KeyUnavailableException" => !makes && !own,
            "LimitExceededException" => makes_key,
            "UnsupportedOperationException" => makes,
            _ => false,
        }
    }

    /// Does it, with what has to be there beforehand. `at` is called right before the call that counts.
    pub fn perform(&self, bench: &Bench, at: impl FnOnce()) -> Answer {
        let rig = &bench.rig;
        let before = if self.cold { bench.sealed["Other"].clone() } else { bench.warm(self.kind) };
        rig.call(before["Operation"].as_str().unwrap(), &before["Body"]);
        if self.kind == Kind::FirstCallOfAccessKey {
            let newcomer = rig.newcomer();
            at();
            return rig.runtime.block_on(newcomer.call("GenerateRandom", &json!({"NumberOfBytes": 16})));
        }
        if self.kind == Kind::Delete {
            return delete(bench, at);
        }
        if self.kind == Kind::Start {
            return start(bench, at);
        }
        let (operation, body) = bench.request(self.kind);
        at();
        rig.call(operation, &body)
    }
}

/// A new key. After the cell before this one the HSM may need a moment.
fn made(rig: &Rig, request: &Value) -> Value {
    rig.recovers("CreateKey", &json!({}), Duration::from_secs(5));
    rig.ok("CreateKey", request)["KeyMetadata"]["KeyId"].clone()
}

/// The request of GetParametersForImport for a new key.
fn parameters(rig: &Rig) -> (&'static str, Value) {
    let key = made(rig, &json!({"Origin": "EXTERNAL"}));
    let body = json!({"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"});
    ("GetParametersForImport", body)
}

/// The request of ImportKeyMaterial for a new key.
fn import(rig: &Rig) -> (&'static str, Value) {
    let (operation, request) = parameters(rig);
    let parameters = rig.ok(operation, &request);
    let public = STANDARD.decode(parameters["PublicKey"].as_str().unwrap()).unwrap();
    let body = json!({
        "KeyId": request["KeyId"], "ImportToken": parameters["ImportToken"],
        "EncryptedKeyMaterial": STANDARD.encode(oaep(&public, "sha1", &[7; 32])),
        "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
    });
    ("ImportKeyMaterial", body)
}

/// A worker is killed, and called until it is back.
fn start(bench: &Bench, at: impl FnOnce()) -> Answer {
    let rig = &bench.rig;
    for pid in rig.faults().instances() {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    at();
    let (began, (operation, body)) = (Instant::now(), bench.probe());
    loop {
        let answer = rig.call(operation, &body);
        if answer.status == 200 || began.elapsed() > GENERATION_DEADLINE {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A key is made, and destroyed as the task does it when its time has come.
fn delete(bench: &Bench, at: impl FnOnce()) -> Answer {
    let made = made(&bench.rig, &json!({}));
    let id = made.as_str().unwrap();
    let began = std::time::Instant::now();
    at();
    let deleted = bench.rig.delete(id);
    let took = began.elapsed();
    match deleted {
        Ok(()) => Answer { status: 200, body: Value::Null, took },
        Err(error) => Answer { status: error.code.status(), body: json!({"__type": error.code.as_str()}), took },
    }
}

impl Bench {
    pub fn new(keeping: KeyStoreKind) -> Self {
        let rig = Rig::new(&Options { keeping, ..Options::default() });
        let key = |body: Value| rig.ok("CreateKey", &body)["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        let aes = [key(json!({})), key(json!({}))];
        let rsa = key(json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"}));
        let blob = rig.ok("Encrypt", &json!({"KeyId": aes[0], "Plaintext": "eA=="}))["CiphertextBlob"].clone();
        let other = json!({"Operation": "Encrypt", "Body": {"KeyId": aes[1], "Plaintext": "eA=="}});
        let sealed_rsa = OAEP.map(|algorithm| {
            let body = json!({"KeyId": rsa, "Plaintext": "eA==", "EncryptionAlgorithm": algorithm});
            rig.ok("Encrypt", &body)["CiphertextBlob"].clone()
        });
        let others = Others::new(&rig);
        Self {
            rig,
            aes,
            rsa,
            sealed: json!({"Blob": blob, "Other": other}),
            sealed_rsa,
            others,
            complaints: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    /// Sessions that there are at most: those of the engine, and those that are lost.
    pub fn sessions(&self) -> usize {
        SESSIONS + *self.lost.lock().unwrap()
    }

    /// The threads of the engine that are there, of the workers that are not about to end.
    pub fn threads(&self) -> usize {
        let of = |pid| std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let is_ours = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("hsm-"))
        };
        let count = |pid| of(pid).filter_map(|task| is_ours(task).then_some(())).count();
        self.rig.faults().instances().into_iter().map(count).max().unwrap_or_default()
    }

    /// Whatever is open now may be what cannot be closed: the engine opens its own again when it needs them.
    pub fn note_lost_sessions(&self) {
        *self.lost.lock().unwrap() = self.rig.faults().open_sessions();
    }

    /// A call that must succeed when the HSM is well.
    pub fn probe(&self) -> (&'static str, Value) {
        self.request(Kind::Encrypt)
    }

    fn warm(&self, kind: Kind) -> Value {
        let (operation, body) = match kind {
            Kind::EncryptRsa(_) | Kind::DecryptRsa(_) | Kind::Sign(_) => self.request(kind),
            _ => self.request(Kind::Encrypt),
        };
        json!({"Operation": operation, "Body": body})
    }

    fn request(&self, kind: Kind) -> (&'static str, Value) {
        let key = &self.aes[0];
        match kind {
            Kind::Encrypt | Kind::Start => ("Encrypt", json!({"KeyId": key, "Plaintext": "eA=="})),
            Kind::Decrypt => ("Decrypt", json!({"CiphertextBlob": self.sealed["Blob"]})),
            Kind::ReEncrypt => {
                ("ReEncrypt", json!({"CiphertextBlob": self.sealed["Blob"], "DestinationKeyId": self.aes[1]}))
            }
            Kind::GenerateDataKey => ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})),
            Kind::GenerateDataKeyWithoutPlaintext => {
                ("GenerateDataKeyWithoutPlaintext", json!({"KeyId": key, "KeySpec": "AES_256"}))
            }
            Kind::GenerateRandom | Kind::FirstCallOfAccessKey => ("GenerateRandom", json!({"NumberOfBytes": 32})),
            Kind::CreateKey | Kind::Delete => ("CreateKey", json!({})),
            Kind::Rotate => ("RotateKeyOnDemand", json!({"KeyId": made(&self.rig, &json!({}))})),
            Kind::PrepareImport => parameters(&self.rig),
            Kind::Import => import(&self.rig),
            Kind::CreateRsaKey => ("CreateKey", json!({"KeySpec": "RSA_2048", "KeyUsage": "ENCRYPT_DECRYPT"})),
            Kind::EncryptRsa(n) => {
                ("Encrypt", json!({"KeyId": self.rsa, "Plaintext": "eA==", "EncryptionAlgorithm": OAEP[n]}))
            }
            Kind::DecryptRsa(n) => (
                "Decrypt",
                json!({"KeyId": self.rsa, "CiphertextBlob": self.sealed_rsa[n], "EncryptionAlgorithm": OAEP[n]}),
            ),
            Kind::Sign(signer) => ("Sign", self.others.sign[signer as usize].clone()),
            Kind::Verify(signer) => ("Verify", self.others.verify[signer as usize].clone()),
            Kind::GenerateMac => ("GenerateMac", self.others.mac.clone()),
            Kind::VerifyMac => ("VerifyMac", self.others.verify_mac.clone()),
            Kind::CreateGrant => ("CreateGrant", self.others.grant.clone()),
            Kind::UseToken => ("DescribeKey", self.others.with_token.clone()),
            Kind::DeriveSharedSecret => ("DeriveSharedSecret", self.others.derive.clone()),
            Kind::GenerateDataKeyPair => ("GenerateDataKeyPair", json!({"KeyId": key, "KeyPairSpec": "ECC_NIST_P256"})),
        }
    }
}

impl Others {
    fn new(rig: &Rig) -> Self {
        let key = |spec: &str, usage: &str| {
            rig.ok("CreateKey", &json!({"KeySpec": spec, "KeyUsage": usage}))["KeyMetadata"]["KeyId"].clone()
        };
        let sign = [("ECC_NIST_P256", "ECDSA_SHA_256"), ("RSA_2048", "RSASSA_PSS_SHA_256")].map(|(spec, algorithm)| {
            json!({"KeyId": key(spec, "SIGN_VERIFY"), "Message": "eA==", "SigningAlgorithm": algorithm})
        });
        let verify = [&sign[0], &sign[1]].map(|sign| answered(rig, "Sign", sign, "Signature"));
        let (mac, peer) = (key("HMAC_256", "GENERATE_VERIFY_MAC"), key("ECC_NIST_P256", "KEY_AGREEMENT"));
        let mac = json!({"KeyId": mac, "Message": "eA==", "MacAlgorithm": "HMAC_SHA_256"});
        let public_key = rig.ok("GetPublicKey", &json!({"KeyId": peer}))["PublicKey"].clone();
        let (granted, grantee) = (key("HMAC_256", "GENERATE_VERIFY_MAC"), "arn:aws:iam::111122223333:user/ada");
        let grant = json!({"KeyId": granted, "GranteePrincipal": grantee, "Operations": ["GenerateMac"]});
        let token = rig.ok("CreateGrant", &grant)["GrantToken"].clone();
        Self {
            verify,
            sign,
            verify_mac: answered(rig, "GenerateMac", &mac, "Mac"),
            mac,
            derive: json!({
                "KeyId": key("ECC_NIST_P256", "KEY_AGREEMENT"),
                "KeyAgreementAlgorithm": "ECDH",
                "PublicKey": public_key,
            }),
            with_token: json!({"KeyId": granted, "GrantTokens": [token]}),
            grant,
        }
    }
}

/// A request with a member of its answer in it.
fn answered(rig: &Rig, operation: &str, request: &Value, member: &str) -> Value {
    let mut request = request.clone();
    request[member] = rig.ok(operation, &request)[member].clone();
    request
}
