//! ListKeyPolicies: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeyPolicies.html>.

use serde_json::json;

use super::{ANY_STATE, About, KEY, Kind, MARKER, Names, Subject, may, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "ListKeyPolicies",
    members: &[must("KeyId", KEY), may("Limit", Kind::Int(1, 1000)), may("Marker", MARKER)],
    request: |things| json!({"KeyId": things.key}),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: ANY_STATE,
};

#[tokio::test]
async fn there_is_one_policy() {
    let world = World::new().await;
    let one = json!({"PolicyNames": ["default"], "Truncated": false});
    let key = world.key().await;
    for request in [json!({"KeyId": key}), json!({"KeyId": key, "Limit": 1})] {
        assert_eq!(world.ok("ListKeyPolicies", request).await, one);
    }
}
