//! What maps, lists and structures of requests may not hold: nothing that somebody may rely on is dropped or read in two
//! ways. Each spoil is tried with each member of its kind, in a request that succeeds without it.

use serde_json::{Value, json};

use crate::{
    operations::{Kind, Member, Subject, Things, subjects},
    world::{Answer, World},
};

/// A spoilt value as it is on the wire, the exception, and a part of its message.
type Spoil = (String, &'static str, &'static str);

const SERIALIZATION: &str = "SerializationException";
const VALIDATION: &str = "ValidationException";
const LIST: &str = "Start of list found where not expected";
const MAP: &str = "Start of structure or map found where not expected.";
const NULL: &str = "NULL_VALUE can not be converted to a String";
const NUMBER: &str = "NUMBER_VALUE can not be converted to a String";
const MISSING: &str = "Member must not be null";
const SHORT: &str = "have length greater than or equal to 1";
const CONTEXT: &str = "Invalid EncryptionContext";

fn spoils(member: &Member) -> Vec<Spoil> {
    match (member.kind, member.name) {
        (Kind::Context, _) => of_context(),
        (Kind::Tags, _) => of_tags(),
        (Kind::Texts(_) | Kind::Operations | Kind::Modifiers, _) => of_texts(member),
        (Kind::Structure, "Constraints") => of_constraints(),
        (Kind::Structure, "Recipient") => of_recipient(),
        (Kind::Structure, _) => of_credential(),
        _ => Vec::new(),
    }
}

fn all(spoils: &[(&str, &'static str, &'static str)]) -> Vec<Spoil> {
    spoils.iter().map(|(value, code, message)| ((*value).to_owned(), *code, *message)).collect()
}

fn deep(open: &str, close: &str) -> String {
    open.repeat(200) + &close.repeat(200)
}

fn pairs(count: usize) -> String {
    let pairs: Vec<String> = (0..count).map(|n| format!("\"{n}\":\"v\"")).collect();
    format!("{{{}}}", pairs.join(","))
}

