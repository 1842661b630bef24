//! ReplicateKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html>.

use serde_json::{Value, json};
use strongroom::clock::days;

use super::{About, ELSEWHERE, KEY, Kind, Names, POLICY, Subject, import_key_material, may, must};
use crate::{
    structures::{key_metadata, multi_region_configuration},
    world::{Keeping, World, base64, text, with},
};

/// A third region.
const THIRD: &str = "eu-third-1";

pub const SUBJECT: Subject = Subject {
    name: "ReplicateKey",
    members: &[
        must("KeyId", KEY),
        must("ReplicaRegion", Kind::Region),
        may("Policy", POLICY),
        may("BypassPolicyLockoutSafetyCheck", Kind::Bool),
        may("Description", Kind::Text(0, 8192)),
        may("Tags", Kind::Tags),
    ],
    request: |things| json!({"KeyId": things.key, "ReplicaRegion": THIRD}),
    about: About::MultiRegion,
    key: Some(("KeyId", Names::IdOrArn)),
    states: [0, 1, 3, 3, 5, 11, 14, 15],
};

/// A multi-Region primary key.
pub async fn primary(world: &World) -> String {
    text(&world.ok("CreateKey", json!({"MultiRegion": true})).await["KeyMetadata"], "KeyId")
}

/// The same with a replica in [`ELSEWHERE`].
pub async fn replicated(world: &World) -> String {
    let key = primary(world).await;
    world.ok("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": ELSEWHERE})).await;
    key
}

async fn describe(world: &World, region: &str, key: &str) -> Value {
    world.in_region(region).ok("DescribeKey", json!({"KeyId": key})).await["KeyMetadata"].clone()
}

#[tokio::test]
async fn the_answer_and_what_comes_of_it() {
    let world = World::new().await;
    let key = primary(&world).await;
    let replica = |members| {
        let family = multi_region_configuration("REPLICA", &[ELSEWHERE]);
        let arn = "arn:aws:kms:eu-other-1:111122223333:key/KEY1";
        key_metadata(with(json!({"Arn": arn, "MultiRegion": true, "MultiRegionConfiguration": family}), members))
    };
    let creating = json!({"CurrentKeyMaterialId": null, "Enabled": false, "KeyState": "Creating"});
    let default_policy = world.ok("GetKeyPolicy", json!({"KeyId": key})).await["Policy"].clone();
    let expected = json!({"ReplicaKeyMetadata": replica(creating), "ReplicaPolicy": default_policy});
    world.check_only("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": ELSEWHERE}), expected).await;
    let created = json!({"KeyMetadata": replica(json!({}))});
    world.in_region(ELSEWHERE).check_only("DescribeKey", json!({"KeyId": key}), created).await;
}

#[tokio::test]
async fn what_one_seals_the_other_opens() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let key = replicated(&world).await;
        let there = world.in_region(ELSEWHERE);
        let blob = world.encrypt(&key, b"from here").await;
        assert_eq!(there.ok("Decrypt", json!({"CiphertextBlob": blob})).await["Plaintext"], base64(b"from here"));
        let blob = there.encrypt(&key, b"from there").await;
        assert_eq!(world.ok("Decrypt", json!({"CiphertextBlob": blob})).await["Plaintext"], base64(b"from there"));
        // One may be disabled, and the other works on.
        world.ok("DisableKey", json!({"KeyId": key})).await;
        there.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
    }
}

#[tokio::test]
async fn a_signing_key_has_the_same_public_half_everywhere() {
    let world = World::new().await;
    let request = json!({"MultiRegion": true, "KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY"});
    let key = text(&world.ok("CreateKey", request).await["KeyMetadata"], "KeyId");
    world.ok("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": ELSEWHERE})).await;
    let (here, there) = (world.in_region(crate::world::REGION), world.in_region(ELSEWHERE));
    let public = |caller: crate::world::Caller| {
        let key = key.clone();
        async move { text(&caller.ok("GetPublicKey", json!({"KeyId": key})).await, "PublicKey") }
    };
    assert_eq!(public(here).await, public(there).await);
}

