//! VerifyMac: <https://docs.aws.amazon.com/kms/latest/APIReference/API_VerifyMac.html>.

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use serde_json::json;
use strongroom::key::spec::{KeySpec, KeyUsage};

use super::{
    About, GRANT_TOKENS, KEY, Kind, Names, Subject, USE,
    generate_mac::{MAC, SPECS, other_keys},
    may, must,
};
use crate::world::{World, base64, text, with};

pub const SUBJECT: Subject = Subject {
    name: "VerifyMac",
    members: &[
        must("Message", Kind::Plaintext),
        must("KeyId", KEY),
        must("MacAlgorithm", MAC),
        must("Mac", Kind::Blob(1, 6144)),
        may("GrantTokens", GRANT_TOKENS),
        may("DryRun", Kind::Bool),
    ],
    request: |things| {
        let (message, mac) = (base64(b"a message"), &things.blob);
        json!({"KeyId": things.key, "Message": message, "Mac": mac, "MacAlgorithm": "HMAC_SHA_256"})
    },
    about: About::Mac,
    key: Some(("KeyId", Names::Any)),
    states: USE,
};

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let key = world.plant(KeySpec::Hmac512, KeyUsage::GenerateVerifyMac).await;
    let request = json!({"KeyId": key, "Message": base64(b"m"), "MacAlgorithm": "HMAC_SHA_512"});
    let mac = world.ok("GenerateMac", request.clone()).await["Mac"].clone();
    world.check("VerifyMac", with(request, json!({"Mac": mac})), expect![[r#"
        {
          "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
          "MacAlgorithm": "HMAC_SHA_512",
          "MacValid": true
        }"#]]).await;
}

#[tokio::test]
async fn any_change_is_seen_and_a_cut_mac_is_none() {
    let world = World::new().await;
    for (spec, algorithm, bytes) in SPECS {
        let key = world.plant(spec, KeyUsage::GenerateVerifyMac).await;
        let request = json!({"KeyId": key, "Message": base64(b"m"), "MacAlgorithm": algorithm});
        let mac = STANDARD.decode(text(&world.ok("GenerateMac", request.clone()).await, "Mac")).unwrap();
        for at in 0..bytes {
            let mut flipped = mac.clone();
            flipped[at] ^= 0x80;
            let request = with(request.clone(), json!({"Mac": base64(&flipped)}));
            world.refuse("VerifyMac", request, "KMSInvalidMacException", "").await;
        }
        for length in [1, bytes / 2, bytes - 1] {
            let request = with(request.clone(), json!({"Mac": base64(&mac[..length])}));
            world.refuse("VerifyMac", request, "KMSInvalidMacException", "").await;
        }
        let longer = with(request.clone(), json!({"Mac": base64(&[&mac[..], &[0]].concat())}));
        world.refuse("VerifyMac", longer, "KMSInvalidMacException", "").await;
        let other = with(request, json!({"Message": base64(b"n"), "Mac": base64(&mac)}));
        world.refuse("VerifyMac", other, "KMSInvalidMacException", "").await;
    }
}

#[tokio::test]
async fn the_key_must_fit() {
    other_keys("VerifyMac", json!({"Mac": "AAAA"})).await;
}
