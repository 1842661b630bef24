//! A platform that attests, for tests: certificates of its own, and documents that it signs. And a recipient, whose RSA key
//! is `openssl`'s: it opens what it is sent by an implementation that is not ours.

use std::{path::PathBuf, process::Command, sync::OnceLock};

use der::{
    Decode, Encode,
    asn1::{Uint, UintRef},
};
use minicbor::Encoder;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    SignatureAlgorithm, SigningKey, date_time_ymd,
};
use serde_json::{Value as Json, json};
use strongroom::{attestation::Roots, clock::Timestamp};
use tempfile::TempDir;

use crate::world::{START, base64};

/// The protected header `{1: -35}`.
pub const ES384: &[u8] = &[0xa1, 0x01, 0x38, 0x22];
/// A register as it is after a start in debug mode.
pub const REGISTER: [u8; 48] = [0; 48];

/// The parameters of a chain: root, issuer, signer.
pub type Chain = [CertificateParams; 3];

/// A root, an issuer under it, and the certificate of who signs documents.
pub struct Attester {
    pub bundle: Vec<Vec<u8>>,
    pub certificate: Vec<u8>,
    key: KeyPair,
}

impl Attester {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// One whose certificates are spoilt in some way.
    pub fn with(spoil: impl FnOnce(&mut Chain)) -> Self {
        Self::of([&PKCS_ECDSA_P384_SHA384; 3], spoil)
    }

    /// One with other keys.
    pub fn of(algorithms: [&'static SignatureAlgorithm; 3], spoil: impl FnOnce(&mut Chain)) -> Self {
        let mut chain = [authority("root"), authority("issuer"), signer("signer")];
        spoil(&mut chain);
        let [root, issuer, signer] = &chain;
        let [root_key, issuer_key, key] = algorithms.map(|algorithm| KeyPair::generate_for(algorithm).unwrap());
        let by_root = issuer.signed_by(&issuer_key, &Issuer::from_params(root, &root_key)).unwrap();
        let by_issuer = signer.signed_by(&key, &Issuer::from_params(issuer, &issuer_key)).unwrap();
        let bundle = [root.self_signed(&root_key).unwrap(), by_root].map(|made| made.der().to_vec()).to_vec();
        Self { bundle, certificate: by_issuer.der().to_vec(), key }
    }

    pub fn root_pem(&self) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64(&self.bundle[0]))
    }

    /// What an operator configures who trusts this platform.
    pub fn roots(&self) -> Roots {
        let mut roots = Roots::default();
        roots.trust_pem(self.root_pem().as_bytes()).unwrap();
        roots
    }

    /// The claims of a good document, made at this time for this public key.
    pub fn claims(&self, at: Timestamp, public_key: &[u8]) -> Claims {
        let bundle = self.bundle.iter().map(|der| Cbor::Bytes(der.clone())).collect();
        Claims(vec![
            ("module_id", Cbor::Text("i-0123456789abcdef0-enc0123456789abcdef".to_owned())),
            ("digest", Cbor::Text("SHA384".to_owned())),
            ("timestamp", Cbor::Uint(at.ms().cast_unsigned())),
            ("pcrs", Cbor::Map((0..4).map(|number| (Cbor::Uint(number), Cbor::Bytes(REGISTER.to_vec()))).collect())),
            ("certificate", Cbor::Bytes(self.certificate.clone())),
            ("cabundle", Cbor::List(bundle)),
            ("public_key", Cbor::Bytes(public_key.to_vec())),
            ("user_data", Cbor::Null),
            ("nonce", Cbor::Bytes(b"a nonce".to_vec())),
        ])
    }

    /// A document of these claims.
    pub fn document(&self, claims: &Claims) -> Vec<u8> {
        self.sign(&claims.payload())
    }

    /// A document with this payload.
    pub fn sign(&self, payload: &[u8]) -> Vec<u8> {
        cose_sign1(ES384, payload, &self.signature(ES384, payload))
    }

    /// ES384 of a payload: r and s, 48 bytes each.
    pub fn signature(&self, protected: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut cbor = Encoder::new(&mut bytes);
        cbor.array(4).unwrap().str("Signature1").unwrap().bytes(protected).unwrap();
        cbor.bytes(&[]).unwrap().bytes(payload).unwrap();
        let der = self.key.sign(&bytes).unwrap();
        let numbers = Vec::<Uint>::from_der(&der).unwrap();
        numbers.iter().flat_map(|number| [&vec![0; 48 - number.as_bytes().len()], number.as_bytes()].concat()).collect()
    }

    /// A Recipient for the key of [`Laptop`], attested in the first minute of a world.
    pub fn recipient(&self) -> Json {
        let document = self.document(&self.claims(START, &Laptop::get().public_key));
        json!({"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": base64(&document)})
    }
}

