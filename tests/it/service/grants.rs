//! What grants allow: every operation that takes grant tokens, whoever a grant may be for, and what no grant overrules.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use strongroom::{
    key::{
        context::EncryptionContext,
        grant::{ConstraintFacts, Grant, GrantOperation},
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
    },
    principal::Principal,
};

use crate::{
    operations::{
        Subject, Things,
        create_grant::{ADA, granted, grants_of},
        subjects,
    },
    world::{Caller, REGION, World, base64, text, with},
};

/// Copies a grant that the key has, past the API: each for a grantee of its own, and without a name.
pub async fn multiply(world: &World, key: &str, count: usize) {
    let to_another = |grant: &mut Value, number| {
        grant["terms"]["grantee"] = format!("arn:aws:iam::111122223333:user/copy-{number}").into();
    };
    world.copy_grant(key, count, to_another).await;
}

/// The subjects that a grant can allow.
fn grantable() -> impl Iterator<Item = &'static Subject> {
    subjects().filter(|subject| subject.members.iter().any(|member| member.name == "GrantTokens"))
}

/// What a grant must list for an operation.
fn operations(name: &str) -> Value {
    match name {
        "ReEncrypt" => json!(["ReEncryptFrom", "ReEncryptTo"]),
        // What is made lists these.
        "CreateGrant" => json!(["CreateGrant", "Encrypt", "DescribeKey"]),
        name => json!([name]),
    }
}

async fn grant_to(world: &World, caller: &Caller, key: &str, members: Value) -> (String, String) {
    granted(world, key, with(json!({"GranteePrincipal": caller.arn}), members)).await
}

/// A key whose policy leaves nothing to the account, but to the administrator.
async fn closed_key(world: &World) -> String {
    let statement = json!({"Effect": "Allow", "Principal": {"AWS": world.arn}, "Action": "kms:*", "Resource": "*"});
    let policy = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
    text(&world.ok("CreateKey", json!({"Policy": policy})).await["KeyMetadata"], "KeyId")
}

fn encrypt(key: &str) -> Value {
    json!({"KeyId": key, "Plaintext": base64(b"a plaintext")})
}

#[tokio::test]
async fn a_grant_allows_its_operations_until_it_is_revoked_and_no_others() {
    let world = World::new().await;
    let mut tried = 0;
    for subject in grantable() {
        let nobody = world.as_user(&[]).await;
        let things = Things::of(subject, &world).await;
        let request = (subject.request)(&things);
        let other = json!({"Operations": ["RetireGrant"]});
        grant_to(&world, &nobody, &things.key, other).await;
        assert_eq!(
            nobody.call(subject.name, request.clone()).await.code(),
            "AccessDeniedException",
            "{}",
            subject.name
        );
        let terms = json!({"Operations": operations(subject.name)});
        let (id, _) = grant_to(&world, &nobody, &things.key, terms).await;
        let answer = nobody.call(subject.name, request.clone()).await;
        assert_eq!(answer.status, 200, "{}: {}", subject.name, answer.text());
        assert_eq!(answer.records[0]["additionalEventData"]["authorizingGrantId"], id, "{}", subject.name);
        world.ok("RevokeGrant", json!({"KeyId": things.key, "GrantId": id})).await;
        assert_eq!(nobody.call(subject.name, request).await.code(), "AccessDeniedException", "{}", subject.name);
        tried += 1;
    }
    assert!(tried >= 14, "{tried}");
}

