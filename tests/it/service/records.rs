//! What the audit record shows of a request: what was read of it, of a caller who is proved, within bounds.

use serde_json::{Map, Value, json};
use strongroom::operations::TABLE;

use crate::{
    operations::{Kind, Member, SUBJECTS, Subject, Things, lower_camel, subjects},
    world::{Answer, BODY_BYTES, World, base64, with},
};

/// The longest record of a caller who is not proved, and of any.
const MOST_OF_UNPROVED: usize = 2 << 10;
const MOST: usize = 160 << 10;

/// The record has no room for these, whatever they hold.
const TOKENS: [&str; 2] = ["GrantToken", "GrantTokens"];

/// What a member shows that was sent so.
fn expected(member: &Member, sent: &Value) -> Option<Value> {
    match member.kind {
        _ if sent.is_null() || TOKENS.contains(&member.name) => None,
        Kind::Blob(..) | Kind::Plaintext | Kind::Password => None,
        Kind::Structure if member.name != "Constraints" => None,
        Kind::Int(..) | Kind::Stricter(..) => Some(json!(sent.as_f64().unwrap() as i64)),
        _ => Some(sent.clone()),
    }
}

fn shown(subject: &Subject, request: &Value) -> Value {
    let of = |member: &Member| Some((lower_camel(member.name), expected(member, request.get(member.name)?)?));
    let members = Map::from_iter(subject.members.iter().filter_map(of));
    if members.is_empty() { Value::Null } else { Value::Object(members) }
}

fn parameters(answer: &Answer) -> &Value {
    &answer.records[0]["requestParameters"]
}

fn size(answer: &Answer) -> usize {
    answer.records[0].to_string().len()
}

/// A value of each kind that is read, unlike any that a request of the tests has.
fn values(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Text(min, _) => vec![json!("é\"\n".chars().cycle().take(min.max(1)).collect::<String>())],
        Kind::Pattern(min, _, character, _) => vec![json!(character.to_string().repeat(min.max(1)))],
        Kind::Int(min, max) | Kind::Stricter(_, (min, max)) => vec![json!(min), json!(max as f64 + 0.5)],
        Kind::Bool => vec![json!(true), json!(false)],
        Kind::Blob(min, _) => vec![json!(base64(&vec![7; min.max(1)]))],
        Kind::Word(words) => vec![json!(words[0]), json!(words[words.len() - 1])],
        Kind::Time => vec![json!(1_800_000_000), json!(1_800_000_000.5)],
        Kind::Texts(_) => vec![json!([]), json!(["x", "y"])],
        Kind::Operations => vec![json!(["Decrypt", "Encrypt", "Sign"])],
        Kind::Service => vec![json!("a.b.c")],
        Kind::External(text) => vec![json!(text)],
        Kind::Plaintext => values(Kind::Blob(1, 4096)),
        Kind::Cluster => vec![json!("cluster-22222222222")],
        Kind::Password => vec![json!("a password")],
        Kind::Modifiers => vec![json!(["IGNORE_CIPHERTEXT"])],
        Kind::Tags => vec![json!([{"TagKey": "k", "TagValue": "\u{1}"}, {"TagKey": "l", "TagValue": ""}])],
        Kind::Region => vec![json!("a-b-1")],
        Kind::Context => vec![json!({}), json!({"k": "v", "\"": "\n"})],
        Kind::Structure => vec![json!({})],
    }
}

#[tokio::test]
async fn every_member_of_every_operation_is_shown_as_it_was_read_or_hidden() {
    let world = World::new().await;
    for subject in subjects() {
        let request = (subject.request)(&Things::of(subject, &world).await);
        let answer = world.call(subject.name, request.clone()).await;
        assert_eq!(*parameters(&answer), shown(subject, &request), "{}", subject.name);
        for member in subject.members {
            for value in values(member.kind) {
                let request = with(request.clone(), json!({member.name: value}));
                let answer = world.call(subject.name, request.clone()).await;
                assert_eq!(*parameters(&answer), shown(subject, &request), "{} {}", subject.name, member.name);
            }
        }
    }
}

#[test]
fn the_members_that_are_tested_are_those_that_are_read() {
    for entry in TABLE {
        let subject = SUBJECTS.iter().find(|subject| subject.name == entry.name).unwrap();
        let mut tested: Vec<_> = subject.members.iter().map(|member| member.name).collect();
        let mut read = entry.members.to_vec();
        tested.sort_unstable();
        read.sort_unstable();
        assert_eq!(tested, read, "{}", entry.name);
    }
}

