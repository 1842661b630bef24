//! GenerateRandom: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateRandom.html>.

use expect_test::expect;
use serde_json::{Value, json};

use super::{ANY_STATE, About, Kind, Subject, may};
use crate::{
    attester::{Attester, Laptop},
    world::{World, blob_of},
};

pub const SUBJECT: Subject = Subject {
    name: "GenerateRandom",
    members: &[
        may("NumberOfBytes", Kind::Int(1, 1024)),
        may("CustomKeyStoreId", Kind::Text(1, 64)),
        may("Recipient", Kind::Structure),
    ],
    request: |_| json!({"NumberOfBytes": 32}),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

#[tokio::test]
async fn as_many_bytes_as_asked_for() {
    let world = World::new().await;
    world.check("GenerateRandom", json!({"NumberOfBytes": 1}), expect![[r#"
        {
          "Plaintext": "1 bytes"
        }"#]]).await;
    world.check("GenerateRandom", json!({"NumberOfBytes": 1024}), expect![[r#"
        {
          "Plaintext": "1024 bytes"
        }"#]]).await;
}

#[tokio::test]
async fn other_bytes_each_time() {
    let world = World::new().await;
    let request = json!({"NumberOfBytes": 16});
    assert_ne!(world.ok("GenerateRandom", request.clone()).await, world.ok("GenerateRandom", request).await);
}

#[tokio::test]
async fn the_number_is_required_in_words_of_its_own() {
    let world = World::new().await;
    for request in [json!({}), json!({"NumberOfBytes": null})] {
        world.refuse("GenerateRandom", request, "ValidationException", "NumberOfBytes is required.").await;
    }
}

#[tokio::test]
async fn a_key_store_must_be_there_and_without_roots_there_are_no_recipients() {
    let world = World::new().await;
    let store = json!({"NumberOfBytes": 1, "CustomKeyStoreId": "cks-0123456789abcdef0"});
    world.refuse("GenerateRandom", store, "CustomKeyStoreNotFoundException", "").await;
    let recipient = json!({"NumberOfBytes": 1, "Recipient": Attester::new().recipient()});
    let text = "Recipient is not supported: no attestation roots are configured.";
    world.refuse("GenerateRandom", recipient, "ValidationException", text).await;
}

#[tokio::test]
async fn a_recipient_gets_the_bytes_and_the_caller_does_not() {
    let attester = Attester::new();
    let world = World::build().attestation_roots(attester.roots()).open().await;
    let request = json!({"NumberOfBytes": 1024, "Recipient": attester.recipient()});
    let answer = world.ok("GenerateRandom", request.clone()).await;
    assert_eq!(answer.as_object().unwrap().len(), 1);
    let opened = |answer: &Value| Laptop::get().open(&blob_of(answer, "CiphertextForRecipient"));
    assert_eq!(opened(&answer).len(), 1024);
    assert_ne!(opened(&world.ok("GenerateRandom", request).await), opened(&answer));
    let other = json!({"NumberOfBytes": 1024, "Recipient": Attester::new().recipient()});
    assert_eq!(world.call("GenerateRandom", other).await.code(), "ValidationException");
}
