//! What holds of every plaintext and every encryption context.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::world::{World, base64};

type Context = BTreeMap<String, String>;

fn contexts() -> impl Strategy<Value = Context> {
    prop::collection::btree_map("\\PC{1,8}", "\\PC{1,8}", 0..5)
}

/// Runs `test` on a few values of `strategy`, all in one world with one key.
fn for_some<S: Strategy>(strategy: S, test: impl AsyncFn(&World, &str, S::Value)) {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let key = runtime.block_on(world.key());
    let mut runner = TestRunner::new(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() });
    let run = |value| {
        runtime.block_on(test(&world, &key, value));
        Ok(())
    };
    runner.run(&strategy, run).unwrap();
}

async fn sealed(world: &World, key: &str, plaintext: &[u8], context: &Context) -> Value {
    let request = json!({"KeyId": key, "Plaintext": base64(plaintext), "EncryptionContext": context});
    world.ok("Encrypt", request).await["CiphertextBlob"].clone()
}

#[test]
fn decrypt_undoes_encrypt() {
    let any = (prop::collection::vec(any::<u8>(), 1..=4096), contexts());
    for_some(any, async |world, key, (plaintext, context)| {
        let blob = sealed(world, key, &plaintext, &context).await;
        let opened = world.ok("Decrypt", json!({"CiphertextBlob": blob, "EncryptionContext": context})).await;
        assert_eq!(opened["Plaintext"], base64(&plaintext));
    });
}

#[test]
fn the_order_of_a_context_is_no_matter() {
    for_some(contexts(), async |world, key, context| {
        let blob = sealed(world, key, b"at dawn", &context).await;
        // `serde_json` sorts maps, so the other order is written by hand.
        let pairs = context.iter().rev().map(|(k, v)| format!("{}:{}", json!(k), json!(v))).collect::<Vec<_>>();
        let body = format!("{{\"EncryptionContext\":{{{}}},\"CiphertextBlob\":{blob}}}", pairs.join(","));
        assert_eq!(world.send(world.draft("Decrypt", body)).await.status, 200);
    });
}

#[test]
fn any_other_context_does_not_open() {
    for_some((contexts(), contexts()), async |world, key, (context, other)| {
        if context != other {
            let blob = sealed(world, key, b"at dawn", &context).await;
            let request = json!({"CiphertextBlob": blob, "EncryptionContext": other});
            world.refuse("Decrypt", request, "InvalidCiphertextException", "").await;
        }
    });
}

#[test]
fn a_context_less_or_with_one_more_pair_does_not_open() {
    for_some((contexts(), "\\PC{1,8}", "\\PC{1,8}"), async |world, key, (context, name, value)| {
        let mut more = context.clone();
        if more.insert(name, value.clone()).as_ref() != Some(&value) {
            for (one, other) in [(&context, &more), (&more, &context)] {
                let blob = sealed(world, key, b"at dawn", one).await;
                let request = json!({"CiphertextBlob": blob, "EncryptionContext": other});
                world.refuse("Decrypt", request, "InvalidCiphertextException", "").await;
            }
        }
    });
}

#[test]
fn no_text_is_more_than_a_key_id_that_is_not_found() {
    for_some("\\PC{1,80}", async |world, _, text| {
        let code = world.call("DescribeKey", json!({"KeyId": text})).await.code();
        let expected: &[_] =
            if text.is_ascii() { &["NotFoundException", "InvalidArnException"] } else { &["ValidationException"] };
        assert!(expected.contains(&&*code), "{text}: {code}");
    });
}

#[test]
fn no_blob_is_more_than_an_invalid_ciphertext() {
    for_some(prop::collection::vec(any::<u8>(), 1..=6144), async |world, key, blob| {
        let request = json!({"KeyId": key, "CiphertextBlob": base64(&blob)});
        world.refuse("Decrypt", request, "InvalidCiphertextException", "").await;
    });
}
