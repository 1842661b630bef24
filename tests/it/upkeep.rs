//! What time does: keys that are due are deleted, and what was counted stays counted over a restart.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use strongroom::{
    cli::output::{self, DeletedKey},
    clock::days,
    key::{
        Origin,
        material::Keeping as Kept,
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
        tombstone::Tombstone,
    },
    tasks,
};

use crate::{
    faults::Faults,
    operations::import_key_material::{external, parcel},
    tokens::token,
    world::{ACCOUNT, Keeping, REGION, START, World, base64, has, open_hsm, with},
};

const BOTH: [Keeping; 2] = [Keeping::Wrapped, Keeping::Token];
/// Invocations that are reserved at a time.
const BLOCK: u64 = 1 << 16;

/// A world with a key that is due in seven days, has an alias, and once encrypted.
async fn doomed(keeping: Keeping) -> (World, String, String) {
    let world = World::build().keeping(keeping).open().await;
    let key = world.key().await;
    world.alias("alias/doomed", &key).await;
    let blob = world.encrypt(&key, b"x").await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
    (world, key, blob)
}

#[tokio::test]
async fn a_key_is_not_deleted_before_its_date() {
    for keeping in BOTH {
        let (world, key, blob) = doomed(keeping).await;
        world.clock.advance(days(7) - Duration::from_millis(1));
        world.work().await;
        world.ok("CancelKeyDeletion", json!({"KeyId": key})).await;
        world.ok("EnableKey", json!({"KeyId": key})).await;
        world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
    }
}

#[tokio::test]
async fn a_key_that_is_due_goes_with_its_aliases() {
    for keeping in BOTH {
        let (world, key, blob) = doomed(keeping).await;
        world.clock.advance(days(7));
        world.work().await;
        let gone = format!("Key '{}' does not exist", world.arn_of(&key));
        world.refuse("DescribeKey", json!({"KeyId": key}), "NotFoundException", &gone).await;
        let no_alias = format!("Alias {} is not found.", world.arn_of("alias/doomed"));
        world.refuse("DescribeKey", json!({"KeyId": "alias/doomed"}), "NotFoundException", &no_alias).await;
        assert_eq!(world.ok("ListAliases", json!({})).await["Aliases"], json!([]));
        assert_eq!(world.ok("ListKeys", json!({})).await["Keys"], json!([]));
        let nameless = world.call("Decrypt", json!({"CiphertextBlob": blob})).await;
        assert_eq!(nameless.code(), "AccessDeniedException");
        let named = json!({"CiphertextBlob": blob, "KeyId": key});
        world.refuse("Decrypt", named, "NotFoundException", &gone).await;
    }
}

#[tokio::test]
async fn other_keys_stay() {
    let (world, _, _) = doomed(Keeping::Wrapped).await;
    let other = world.key().await;
    let blob = world.encrypt(&other, b"x").await;
    world.clock.advance(days(30));
    world.work().await;
    world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
}

#[tokio::test]
async fn a_key_that_was_taken_back_is_not_deleted() {
    let (world, key, _) = doomed(Keeping::Wrapped).await;
    world.ok("CancelKeyDeletion", json!({"KeyId": key})).await;
    world.clock.advance(days(30));
    world.work().await;
    world.ok("DescribeKey", json!({"KeyId": key})).await;
}

#[tokio::test]
async fn an_object_on_the_hsm_is_destroyed_with_its_key() {
    let (world, key, _) = doomed(Keeping::Token).await;
    let entry = world.store.view().key(REGION, KeyId::parse(&key).unwrap()).unwrap();
    let material = Arc::clone(entry.key.current_material().unwrap());
    assert!(matches!(material.keeping, Kept::Token { .. }));
    assert!(world.hsm_has(&material).await);
    world.clock.advance(days(7));
    world.work().await;
    assert!(!world.hsm_has(&material).await);
}

