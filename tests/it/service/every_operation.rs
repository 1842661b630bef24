//! What holds for every operation of the table: who may not call it, what is no call at all, and that each call leaves
//! one audit record and no secret anywhere.

use std::{fs::DirEntry, path::Path, time::Duration};

use serde_json::{Value, json};
use strongroom::operations::TABLE;

use crate::{
    operations::{About, SUBJECTS, Subject, Things, subjects},
    world::{ACCOUNT, Answer, BODY_BYTES, Draft, World, base64, hex, logged, with},
};

const SKEW: Duration = Duration::from_secs(5 * 60 + 1);

fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|entry| entry.name)
}

/// Sends the same spoilt draft to every operation of the table: each answers so, and writes it down.
async fn every_operation_refuses(world: &World, spoil: impl Fn(&mut Draft), code: &str, message: &str) {
    for name in names() {
        let answer = send(world, name, &spoil).await;
        let expected = (400, code.to_owned(), message.to_owned());
        assert_eq!(answer.refusal(), expected, "{name}");
        answer.is_written_down_as(name);
    }
}

async fn send(world: &World, name: &str, spoil: impl Fn(&mut Draft)) -> Answer {
    let mut draft = world.draft(name, "{}");
    spoil(&mut draft);
    world.send(draft).await
}

#[test]
fn every_offered_operation_has_its_tests() {
    let mut tested: Vec<_> = SUBJECTS.iter().map(|subject| subject.name).collect();
    let mut offered: Vec<_> = names().collect();
    tested.sort_unstable();
    offered.sort_unstable();
    assert_eq!(tested, offered);
    let is_file = |file: &DirEntry| file.file_type().unwrap().is_file();
    for file in std::fs::read_dir("src/operations").unwrap().map(Result::unwrap).filter(is_file) {
        let name = file.file_name();
        let text = std::fs::read_to_string(Path::new("src/operations").join(&name)).unwrap();
        let tests = Path::new("tests/it/operations").join(&name);
        assert!(!text.contains("\nimpl Operation for") || tests.exists(), "{tests:?} is missing");
    }
}

#[tokio::test]
async fn unsigned() {
    let world = World::new().await;
    let (code, message) = ("MissingAuthenticationTokenException", "Missing Authentication Token");
    every_operation_refuses(&world, |draft| draft.signed = false, code, message).await;
}

#[tokio::test]
async fn wrongly_signed() {
    let world = World::new().await;
    let message = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                   Access Key and signing method. Consult the service documentation for details.";
    every_operation_refuses(&world, |draft| draft.forged = true, "InvalidSignatureException", message).await;
}

#[tokio::test]
async fn signed_too_long_ago_or_too_far_ahead() {
    let world = World::new().await;
    let now = strongroom::clock::Clock::now(&*world.clock);
    let earlier = strongroom::clock::Timestamp::from_ms(now.ms() - 301_000);
    let late = "Signature expired: 20251231T235459Z is now earlier than 20251231T235500Z (20260101T000000Z - 5 min.)";
    every_operation_refuses(&world, |draft| draft.at = earlier, "InvalidSignatureException", late).await;
    let ahead =
        "Signature not yet current: 20260101T000501Z is still later than 20260101T000500Z (20260101T000000Z + 5 min.)";
    every_operation_refuses(&world, |draft| draft.at = now.plus(SKEW), "InvalidSignatureException", ahead).await;
}

#[tokio::test]
async fn a_region_that_none_could_be_called() {
    let world = World::new().await;
    for name in ["x", "EU-west-1", "eu-1", "a-b-c-d-1"] {
        let message = format!("Credential should be scoped to a valid region, not '{name}'. ");
        world.in_region(name).refuse("ListKeys", json!({}), "InvalidSignatureException", &message).await;
    }
}

#[tokio::test]
async fn an_access_key_that_is_not_there_or_disabled() {
    let world = World::new().await;
    let (code, message) = ("UnrecognizedClientException", "The security token included in the request is invalid.");
    every_operation_refuses(&world, |draft| draft.access_key_id = "AKIANOBODY".to_owned(), code, message).await;
    world.admin.disable_access_key(&world.access_key_id).await.unwrap();
    every_operation_refuses(&world, |_| {}, code, message).await;
}

