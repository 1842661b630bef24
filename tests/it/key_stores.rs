//! Keys in custom key stores: made on the HSM of their key store and used there, as long as it is connected.

use std::sync::Arc;

use serde_json::{Value, json};
use strongroom::{
    clock::days,
    hsm::Cluster,
    identity::Asker,
    key::{
        Key,
        material::{Keeping as Kept, Material},
        reference::KeyId,
    },
    store::Unrecorded,
};

use crate::{
    faults::Faults,
    structures::key_metadata,
    tokens::{PIN, bare_token},
    world::{CLUSTER, REGION, World, base64, cluster, cluster_on, insert_key, text, wanted_key_store, with},
};

/// A world with a custom key store that is connected, and its id.
async fn connected(clusters: Vec<Cluster>) -> (World, String) {
    let world = World::build().clusters(clusters).open().await;
    let id = text(&world.ok("CreateCustomKeyStore", wanted_key_store()).await, "CustomKeyStoreId");
    connect(&world, &id).await;
    (world, id)
}

async fn connect(world: &World, id: &str) {
    world.ok("ConnectCustomKeyStore", json!({"CustomKeyStoreId": id})).await;
    world.settle().await;
    assert_eq!(world.describe_key_store(id).await["ConnectionState"], "CONNECTED");
}

async fn disconnect(world: &World, id: &str) {
    world.ok("DisconnectCustomKeyStore", json!({"CustomKeyStoreId": id})).await;
    world.settle().await;
    assert_eq!(world.describe_key_store(id).await["ConnectionState"], "DISCONNECTED");
}

fn wanted_key(key_store: &str) -> Value {
    json!({"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": key_store})
}

/// A key in a custom key store.
async fn key_in(world: &World, key_store: &str) -> String {
    text(&world.ok("CreateKey", wanted_key(key_store)).await["KeyMetadata"], "KeyId")
}

async fn state(world: &World, key: &str) -> (Value, Value) {
    let described = world.ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone();
    (described["KeyState"].clone(), described["Enabled"].clone())
}

async fn decrypts(world: &World, blob: &str, plaintext: &[u8]) {
    let answer = world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
    assert_eq!(answer["Plaintext"], base64(plaintext));
}

/// The keys that are deleted and not destroyed.
async fn unfinished(world: &World) -> Vec<KeyId> {
    world.store.unfinished_tombstones().await.unwrap().iter().map(|tombstone| tombstone.id).collect()
}

/// Whether the HSM does not have the material of a key that is not stored any more.
async fn lacks_material(world: &World, key: &Key) -> bool {
    insert_key(&world.store, key).await;
    let encrypt = json!({"KeyId": key.id().to_string(), "Plaintext": base64(b"x")});
    let code = world.call("Encrypt", encrypt).await.code();
    world.delete(&key.id().to_string()).await;
    code == "KeyUnavailableException"
}

#[tokio::test]
async fn a_key_says_where_it_is() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let made = world.ok("CreateKey", wanted_key(&id)).await;
    assert_eq!(made["KeyMetadata"]["CloudHsmClusterId"], CLUSTER);
    let described = world.ok("DescribeKey", json!({"KeyId": made["KeyMetadata"]["KeyId"]})).await;
    assert_eq!(described, made);
    let expected = key_metadata(json!({
        "CloudHsmClusterId": CLUSTER,
        "CurrentKeyMaterialId": null,
        "CustomKeyStoreId": "KEYSTORE",
        "Origin": "AWS_CLOUDHSM",
    }));
    let described = json!({"KeyId": made["KeyMetadata"]["KeyId"]});
    world.check_only("DescribeKey", described, json!({"KeyMetadata": expected})).await;
}

