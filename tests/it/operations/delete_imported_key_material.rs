//! DeleteImportedKeyMaterial: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteImportedKeyMaterial.html>.

use serde_json::json;
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{
    About, KEY, Kind, Names, States, Subject,
    import_key_material::{external, parcel},
    may, must,
};
use crate::world::{Keeping, World, with};

const STATES: States = [0, 0, 0, 0, 0, 0, 14, 15];

pub const SUBJECT: Subject = Subject {
    name: "DeleteImportedKeyMaterial",
    members: &[must("KeyId", KEY), may("KeyMaterialId", Kind::Pattern(64, 64, 'a', "^[a-f0-9]+$"))],
    request: |things| json!({"KeyId": things.key}),
    about: About::External,
    key: Some(("KeyId", Names::IdOrArn)),
    states: STATES,
};

#[tokio::test]
async fn material_goes_at_once_and_its_object_with_it() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
        let none = world.ok("DeleteImportedKeyMaterial", json!({"KeyId": key})).await;
        assert_eq!(none, json!({"KeyId": world.arn_of(&key)}), "there is nothing yet, which is no error");
        let (blob, token) = parcel(&world, &key, &[7; 32]).await;
        let request = json!({"KeyId": key, "ImportToken": token, "EncryptedKeyMaterial": blob});
        let request = with(request, json!({"ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE"}));
        let imported = world.ok("ImportKeyMaterial", request.clone()).await;
        let sealed = world.encrypt(&key, b"plaintext").await;
        let material = world.material_of(&key);
        assert!(world.hsm_has(&material).await);

        let deleted = world.ok("DeleteImportedKeyMaterial", json!({"KeyId": key})).await;
        assert_eq!(deleted, imported);
        let message = format!("{} is pending import.", world.arn_of(&key));
        let decrypt = json!({"CiphertextBlob": sealed});
        world.refuse("Decrypt", decrypt.clone(), "KMSInvalidStateException", &message).await;
        if matches!(keeping, Keeping::Token) {
            assert!(!world.hsm_has(&material).await, "its object is gone");
        }
        assert_eq!(world.ok("DeleteImportedKeyMaterial", json!({"KeyId": key})).await, imported, "again");
        world.ok("ImportKeyMaterial", request).await;
        world.ok("Decrypt", decrypt).await;
    }
}

#[tokio::test]
async fn only_imported_material_is_deleted_so() {
    let world = World::new().await;
    let key = world.key().await;
    let message = format!("{} origin is AWS_KMS which is not valid for this operation.", world.arn_of(&key));
    let request = json!({"KeyId": key});
    world.refuse("DeleteImportedKeyMaterial", request, "UnsupportedOperationException", &message).await;
    let external = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let unknown = json!({"KeyId": external, "KeyMaterialId": "0".repeat(64)});
    assert_eq!(world.call("DeleteImportedKeyMaterial", unknown).await.code(), "NotFoundException");
}