#[tokio::test]
async fn a_body_that_is_no_object() {
    let world = World::new().await;
    for body in ["", "null", "1", "\"x\"", "{", "{\"KeyId\":", "{\"KeyId\":\"x\",}", "{} {}", "\u{0}"] {
        let spoil = |draft: &mut Draft| draft.body = body.into();
        every_operation_refuses(&world, spoil, "SerializationException", "").await;
    }
    let spoil = |draft: &mut Draft| draft.body = b"[]".to_vec();
    every_operation_refuses(&world, spoil, "SerializationException", "Start of list found where not expected").await;
}

#[tokio::test]
async fn a_body_that_is_not_utf_8() {
    let world = World::new().await;
    let spoil = |draft: &mut Draft| draft.body = b"{\"KeyId\":\"\xff\"}".to_vec();
    every_operation_refuses(&world, spoil, "SerializationException", "").await;
}

#[tokio::test]
async fn a_body_that_is_too_long() {
    let world = World::new().await;
    for name in names() {
        let answer = send(&world, name, |draft| draft.body = vec![b' '; BODY_BYTES + 1]).await;
        let (status, code, _) = answer.refusal();
        assert_eq!((status, &*code), (413, "RequestEntityTooLargeException"));
        answer.is_written_down_as(name);
    }
    let body = format!("{{{}}}", " ".repeat(BODY_BYTES - 2));
    assert_eq!(send(&world, "ListKeys", |draft| draft.body = body.clone().into()).await.status, 200);
}

#[tokio::test]
async fn another_protocol_is_no_call() {
    let world = World::new().await;
    for name in names() {
        for content_type in [None, Some("application/json"), Some("text/xml"), Some("application/x-amz-json-1.0")] {
            let answer = send(&world, name, |draft| draft.content_type = content_type).await;
            assert_eq!((answer.status, answer.records.len()), (404, 0), "{name} {content_type:?}");
        }
        for method in ["GET", "PUT", "HEAD", "DELETE", "OPTIONS"] {
            let answer = send(&world, name, |draft| draft.method = method).await;
            assert_eq!((answer.status, answer.records.len()), (405, 0), "{name} {method}");
        }
    }
}