#[tokio::test]
async fn the_context_of_every_request_must_meet_the_constraint() {
    let world = World::new().await;
    let context = json!({"tenant": "7", "of": "test"});
    for subject in grantable() {
        let members = ["EncryptionContext", "SourceEncryptionContext", "DestinationEncryptionContext"];
        let members: Vec<_> =
            members.into_iter().filter(|name| subject.members.iter().any(|member| member.name == *name)).collect();
        if members.is_empty() {
            continue;
        }
        for (constraint, met, broken) in [
            (json!({"EncryptionContextSubset": {"tenant": "7"}}), context.clone(), json!({"tenant": "8"})),
            (json!({"EncryptionContextEquals": context}), context.clone(), json!({"tenant": "7"})),
        ] {
            let things = Things::of(subject, &world).await;
            let sealed = with(encrypt(&things.key), json!({"EncryptionContext": met}));
            let sealed = text(&world.ok("Encrypt", sealed).await, "CiphertextBlob");
            let nobody = world.as_user(&[]).await;
            let terms = json!({"Operations": operations(subject.name), "Constraints": constraint});
            grant_to(&world, &nobody, &things.key, terms).await;
            let mut request = (subject.request)(&things);
            if request.get("CiphertextBlob").is_some() {
                request["CiphertextBlob"] = json!(sealed);
            }
            members.iter().for_each(|member| request[*member] = met.clone());
            nobody.ok(subject.name, request.clone()).await;
            for member in &members {
                for wrong in [broken.clone(), json!({}), Value::Null] {
                    let request = with(request.clone(), json!({*member: wrong}));
                    let code = nobody.call(subject.name, request).await.code();
                    assert_eq!(code, "AccessDeniedException", "{} {member}", subject.name);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_by_everything_that_takes_tokens_whatever_allows_it() {
    let world = World::new().await;
    let key = world.key().await;
    let (_, good) = granted(&world, &key, json!({})).await;
    let (id, gone) = granted(&world, &key, json!({})).await;
    world.ok("RevokeGrant", json!({"KeyId": key, "GrantId": id})).await;
    let flipped = good.replacen(&good[40..41], if &good[40..41] == "A" { "B" } else { "A" }, 1);
    let there = world.in_region("eu-other-1");
    let request = crate::operations::create_grant::request(&there.key().await, json!({}));
    let elsewhere = text(&there.ok("CreateGrant", request).await, "GrantToken");
    let external = json!({"Origin": "EXTERNAL"});
    let external = text(&world.ok("CreateKey", external).await["KeyMetadata"], "KeyId");
    let import = json!({"KeyId": external, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"});
    let import = text(&world.ok("GetParametersForImport", import).await, "ImportToken");
    for subject in grantable() {
        let things = Things::of(subject, &world).await;
        let request = (subject.request)(&things);
        for token in ["junk", "anVuaw==", &gone, &flipped, &elsewhere, &import, &format!("{good}="), &good[4..]] {
            for tokens in [json!([token]), json!([good, token])] {
                let request = with(request.clone(), json!({"GrantTokens": tokens}));
                world.refuse(subject.name, request, "InvalidGrantTokenException", "").await;
            }
        }
        // One that is good does no harm, to whomever it belongs.
        world.ok(subject.name, with(request, json!({"GrantTokens": [good, good]}))).await;
    }
}

#[tokio::test]
async fn a_token_gives_nothing_to_anybody_else() {
    let world = World::new().await;
    let (key, other) = (world.key().await, world.key().await);
    let (ada, eve) = (world.as_user(&[]).await, world.as_user(&[]).await);
    let (_, token) = grant_to(&world, &ada, &key, json!({})).await;
    let tokens = json!({"GrantTokens": [token]});
    ada.ok("Encrypt", with(encrypt(&key), tokens.clone())).await;
    for (caller, key) in [(&eve, &key), (&ada, &other)] {
        let code = caller.call("Encrypt", with(encrypt(key), tokens.clone())).await.code();
        assert_eq!(code, "AccessDeniedException");
    }
}

#[tokio::test]
async fn a_token_is_good_at_once_in_every_process_until_its_grant_is_revoked() {
    let world = World::new().await;
    let (ada, key) = (world.as_user(&[]).await, world.key().await);
    let neighbour = world.neighbour().await;
    let (id, token) = grant_to(&neighbour, &ada, &key, json!({})).await;
    assert_eq!(ada.call("Encrypt", encrypt(&key)).await.code(), "AccessDeniedException", "the view is of before");
    let with_token = with(encrypt(&key), json!({"GrantTokens": [token]}));
    ada.ok("Encrypt", with_token.clone()).await;
    ada.ok("Encrypt", encrypt(&key)).await;
    // Both keys of a ReEncrypt.
    let (other, blob) = (world.key().await, world.encrypt(&key, b"a plaintext").await);
    let from = grant_to(&neighbour, &ada, &key, json!({"Operations": ["ReEncryptFrom"]})).await.1;
    neighbour.store.follow().await.unwrap();
    let to = grant_to(&neighbour, &ada, &other, json!({"Operations": ["ReEncryptTo"]})).await.1;
    let request = json!({"CiphertextBlob": blob, "DestinationKeyId": other, "GrantTokens": [from, to]});
    ada.ok("ReEncrypt", request).await;
    neighbour.ok("RevokeGrant", json!({"KeyId": key, "GrantId": id})).await;
    world.store.follow().await.unwrap();
    ada.refuse("Encrypt", with_token, "InvalidGrantTokenException", "").await;
}

#[tokio::test]
async fn whom_a_grant_is_for() {
    let world = World::new().await;
    let none = Default::default;
    let (ada, eve) = (world.as_user(&[]).await, world.as_user(&[]).await);
    let may_encrypt = world.as_user(&["kms:Encrypt"]).await;
    let root = world.principal("arn:aws:iam::111122223333:root", none()).await;
    let role = world.principal("arn:aws:iam::111122223333:role/path/Ops", none()).await;
    let monday = world.principal("arn:aws:sts::111122223333:assumed-role/Ops/monday", none()).await;
    let tuesday = world.principal("arn:aws:sts::111122223333:assumed-role/Ops/tuesday", none()).await;
    let all = [&ada, &eve, &may_encrypt, &root, &role, &monday, &tuesday];
    for (grantee, allowed) in [
        (&*ada.arn, vec![&ada]),
        (&*role.arn, vec![&role, &monday, &tuesday]),
        (&*monday.arn, vec![&monday]),
        // The account, for those whom it allows, and for its root.
        (&*root.arn, vec![&may_encrypt, &root]),
        ("arn:aws:iam::444455556666:root", vec![]),
        ("arn:aws-cn:iam::111122223333:root", vec![]),
        ("arn:aws:sts::111122223333:federated-user/ada", vec![]),
    ] {
        let key = closed_key(&world).await;
        granted(&world, &key, json!({"GranteePrincipal": grantee})).await;
        for caller in all {
            let expected = if allowed.iter().any(|one| one.arn == caller.arn) { "" } else { "AccessDeniedException" };
            assert_eq!(caller.call("Encrypt", encrypt(&key)).await.code(), expected, "{grantee} {}", caller.arn);
        }
    }
}

#[tokio::test]
async fn no_grant_overrules_a_denial() {
    let world = World::new().await;
    let key = world.key().await;
    let deny = json!({"Effect": "Deny", "Action": "kms:Encrypt", "Resource": "*"});
    let policy = json!({"Version": "2012-10-17", "Statement": deny}).to_string();
    let denied = world.user([("p".to_owned(), policy)].into()).await;
    let (_, token) = grant_to(&world, &denied, &key, json!({})).await;
    let request = with(encrypt(&key), json!({"GrantTokens": [token]}));
    let (_, code, message) = denied.call("Encrypt", request).await.refusal();
    assert_eq!(code, "AccessDeniedException");
    assert!(message.ends_with("with an explicit deny in an identity-based policy"), "{message}");
    denied.ok("DescribeKey", json!({"KeyId": key})).await;

    let ada = world.as_user(&[]).await;
    grant_to(&world, &ada, &key, json!({})).await;
    ada.ok("Encrypt", encrypt(&key)).await;
    let deny = json!({"Effect": "Deny", "Principal": {"AWS": ada.arn}, "Action": "kms:Encrypt", "Resource": "*"});
    world.set_policy(&key, json!([deny])).await;
    let (_, code, message) = ada.call("Encrypt", encrypt(&key)).await.refusal();
    assert_eq!(code, "AccessDeniedException");
    assert!(message.ends_with("with an explicit deny in a resource-based policy"), "{message}");
}

#[tokio::test]
async fn who_has_no_grant_is_told_what_the_policies_say() {
    let world = World::new().await;
    let (ada, key) = (world.as_user(&[]).await, world.key().await);
    granted(&world, &key, json!({})).await;
    let message = format!(
        "User: {} is not authorized to perform: kms:Encrypt on resource: {} because no identity-based policy allows the \
         kms:Encrypt action",
        ada.arn,
        world.arn_of(&key)
    );
    ada.refuse("Encrypt", encrypt(&key), "AccessDeniedException", &message).await;
}

#[tokio::test]
async fn a_grant_passes_on_no_more_than_it_gives() {
    let world = World::new().await;
    let (key, other) = (world.key().await, world.key().await);
    // Further rights by policy do not widen what can be passed on by the grant.
    let ada = world.as_user(&["kms:Decrypt"]).await;
    let terms = json!({
        "Operations": ["CreateGrant", "Encrypt", "GenerateDataKey"],
        "Constraints": {"EncryptionContextSubset": {"tenant": "7"}},
    });
    let (parent, token) = grant_to(&world, &ada, &key, terms).await;
    let child = |operations: Value, constraints: Value| json!({"KeyId": key, "GranteePrincipal": ADA, "Operations": operations, "Constraints": constraints});
    let subset = |pairs: Value| json!({"EncryptionContextSubset": pairs});
    let equals = |pairs: Value| json!({"EncryptionContextEquals": pairs});
    for (operations, constraints, may) in [
        (json!(["Encrypt"]), subset(json!({"tenant": "7"})), true),
        (json!(["Encrypt", "CreateGrant"]), subset(json!({"tenant": "7", "more": "x"})), true),
        (json!(["GenerateDataKey"]), equals(json!({"tenant": "7"})), true),
        (json!(["Encrypt"]), equals(json!({"tenant": "8"})), false),
        (json!(["Encrypt"]), subset(json!({})), false),
        (json!(["Encrypt"]), Value::Null, false),
        (json!(["Decrypt"]), subset(json!({"tenant": "7"})), false),
        (json!(["Encrypt", "DescribeKey"]), subset(json!({"tenant": "7"})), false),
    ] {
        let request = child(operations, constraints);
        let code = ada.call("CreateGrant", request.clone()).await.code();
        assert_eq!(code, if may { "" } else { "AccessDeniedException" }, "{request}");
        world.ok("CreateGrant", request).await;
    }
    let elsewhere = with(child(json!(["Encrypt"]), subset(json!({"tenant": "7"}))), json!({"KeyId": other}));
    let elsewhere = with(elsewhere, json!({"GrantTokens": [token]}));
    assert_eq!(ada.call("CreateGrant", elsewhere).await.code(), "AccessDeniedException");
    // What was passed on stays when the grant that passed it on goes.
    let bob = world.as_user(&[]).await;
    let request = with(child(json!(["Encrypt"]), equals(json!({"tenant": "7"}))), json!({"GranteePrincipal": bob.arn}));
    let made = ada.call("CreateGrant", request).await;
    let shown = &made.records[0]["additionalEventData"];
    assert_eq!((&shown["authorizingGrantId"], &shown["grantId"]), (&json!(parent), &made.json()["GrantId"]));
    world.ok("RevokeGrant", json!({"KeyId": key, "GrantId": parent})).await;
    bob.ok("Encrypt", with(encrypt(&key), json!({"EncryptionContext": {"tenant": "7"}}))).await;
}

#[tokio::test]
async fn re_encrypt_takes_one_grant_of_each_key() {
    let world = World::new().await;
    let (source, destination, ada) = (world.key().await, world.key().await, world.as_user(&[]).await);
    let blob = world.encrypt(&source, b"a plaintext").await;
    let request = json!({"CiphertextBlob": blob, "DestinationKeyId": destination});
    let from = grant_to(&world, &ada, &source, json!({"Operations": ["ReEncryptFrom"]})).await.0;
    let (_, code, message) = ada.call("ReEncrypt", request.clone()).await.refusal();
    assert_eq!(code, "AccessDeniedException");
    assert!(message.contains("kms:ReEncryptTo"), "{message}");
    let to = grant_to(&world, &ada, &destination, json!({"Operations": ["ReEncryptTo"]})).await.0;
    let answer = ada.call("ReEncrypt", request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let shown = json!({"authorizingGrantId": from, "destinationAuthorizingGrantId": to});
    assert_eq!(answer.records[0]["additionalEventData"], shown);
}

#[tokio::test]
async fn grants_are_there_after_a_start() {
    let world = World::new().await;
    let key = world.key().await;
    let (id, token) = granted(&world, &key, json!({"Name": "n"})).await;
    let world = world.reopened().await;
    assert_eq!(grants_of(&world, &key).await, vec![id.clone()]);
    world.ok("Encrypt", with(encrypt(&key), json!({"GrantTokens": [token]}))).await;
    assert_eq!(granted(&world, &key, json!({"Name": "n"})).await.0, id);
}

#[tokio::test]
async fn a_grant_of_a_multi_region_key_is_of_one_region() {
    let world = World::new().await;
    let there = world.in_region("eu-other-1");
    let key = text(&world.ok("CreateKey", json!({"MultiRegion": true})).await["KeyMetadata"], "KeyId");
    world.ok("ReplicateKey", json!({"KeyId": key, "ReplicaRegion": "eu-other-1"})).await;
    let ada = world.as_user(&[]).await;
    let (id, token) = grant_to(&world, &ada, &key, json!({})).await;
    ada.ok("Encrypt", encrypt(&key)).await;
    let elsewhere = ada.in_region("eu-other-1");
    assert_eq!(elsewhere.call("Encrypt", encrypt(&key)).await.code(), "AccessDeniedException");
    let with_token = with(encrypt(&key), json!({"GrantTokens": [token]}));
    elsewhere.refuse("Encrypt", with_token, "InvalidGrantTokenException", "").await;
    assert_eq!(there.ok("ListGrants", json!({"KeyId": key})).await["Grants"], json!([]));
    assert_eq!(there.call("RevokeGrant", json!({"KeyId": key, "GrantId": id})).await.code(), "NotFoundException");
}

#[tokio::test]
async fn grants_go_with_their_key() {
    let world = World::new().await;
    let (key, other) = (world.key().await, world.key().await);
    let (_, token) = granted(&world, &key, json!({"RetiringPrincipal": ADA})).await;
    multiply(&world, &key, 3000).await;
    let (kept, _) = granted(&world, &other, json!({"RetiringPrincipal": ADA})).await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await;
    assert_eq!(grants_of(&world, &key).await.len(), 100, "they are listed while the key is");
    world.clock.advance(strongroom::clock::days(8));
    world.work().await;
    for world in [&world, &world.neighbour().await] {
        let listed = world.ok("ListRetirableGrants", json!({"RetiringPrincipal": ADA})).await;
        assert_eq!(crate::operations::list_grants::ids(&listed), vec![kept.clone()]);
        let request = with(encrypt(&other), json!({"GrantTokens": [token]}));
        world.refuse("Encrypt", request, "InvalidGrantTokenException", "").await;
    }
}

#[tokio::test]
async fn an_asymmetric_key_is_granted_too() {
    let world = World::new().await;
    let key = world.plant(KeySpec::EccNistP256, KeyUsage::SignVerify).await;
    let ada = world.as_user(&[]).await;
    let request = json!({"KeyId": key, "Message": base64(b"m"), "SigningAlgorithm": "ECDSA_SHA_256"});
    grant_to(&world, &ada, &key, json!({"Operations": ["Sign"]})).await;
    ada.ok("Sign", request).await;
    assert_eq!(ada.call("GetPublicKey", json!({"KeyId": key})).await.code(), "AccessDeniedException");
}

/// How long calls take in the middle of many; they take turns, so that whatever else goes on is shared.
async fn typical(calls: &[(&Caller, &Value)]) -> Vec<Duration> {
    let mut took = vec![Vec::new(); calls.len()];
    for _ in 0..100 {
        for ((caller, request), took) in calls.iter().zip(&mut took) {
            let began = Instant::now();
            caller.call("Decrypt", (*request).clone()).await;
            took.push(began.elapsed());
        }
    }
    took.iter_mut().for_each(|took| took.sort());
    took.iter().map(|took| took[took.len() / 2]).collect()
}

/// Prints what a Decrypt by a grantee costs on a key with one grant and with fifty thousand (run it with `--nocapture`), and
/// holds that it looks at no more grants for that.
#[tokio::test]
async fn other_grants_cost_nothing() {
    let world = World::new().await;
    let keys = [world.key().await, world.key().await, world.key().await];
    let (ada, eve) = (world.as_user(&[]).await, world.as_user(&[]).await);
    let terms =
        json!({"Operations": ["Decrypt"], "Constraints": {"EncryptionContextSubset": {"app": "x", "tenant": "0"}}});
    for key in &keys {
        grant_to(&world, &ada, key, terms.clone()).await;
    }
    multiply(&world, &keys[1], 49_999).await;
    let of_another_tenant = |grant: &mut Value, number: usize| {
        grant["terms"]["constraints"]["context"]["Subset"]["tenant"] = number.to_string().into();
    };
    world.copy_grant(&keys[2], 49_999, of_another_tenant).await;
    let mut requests = Vec::new();
    for key in &keys {
        let context = json!({"EncryptionContext": {"app": "x", "tenant": "0"}});
        let blob = text(&world.ok("Encrypt", with(encrypt(key), context.clone())).await, "CiphertextBlob");
        requests.push(with(context, json!({"CiphertextBlob": blob})));
    }
    ada.ok("Decrypt", requests[2].clone()).await;
    let [one, others, own] = [&requests[0], &requests[1], &requests[2]];
    let took = typical(&[(&ada, one), (&ada, others), (&ada, own), (&eve, one), (&eve, others)]).await;
    println!("Decrypt by a grantee of a key with 1 grant: {:?}", took[0]);
    println!("with 49,999 grants of others beside it: {:?}; of the same grantee: {:?}", took[1], took[2]);
    println!("refused to somebody else with 1 grant: {:?}, with 50,000: {:?}", took[3], took[4]);
    for (key, caller, expected) in [(&keys[1], &ada, 1..=1), (&keys[1], &eve, 0..=0), (&keys[2], &ada, 1..=2)] {
        let asked = Cell::new(0);
        let count = |_: &Grant| {
            asked.set(asked.get() + 1);
            false
        };
        let context = [("app", "x"), ("tenant", "0")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let context = EncryptionContext::new(context).unwrap();
        let (caller, request) = (
            Principal::try_from(caller.arn.clone()).unwrap(),
            (GrantOperation::Decrypt, ConstraintFacts::Context(&context)),
        );
        world.store.view().grant_for(REGION, KeyId::parse(key).unwrap(), &caller, request, &count);
        assert!(expected.contains(&asked.get()), "{} grants were looked at", asked.get());
    }
}