#[tokio::test]
async fn it_is_on_the_hsm_of_its_key_store_and_on_no_other() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let key = key_in(&world, &id).await;
    let material = world.material_of(&key);
    assert!(matches!(material.keeping, Kept::Token { member: None, .. }));
    assert!(!world.hsm_has(&material).await, "the service's own HSM has it");
    let blob = world.encrypt(&key, b"a plaintext").await;
    decrypts(&world, &blob, b"a plaintext").await;
    let up = format!("strongroom_hsm_up{{hsm=\"{CLUSTER}\"}} 1");
    assert!(world.kms.metrics_text().contains(&up));
    disconnect(&world, &id).await;
    assert!(!world.kms.metrics_text().contains(CLUSTER));
}

#[tokio::test]
async fn every_operation_with_it_goes_to_its_hsm() {
    let (faults, token) = Faults::before(bare_token());
    let (world, id) = connected(vec![cluster_on(CLUSTER, token)]).await;
    let (key, ours) = (key_in(&world, &id).await, world.key().await);
    let calls = || ["C_Encrypt", "C_Decrypt", "C_GenerateRandom"].map(|function| faults.calls(function).len());
    let grown = async |operation: &str, request: Value| {
        let before = calls();
        let answer = world.ok(operation, request).await;
        let after = calls();
        (answer, [0, 1, 2].map(|n| after[n] > before[n]))
    };
    let (answer, seen) = grown("Encrypt", json!({"KeyId": key, "Plaintext": base64(b"x")})).await;
    assert!(seen[0] && seen[2]);
    let blob = answer["CiphertextBlob"].clone();
    let (answer, seen) = grown("Decrypt", json!({"CiphertextBlob": blob})).await;
    assert!(seen[1] && answer.get("KeyMaterialId").is_none());
    let (answer, seen) = grown("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})).await;
    assert!(seen[0] && seen[2] && answer.get("KeyMaterialId").is_none());
    let bare = json!({"KeyId": key, "KeySpec": "AES_256"});
    assert!(grown("GenerateDataKeyWithoutPlaintext", bare).await.1[0]);
    let (answer, seen) = grown("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": ours})).await;
    assert_eq!(seen, [false, true, false]);
    assert!(answer.get("SourceKeyMaterialId").is_none() && answer.get("DestinationKeyMaterialId").is_some());
    assert!(grown("GenerateRandom", json!({"NumberOfBytes": 8, "CustomKeyStoreId": id})).await.1[2]);

    let (_, seen) = grown("GenerateRandom", json!({"NumberOfBytes": 8})).await;
    assert_eq!(seen, [false; 3], "the service's own random bytes");
    let (_, seen) = grown("GenerateDataKey", json!({"KeyId": ours, "KeySpec": "AES_256"})).await;
    assert_eq!(seen, [false; 3], "a key of the service's own");
}

#[tokio::test]
async fn its_key_store_must_be_connected() {
    let world = World::build().clusters(vec![cluster(CLUSTER)]).open().await;
    let id = text(&world.ok("CreateCustomKeyStore", wanted_key_store()).await, "CustomKeyStoreId");
    let message = format!("The connection state of {id} is DISCONNECTED, which is not valid for this operation.");
    let code = "CustomKeyStoreInvalidStateException";
    world.refuse("CreateKey", wanted_key(&id), code, &message).await;
    let random = json!({"NumberOfBytes": 8, "CustomKeyStoreId": id});
    world.refuse("GenerateRandom", random, code, &message).await;
    assert_eq!(world.ok("ListKeys", json!({})).await["Keys"], json!([]));
}