#[tokio::test]
async fn a_tombstone_says_what_was_deleted_when_and_by_whose_wish() {
    for keeping in BOTH {
        let (world, key, _) = doomed(keeping).await;
        let material = world.material_of(&key);
        assert_eq!(world.admin.tombstones().await.unwrap(), []);
        world.clock.advance(days(7));
        world.work().await;
        let now = START.plus(days(7));
        let tombstone = Tombstone {
            id: KeyId::parse(&key).unwrap(),
            region: REGION.to_owned(),
            arn: world.arn_of(&key),
            spec: KeySpec::SymmetricDefault,
            usage: KeyUsage::EncryptDecrypt,
            origin: Origin::AwsKms,
            created: START,
            scheduled_by: Some(world.arn.clone()),
            deleted: now,
            materials: vec![material.id],
            custom_key_store: None,
            remains: Vec::new(),
            destroyed: Some(now),
        };
        assert_eq!(world.admin.tombstones().await.unwrap(), std::slice::from_ref(&tombstone));
        let listed = [DeletedKey::from(&tombstone)];
        let shown = output::deleted_keys(&listed);
        let line = format!(
            "{}  2026-01-01T00:00:00Z  2026-01-08T00:00:00Z  destroyed  SYMMETRIC_DEFAULT ENCRYPT_DECRYPT  {}",
            world.arn_of(&key),
            world.arn
        );
        assert!(shown.starts_with("KEY ") && shown.lines().nth(1) == Some(&line), "{shown}");
        let shown: Value = serde_json::from_str(&output::json(&listed).unwrap()).unwrap();
        assert_eq!(
            (&shown[0]["key"], &shown[0]["deleted_by"]),
            (&world.arn_of(&key).into(), &world.arn.clone().into())
        );
    }
}

#[tokio::test]
async fn a_deletion_is_in_the_audit_trail_once() {
    for keeping in BOTH {
        let (world, key, _) = doomed(keeping).await;
        world.clock.advance(days(7));
        world.work().await;
        world.work().await;
        let records = world.audit();
        let deletions: Vec<_> = records.iter().filter(|record| record["eventName"] == "DeleteKey").collect();
        let [record] = deletions[..] else { panic!("{deletions:?}") };
        assert_eq!(record["userIdentity"], json!({"accountId": ACCOUNT, "invokedBy": "AWS Internal"}));
        assert_eq!((&record["eventType"], &record["readOnly"]), (&json!("AwsServiceEvent"), &json!(false)));
        assert_eq!((&record["eventTime"], &record["awsRegion"]), (&json!("2026-01-08T00:00:00Z"), &json!(REGION)));
        let arn = world.arn_of(&key);
        let resource = json!([{"accountId": ACCOUNT, "type": "AWS::KMS::Key", "ARN": arn}]);
        assert_eq!((&record["resources"], &record["responseElements"]["keyId"]), (&resource, &json!(arn)));
    }
}

#[tokio::test]
async fn a_key_is_gone_at_once_and_its_object_when_the_hsm_lets_it_go() {
    const CKR_FUNCTION_FAILED: u64 = 6;
    let (faults, settings) = Faults::before(token());
    let hsm = open_hsm(settings);
    let world = World::build().keeping(Keeping::Token).hsm(&hsm).open().await;
    let mut doomed = Vec::new();
    for _ in 0..3 {
        let key = world.key().await;
        world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
        doomed.push((world.material_of(&key), key));
    }
    world.clock.advance(days(7));
    let refused = faults.refuse("C_DestroyObject", CKR_FUNCTION_FAILED);
    assert!(tasks::once(&world.kms).await.is_err());
    assert!(faults.calls("C_DestroyObject").len() >= doomed.len(), "one that fails holds up no other");
    for (material, key) in &doomed {
        assert_eq!(world.call("DescribeKey", json!({"KeyId": key})).await.code(), "NotFoundException");
        assert_eq!(world.call("CancelKeyDeletion", json!({"KeyId": key})).await.code(), "NotFoundException");
        // What the HSM refuses speaks against it; it is asked a known answer first.
        hsm.opened(Duration::from_secs(5)).await.unwrap();
        assert!(has(&hsm, material).await);
    }
    let tombstones = world.admin.tombstones().await.unwrap();
    assert!(tombstones.iter().all(|tombstone| tombstone.destroyed.is_none() && tombstone.remains.len() == 1));
    assert!(!world.audit().iter().any(|record| record["eventName"] == "DeleteKey"), "it is not done yet");
    drop(refused);

    world.work().await;
    for (material, _) in &doomed {
        assert!(!has(&hsm, material).await);
    }
    assert!(world.admin.tombstones().await.unwrap().iter().all(|tombstone| tombstone.destroyed.is_some()));
    assert_eq!(world.audit().iter().filter(|record| record["eventName"] == "DeleteKey").count(), 3);
}