fn of_context() -> Vec<Spoil> {
    let spoils = [
        (r#"{"a":null}"#, VALIDATION, CONTEXT),
        (r#"{"a":""}"#, VALIDATION, CONTEXT),
        (r#"{"":"v"}"#, VALIDATION, CONTEXT),
        (r#"{"a":"1","b":null,"c":"3"}"#, VALIDATION, CONTEXT),
        (r#"{"a":"1","a":"2"}"#, SERIALIZATION, ""),
        (r#"{"a":"1","\u0061":"1"}"#, SERIALIZATION, ""),
        (r#"{"a":"1","b":"2","a":null}"#, SERIALIZATION, ""),
        (r#"{"a":1}"#, SERIALIZATION, NUMBER),
        (r#"{"a":true}"#, SERIALIZATION, "TRUE_VALUE can not be converted to a String"),
        (r#"{"a":["v"]}"#, SERIALIZATION, LIST),
        (r#"{"a":{"b":"v"}}"#, SERIALIZATION, MAP),
        (r#"[{"a":"v"}]"#, SERIALIZATION, LIST),
        (r#""a=v""#, SERIALIZATION, "Expected map or null"),
    ];
    let more = [
        (pairs(1000), VALIDATION, "The encryption context cannot exceed 8192 bytes."),
        (format!("{{\"a\":\"{}\"}}", "v".repeat(8192)), VALIDATION, "The encryption context cannot exceed 8192 bytes."),
        (pairs(9000), VALIDATION, "The request has more than 8192 values."),
        (deep("{\"a\":", "}").replace(":}", ":1}"), SERIALIZATION, ""),
    ];
    all(&spoils).into_iter().chain(more).collect()
}

fn of_tags() -> Vec<Spoil> {
    let spoils = [
        ("[null]", SERIALIZATION, "Expected null"),
        ("[[]]", SERIALIZATION, LIST),
        (r#"["k"]"#, SERIALIZATION, "Expected null"),
        (r#"{"k":"v"}"#, SERIALIZATION, MAP),
        ("[{}]", VALIDATION, MISSING),
        (r#"[{"TagKey":null,"TagValue":""}]"#, VALIDATION, MISSING),
        (r#"[{"TagKey":"k","TagValue":null}]"#, VALIDATION, MISSING),
        (r#"[{"tagKey":"k","tagValue":"v"}]"#, VALIDATION, MISSING),
        (r#"[{"TagKey":"","TagValue":"v"}]"#, VALIDATION, SHORT),
        (r#"[{"TagKey":"k","TagKey":"l","TagValue":"v"}]"#, SERIALIZATION, ""),
        (r#"[{"TagKey":"k","TagValue":"v","TagValue":"v"}]"#, SERIALIZATION, ""),
        (r#"[{"TagKey":["k"],"TagValue":"v"}]"#, SERIALIZATION, LIST),
        (r#"[{"TagKey":"k","TagValue":"1"},{"TagKey":"k","TagValue":"2"}]"#, "TagException", "Duplicate tag keys"),
    ];
    let tags: Vec<String> = (0..51).map(|n| format!("{{\"TagKey\":\"{n}\",\"TagValue\":\"\"}}")).collect();
    let many = (format!("[{}]", tags.join(",")), "TagException", "Too many tags");
    let deep = (deep("[", "]"), SERIALIZATION, "");
    all(&spoils).into_iter().chain([many, deep]).collect()
}

fn of_texts(member: &Member) -> Vec<Spoil> {
    let spoils = [
        ("[null]", SERIALIZATION, NULL),
        ("[1]", SERIALIZATION, NUMBER),
        (r#"[["x"]]"#, SERIALIZATION, LIST),
        (r#"[{"x":"y"}]"#, SERIALIZATION, MAP),
        (r#"{"x":"y"}"#, SERIALIZATION, MAP),
        (r#""x""#, SERIALIZATION, "Expected list or null"),
        (r#"[""]"#, VALIDATION, "Member must satisfy constraint: ["),
        (r#"["x",null]"#, SERIALIZATION, NULL),
    ];
    let many = match member.kind {
        Kind::Texts(10) => vec![(format!("{:?}", vec!["x"; 11]), VALIDATION, "have length less than or equal to 10")],
        Kind::Modifiers => {
            let twice = format!("{:?}", vec!["IGNORE_CIPHERTEXT"; 2]);
            vec![(twice, VALIDATION, "have length less than or equal to 1")]
        }
        _ => vec![(format!("{:?}", vec!["Encrypt"; 9000]), VALIDATION, "The request has more than 8192 values.")],
    };
    all(&spoils).into_iter().chain(many).chain([(deep("[", "]"), SERIALIZATION, "")]).collect()
}

fn of_constraints() -> Vec<Spoil> {
    let inner = |name: &'static str| {
        let within = move |(value, code, message): Spoil| (format!("{{\"{name}\":{value}}}"), code, message);
        of_context().into_iter().map(within)
    };
    let spoils = [
        ("[]", SERIALIZATION, LIST),
        (r#""x""#, SERIALIZATION, "Expected null"),
        (r#"{"EncryptionContext":{"a":"v"}}"#, VALIDATION, "Constraints has a member that is not supported."),
        (r#"{"encryptionContextSubset":{"a":"v"}}"#, VALIDATION, "Constraints has a member that is not supported."),
        (r#"{"":null}"#, VALIDATION, "Constraints has a member that is not supported."),
        (r#"{"SourceArn":null,"SourceArn":null}"#, SERIALIZATION, ""),
        (r#"{"SourceArn":""}"#, VALIDATION, "have length greater than or equal to 20"),
        (r#"{"SourceArn":["x"]}"#, SERIALIZATION, LIST),
        (r#"{"EncryptionContextSubset":{"a":"v"},"EncryptionContextSubset":{}}"#, SERIALIZATION, ""),
    ];
    let too_many = "Each grant constraint can include up to 8 encryption context pairs.";
    let many = (format!("{{\"EncryptionContextEquals\":{}}}", pairs(9)), VALIDATION, too_many);
    let maps = inner("EncryptionContextSubset").chain(inner("EncryptionContextEquals"));
    all(&spoils).into_iter().chain([many]).chain(maps).collect()
}

fn of_recipient() -> Vec<Spoil> {
    all(&[
        ("[]", SERIALIZATION, LIST),
        ("7", SERIALIZATION, "Expected null"),
        (r#"{"x":1}"#, VALIDATION, MISSING),
        (r#"{"KeyEncryptionAlgorithm":null,"AttestationDocument":null}"#, VALIDATION, "2 validation errors detected"),
        (r#"{"KeyEncryptionAlgorithm":"","AttestationDocument":"AA=="}"#, VALIDATION, "satisfy enum value set"),
        (
            r#"{"KeyEncryptionAlgorithm":"RSAES_OAEP_SHA_256","AttestationDocument":""}"#,
            VALIDATION,
            "have length greater than or equal to 1",
        ),
        (r#"{"AttestationDocument":"AA==","AttestationDocument":"AQ=="}"#, SERIALIZATION, ""),
        (r#"{"KeyEncryptionAlgorithm":["x"],"AttestationDocument":"AA=="}"#, SERIALIZATION, LIST),
    ])
}

fn of_credential() -> Vec<Spoil> {
    all(&[
        ("[]", SERIALIZATION, LIST),
        ("7", SERIALIZATION, "Expected null"),
        ("{}", VALIDATION, "2 validation errors detected"),
        (r#"{"AccessKeyId":null,"RawSecretAccessKey":null}"#, VALIDATION, "2 validation errors detected"),
        (r#"{"AccessKeyId":"","RawSecretAccessKey":""}"#, VALIDATION, "4 validation errors detected"),
        (r#"{"AccessKeyId":"A","AccessKeyId":"B"}"#, SERIALIZATION, ""),
        (r#"{"AccessKeyId":1,"RawSecretAccessKey":"b"}"#, SERIALIZATION, NUMBER),
        (r#"{"AccessKeyId":["A"],"RawSecretAccessKey":"b"}"#, SERIALIZATION, LIST),
    ])
}

/// Sends the request with `member` as it is written.
async fn send(world: &World, subject: &Subject, request: &Value, member: &str, written: &str) -> Answer {
    let mut rest = request.clone();
    rest.as_object_mut().unwrap().remove(member);
    let rest = rest.to_string();
    let comma = if rest == "{}" { "" } else { "," };
    let body = format!("{}{comma}\"{member}\":{written}}}", &rest[..rest.len() - 1]);
    world.send(world.draft(subject.name, body)).await
}

#[tokio::test]
async fn every_map_list_and_structure_is_read_whole_or_refused() {
    let world = World::new().await;
    for subject in subjects() {
        let request = (subject.request)(&Things::of(subject, &world).await);
        for member in subject.members {
            for (spoilt, code, message) in spoils(member) {
                let answer = send(&world, subject, &request, member.name, &spoilt).await;
                let about = format!("{} {}: {:.200}", subject.name, member.name, spoilt);
                let (status, told, sentence) = answer.refusal();
                assert_eq!((status, &*told), (400, code), "{about}: {sentence}");
                let whole = !message.is_empty() || sentence.is_empty();
                assert!(whole && sentence.contains(message), "{about}: {sentence}");
            }
        }
    }
}

#[tokio::test]
async fn no_member_is_in_a_request_twice() {
    let world = World::new().await;
    for subject in subjects() {
        let request = (subject.request)(&Things::of(subject, &world).await);
        for member in subject.members {
            let value = request.get(member.name).unwrap_or(&Value::Null);
            for other in [value, &Value::Null, &json!("x")] {
                let twice = format!("{value},\"{}\":{other}", member.name);
                let answer = send(&world, subject, &request, member.name, &twice).await;
                let refused = (400, SERIALIZATION.to_owned(), String::new());
                assert_eq!(answer.refusal(), refused, "{} {}", subject.name, member.name);
            }
        }
    }
}

#[tokio::test]
async fn what_does_not_matter_may_be_there_twice() {
    let world = World::new().await;
    let key = world.key().await;
    let body = format!(r#"{{"KeyId":"{key}","x":1,"x":{{"y":1,"y":[null]}},"GrantTokens":[]}}"#);
    assert_eq!(world.send(world.draft("DescribeKey", body)).await.status, 200);
}