#[tokio::test]
async fn only_plain_symmetric_keys_are_made_in_one() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let refuse = async |members: Value, code: &str, message: &str| {
        world.refuse("CreateKey", with(wanted_key(&id), members), code, message).await;
    };
    let rsa = json!({"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"});
    let text = "Keys of key spec RSA_2048 cannot be in a custom key store.";
    refuse(rsa, "UnsupportedOperationException", text).await;
    let text = "Multi-Region keys cannot be in a custom key store.";
    refuse(json!({"MultiRegion": true}), "UnsupportedOperationException", text).await;
    let text = "XksKeyId is not valid for a key of origin AWS_CLOUDHSM.";
    refuse(json!({"XksKeyId": "x"}), "ValidationException", text).await;
    for origin in ["AWS_KMS", "EXTERNAL"] {
        let text = format!("A key of origin {origin} is in no custom key store.");
        refuse(json!({"Origin": origin}), "ValidationException", &text).await;
    }
    let text = "You must specify a CustomKeyStoreId for a key of origin AWS_CLOUDHSM.";
    world.refuse("CreateKey", json!({"Origin": "AWS_CLOUDHSM"}), "ValidationException", text).await;
    let unknown = wanted_key("cks-0123456789abcdef0");
    world.refuse("CreateKey", unknown, "CustomKeyStoreNotFoundException", "").await;
}

#[tokio::test]
async fn what_is_not_for_such_keys_says_so() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let key = key_in(&world, &id).await;
    let message = format!("{} origin is AWS_CLOUDHSM which is not valid for this operation.", world.arn_of(&key));
    for (operation, members) in [
        ("GenerateDataKeyPair", json!({"KeyPairSpec": "ECC_NIST_P256"})),
        ("GenerateDataKeyPair", json!({"KeyPairSpec": "ECC_NIST_P256", "DryRun": true})),
        ("GenerateDataKeyPairWithoutPlaintext", json!({"KeyPairSpec": "ECC_NIST_P256"})),
        ("GetParametersForImport", json!({"WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"})),
        (
            "ImportKeyMaterial",
            json!({"ImportToken": "AA==", "EncryptedKeyMaterial": "AA==", "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}),
        ),
        ("DeleteImportedKeyMaterial", json!({})),
        ("EnableKeyRotation", json!({})),
        ("DisableKeyRotation", json!({})),
        ("GetKeyRotationStatus", json!({})),
        ("RotateKeyOnDemand", json!({})),
        ("ListKeyRotations", json!({})),
    ] {
        let request = with(json!({"KeyId": key}), members);
        world.refuse(operation, request, "UnsupportedOperationException", &message).await;
    }
    let replicate = json!({"KeyId": key, "ReplicaRegion": "eu-other-1"});
    let message = format!("{} is not a multi-region primary key.", world.arn_of(&key));
    world.refuse("ReplicateKey", replicate, "UnsupportedOperationException", &message).await;
}

#[tokio::test]
async fn its_keys_are_unavailable_while_it_is_disconnected_and_as_they_were_when_it_is_back() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let (key, disabled, doomed) = (key_in(&world, &id).await, key_in(&world, &id).await, key_in(&world, &id).await);
    let blob = world.encrypt(&key, b"a plaintext").await;
    world.ok("DisableKey", json!({"KeyId": disabled})).await;
    world.ok("DisconnectCustomKeyStore", json!({"CustomKeyStoreId": id})).await;
    for _ in 0..2 {
        for key in [&key, &disabled] {
            assert_eq!(state(&world, key).await, (json!("Unavailable"), json!(false)));
        }
        let unavailable = format!("{} is unavailable.", world.arn_of(&key));
        for (operation, request) in [
            ("Encrypt", json!({"KeyId": key, "Plaintext": base64(b"x")})),
            ("Decrypt", json!({"CiphertextBlob": blob})),
            ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256", "DryRun": true})),
        ] {
            world.refuse(operation, request, "KMSInvalidStateException", &unavailable).await;
        }
        world.settle().await;
    }
    // What is said meanwhile shows when it is back.
    world.ok("EnableKey", json!({"KeyId": disabled})).await;
    world.ok("UpdateKeyDescription", json!({"KeyId": key, "Description": "x"})).await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": doomed})).await;
    assert_eq!(state(&world, &disabled).await.0, "Unavailable");
    assert_eq!(state(&world, &doomed).await.0, "PendingDeletion");
    connect(&world, &id).await;
    assert_eq!(state(&world, &key).await, (json!("Enabled"), json!(true)));
    assert_eq!(state(&world, &disabled).await.0, "Enabled");
    decrypts(&world, &blob, b"a plaintext").await;
}