#[tokio::test]
async fn nothing_is_done_of_its_own_accord_while_the_trail_cannot_be_written() {
    let (world, key, _) = doomed(Keeping::Wrapped).await;
    let full = strongroom::audit::Trail::open(std::path::Path::new("/dev/full"), false).unwrap();
    world.clock.advance(days(3));
    world.work().await;
    let world = world.stopped().await.trail(full).open().await;
    world.work().await;
    world.clock.advance(days(7));
    world.send(world.draft("GenerateRandom", json!({"NumberOfBytes": 1}).to_string())).await;
    assert!(!world.kms.writes_down());
    world.work().await;
    assert!(world.admin.tombstones().await.unwrap().is_empty(), "the key is not deleted");
    let world = world.reopened().await;
    world.work().await;
    assert!(world.admin.tombstones().await.unwrap()[0].destroyed.is_some());
    let arn = world.arn_of(&key);
    let told = |record: &&Value| record["eventName"] == "DeleteKey" && record["resources"][0]["ARN"] == arn;
    assert_eq!(world.audit().iter().filter(told).count(), 1);
}

#[tokio::test]
async fn a_replica_that_was_made_again_has_two_tombstones_and_takes_nothing_of_its_relatives() {
    let world = World::build().keeping(Keeping::Token).open().await;
    let there = world.in_region("eu-other-1");
    let made = world.ok("CreateKey", json!({"MultiRegion": true})).await;
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    let blob = world.encrypt(key, b"x").await;
    for _ in 0..2 {
        world.ok("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": "eu-other-1"})).await;
        there.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
        world.clock.advance(days(7));
        world.work().await;
        assert_eq!(there.call("DescribeKey", json!({"KeyId": key})).await.code(), "NotFoundException");
        world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
    }
    let tombstones = world.admin.tombstones().await.unwrap();
    assert_eq!(tombstones.iter().map(|tombstone| &tombstone.region).collect::<Vec<_>>(), ["eu-other-1"; 2]);
    assert!(tombstones.iter().all(|tombstone| tombstone.destroyed.is_some()));
}

#[tokio::test]
async fn a_primary_key_waits_for_its_whole_window_after_its_last_replica() {
    let world = World::new().await;
    let there = world.in_region("eu-other-1");
    let made = world.ok("CreateKey", json!({"MultiRegion": true})).await;
    let key = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    world.ok("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": "eu-other-1"})).await;
    for caller in [&*world, &there] {
        caller.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
    }
    world.clock.advance(days(7));
    world.work().await;
    world.clock.jump(i64::try_from(days(8).as_millis()).unwrap());
    world.work().await;
    world.admin.confirm_clock().await.unwrap();
    world.clock.advance(days(7) - Duration::from_millis(1));
    world.work().await;
    world.ok("DescribeKey", json!({"KeyId": key})).await;
    world.clock.advance(Duration::from_millis(1));
    world.work().await;
    assert_eq!(world.call("DescribeKey", json!({"KeyId": key})).await.code(), "NotFoundException");
    let tombstones = world.admin.tombstones().await.unwrap();
    assert!(tombstones.iter().all(|tombstone| tombstone.scheduled_by.as_deref() == Some(&*world.arn)));
}

#[tokio::test]
async fn a_deletion_that_is_taken_back_at_the_last_moment_is_not_begun() {
    let (world, key, blob) = doomed(Keeping::Token).await;
    world.clock.advance(days(7));
    let moment = world.kms.moment().await.unwrap().unwrap();
    let [due] = &world.kms.keys_due_for_deletion(moment, 9)[..] else { panic!("it is due") };
    world.ok("CancelKeyDeletion", json!({"KeyId": key})).await;
    assert!(!world.kms.delete_key(due, moment).await.unwrap());
    world.ok("EnableKey", json!({"KeyId": key})).await;
    world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
    assert_eq!(world.admin.tombstones().await.unwrap(), []);
}