/// An untagged COSE_Sign1, as Nitro's.
pub fn cose_sign1(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut cbor = Encoder::new(&mut bytes);
    cbor.array(4).unwrap().bytes(protected).unwrap().map(0).unwrap();
    cbor.bytes(payload).unwrap().bytes(signature).unwrap();
    bytes
}

/// A CA of this name.
pub fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn signer(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2025, 12, 1), date_time_ymd(2026, 2, 1));
    params
}

/// A value as CBOR writes it.
#[derive(Clone)]
pub enum Cbor {
    Null,
    Uint(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Cbor>),
    Map(Vec<(Cbor, Cbor)>),
    /// Whatever is in these bytes.
    Raw(Vec<u8>),
}

impl Cbor {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut cbor = Encoder::new(&mut bytes);
        match self {
            Self::Null => drop(cbor.null().unwrap()),
            Self::Uint(number) => drop(cbor.u64(*number).unwrap()),
            Self::Text(text) => drop(cbor.str(text).unwrap()),
            Self::Bytes(content) => drop(cbor.bytes(content).unwrap()),
            Self::List(items) => {
                cbor.array(items.len() as u64).unwrap();
                bytes.extend(items.iter().flat_map(Self::encode));
            }
            Self::Map(entries) => {
                cbor.map(entries.len() as u64).unwrap();
                bytes.extend(entries.iter().flat_map(|(key, value)| [key.encode(), value.encode()].concat()));
            }
            Self::Raw(raw) => bytes.extend(raw),
        }
        bytes
    }
}

/// What a document claims, in the order in which it says so.
#[derive(Clone)]
pub struct Claims(pub Vec<(&'static str, Cbor)>);

impl Claims {
    /// The same with another value of a member.
    pub fn with(&self, name: &str, value: Cbor) -> Self {
        let replaced = |(is, old): &(&'static str, Cbor)| (*is, if *is == name { value.clone() } else { old.clone() });
        Self(self.0.iter().map(replaced).collect())
    }

    /// The same without a member.
    pub fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(is, _)| *is != name).cloned().collect())
    }

    /// The same with one more member.
    pub fn and(&self, name: &'static str, value: Cbor) -> Self {
        Self(self.0.iter().cloned().chain([(name, value)]).collect())
    }

    /// A map that says how many members it has.
    pub fn payload(&self) -> Vec<u8> {
        Cbor::Map(self.entries()).encode()
    }

    /// A map that ends with a break, as Nitro writes it since 2025.
    pub fn payload_with_a_break(&self) -> Vec<u8> {
        let entries = self.entries().into_iter().flat_map(|(key, value)| [key.encode(), value.encode()].concat());
        [0xbf].into_iter().chain(entries).chain([0xff]).collect()
    }

    fn entries(&self) -> Vec<(Cbor, Cbor)> {
        self.0.iter().map(|(name, value)| (Cbor::Text((*name).to_owned()), value.clone())).collect()
    }
}

/// DER SubjectPublicKeyInfo of an RSA key of this modulus and exponent, which need not be a key.
pub fn rsa_spki(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = pkcs1::RsaPublicKeyRef {
        modulus: UintRef::new(modulus).unwrap(),
        public_exponent: UintRef::new(exponent).unwrap(),
    };
    let subject_public_key = der::asn1::BitString::from_bytes(&key.to_der().unwrap()).unwrap();
    spki::SubjectPublicKeyInfo { algorithm: pkcs1::ALGORITHM_ID, subject_public_key }.to_der().unwrap()
}

/// Who has the private half of an RSA_2048 key, and `openssl` to use it.
pub struct Laptop {
    pub public_key: Vec<u8>,
    dir: TempDir,
}

impl Laptop {
    /// The one of this process.
    pub fn get() -> &'static Self {
        static LAPTOP: OnceLock<Laptop> = OnceLock::new();
        LAPTOP.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            let mut laptop = Self { public_key: Vec::new(), dir };
            let key = laptop.file("key.pem");
            openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &key]);
            laptop.public_key = openssl(&["pkey", "-in", &key, "-pubout", "-outform", "DER"]);
            laptop
        })
    }

    /// What is in an envelope.
    pub fn open(&self, envelope: &[u8]) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new_in(&self.dir).unwrap();
        std::fs::write(file.path(), envelope).unwrap();
        let envelope = file.path().to_str().unwrap();
        openssl(&["cms", "-decrypt", "-inform", "DER", "-in", envelope, "-inkey", &self.file("key.pem")])
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        path.to_str().unwrap().to_owned()
    }
}

fn openssl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
