//! The structures that several operations answer with, each written out once. A test says where its own differs, so a member
//! that AWS adds is added here and nowhere else. As [`World::check_only`](crate::world::Caller::check_only) shows them: the
//! first key is `KEY1`.

use serde_json::{Map, Value, json};

use crate::world::with;

/// `KeyMetadata` of a new symmetric key with `members` in the place of its own; `null` for one that is absent.
pub fn key_metadata(members: Value) -> Value {
    let symmetric = json!({
        "AWSAccountId": "111122223333",
        "Arn": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
        "CreationDate": 1_767_225_600.0,
        "CurrentKeyMaterialId": "MATERIAL",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "Description": "",
        "Enabled": true,
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "KeyId": "KEY1",
        "KeyManager": "CUSTOMER",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "KeyState": "Enabled",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "MultiRegion": false,
        "Origin": "AWS_KMS",
    });
    without_nulls(with(symmetric, members))
}

/// The same of a new RSA_2048 key that encrypts.
pub fn rsa_key_metadata() -> Value {
    key_metadata(json!({
        "CurrentKeyMaterialId": null,
        "CustomerMasterKeySpec": "RSA_2048",
        "EncryptionAlgorithms": ["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"],
        "KeySpec": "RSA_2048",
    }))
}

/// `MultiRegionConfiguration` of such a key, `PRIMARY` or `REPLICA`, whose primary key is in the region of the tests and whose
/// replicas are in `replicas`.
pub fn multi_region_configuration(kind: &str, replicas: &[&str]) -> Value {
    let in_region =
        |region: &str| json!({"Arn": format!("arn:aws:kms:{region}:111122223333:key/KEY1"), "Region": region});
    json!({
        "MultiRegionKeyType": kind,
        "PrimaryKey": in_region("eu-test-1"),
        "ReplicaKeys": replicas.iter().copied().map(in_region).collect::<Vec<_>>(),
    })
}

fn without_nulls(structure: Value) -> Value {
    let Value::Object(members) = structure else { return structure };
    Value::Object(members.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
}
