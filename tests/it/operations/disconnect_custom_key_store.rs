//! DisconnectCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DisconnectCustomKeyStore.html>.

use serde_json::json;
use strongroom::key::custom_store::ConnectionState;

use super::{ANY_STATE, About, Kind, Subject, must};
use crate::world::World;

pub const SUBJECT: Subject = Subject {
    name: "DisconnectCustomKeyStore",
    members: &[must("CustomKeyStoreId", Kind::Text(1, 64))],
    request: |things| json!({"CustomKeyStoreId": things.key_store}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

#[tokio::test]
async fn what_is_disconnected_cannot_be_once_more() {
    let world = World::new().await;
    let id = world.plant_key_store(ConnectionState::Failed).await;
    let request = json!({"CustomKeyStoreId": id});
    assert_eq!(world.ok("DisconnectCustomKeyStore", request.clone()).await, json!({}));
    for state in ["DISCONNECTING", "DISCONNECTED"] {
        assert_eq!(world.describe_key_store(&id).await["ConnectionState"], state);
        let message = format!("The connection state of {id} is {state}, which is not valid for this operation.");
        let code = "CustomKeyStoreInvalidStateException";
        world.refuse("DisconnectCustomKeyStore", request.clone(), code, &message).await;
        world.settle().await;
    }
}

#[tokio::test]
async fn while_it_goes_it_cannot_be_connected() {
    let world = World::new().await;
    let id = world.plant_key_store(ConnectionState::Disconnecting).await;
    let message = format!("The connection state of {id} is DISCONNECTING, which is not valid for this operation.");
    let request = json!({"CustomKeyStoreId": id});
    world.refuse("ConnectCustomKeyStore", request, "CustomKeyStoreInvalidStateException", &message).await;
}
