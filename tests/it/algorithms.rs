//! The algorithms that a key is said to be used with are those that its HSM does with it, and no others.

use serde_json::{Value, json};
use strongroom::{
    hsm::{OaepMethod, Settings},
    key::{
        algorithm::{Algorithm, EncapsulationAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, SigningAlgorithm},
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
    },
};

use crate::{
    operations::sign::whole,
    skip::skip,
    tokens::token,
    world::{World, base64, hsm, open_hsm, text, with},
};

/// What AWS uses such keys with: what lists them, what is asked for with each, and by what operation.
fn of_aws(spec: KeySpec, usage: KeyUsage) -> (&'static str, &'static str, Vec<(String, Value)>) {
    fn each<A: Algorithm>(spec: KeySpec, member: &str, more: impl Fn(A) -> Value) -> Vec<(String, Value)> {
        let request = |algorithm: &A| with(json!({member: algorithm.to_string()}), more(*algorithm));
        A::of(spec).iter().map(|algorithm| (algorithm.to_string(), request(algorithm))).collect()
    }
    match usage {
        KeyUsage::EncryptDecrypt => {
            let all = each(spec, "EncryptionAlgorithm", |_: EncryptionAlgorithm| json!({"Plaintext": base64(b"m")}));
            ("EncryptionAlgorithms", "Encrypt", all)
        }
        KeyUsage::SignVerify => {
            let all = each(spec, "SigningAlgorithm", |algorithm: SigningAlgorithm| whole(algorithm, b"m"));
            ("SigningAlgorithms", "Sign", all)
        }
        KeyUsage::GenerateVerifyMac => {
            let all = each(spec, "MacAlgorithm", |_: MacAlgorithm| json!({"Message": base64(b"m")}));
            ("MacAlgorithms", "GenerateMac", all)
        }
        KeyUsage::KeyAgreement => {
            let all = each(spec, "KeyAgreementAlgorithm", |_: KeyAgreementAlgorithm| json!({}));
            ("KeyAgreementAlgorithms", "DeriveSharedSecret", all)
        }
        KeyUsage::EncapsulateDecapsulate => {
            let all = each(spec, "EncapsulationAlgorithm", |_: EncapsulationAlgorithm| json!({}));
            ("EncapsulationAlgorithms", "Encapsulate", all)
        }
    }
}

/// Every kind of key that the HSM has. Longer RSA keys take seconds to make, and differ in nothing else.
fn kinds() -> impl Iterator<Item = (KeySpec, KeyUsage)> {
    let all = KeySpec::ALL.iter().filter(|spec| !matches!(spec, KeySpec::Rsa3072 | KeySpec::Rsa4096));
    let all = all.flat_map(|spec| spec.usages().iter().map(|usage| (*spec, *usage)));
    all.filter(|(spec, usage)| hsm().supports(*spec, *usage).unwrap())
}

#[tokio::test]
async fn what_is_listed_works_and_what_is_not_is_refused() {
    let world = World::new().await;
    for (spec, usage) in kinds() {
        let created = world.ok("CreateKey", json!({"KeySpec": spec, "KeyUsage": usage})).await["KeyMetadata"].clone();
        let key = json!({"KeyId": created["KeyId"]});
        let (member, operation, all) = of_aws(spec, usage);
        let listed = created[member].as_array().unwrap();
        assert_eq!(world.ok("DescribeKey", key.clone()).await["KeyMetadata"][member], json!(listed), "{spec} {usage}");
        let mut more = json!({});
        if spec.is_asymmetric() {
            let public = world.ok("GetPublicKey", key.clone()).await;
            let told = usage != KeyUsage::KeyAgreement;
            assert_eq!(public[member], json!(listed), "{spec} {usage}");
            more = if told { more } else { json!({"PublicKey": text(&public, "PublicKey")}) };
        }
        for (algorithm, request) in all {
            let request = with(with(request, key.clone()), more.clone());
            if listed.contains(&json!(algorithm)) {
                world.ok(operation, request).await;
                continue;
            }
            let message = format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
            for dry_run in [true, false] {
                let request = with(request.clone(), json!({"DryRun": dry_run}));
                world.refuse(operation, request, "InvalidKeyUsageException", &message).await;
            }
        }
    }
}

#[tokio::test]
async fn what_the_operator_does_not_allow_any_more_is_not_listed() {
    let strict = open_hsm(Settings { allow_raw_rsa: false, ..token() });
    if strict.profiles()[0].oaep_sha256 == OaepMethod::Native {
        return skip("the HSM does RSAES_OAEP_SHA_256 itself");
    }
    let world = World::build().hsm(&strict).open().await;
    let key = world.rsa().await;
    let described = world.ok("DescribeKey", json!({"KeyId": key})).await;
    assert_eq!(described["KeyMetadata"]["EncryptionAlgorithms"], json!(["RSAES_OAEP_SHA_1"]));
}