#[tokio::test]
async fn material_is_rotated_everywhere_and_on_the_primary_key_only() {
    let world = World::new().await;
    let key = replicated(&world).await;
    let there = world.in_region(ELSEWHERE);
    let not_primary = format!("{} is not a multi-region primary key.", there.arn_of(&key));
    for operation in ["RotateKeyOnDemand", "EnableKeyRotation", "DisableKeyRotation"] {
        there.refuse(operation, json!({"KeyId": key}), "UnsupportedOperationException", &not_primary).await;
    }
    world.ok("RotateKeyOnDemand", json!({"KeyId": key})).await;
    world.ok("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 90})).await;
    assert_eq!(there.ok("GetKeyRotationStatus", json!({"KeyId": key})).await["RotationPeriodInDays"], 90);
    world.clock.advance(days(90));
    world.work().await;
    let list = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    let (here, far) = (world.ok("ListKeyRotations", list.clone()).await, there.ok("ListKeyRotations", list).await);
    assert_eq!((here["Rotations"].as_array().unwrap().len(), &here), (3, &far));
    let blob = world.encrypt(&key, b"x").await;
    there.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
}

#[tokio::test]
async fn the_primary_key_goes_after_its_last_replica() {
    for keeping in [Keeping::Wrapped, Keeping::Token] {
        let world = World::build().keeping(keeping).open().await;
        let key = replicated(&world).await;
        let (there, material) = (world.in_region(ELSEWHERE), world.material_of(&key));
        let blob = world.encrypt(&key, b"x").await;
        let answer = world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
        let arn = world.arn_of(&key);
        let expected = json!({"KeyId": arn, "KeyState": "PendingReplicaDeletion", "PendingWindowInDays": 7});
        assert_eq!(answer, expected, "no date yet");
        assert_eq!(describe(&world, crate::world::REGION, &key).await["PendingDeletionWindowInDays"], 7);
        world.clock.advance(days(40));
        world.work().await;
        there.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
        there.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
        world.clock.advance(days(7));
        world.work().await;
        assert_eq!(there.call("DescribeKey", json!({"KeyId": key})).await.code(), "NotFoundException");
        assert!(world.hsm_has(&material).await, "the primary key still has it");
        let primary = describe(&world, crate::world::REGION, &key).await;
        assert_eq!((&primary["KeyState"], &primary["MultiRegionConfiguration"]["ReplicaKeys"]), (&json!("PendingDeletion"), &json!([])));
        world.clock.advance(days(7));
        world.work().await;
        assert_eq!(world.call("DescribeKey", json!({"KeyId": key})).await.code(), "NotFoundException");
        assert_eq!(world.hsm_has(&material).await, keeping == Keeping::Wrapped, "wrapped material is in the hands of who has it");
    }
}

#[tokio::test]
async fn its_deletion_can_be_taken_back() {
    let world = World::new().await;
    let key = replicated(&world).await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key})).await;
    world.ok("CancelKeyDeletion", json!({"KeyId": key})).await;
    let metadata = describe(&world, crate::world::REGION, &key).await;
    assert_eq!((&metadata["KeyState"], metadata.get("PendingDeletionWindowInDays")), (&json!("Disabled"), None));
}

#[tokio::test]
async fn one_in_a_region_and_of_multi_region_primary_keys_only() {
    let world = World::new().await;
    let key = replicated(&world).await;
    for region in [ELSEWHERE, crate::world::REGION] {
        let taken = format!("There is a key {key} in {region} already.");
        world.refuse("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": region}), "AlreadyExistsException", &taken).await;
    }
    let (there, plain) = (world.in_region(ELSEWHERE), world.key().await);
    for (caller, key) in [(&there, &key), (&world.in_region(crate::world::REGION), &plain)] {
        let message = format!("{} is not a multi-region primary key.", caller.arn_of(key));
        let request = json!({"KeyId": key, "ReplicaRegion": THIRD});
        caller.refuse("ReplicateKey", request, "UnsupportedOperationException", &message).await;
    }
}

#[tokio::test]
async fn imported_material_comes_to_each_region_by_itself() {
    let world = World::new().await;
    let request = json!({"MultiRegion": true, "Origin": "EXTERNAL"});
    let key = text(&world.ok("CreateKey", request).await["KeyMetadata"], "KeyId");
    let import = |caller: crate::world::Caller, byte: u8, members: Value| {
        let key = key.clone();
        async move {
            let (blob, token) = import_key_material::parcel_for(&caller, &key, "RSAES_OAEP_SHA_1", &[byte; 32]).await;
            caller.call("ImportKeyMaterial", with(import_key_material::request(&key, &token, &blob), members)).await
        }
    };
    let (here, there) = (world.in_region(crate::world::REGION), world.in_region(ELSEWHERE));
    assert_eq!(import(here.clone(), 1, json!({})).await.status, 200);
    world.ok("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": ELSEWHERE})).await;
    assert_eq!(describe(&world, ELSEWHERE, &key).await["KeyState"], "PendingImport");
    assert_eq!(import(there.clone(), 9, json!({})).await.code(), "IncorrectKeyMaterialException");
    assert_eq!(import(there.clone(), 1, json!({})).await.status, 200);
    let blob = world.encrypt(&key, b"x").await;
    there.ok("Decrypt", json!({"CiphertextBlob": blob})).await;

    // Other material is announced by the primary key, and waits until every region has it.
    let new = json!({"ImportType": "NEW_KEY_MATERIAL"});
    assert_eq!(import(there.clone(), 2, new.clone()).await.code(), "UnsupportedOperationException");
    assert_eq!(import(here.clone(), 2, new).await.status, 200);
    let list = json!({"KeyId": key, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"});
    let state = |list: Value| list["Rotations"][1]["KeyMaterialState"].clone();
    assert_eq!(state(world.ok("ListKeyRotations", list.clone()).await), "PENDING_MULTI_REGION_IMPORT_AND_ROTATION");
    let nothing = format!("No available key material pending rotation for the key: {}.", world.arn_of(&key));
    world.refuse("RotateKeyOnDemand", json!({"KeyId": key}), "KMSInvalidStateException", &nothing).await;
    assert_eq!(import(there.clone(), 2, json!({"ImportType": "EXISTING_KEY_MATERIAL"})).await.status, 200);
    assert_eq!(state(world.ok("ListKeyRotations", list.clone()).await), "PENDING_ROTATION");
    world.ok("RotateKeyOnDemand", json!({"KeyId": key})).await;
    assert_eq!(state(there.ok("ListKeyRotations", list).await), "CURRENT");
}
