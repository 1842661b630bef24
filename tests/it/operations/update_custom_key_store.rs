//! UpdateCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateCustomKeyStore.html>.

use serde_json::{Value, json};
use strongroom::{hsm::Cluster, key::custom_store::ConnectionState};

use super::{ANY_STATE, About, Kind, Subject, may, must};
use crate::world::{CLUSTER, World, looked_at, text, wanted_key_store, with};

pub const SUBJECT: Subject = Subject {
    name: "UpdateCustomKeyStore",
    members: &[
        must("CustomKeyStoreId", Kind::Text(1, 64)),
        may("NewCustomKeyStoreName", Kind::Text(1, 256)),
        may("KeyStorePassword", Kind::Password),
        may("CloudHsmClusterId", Kind::Cluster),
        may("XksProxyUriEndpoint", Kind::External("https://xks.example.com")),
        may("XksProxyUriPath", Kind::External("/kms/xks/v1")),
        may("XksProxyVpcEndpointServiceName", Kind::External("com.amazonaws.vpce.us-east-1.vpce-svc-0")),
        may("XksProxyVpcEndpointServiceOwner", Kind::External("111122223333")),
        may("XksProxyAuthenticationCredential", Kind::Structure),
        may("XksProxyConnectivity", Kind::Word(&["PUBLIC_ENDPOINT", "VPC_ENDPOINT_SERVICE"])),
    ],
    request: |things| json!({"CustomKeyStoreId": things.key_store, "NewCustomKeyStoreName": things.alias}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

async fn update(world: &World, id: &str, members: Value) -> Value {
    world.ok("UpdateCustomKeyStore", with(json!({"CustomKeyStoreId": id}), members)).await
}

#[tokio::test]
async fn a_name_is_changed_in_any_state() {
    let world = World::new().await;
    for state in ConnectionState::ALL {
        let id = world.plant_key_store(*state).await;
        assert_eq!(update(&world, &id, json!({"NewCustomKeyStoreName": id})).await, json!({}));
        assert_eq!(world.describe_key_store(&id).await["CustomKeyStoreName"], *id);
        update(&world, &id, json!({"NewCustomKeyStoreName": id})).await;
    }
}

#[tokio::test]
async fn a_name_is_in_use_once() {
    let world = World::new().await;
    let other = text(&world.ok("CreateCustomKeyStore", wanted_key_store()).await, "CustomKeyStoreId");
    let one = world.plant_key_store(ConnectionState::Disconnected).await;
    let request = json!({"CustomKeyStoreId": one, "NewCustomKeyStoreName": "ours"});
    let message = "There is a custom key store named ours already.";
    world.refuse("UpdateCustomKeyStore", request, "CustomKeyStoreNameInUseException", message).await;
    update(&world, &other, json!({"NewCustomKeyStoreName": "ours"})).await;
}

#[tokio::test]
async fn all_else_is_changed_only_while_it_is_disconnected() {
    let world = World::new().await;
    for state in ConnectionState::ALL.iter().filter(|state| **state != ConnectionState::Disconnected) {
        let id = world.plant_key_store(*state).await;
        for members in [json!({"KeyStorePassword": "another-one"}), json!({"CloudHsmClusterId": CLUSTER})] {
            let request = with(json!({"CustomKeyStoreId": id, "NewCustomKeyStoreName": "new"}), members);
            let message = format!("The connection state of {id} is {state}, which is not valid for this operation.");
            let code = "CustomKeyStoreInvalidStateException";
            world.refuse("UpdateCustomKeyStore", request, code, &message).await;
        }
        assert_ne!(world.describe_key_store(&id).await["CustomKeyStoreName"], "new");
    }
}

#[tokio::test]
async fn it_moves_to_clusters_of_the_same_backup_only() {
    let backed = |id: &str, backup: &str| Cluster { backup: Some(backup.to_owned()), ..looked_at(id) };
    let (related, stranger) = ("cluster-3relatedone", "cluster-4strangerone");
    let world = World::build().clusters(vec![backed(CLUSTER, "a"), backed(related, "a"), backed(stranger, "b")]).open().await;
    let id = text(&world.ok("CreateCustomKeyStore", wanted_key_store()).await, "CustomKeyStoreId");
    let to = |cluster: &str| json!({"CustomKeyStoreId": id, "CloudHsmClusterId": cluster});
    let message = format!("{stranger} was not restored from the same backup as {CLUSTER}.");
    world.refuse("UpdateCustomKeyStore", to(stranger), "CloudHsmClusterNotRelatedException", &message).await;
    let unknown = "cluster-5unknownone";
    let message = format!("There is no cluster {unknown}.");
    world.refuse("UpdateCustomKeyStore", to(unknown), "CloudHsmClusterNotFoundException", &message).await;
    world.ok("UpdateCustomKeyStore", to(CLUSTER)).await;
    world.ok("UpdateCustomKeyStore", to(related)).await;
    assert_eq!(world.describe_key_store(&id).await["CloudHsmClusterId"], related);
    let second = with(wanted_key_store(), json!({"CustomKeyStoreName": "second"}));
    world.ok("CreateCustomKeyStore", second).await;
    let message = format!("{CLUSTER} is the cluster of another custom key store.");
    world.refuse("UpdateCustomKeyStore", to(CLUSTER), "CloudHsmClusterInvalidConfigurationException", &message).await;
}

#[tokio::test]
async fn what_is_of_external_key_stores_is_refused() {
    let world = World::new().await;
    let id = world.plant_key_store(ConnectionState::Disconnected).await;
    let request = json!({"CustomKeyStoreId": id, "XksProxyUriPath": "/kms/xks/v1"});
    let message = "XksProxy members are not valid for a custom key store of type AWS_CLOUDHSM.";
    world.refuse("UpdateCustomKeyStore", request, "ValidationException", message).await;
}