#[tokio::test]
async fn an_hsm_that_is_away_is_an_error_that_clients_retry_and_no_connection_state() {
    let (faults, token) = Faults::before(bare_token());
    let (world, id) = connected(vec![cluster_on(CLUSTER, token)]).await;
    let (key, ours) = (key_in(&world, &id).await, world.key().await);
    // CKR_DEVICE_REMOVED
    let _away = ["C_Encrypt", "C_EncryptInit", "C_GenerateRandom"].map(|function| faults.refuse(function, 0x32));
    for _ in 0..5 {
        let encrypt = json!({"KeyId": key, "Plaintext": base64(b"x")});
        let (status, code, _) = world.call("Encrypt", encrypt).await.refusal();
        assert_eq!((status, &*code), (500, "DependencyTimeoutException"));
        world.work().await;
        assert_eq!(world.describe_key_store(&id).await["ConnectionState"], "CONNECTED");
        assert_eq!(state(&world, &key).await.0, "Enabled");
        world.encrypt(&ours, b"x").await;
    }
}

#[tokio::test]
async fn a_password_that_is_refused_later_is_told_and_tried_once() {
    let (faults, token) = Faults::before(bare_token());
    let (world, id) = connected(vec![cluster_on(CLUSTER, token)]).await;
    let key = key_in(&world, &id).await;
    let logins = faults.calls("C_Login").len();
    // CKR_PIN_INCORRECT, CKR_USER_NOT_LOGGED_IN
    let _wrong = faults.refuse("C_Login", 0xA0);
    let _lost = ["C_Encrypt", "C_EncryptInit", "C_GenerateRandom", "C_FindObjectsInit"]
        .map(|function| faults.refuse(function, 0x101));
    let begun = std::time::Instant::now();
    while world.describe_key_store(&id).await["ConnectionState"] != "FAILED" {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        world.call("Encrypt", json!({"KeyId": key, "Plaintext": base64(b"x")})).await;
        world.work().await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(world.describe_key_store(&id).await["ConnectionErrorCode"], "INVALID_CREDENTIALS");
    assert_eq!(state(&world, &key).await.0, "Unavailable");
    assert_eq!(faults.calls("C_Login").len(), logins + 1);
}

#[tokio::test]
async fn it_is_connected_again_after_a_start() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let key = key_in(&world, &id).await;
    let blob = world.encrypt(&key, b"a plaintext").await;
    let world = world.reopened().await;
    assert_eq!(state(&world, &key).await.0, "Enabled");
    assert_eq!(world.call("Decrypt", json!({"CiphertextBlob": blob})).await.code(), "DependencyTimeoutException");
    while world.call("Decrypt", json!({"CiphertextBlob": blob})).await.status != 200 {
        world.work().await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert_eq!(world.describe_key_store(&id).await["ConnectionState"], "CONNECTED");
    disconnect(&world, &id).await;
    let world = world.reopened().await;
    world.settle().await;
    assert_eq!(world.describe_key_store(&id).await["ConnectionState"], "DISCONNECTED");
}

#[tokio::test]
async fn a_key_store_with_keys_stays_until_they_are_deleted_from_its_hsm() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let (key, ours) = (key_in(&world, &id).await, world.key().await);
    let stored = world.store.view().key(REGION, KeyId::parse(&key).unwrap()).unwrap();
    for key in [&key, &ours] {
        world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
    }
    disconnect(&world, &id).await;
    let request = json!({"CustomKeyStoreId": id});
    let has_keys = format!("{id} has KMS keys.");
    world.refuse("DeleteCustomKeyStore", request.clone(), "CustomKeyStoreHasCMKsException", &has_keys).await;

    // Their time comes, and both are gone for everybody; what is left of the one waits for its HSM.
    world.clock.advance(days(7));
    world.work().await;
    for key in [&key, &ours] {
        assert_eq!(world.call("DescribeKey", json!({"KeyId": key})).await.code(), "NotFoundException");
    }
    assert_eq!(unfinished(&world).await, [stored.key.id()]);
    world.refuse("DeleteCustomKeyStore", request.clone(), "CustomKeyStoreHasCMKsException", &has_keys).await;
    connect(&world, &id).await;
    world.work().await;
    assert!(unfinished(&world).await.is_empty() && lacks_material(&world, &stored.key).await);
    world.work().await;
    disconnect(&world, &id).await;
    world.ok("DeleteCustomKeyStore", request).await;
}

