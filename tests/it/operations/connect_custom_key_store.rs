//! ConnectCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ConnectCustomKeyStore.html>.

use serde_json::json;
use strongroom::{hsm::Settings, key::custom_store::ConnectionState, store::Unrecorded};

use super::{ANY_STATE, About, Kind, Subject, must};
use crate::{
    faults::Faults,
    tokens::{bare_token, PIN},
    world::{CLUSTER, World, cluster, cluster_on, trust_anchor, wanted_key_store, with},
};

pub const SUBJECT: Subject = Subject {
    name: "ConnectCustomKeyStore",
    members: &[must("CustomKeyStoreId", Kind::Text(1, 64))],
    request: |things| json!({"CustomKeyStoreId": things.key_store}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

/// A new key store of a world whose cluster is its own.
async fn made(world: &World, password: &str) -> String {
    let wanted = with(wanted_key_store(), json!({"KeyStorePassword": password}));
    world.ok("CreateCustomKeyStore", wanted).await["CustomKeyStoreId"].as_str().unwrap().to_owned()
}

/// What becomes of a new key store that is connected: its state, and the error code if there is one.
async fn connected(world: &World, id: &str) -> (String, String) {
    assert_eq!(world.ok("ConnectCustomKeyStore", json!({"CustomKeyStoreId": id})).await, json!({}));
    world.settle().await;
    let described = world.describe_key_store(id).await;
    let text = |member: &str| described[member].as_str().unwrap_or_default().to_owned();
    (text("ConnectionState"), text("ConnectionErrorCode"))
}

#[tokio::test]
async fn it_comes_about_after_the_answer() {
    let world = World::build().clusters(vec![cluster(CLUSTER)]).open().await;
    let id = made(&world, PIN).await;
    assert_eq!(world.ok("ConnectCustomKeyStore", json!({"CustomKeyStoreId": id})).await, json!({}));
    assert_eq!(world.describe_key_store(&id).await["ConnectionState"], "CONNECTING");
    world.settle().await;
    assert_eq!(world.describe_key_store(&id).await["ConnectionState"], "CONNECTED");
    assert_eq!(connected(&world, &id).await.0, "CONNECTED", "once more is no error");
}

#[tokio::test]
async fn a_wrong_password_fails_and_another_one_helps() {
    let world = World::build().clusters(vec![cluster(CLUSTER)]).open().await;
    let id = made(&world, "wrong-password").await;
    let refused = ("FAILED".to_owned(), "INVALID_CREDENTIALS".to_owned());
    assert_eq!(connected(&world, &id).await, refused);
    let id_of = json!({"CustomKeyStoreId": id});
    let message = format!("The connection state of {id} is FAILED, which is not valid for this operation.");
    world.refuse("ConnectCustomKeyStore", id_of.clone(), "CustomKeyStoreInvalidStateException", &message).await;
    world.ok("DisconnectCustomKeyStore", id_of.clone()).await;
    world.settle().await;
    assert!(world.describe_key_store(&id).await.get("ConnectionErrorCode").is_none());
    world.ok("UpdateCustomKeyStore", with(id_of, json!({"KeyStorePassword": PIN}))).await;
    assert_eq!(connected(&world, &id).await.0, "CONNECTED");
}

#[tokio::test]
async fn a_refused_password_is_tried_once() {
    let (faults, token) = Faults::before(bare_token());
    let world = World::build().clusters(vec![cluster_on(CLUSTER, token)]).open().await;
    let id = made(&world, "wrong-password").await;
    for _ in 0..3 {
        assert_eq!(connected(&world, &id).await.1, "INVALID_CREDENTIALS");
        world.ok("DisconnectCustomKeyStore", json!({"CustomKeyStoreId": id})).await;
        world.settle().await;
    }
    assert_eq!(faults.calls("C_Login").len(), 1);
}

/// CKR codes and what they are told as.
const REFUSALS: &[(&str, u64, &str)] = &[
    ("C_Login", 0xA0, "INVALID_CREDENTIALS"), // CKR_PIN_INCORRECT
    ("C_Login", 0xA4, "USER_LOCKED_OUT"),     // CKR_PIN_LOCKED
    ("C_Login", 0x102, "USER_NOT_FOUND"),     // CKR_USER_PIN_NOT_INITIALIZED
    ("C_OpenSession", 0x32, "NETWORK_ERRORS"), // CKR_DEVICE_REMOVED
    ("C_OpenSession", 0xE2, "INTERNAL_ERROR"), // CKR_TOKEN_WRITE_PROTECTED
];

#[tokio::test]
async fn what_keeps_the_hsm_from_being_opened_is_told() {
    let token = bare_token();
    for (number, (function, code, error)) in REFUSALS.iter().enumerate() {
        // A ledger of its own, for some of it is refusals of the PIN.
        let ledger = token.ledger.with_extension(number.to_string());
        let (faults, token) = Faults::before(Settings { ledger, ..token.clone() });
        let world = World::build().clusters(vec![cluster_on(CLUSTER, token)]).open().await;
        let id = made(&world, PIN).await;
        let _refused = faults.refuse(function, *code);
        assert_eq!(connected(&world, &id).await, ("FAILED".to_owned(), (*error).to_owned()), "{function} {code:x}");
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_configured_any_more_is_not_active() {
    let world = World::build().clusters(vec![cluster(CLUSTER)]).open().await;
    let id = made(&world, PIN).await;
    assert_eq!(connected(&world, &id).await.0, "CONNECTED");
    let world = world.stopped().await.clusters(vec![]).open().await;
    world.settle().await;
    let described = world.describe_key_store(&id).await;
    assert_eq!(described["ConnectionErrorCode"], "CLUSTER_NOT_FOUND");
    world.ok("DisconnectCustomKeyStore", json!({"CustomKeyStoreId": id})).await;
    world.settle().await;
    let message = format!("There is no cluster {CLUSTER}.");
    let request = json!({"CustomKeyStoreId": id});
    world.refuse("ConnectCustomKeyStore", request, "CloudHsmClusterNotActiveException", &message).await;
}

#[tokio::test]
async fn a_password_is_bound_to_its_key_store() {
    let world = World::build().clusters(vec![cluster(CLUSTER)]).open().await;
    let (id, other) = (made(&world, PIN).await, world.plant_key_store(ConnectionState::Disconnected).await);
    let sealed = world.store.view().key_store(&world.region, &id).unwrap().sealed_password.clone();
    let swap = |key_store: &mut strongroom::key::custom_store::CustomKeyStore, _: &_| {
        key_store.sealed_password.clone_from(&sealed);
        Ok::<_, std::convert::Infallible>(())
    };
    world.store.change_key_store(&Unrecorded, &world.region, &other, swap).await.unwrap();
    assert_eq!(connected(&world, &other).await, ("FAILED".to_owned(), "INTERNAL_ERROR".to_owned()));
}

#[tokio::test]
async fn nobody_is_told_the_password() {
    let world = World::build().clusters(vec![cluster(CLUSTER)]).open().await;
    let password = "canary: pass 7f31";
    let id = made(&world, password).await;
    assert_eq!(connected(&world, &id).await.1, "INVALID_CREDENTIALS");
    let update = json!({"CustomKeyStoreId": id, "KeyStorePassword": password});
    world.call("UpdateCustomKeyStore", update).await;
    let told = |record: &serde_json::Value| record.to_string().contains(password);
    assert!(!world.audit().iter().any(told) && !crate::world::logged(password));
    assert!(!world.describe_key_store(&id).await.to_string().contains(password));
    for member in ["x".repeat(40) + password, password.to_owned() + "*"] {
        let wanted = with(wanted_key_store(), json!({"KeyStorePassword": member, "TrustAnchorCertificate": ["x"]}));
        assert!(!world.call("CreateCustomKeyStore", wanted).await.text().contains(password));
        let wanted = with(wanted_key_store(), json!({"KeyStorePassword": member.repeat(3)}));
        assert!(!world.call("CreateCustomKeyStore", wanted).await.text().contains(password));
    }
    assert!(!world.stored().contains(password) && world.stored().contains(trust_anchor().lines().nth(1).unwrap()));
}

#[tokio::test]
async fn there_must_be_such_a_key_store_in_this_region() {
    let world = World::new().await;
    let id = world.plant_key_store(ConnectionState::Disconnected).await;
    for operation in
        ["ConnectCustomKeyStore", "DisconnectCustomKeyStore", "UpdateCustomKeyStore", "DeleteCustomKeyStore"]
    {
        let (unknown, request) = (json!({"CustomKeyStoreId": "cks-0123456789abcdef0"}), json!({"CustomKeyStoreId": id}));
        world.refuse(operation, unknown, "CustomKeyStoreNotFoundException", "").await;
        world.in_region("eu-other-1").refuse(operation, request, "CustomKeyStoreNotFoundException", "").await;
    }
}
