//! CancelKeyDeletion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CancelKeyDeletion.html>.

use expect_test::expect;
use serde_json::json;

use super::{About, KEY, Names, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "CancelKeyDeletion",
    members: &[must("KeyId", KEY)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Doomed,
    key: Some(("KeyId", Names::IdOrArn)),
    states: [4, 4, 0, 0, 4, 4, 4, 4],
};

#[tokio::test]
async fn the_key_is_disabled_then_and_has_no_deletion_date() {
    let world = World::new().await;
    let key = json!({"KeyId": world.key().await});
    world.ok("ScheduleKeyDeletion", key.clone()).await;
    let answer = expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1"
        }"#]];
    world.check("CancelKeyDeletion", key.clone(), answer).await;
    let metadata = &world.ok("DescribeKey", key).await["KeyMetadata"];
    assert_eq!((&metadata["KeyState"], &metadata["Enabled"]), (&json!("Disabled"), &json!(false)));
    assert!(metadata.get("DeletionDate").is_none());
}