#[tokio::test]
async fn an_object_that_no_key_names_is_destroyed_on_its_hsm() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let key = key_in(&world, &id).await;
    let (material, key_id) = (world.material_of(&key), KeyId::parse(&key).unwrap());
    let Kept::Token { cka_id, .. } = &material.keeping else { panic!("not an object") };
    let entry = world.store.view().key(REGION, key_id).unwrap();
    let intent = strongroom::store::Intent {
        region: REGION.to_owned(),
        key: key_id,
        spec: entry.key.spec(),
        cka_id: cka_id.as_slice().try_into().unwrap(),
        key_store: entry.key.custom_key_store().cloned(),
        made: strongroom::clock::Running::default(),
    };
    let with_materials = async |materials: &[Arc<Material>]| {
        world.edit_key(&key, "/materials", json!(materials)).await;
    };
    // As if CreateKey had ended before it stored the key with its material.
    with_materials(&[]).await;
    world.store.intend(Asker::SERVICE, &intent).await.unwrap();
    world.clock.advance(days(1));
    disconnect(&world, &id).await;
    world.work().await;
    connect(&world, &id).await;
    world.work().await;
    with_materials(&[material]).await;
    let encrypt = json!({"KeyId": key, "Plaintext": base64(b"x")});
    assert_eq!(world.call("Encrypt", encrypt).await.code(), "KeyUnavailableException");
}

#[tokio::test]
async fn a_key_is_not_stored_for_a_key_store_that_is_gone() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    let key = key_in(&world, &id).await;
    let key_id = KeyId::parse(&key).unwrap();
    let entry = world.store.view().key(REGION, key_id).unwrap();
    world.delete(&key).await;
    world.forget_key_stores().await;
    assert!(world.store.insert_key(&Unrecorded, &entry.key, || Ok::<_, ()>(())).await.is_err());
}

#[tokio::test]
async fn the_password_of_a_key_store_opens_its_hsm_and_is_nowhere_else() {
    let (world, id) = connected(vec![cluster(CLUSTER)]).await;
    key_in(&world, &id).await;
    assert!(!world.stored().contains(PIN) && !crate::world::logged(PIN));
}

#[tokio::test]
async fn a_key_moves_with_its_key_store_to_another_cluster_of_the_same_backup() {
    let token = bare_token();
    let backed = |id: &str, token| Cluster { backup: Some("b".to_owned()), ..cluster_on(id, token) };
    // One token stands for both: it has the same keys.
    let other = "cluster-3relatedone";
    let (world, id) = connected(vec![backed(CLUSTER, token.clone()), backed(other, token)]).await;
    let key = key_in(&world, &id).await;
    let blob = world.encrypt(&key, b"a plaintext").await;
    disconnect(&world, &id).await;
    world.ok("UpdateCustomKeyStore", json!({"CustomKeyStoreId": id, "CloudHsmClusterId": other})).await;
    connect(&world, &id).await;
    decrypts(&world, &blob, b"a plaintext").await;
    let described = world.ok("DescribeKey", json!({"KeyId": key})).await;
    assert_eq!(described["KeyMetadata"]["CloudHsmClusterId"], other);
}