#[tokio::test]
async fn of_a_refused_request_what_could_be_read_is_shown() {
    let world = World::new().await;
    for subject in subjects() {
        let request = (subject.request)(&Things::of(subject, &world).await);
        for member in subject.members {
            let mut rest = request.clone();
            rest.as_object_mut().unwrap().remove(member.name);
            // Every type refuses one of them.
            for wrong in [json!(7), json!("wrong")] {
                let answer = world.call(subject.name, with(request.clone(), json!({member.name: wrong}))).await;
                if answer.code() == "SerializationException" {
                    assert_eq!(*parameters(&answer), shown(subject, &rest), "{} {}", subject.name, member.name);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_the_hsm_gets_is_what_the_record_shows() {
    let world = World::new().await;
    let key = world.key().await;
    let many: Map<String, Value> = (0..500).map(|n| (format!("{n:03}"), json!("v"))).collect();
    let request = json!({"KeyId": key, "Plaintext": "eA==", "EncryptionContext": many});
    assert_eq!(parameters(&world.call("Encrypt", request).await)["encryptionContext"], Value::Object(many));
    let keys: Vec<String> = (0..65).map(|n| format!("tag {n}")).collect();
    let answer = world.call("UntagResource", json!({"KeyId": key, "TagKeys": keys})).await;
    assert_eq!(parameters(&answer)["tagKeys"], json!(keys));
}

#[tokio::test]
async fn a_policy_of_the_longest_is_shown_whole_whatever_is_beside_it() {
    let world = World::new().await;
    let policy = "\"".repeat(32 << 10);
    for operation in ["CreateKey", "PutKeyPolicy", "ReplicateKey"] {
        let subject = SUBJECTS.iter().find(|subject| subject.name == operation).unwrap();
        let request = with(most_of_everything(subject), json!({"Policy": policy}));
        assert_eq!(parameters(&world.call(operation, request).await)["policy"], policy, "{operation}");
    }
}

#[tokio::test]
async fn what_is_too_long_leaves_a_mark_and_no_record_is_longer_than_the_bound() {
    let world = World::new().await;
    let (key, tags) = (world.key().await, vec![json!({"TagKey": "\u{1}".repeat(128), "TagValue": "v"}); 1000]);
    for (operation, member, value) in [
        ("PutKeyPolicy", "Policy", json!("\"".repeat(131_072))),
        ("TagResource", "Tags", json!(tags)),
        ("UntagResource", "TagKeys", json!(vec!["\"".repeat(128); 4000])),
    ] {
        let answer = world.call(operation, json!({"KeyId": key, member: value})).await;
        let mark = &parameters(&answer)[lower_camel(member)];
        let length = value.as_str().map_or_else(|| value.to_string().len(), str::len);
        assert_eq!((&mark["omitted"], &mark["originalSize"]), (&json!(true), &json!(length)), "{operation}");
        assert!(mark["sha256"].as_str().unwrap().len() == 64 && !mark["beginning"].as_str().unwrap().is_empty());
        assert!(size(&answer) <= MOST, "{operation}: {}", size(&answer));
    }
}

#[tokio::test]
async fn no_operation_writes_more_than_the_bound() {
    let world = World::new().await;
    for subject in SUBJECTS {
        let answer = world.call(subject.name, most_of_everything(subject)).await;
        assert!(size(&answer) <= MOST, "{}: {}", subject.name, size(&answer));
    }
}

fn most_of_everything(subject: &Subject) -> Value {
    subject.members.iter().map(|member| (member.name.to_owned(), longest(member.kind))).collect()
}

/// The value of a kind that takes the most of a record.
fn longest(kind: Kind) -> Value {
    match kind {
        Kind::Text(_, max) => json!("\u{1}".repeat(max)),
        Kind::Pattern(_, max, character, _) => json!(character.to_string().repeat(max)),
        Kind::Texts(max) => json!(vec!["\u{1}".repeat(128); max.min(1000)]),
        Kind::Tags => json!(vec![json!({"TagKey": "\u{1}".repeat(128), "TagValue": "\u{1}".repeat(256)}); 300]),
        Kind::Context => json!({"k": "\u{1}".repeat(8000)}),
        kind => values(kind).pop().unwrap(),
    }
}

#[tokio::test]
async fn a_caller_who_is_not_proved_is_not_read_and_shows_nothing() {
    let world = World::new().await;
    let bodies = ["garbage".to_owned(), "[".repeat(1000), json!({"KeyId": "x".repeat(BODY_BYTES / 2)}).to_string()];
    for (subject, body) in SUBJECTS.iter().flat_map(|subject| bodies.iter().map(move |body| (subject, body))) {
        for (signed, forged, code) in
            [(false, false, "MissingAuthenticationTokenException"), (true, true, "InvalidSignatureException")]
        {
            let mut draft = world.draft(subject.name, body.clone());
            (draft.signed, draft.forged) = (signed, forged);
            let answer = world.send(draft).await;
            assert_eq!(answer.code(), code, "{}", subject.name);
            assert_eq!(*parameters(&answer), Value::Null);
            assert!(size(&answer) <= MOST_OF_UNPROVED, "{}", size(&answer));
        }
    }
}

#[tokio::test]
async fn what_names_a_caller_who_is_not_proved_is_short_in_the_record() {
    let world = World::new().await;
    for signed in [true, false] {
        let mut draft = world.draft("Encrypt", "{}".to_owned());
        draft.target = Some("\"".repeat(20_000));
        draft.access_key_id = "\"".repeat(20_000);
        draft.signed = signed;
        let answer = world.send(draft).await;
        assert!(answer.status == 400 && size(&answer) <= MOST_OF_UNPROVED, "{}", size(&answer));
        let name = answer.records[0]["eventName"].as_str().unwrap();
        assert!(name.ends_with("… (20000 bytes)"), "{name}");
    }
}