#[tokio::test]
async fn material_that_has_expired_is_in_the_audit_trail() {
    let world = World::new().await;
    let key = external(&world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let (blob, token) = parcel(&world, &key, &[7; 32]).await;
    let request = json!({"KeyId": key, "ImportToken": token, "EncryptedKeyMaterial": blob});
    let valid_to = json!({"ValidTo": START.plus(days(1)).epoch_seconds()});
    let imported = world.ok("ImportKeyMaterial", with(request, valid_to)).await;
    world.clock.advance(days(1));
    world.work().await;
    world.work().await;
    let records = world.audit();
    let of_expiry: Vec<_> = records.iter().filter(|record| record["eventName"] == "DeleteExpiredKeyMaterial").collect();
    let [record] = of_expiry[..] else { panic!("{of_expiry:?}") };
    assert_eq!(record["eventType"], "AwsServiceEvent");
    assert_eq!(record["resources"][0]["ARN"], world.arn_of(&key));
    assert_eq!(record["serviceEventDetails"], json!({"keyId": key, "keyMaterialId": imported["KeyMaterialId"]}));
}

#[tokio::test]
async fn deleted_keys_stay_deleted_after_a_restart_and_others_work() {
    for keeping in BOTH {
        let (world, key, _) = doomed(keeping).await;
        let other = world.key().await;
        let blob = world.encrypt(&other, b"at dawn").await;
        world.clock.advance(days(7));
        world.work().await;
        let world = world.reopened().await;
        assert_eq!(world.call("DescribeKey", json!({"KeyId": key})).await.code(), "NotFoundException");
        let opened = world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
        assert_eq!(opened["Plaintext"], base64(b"at dawn"));
    }
}

#[tokio::test]
async fn the_work_may_be_done_again_and_again() {
    let (world, _, _) = doomed(Keeping::Token).await;
    world.clock.advance(days(7));
    for _ in 0..3 {
        world.work().await;
    }
}

#[tokio::test]
async fn invocations_are_counted_in_blocks_that_no_restart_gives_again() {
    let world = World::new().await;
    let key = world.key().await;
    for _ in 0..3 {
        world.encrypt(&key, b"x").await;
    }
    assert_eq!(world.reserved(&key).await, BLOCK);
    let world = world.reopened().await;
    world.encrypt(&key, b"x").await;
    assert_eq!(world.reserved(&key).await, 2 * BLOCK);
}

/// From a key id and a blob to a request that encrypts under the key.
type Encrypts = fn(&str, &str) -> Value;

#[tokio::test]
async fn every_way_to_encrypt_counts_and_decrypting_does_not() {
    let world = World::new().await;
    let blob = world.encrypt(&world.key().await, b"x").await;
    let requests: [(&str, Encrypts); 4] = [
        ("Encrypt", |key, _| json!({"KeyId": key, "Plaintext": "eA=="})),
        ("GenerateDataKey", |key, _| json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("GenerateDataKeyWithoutPlaintext", |key, _| json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("ReEncrypt", |key, blob| json!({"CiphertextBlob": blob, "DestinationKeyId": key})),
    ];
    for (operation, request) in requests {
        let key = world.key().await;
        let made = world.ok(operation, request(&key, &blob)).await;
        world.ok("Decrypt", json!({"CiphertextBlob": made["CiphertextBlob"]})).await;
        assert_eq!(world.reserved(&key).await, BLOCK, "{operation}");
    }
}

#[tokio::test]
async fn a_material_that_was_used_up_encrypts_no_more_and_still_decrypts() {
    let world = World::new().await;
    let key = world.key().await;
    let blob = world.encrypt(&key, b"x").await;
    world.reserve(&key, (1 << 32) - BLOCK).await;
    let world = world.reopened().await;
    let request = json!({"KeyId": key, "Plaintext": "eA=="});
    assert_eq!(world.call("Encrypt", request).await.code(), "KMSInvalidStateException");
    world.ok("Decrypt", json!({"CiphertextBlob": blob})).await;
}

/// A process that is gone with its audit trail, before the record of its change was there.
struct Gone(uuid::Uuid);

impl strongroom::store::Actor for Gone {
    fn asker(&self) -> strongroom::identity::Asker {
        strongroom::identity::Asker::SERVICE
    }

    fn record(&self) -> Result<Option<strongroom::store::NewRecord>, serde_json::Error> {
        let (trail, position) = ("/nowhere/audit.jsonl".to_owned(), String::new());
        let (made, line) = (strongroom::clock::Running::from_ms(0), format!("{{\"eventID\":\"{}\"}}\n", self.0));
        Ok(Some(strongroom::store::NewRecord { event_id: self.0, trail, position, made, line }))
    }
}

#[tokio::test]
async fn a_record_whose_process_is_gone_comes_to_another_trail_once() {
    let world = World::new().await;
    let (key, gone) = (world.key().await, Gone(uuid::Uuid::from_u128(7)));
    let id = strongroom::key::reference::KeyId::parse(&key).unwrap();
    let change = |key: &mut strongroom::key::Key| {
        key.describe("theirs");
        Ok::<_, ()>(())
    };
    world.store.change_key(&gone, crate::world::REGION, id, change).await.unwrap();
    let told = || world.audit().iter().filter(|record| record["eventID"] == gone.0.to_string()).count();
    world.work().await;
    assert_eq!(told(), 0, "its process may be slow");
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(61));
        world.work().await;
        assert_eq!(told(), 1);
    }
}