#[tokio::test]
async fn a_content_type_may_have_parameters() {
    let world = World::new().await;
    for content_type in ["application/x-amz-json-1.1; charset=utf-8", "Application/X-Amz-Json-1.1;x=y"] {
        let answer = send(&world, "ListKeys", |draft| draft.content_type = Some(content_type)).await;
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn any_path_will_do_that_was_signed() {
    let world = World::new().await;
    for path in ["/", "/kms", "/kms/"] {
        assert_eq!(send(&world, "ListKeys", |draft| draft.path = path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_target_is_matched_exactly() {
    let world = World::new().await;
    for name in names() {
        for target in [format!("TrentService.{}", name.to_lowercase()), format!("trentservice.{name}"), name.to_owned()]
        {
            let answer = send(&world, name, |draft| draft.target = Some(target.clone())).await;
            assert_eq!(answer.refusal(), (400, "UnknownOperationException".to_owned(), String::new()));
            answer.is_written_down_as(&target);
        }
    }
    for target in [None, Some(""), Some("TrentService."), Some("TrentService.Unheard")] {
        let answer = send(&world, "", |draft| draft.target = target.map(str::to_owned)).await;
        assert_eq!(answer.code(), "UnknownOperationException");
        answer.is_written_down_as(target.unwrap_or_default());
    }
}

#[tokio::test]
async fn answers_are_json_and_not_kept_by_anyone() {
    let world = World::new().await;
    for operation in ["ListKeys", "DescribeKey"] {
        let headers = world.call(operation, json!({})).await.headers;
        assert_eq!(headers["content-type"], "application/x-amz-json-1.1");
        assert_eq!(headers["cache-control"], "no-cache, no-store, must-revalidate, private");
        assert_eq!((&headers["expires"], &headers["pragma"]), (&"0".parse().unwrap(), &"no-cache".parse().unwrap()));
        assert!(headers.get("x-amzn-errortype").is_none());
    }
}

#[tokio::test]
async fn who_has_no_policy_may_do_nothing() {
    let world = World::new().await;
    let nobody = world.as_user(&[]).await;
    for subject in subjects() {
        let request = (subject.request)(&Things::of(subject, &world).await);
        let answer = nobody.call(subject.name, request).await;
        assert_eq!(answer.code(), "AccessDeniedException", "{}", subject.name);
        assert_eq!(answer.records[0]["userIdentity"]["arn"], nobody.arn);
    }
}

/// Actions that an operation asks for.
fn actions(subject: &Subject) -> Vec<String> {
    match subject.name {
        "ReEncrypt" => vec!["kms:ReEncryptFrom".to_owned(), "kms:ReEncryptTo".to_owned()],
        "ReplicateKey" => vec!["kms:ReplicateKey".to_owned(), "kms:CreateKey".to_owned()],
        name => vec![format!("kms:{name}")],
    }
}

#[tokio::test]
async fn the_permission_of_its_name_is_enough_and_every_other_is_not() {
    let world = World::new().await;
    let all: Vec<String> = SUBJECTS.iter().flat_map(actions).collect();
    for subject in subjects() {
        let (own, others): (Vec<_>, Vec<_>) = all.iter().partition(|action| actions(subject).contains(action));
        let own: Vec<_> = own.into_iter().map(String::as_str).collect();
        let others: Vec<_> = others.into_iter().map(String::as_str).collect();
        // Whoever puts a policy must be able to put the next one.
        let (allowed, denied) = (world.as_user(&own).await, world.as_user(&others).await);
        let request = (subject.request)(&Things::of(subject, &world).await);
        assert_eq!(
            denied.call(subject.name, request.clone()).await.code(),
            "AccessDeniedException",
            "{}",
            subject.name
        );
        assert_eq!(allowed.call(subject.name, request).await.code(), "", "{}", subject.name);
    }
}

#[tokio::test]
async fn an_explicit_deny_in_the_key_policy_wins() {
    let world = World::new().await;
    let user = world.as_user(&["kms:*"]).await;
    for subject in subjects().filter(|subject| subject.about != About::Nothing) {
        let things = Things::of(subject, &world).await;
        let deny = json!({"Effect": "Deny", "Principal": {"AWS": user.arn}, "Action": "kms:*", "Resource": "*"});
        world.set_policy(&things.key, json!([deny])).await;
        let answer = user.call(subject.name, (subject.request)(&things)).await;
        let (_, code, message) = answer.refusal();
        assert_eq!(code, "AccessDeniedException", "{}", subject.name);
        let told = message.ends_with("with an explicit deny in a resource-based policy");
        assert!(told || message.starts_with("The ciphertext refers to"), "{}: {message}", subject.name);
    }
}

#[tokio::test]
async fn an_explicit_deny_in_an_identity_policy_wins() {
    let world = World::new().await;
    let all = json!({"Effect": "Allow", "Action": "kms:*", "Resource": "*"});
    for subject in subjects() {
        let deny = json!({"Effect": "Deny", "Action": actions(subject), "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [all, deny]}).to_string();
        let user = world.user([("p".to_owned(), policy)].into()).await;
        let answer = user.call(subject.name, (subject.request)(&Things::of(subject, &world).await)).await;
        assert_eq!(answer.code(), "AccessDeniedException", "{}", subject.name);
    }
}

#[tokio::test]
async fn the_record_names_the_key_and_what_was_asked() {
    let world = World::new().await;
    for subject in subjects() {
        let things = Things::of(subject, &world).await;
        let answer = world.call(subject.name, (subject.request)(&things)).await;
        let record = &answer.records[0];
        if subject.about != About::Nothing {
            assert_eq!(record["resources"][0]["ARN"], world.arn_of(&things.key), "{}", subject.name);
        }
        assert_eq!(record["recipientAccountId"], ACCOUNT);
        assert_eq!(record["eventTime"], "2026-01-01T00:00:00Z");
        assert_eq!(record["awsRegion"], world.region);
        assert_eq!(record["userIdentity"]["accessKeyId"], world.access_key_id);
        let reads = TABLE.iter().any(|entry| entry.name == subject.name && entry.read_only);
        assert_eq!(record["readOnly"], reads);
    }
}

#[tokio::test]
async fn each_call_leaves_one_record() {
    let world = World::new().await;
    let before = world.audit().len();
    for _ in 0..3 {
        world.ok("ListKeys", json!({})).await;
    }
    let records = world.audit();
    assert_eq!(records.len(), before + 3);
    assert!(records[before..].iter().all(|record| record["eventName"] == "ListKeys"));
}

#[tokio::test]
async fn a_trail_that_cannot_be_written_stops_the_answers() {
    // Nothing can be appended to it.
    let full = strongroom::audit::Trail::open(Path::new("/dev/full"), false).unwrap();
    let world = World::build().trail(full).open().await;
    let answer = world.send(world.draft("GenerateRandom", json!({"NumberOfBytes": 32}).to_string())).await;
    let text = "The system timed out while trying to fulfill the request. You can retry the request.";
    assert_eq!(answer.refusal(), (500, "DependencyTimeoutException".to_owned(), text.to_owned()));
}

/// A plaintext as it might be told: as it is, in base64, in hexadecimal.
fn forms(plaintext: &str) -> [String; 3] {
    let base64 = base64(plaintext.as_bytes());
    [plaintext.to_owned(), base64.trim_end_matches('=').to_owned(), hex(plaintext.as_bytes())]
}

/// Where a caller may write a plaintext by mistake, and get it refused.
fn with_canary(canary: &str, key: &str, blob: &str) -> Vec<(&'static str, Value)> {
    let encrypt = |plaintext: Value| json!({"KeyId": key, "Plaintext": plaintext});
    let encoded = base64(canary.as_bytes());
    vec![
        ("Encrypt", encrypt(json!(encoded))),
        ("Encrypt", encrypt(json!(canary))),
        ("Encrypt", encrypt(json!(format!("{encoded}*")))),
        ("Encrypt", encrypt(json!(encoded.repeat(300)))),
        ("Encrypt", encrypt(json!([encoded]))),
        ("Encrypt", encrypt(json!({"x": encoded}))),
        ("Encrypt", with(encrypt(json!(encoded)), json!({"KeyId": "no-such-key"}))),
        ("Encrypt", with(encrypt(json!(encoded)), json!({"DryRun": "x"}))),
        ("Encrypt", json!({"KeyId": key, "plaintext": canary, "Message": canary})),
        ("Decrypt", json!({"CiphertextBlob": blob})),
        ("Decrypt", json!({"CiphertextBlob": encoded})),
        ("Decrypt", json!({"CiphertextBlob": blob, "DryRun": true})),
        ("ReEncrypt", json!({"CiphertextBlob": blob, "DestinationKeyId": key})),
        ("ListKeys", encrypt(json!(encoded))),
        ("Sign", json!({"KeyId": key, "Message": encoded})),
        ("ImportKeyMaterial", json!({"KeyId": key, "EncryptedKeyMaterial": encoded})),
    ]
}

#[tokio::test]
async fn a_plaintext_is_told_to_nobody() {
    let world = World::new().await;
    let canary = "canary: the plaintext of this test 5b1f9c";
    let key = world.key().await;
    let blob = world.encrypt(&key, canary.as_bytes()).await;
    for (operation, request) in with_canary(canary, &key, &blob) {
        let answer = world.call(operation, request).await;
        for form in forms(canary) {
            assert!(answer.status == 200 || !answer.text().contains(&form), "{operation}: {}", answer.text());
            assert!(!answer.records[0].to_string().contains(&form), "{operation}: {}", answer.records[0]);
        }
    }
    assert!(!forms(canary).iter().any(|form| logged(form)), "the log tells a plaintext");
}

#[tokio::test]
async fn a_truncated_body_tells_nothing_either() {
    let world = World::new().await;
    let canary = "canary: of a truncated body 8d20c7";
    let body = json!({"KeyId": "x", "Plaintext": canary}).to_string();
    let answer = send(&world, "Encrypt", |draft| draft.body = body[..body.len() - 2].into()).await;
    assert_eq!(answer.refusal(), (400, "SerializationException".to_owned(), String::new()));
    assert!(!answer.records[0].to_string().contains(canary) && !logged(canary));
}

#[tokio::test]
async fn data_keys_and_random_bytes_are_not_written_down() {
    let world = World::new().await;
    let key = world.key().await;
    for (operation, request) in [
        ("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})),
        ("GenerateRandom", json!({"NumberOfBytes": 32})),
    ] {
        let plaintext = world.ok(operation, request).await["Plaintext"].as_str().unwrap().to_owned();
        assert!(!world.audit().iter().any(|record| record.to_string().contains(plaintext.trim_end_matches('='))));
        assert!(!logged(plaintext.trim_end_matches('=')));
    }
}

#[tokio::test]
async fn pins_and_secrets_of_access_keys_are_not_logged() {
    let world = World::new().await;
    for operation in names() {
        world.call(operation, json!({})).await;
    }
    for secret in world.secrets() {
        assert!(!logged(&secret) && !world.audit().iter().any(|record| record.to_string().contains(&secret)));
    }
}
