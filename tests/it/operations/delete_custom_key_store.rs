//! DeleteCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteCustomKeyStore.html>.

use serde_json::json;
use strongroom::key::custom_store::ConnectionState;

use super::{ANY_STATE, About, Kind, Subject, must};
use crate::world::{World, text, wanted_key_store};

pub const SUBJECT: Subject = Subject {
    name: "DeleteCustomKeyStore",
    members: &[must("CustomKeyStoreId", Kind::Text(1, 64))],
    request: |things| json!({"CustomKeyStoreId": things.key_store}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

#[tokio::test]
async fn it_is_gone_and_its_name_and_cluster_are_free() {
    let world = World::new().await;
    for _ in 0..2 {
        let id = text(&world.ok("CreateCustomKeyStore", wanted_key_store()).await, "CustomKeyStoreId");
        let request = json!({"CustomKeyStoreId": id});
        assert_eq!(world.ok("DeleteCustomKeyStore", request.clone()).await, json!({}));
        world.refuse("DescribeCustomKeyStores", request.clone(), "CustomKeyStoreNotFoundException", "").await;
        world.refuse("DeleteCustomKeyStore", request, "CustomKeyStoreNotFoundException", "").await;
    }
}

#[tokio::test]
async fn it_must_be_disconnected() {
    let world = World::new().await;
    for state in ConnectionState::ALL.iter().filter(|state| **state != ConnectionState::Disconnected) {
        let id = world.plant_key_store(*state).await;
        let message = format!("The connection state of {id} is {state}, which is not valid for this operation.");
        let code = "CustomKeyStoreInvalidStateException";
        world.refuse("DeleteCustomKeyStore", json!({"CustomKeyStoreId": id}), code, &message).await;
    }
}
