//! UpdatePrimaryRegion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdatePrimaryRegion.html>.

use serde_json::json;

use super::{About, ELSEWHERE, KEY, Kind, Names, Subject, must, replicate_key::replicated};
use crate::world::{REGION, World};

pub const SUBJECT: Subject = Subject {
    name: "UpdatePrimaryRegion",
    members: &[must("KeyId", KEY), must("PrimaryRegion", Kind::Region)],
    request: |things| json!({"KeyId": things.key, "PrimaryRegion": ELSEWHERE}),
    about: About::MultiRegion,
    key: Some(("KeyId", Names::IdOrArn)),
    states: [0, 1, 3, 3, 5, 11, 14, 0],
};

#[tokio::test]
async fn primary_key_and_replica_change_places() {
    let world = World::new().await;
    let key = replicated(&world).await;
    let answer = world.call("UpdatePrimaryRegion", json!({"KeyId": key, "PrimaryRegion": ELSEWHERE})).await;
    assert_eq!((answer.status, answer.text()), (200, String::new()));
    for (region, kind) in [(REGION, "REPLICA"), (ELSEWHERE, "PRIMARY")] {
        let described = world.in_region(region).ok("DescribeKey", json!({"KeyId": key})).await;
        let family = &described["KeyMetadata"]["MultiRegionConfiguration"];
        assert_eq!((&family["MultiRegionKeyType"], &family["PrimaryKey"]["Region"]), (&json!(kind), &json!(ELSEWHERE)));
        assert_eq!(family["ReplicaKeys"], json!([{"Arn": world.arn_of(&key), "Region": REGION}]));
    }
    world.in_region(ELSEWHERE).ok("RotateKeyOnDemand", json!({"KeyId": key})).await;
}

#[tokio::test]
async fn a_replica_must_be_there_and_both_must_be_allowed() {
    let world = World::new().await;
    let key = replicated(&world).await;
    let request = json!({"KeyId": key, "PrimaryRegion": "eu-none-1"});
    let none = format!("There is no replica of {} in eu-none-1.", world.arn_of(&key));
    world.refuse("UpdatePrimaryRegion", request, "NotFoundException", &none).await;
    let there = world.in_region(ELSEWHERE);
    let not_primary = format!("{} is not a multi-region primary key.", there.arn_of(&key));
    let request = json!({"KeyId": key, "PrimaryRegion": REGION});
    there.refuse("UpdatePrimaryRegion", request, "UnsupportedOperationException", &not_primary).await;
    there.set_policy(&key, json!([{"Effect": "Deny", "Principal": "*", "Action": "kms:UpdatePrimaryRegion", "Resource": "*"}])).await;
    let request = json!({"KeyId": key, "PrimaryRegion": ELSEWHERE});
    assert_eq!(world.call("UpdatePrimaryRegion", request).await.code(), "AccessDeniedException");
}

#[tokio::test]
async fn a_disabled_replica_does_not_become_primary() {
    let world = World::new().await;
    let key = replicated(&world).await;
    let there = world.in_region(ELSEWHERE);
    there.ok("DisableKey", json!({"KeyId": key})).await;
    let disabled = format!("{} is disabled.", there.arn_of(&key));
    let request = json!({"KeyId": key, "PrimaryRegion": ELSEWHERE});
    world.refuse("UpdatePrimaryRegion", request, "DisabledException", &disabled).await;
}
