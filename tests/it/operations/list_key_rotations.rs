//! ListKeyRotations: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyRotations.html>.

use expect_test::expect;
use serde_json::json;
use strongroom::{
    clock::days,
    key::spec::{KeySpec, KeyUsage},
};

use super::{
    ANY_STATE, About, KEY, Kind, MARKER, Names, Subject,
    import_key_material::{external, parcel, request},
    may, must,
};
use crate::world::{START, World, text, with};

pub const SUBJECT: Subject = Subject {
    name: "ListKeyRotations",
    members: &[
        must("KeyId", KEY),
        may("IncludeKeyMaterial", Kind::Word(&["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"])),
        may("Limit", Kind::Int(1, 1000)),
        may("Marker", MARKER),
    ],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

#[tokio::test]
async fn rotations_and_all_material() {
    let world = World::new().await;
    let key = world.key().await;
    world.check("ListKeyRotations", json!({"KeyId": key}), expect![[r#"
        {
          "Rotations": [],
          "Truncated": false
        }"#]]).await;
    world.ok("RotateKeyOnDemand", json!({"KeyId": key})).await;
    let all = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    world.check("ListKeyRotations", all, expect![[r#"
        {
          "Rotations": [
            {
              "KeyId": "KEY1",
              "KeyMaterialId": "MATERIAL",
              "KeyMaterialState": "NON_CURRENT"
            },
            {
              "KeyId": "KEY1",
              "KeyMaterialId": "MATERIAL",
              "KeyMaterialState": "CURRENT",
              "RotationDate": 1767225600.0,
              "RotationType": "ON_DEMAND"
            }
          ],
          "Truncated": false
        }"#]]).await;
}

#[tokio::test]
async fn imported_material_says_more() {
    let world = World::new().await;
    let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    for (byte, members) in [
        (1, json!({"KeyMaterialDescription": "the first"})),
        (2, json!({"ImportType": "NEW_KEY_MATERIAL", "ExpirationModel": "KEY_MATERIAL_EXPIRES",
                   "ValidTo": START.plus(days(1)).epoch_seconds()})),
    ] {
        let (blob, token) = parcel(&world, &key, &[byte; 32]).await;
        world.ok("ImportKeyMaterial", with(request(&key, &token, &blob), members)).await;
    }
    let all = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    world.check("ListKeyRotations", all.clone(), expect![[r#"
        {
          "Rotations": [
            {
              "ExpirationModel": "KEY_MATERIAL_DOES_NOT_EXPIRE",
              "ImportState": "IMPORTED",
              "KeyId": "KEY1",
              "KeyMaterialDescription": "the first",
              "KeyMaterialId": "MATERIAL",
              "KeyMaterialState": "CURRENT"
            },
            {
              "ExpirationModel": "KEY_MATERIAL_EXPIRES",
              "ImportState": "IMPORTED",
              "KeyId": "KEY1",
              "KeyMaterialId": "MATERIAL",
              "KeyMaterialState": "PENDING_ROTATION",
              "ValidTo": 1767312000.0
            }
          ],
          "Truncated": false
        }"#]]).await;
    // What waits goes when its time has come, and the key works on; the first goes, and it does not.
    world.clock.advance(days(1));
    world.work().await;
    world.encrypt(&key, b"x").await;
    assert_eq!(world.ok("ListKeyRotations", all.clone()).await["Rotations"].as_array().unwrap().len(), 1);
    world.ok("DeleteImportedKeyMaterial", json!({"KeyId": key})).await;
    world.check("ListKeyRotations", all, expect![[r#"
        {
          "Rotations": [
            {
              "ImportState": "PENDING_IMPORT",
              "KeyId": "KEY1",
              "KeyMaterialDescription": "the first",
              "KeyMaterialId": "MATERIAL",
              "KeyMaterialState": "CURRENT"
            }
          ],
          "Truncated": false
        }"#]]).await;
}

#[tokio::test]
async fn pages_go_through_all_once() {
    let world = World::new().await;
    let key = world.key().await;
    for _ in 0..5 {
        world.ok("RotateKeyOnDemand", json!({"KeyId": key})).await;
    }
    let all = world.ok("ListKeyRotations", json!({"KeyId": key})).await["Rotations"].as_array().unwrap().clone();
    for limit in 1..=5 {
        let (mut seen, mut marker) = (Vec::new(), json!(null));
        loop {
            let page = world.ok("ListKeyRotations", json!({"KeyId": key, "Limit": limit, "Marker": marker})).await;
            seen.extend(page["Rotations"].as_array().unwrap().iter().cloned());
            match page["Truncated"] == true {
                true => marker = json!(text(&page, "NextMarker")),
                false => break,
            }
        }
        assert_eq!(seen, all, "{limit}");
    }
}

#[tokio::test]
async fn keys_that_never_rotate_have_no_list() {
    let world = World::new().await;
    let rsa = world.rsa().await;
    world.refuse("ListKeyRotations", json!({"KeyId": rsa}), "UnsupportedOperationException", "").await;
}
