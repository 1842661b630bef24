//! One file per operation of the API: what is its own. What all operations share is checked here, from the [`Subject`]
//! that each file gives: its members with their types and bounds, the key it is about, the states it wants.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use strongroom::key::{
    custom_store::ConnectionState,
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use crate::skip::skip_in_part;
use crate::world::{ACCOUNT, Answer, REGION, World, base64, hsm, text, with};

/// Declares the files and gathers their subjects.
macro_rules! subjects {
    ($($module:ident)+) => {
        $(pub mod $module;)+

        /// Every operation that has a file here.
        pub const SUBJECTS: &[Subject] = &[$($module::SUBJECT),+];
    };
}

subjects! {
    cancel_key_deletion connect_custom_key_store create_alias create_custom_key_store create_grant create_key decapsulate decrypt
    delete_alias delete_custom_key_store delete_imported_key_material
    derive_shared_secret describe_custom_key_stores describe_key
    disable_key disable_key_rotation disconnect_custom_key_store enable_key enable_key_rotation encapsulate encrypt generate_data_key
    generate_data_key_pair generate_data_key_pair_without_plaintext generate_data_key_without_plaintext generate_mac generate_random
    get_key_last_usage get_key_policy get_key_rotation_status get_parameters_for_import get_public_key import_key_material
    list_aliases list_grants
    list_key_policies list_key_rotations list_keys list_resource_tags list_retirable_grants put_key_policy re_encrypt replicate_key
    retire_grant revoke_grant rotate_key_on_demand
    schedule_key_deletion sign tag_resource untag_resource update_alias update_custom_key_store update_key_description
    update_primary_region verify verify_mac
}

/// What an operation is, as the facts describe it.
pub struct Subject {
    pub name: &'static str,
    pub members: &'static [Member],
    /// A request that succeeds.
    pub request: fn(&Things) -> Value,
    /// The key in [`Things`].
    pub about: About,
    /// The member that names it, and how it may.
    pub key: Option<(&'static str, Names)>,
    /// The row of the key-state table.
    pub states: States,
}

pub struct Member {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
}

pub const fn must(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, required: true }
}

pub const fn may(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, required: false }
}

/// Types with their bounds, both inclusive.
#[derive(Clone, Copy)]
pub enum Kind {
    Text(usize, usize),
    /// A text of these characters only; the first is one that it may have.
    Pattern(usize, usize, char, &'static str),
    Int(i64, i64),
    /// An integer with bounds of the model, and of the service within these.
    Stricter((i64, i64), (i64, i64)),
    Bool,
    Blob(usize, usize),
    Word(&'static [&'static str]),
    Time,
    /// At most so many texts.
    Texts(usize),
    /// GrantOperationList.
    Operations,
    /// ServicePrincipalType.
    Service,
    /// CloudHsmClusterId.
    Cluster,
    /// KeyStorePassword.
    Password,
    /// A text of an external key store; one that it may be.
    External(&'static str),
    /// PlaintextType, which is sensitive.
    Plaintext,
    /// DryRunModifiers.
    Modifiers,
    Tags,
    Region,
    Context,
    Structure,
}

pub const KEY: Kind = Kind::Pattern(1, 2048, 'x', "^\\p{ASCII}+$");
pub const ALIAS: Kind = Kind::Pattern(1, 256, 'a', "^[a-zA-Z0-9:/_-]+$");
pub const MARKER: Kind = Kind::Pattern(1, 1024, 'a', "[\\u0020-\\u00FF]*");
pub const POLICY: Kind = Kind::Pattern(1, 131_072, 'a', "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+");
pub const POLICY_NAME: Kind = Kind::Pattern(1, 128, 'a', "[\\w]+");
pub const GRANT_ID: Kind = Kind::Text(1, 128);
pub const PRINCIPAL: Kind = Kind::Pattern(1, 256, 'a', "^[\\w+=,.@:/-]+$");
pub const GRANT_TOKENS: Kind = Kind::Texts(10);
pub const ALGORITHM: Kind = Kind::Word(&["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"]);

/// What the key of a request is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// There is none.
    Nothing,
    Symmetric,
    Rsa,
    /// Symmetric and pending deletion.
    Doomed,
    /// A P-256 key that signs.
    Signing,
    /// An HMAC_256 key.
    Mac,
    /// A P-256 key that agrees on secrets.
    Agreement,
    /// An ML_KEM_768 key.
    Encapsulation,
    /// A symmetric key whose material is to be imported.
    External,
    /// A multi-Region primary key with a replica in [`ELSEWHERE`].
    MultiRegion,
}

/// Another region.
pub const ELSEWHERE: &str = "eu-other-1";

impl About {
    /// What key that is.
    pub fn key(self) -> (KeySpec, KeyUsage) {
        match self {
            Self::Nothing | Self::Symmetric | Self::Doomed | Self::External | Self::MultiRegion => {
                (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt)
            }
            Self::Rsa => (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt),
            Self::Signing => (KeySpec::EccNistP256, KeyUsage::SignVerify),
            Self::Mac => (KeySpec::Hmac256, KeyUsage::GenerateVerifyMac),
            Self::Agreement => (KeySpec::EccNistP256, KeyUsage::KeyAgreement),
            Self::Encapsulation => (KeySpec::MlKem768, KeyUsage::EncapsulateDecapsulate),
        }
    }
}

/// The subjects whose keys the HSM can make.
pub fn subjects() -> impl Iterator<Item = &'static Subject> {
    SUBJECTS.iter().filter(|subject| {
        let (spec, usage) = subject.about.key();
        let can = hsm().supports(spec, usage).unwrap();
        if !can {
            skip_in_part(&format!("{}, for the HSM has no keys of {spec}", subject.name));
        }
        can
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Id, ARN, alias name, alias ARN.
    Any,
    /// Id and ARN.
    IdOrArn,
    /// Id and ARN, with a refusal of its own for aliases.
    Target,
}

/// What the table says of each of [`STATES`]: nothing, or the number of the refusal.
pub type States = [u8; 8];

pub const STATES: [KeyState; 8] = [
    KeyState::Enabled,
    KeyState::Disabled,
    KeyState::PendingDeletion,
    KeyState::PendingReplicaDeletion,
    KeyState::PendingImport,
    KeyState::Unavailable,
    KeyState::Creating,
    KeyState::Updating,
];
pub const ANY_STATE: States = [0; 8];
pub const USE: States = [0, 1, 3, 3, 5, 11, 14, 0];
pub const CHANGE: States = [0, 0, 3, 3, 0, 0, 0, 0];
pub const SWITCH: States = [0, 0, 3, 3, 5, 0, 14, 15];

/// What requests are made of: a key, an alias of it, a name for another, and what was made with it: a ciphertext, a signature
/// or MAC of "a message", a public key, encrypted key material and the token to import it with, a grant; a custom key store.
pub struct Things {
    pub key_store: String,
    pub token: String,
    pub grant: String,
    pub key: String,
    pub alias: String,
    pub new_alias: String,
    pub blob: String,
}

impl Things {
    /// A key of that kind.
    pub async fn key_of(about: About, world: &World) -> String {
        let (spec, usage) = about.key();
        match about {
            About::External => import_key_material::external(world, spec, usage).await,
            About::MultiRegion => replicate_key::replicated(world).await,
            _ => world.plant(spec, usage).await,
        }
    }

    pub async fn of(subject: &Subject, world: &World) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let key = Self::key_of(subject.about, world).await;
        let (blob, token) = match subject.name {
            "ImportKeyMaterial" => import_key_material::parcel(world, &key, &[7; 32]).await,
            _ => (made_with(&key, subject.about, world).await, String::new()),
        };
        let grant = match subject.name {
            "ListGrants" | "RetireGrant" | "RevokeGrant" => create_grant::granted(world, &key, json!({})).await.0,
            _ => String::new(),
        };
        let key_store = key_store_for(subject.name, world).await;
        let (alias, new_alias) = (format!("alias/thing-{n}"), format!("alias/new-{n}"));
        let things = Self { key_store, alias, new_alias, blob, token, grant, key };
        world.alias(&things.alias, &things.key).await;
        if subject.about == About::Doomed {
            world.set_state(&things.key, KeyState::PendingDeletion).await;
        }
        things
    }
}

/// A custom key store that the operation can be done with; room for one for CreateCustomKeyStore.
async fn key_store_for(operation: &str, world: &World) -> String {
    match operation {
        "CreateCustomKeyStore" => {
            world.forget_key_stores().await;
            String::new()
        }
        "ConnectCustomKeyStore" | "DeleteCustomKeyStore" | "UpdateCustomKeyStore" => {
            world.plant_key_store(ConnectionState::Disconnected).await
        }
        "DisconnectCustomKeyStore" => world.plant_key_store(ConnectionState::Connected).await,
        _ => String::new(),
    }
}

async fn made_with(key: &str, about: About, world: &World) -> String {
    let (operation, request, member) = match about {
        About::Rsa | About::External => return String::new(),
        About::Nothing | About::Symmetric | About::Doomed | About::MultiRegion => {
            return world.encrypt(key, b"a plaintext").await;
        }
        About::Signing => {
            ("Sign", json!({"Message": base64(b"a message"), "SigningAlgorithm": "ECDSA_SHA_256"}), "Signature")
        }
        About::Mac => ("GenerateMac", json!({"Message": base64(b"a message"), "MacAlgorithm": "HMAC_SHA_256"}), "Mac"),
        About::Agreement => ("GetPublicKey", json!({}), "PublicKey"),
        About::Encapsulation => {
            ("Encapsulate", json!({"EncapsulationAlgorithm": "ML_KEM"}), "SharedSecretCiphertextBlob")
        }
    };
    text(&world.ok(operation, with(request, json!({"KeyId": key}))).await, member)
}

/// The operation with a fresh key, and `members` added to its request.
pub async fn try_with(subject: &Subject, world: &World, members: Value) -> Answer {
    let things = Things::of(subject, world).await;
    world.call(subject.name, with((subject.request)(&things), members)).await
}

fn members() -> impl Iterator<Item = (&'static Subject, &'static Member)> {
    subjects().flat_map(|subject| subject.members.iter().map(move |member| (subject, member)))
}

pub fn lower_camel(name: &str) -> String {
    name[..1].to_ascii_lowercase() + &name[1..]
}

fn constraint(value: &str, member: &Member, rule: &str) -> String {
    let at = lower_camel(member.name);
    format!("1 validation error detected: Value {value}at '{at}' failed to satisfy constraint: Member must {rule}")
}

#[tokio::test]
async fn the_request_of_every_subject_succeeds() {
    let world = World::new().await;
    for subject in subjects() {
        let answer = try_with(subject, &world, json!({})).await;
        assert_eq!(answer.status, 200, "{}: {}", subject.name, answer.text());
    }
}

/// As in the answers of AWS's that were recorded as they came: `{"CiphertextBlob":…,"KeyId":…,"Plaintext":…}`.
#[tokio::test]
async fn members_of_answers_are_in_the_order_of_their_names() {
    let world = World::new().await;
    for subject in subjects() {
        let things = Things::of(subject, &world).await;
        let answer = world.call(subject.name, (subject.request)(&things)).await;
        let (written, sorted) = (answer.text(), answer.json().to_string());
        assert!(written.is_empty() || written == sorted, "{}: {written}", subject.name);
        if subject.about != About::Nothing && subject.name != "CreateGrant" {
            let described = world.call("DescribeKey", json!({"KeyId": things.key})).await;
            assert_eq!(described.text(), described.json().to_string(), "{:?}", subject.about.key());
        }
    }
    let constraints = json!({"Constraints": {"EncryptionContextSubset": {"a": "1"}}});
    let key = world.key().await;
    create_grant::granted(&world, &key, constraints).await;
    let grants = world.call("ListGrants", json!({"KeyId": key})).await;
    assert_eq!(grants.text(), grants.json().to_string());
}

#[tokio::test]
async fn an_absent_member_is_missed_if_it_must_be_there_and_null_is_absent() {
    let world = World::new().await;
    for (subject, member) in members() {
        let things = Things::of(subject, &world).await;
        let mut request = (subject.request)(&things);
        if member.required {
            let null = if matches!(member.kind, Kind::Plaintext) { "" } else { "null " };
            let missed = constraint(null, member, "not be null");
            request[member.name] = Value::Null;
            world.refuse(subject.name, request.clone(), "ValidationException", &missed).await;
            request.as_object_mut().unwrap().remove(member.name);
            world.refuse(subject.name, request, "ValidationException", &missed).await;
        } else if request.get(member.name).is_none() {
            world.ok(subject.name, with(request, json!({member.name: null}))).await;
        }
    }
}

#[tokio::test]
async fn unknown_members_are_ignored() {
    let world = World::new().await;
    for subject in subjects() {
        let answer = try_with(subject, &world, json!({"Unknown": {"x": [1, "y"]}, "keyId": 7, "": null})).await;
        assert_eq!(answer.status, 200, "{}: {}", subject.name, answer.text());
    }
}

/// The SerializationException of each wrong JSON type.
fn wrong_types(kind: Kind) -> Vec<(Value, String)> {
    let into = |word: &str| {
        let of = |kind: &str| format!("{kind} can not be converted to {word}");
        (of("STRING_VALUE"), of("NUMBER_VALUE"), of("TRUE_VALUE"), of("FALSE_VALUE"))
    };
    let list = (json!([]), "Start of list found where not expected".to_owned());
    let map = (json!({}), "Start of structure or map found where not expected.".to_owned());
    let scalars =
        |expected: &str| [json!("x"), json!(1), json!(true)].map(|value| (value, expected.to_owned())).to_vec();
    match kind {
        Kind::Text(..)
        | Kind::Pattern(..)
        | Kind::Blob(..)
        | Kind::Word(..)
        | Kind::Region
        | Kind::Service
        | Kind::Cluster
        | Kind::External(_)
        | Kind::Plaintext
        | Kind::Password => {
            let (_, number, yes, no) = into("a String");
            vec![(json!(1), number), (json!(true), yes), (json!(false), no), list, map]
        }
        Kind::Int(..) | Kind::Stricter(..) => {
            let (text, _, yes, no) = into("an Integer");
            vec![(json!("1"), text), (json!(true), yes), (json!(false), no), list, map]
        }
        Kind::Time => {
            let (text, _, yes, no) = into("a Timestamp");
            vec![(json!("1"), text), (json!(true), yes), (json!(false), no), list, map]
        }
        Kind::Bool => {
            let (text, number, ..) = into("a Boolean");
            vec![(json!("true"), text), (json!(1), number), list, map]
        }
        Kind::Texts(_) | Kind::Operations | Kind::Modifiers | Kind::Tags => {
            [scalars("Expected list or null"), vec![map]].concat()
        }
        Kind::Context => [scalars("Expected map or null"), vec![list]].concat(),
        Kind::Structure => scalars("Expected null"),
    }
}

#[tokio::test]
async fn every_wrong_type_is_told() {
    let world = World::new().await;
    for (subject, member) in members() {
        let things = Things::of(subject, &world).await;
        for (value, message) in wrong_types(member.kind) {
            let request = with((subject.request)(&things), json!({member.name: value}));
            world.refuse(subject.name, request, "SerializationException", &message).await;
        }
    }
}

#[tokio::test]
async fn elements_have_types_too() {
    let world = World::new().await;
    let number = "NUMBER_VALUE can not be converted to a String";
    let text = [(json!([1]), number), (json!(["a", []]), "Start of list found where not expected")];
    let tags = [
        (json!(["a"]), "Expected null"),
        (json!([{"TagKey": 1, "TagValue": ""}]), number),
        (json!([{"TagKey": "k", "TagValue": {}}]), "Start of structure or map found where not expected."),
    ];
    let pairs = [(json!({"k": 1}), number), (json!({"k": ["v"]}), "Start of list found where not expected")];
    for (subject, member) in members() {
        let cases = match member.kind {
            Kind::Texts(_) | Kind::Operations | Kind::Modifiers => &text[..],
            Kind::Tags => &tags,
            Kind::Context => &pairs,
            _ => &[],
        };
        let things = Things::of(subject, &world).await;
        for (value, message) in cases {
            let request = with((subject.request)(&things), json!({member.name: value}));
            world.refuse(subject.name, request, "SerializationException", message).await;
        }
    }
}

#[tokio::test]
async fn a_blob_is_base64() {
    let world = World::new().await;
    let multiple = "Base64 encoded length is expected a multiple of 4 bytes but found: ";
    for (subject, member) in members().filter(|(_, member)| matches!(member.kind, Kind::Blob(..) | Kind::Plaintext)) {
        let things = Things::of(subject, &world).await;
        for (text, problem) in [
            ("QUJD*", "Invalid Base64 character: '*'".to_owned()),
            ("QUJ_", "Invalid Base64 character: '_'".to_owned()),
            ("QUJ D", "Invalid Base64 character: ' '".to_owned()),
            ("QUJDR", format!("{multiple}5")),
            ("QUI", format!("{multiple}3")),
            ("QUK=", "Invalid last non-pad Base64 character dectected".to_owned()),
        ] {
            let answer = world.call(subject.name, with((subject.request)(&things), json!({member.name: text}))).await;
            let (status, code, message) = answer.refusal();
            assert_eq!((status, &*code), (400, "SerializationException"));
            assert!(message.ends_with(&format!("can not be converted to a Blob: {problem}")), "{text}: {message}");
        }
    }
}

/// Values one beyond each bound, with the rules that each breaks.
fn beyond(kind: Kind) -> Vec<(Value, Vec<String>)> {
    let pattern = |pattern: &str| format!("satisfy regular expression pattern: {pattern}");
    let least = |min| format!("have length greater than or equal to {min}");
    let most = |max| format!("have length less than or equal to {max}");
    match kind {
        Kind::Text(min, max) => {
            let short = (min > 0).then(|| (json!("x".repeat(min - 1)), vec![least(min)]));
            short.into_iter().chain([(json!("x".repeat(max + 1)), vec![most(max)])]).collect()
        }
        Kind::Pattern(min, max, character, text) => {
            let of = |length| json!(character.to_string().repeat(length));
            // What is empty fits no pattern but one that has a star.
            let both = min == 1 && !text.ends_with('*');
            let short = [vec![least(min)], if both { vec![pattern(text)] } else { Vec::new() }].concat();
            let short = (min > 0).then(|| (of(min - 1), short));
            let strange = character.to_string().repeat(min.saturating_sub(1)) + "\u{100}";
            short.into_iter().chain([(of(max + 1), vec![most(max)]), (json!(strange), vec![pattern(text)])]).collect()
        }
        Kind::Int(min, max) | Kind::Stricter((min, max), _) => {
            let (low, high) = (format!("greater than or equal to {min}"), format!("less than or equal to {max}"));
            [(json!(min - 1), &low), (json!(max + 1), &high), (json!(i64::MIN), &low), (json!(1e300), &high)]
                .map(|(value, rule)| (value, vec![format!("have value {rule}")]))
                .to_vec()
        }
        Kind::Blob(min, max) => {
            let of = |length| json!(base64(&vec![0; length]));
            vec![(of(min - 1), vec![least(min)]), (of(max + 1), vec![most(max)])]
        }
        Kind::Plaintext => beyond(Kind::Blob(1, 4096)),
        Kind::Word(words) => {
            let (one, rule) = (words[0].to_lowercase(), "satisfy enum value set: [".to_owned());
            [one.as_str(), "", "NONE", " "].map(|value| (json!(value), vec![rule.clone()])).to_vec()
        }
        Kind::Service => {
            let rule = pattern("^([A-Za-z0-9\\-]+)\\.([A-Za-z0-9\\-]+)(\\.[A-Za-z0-9\\-]+)+$");
            let broken = ["a", "amazonaws.com", "a..com", ".a.b", "a.b.c.", "a.b.c_d"];
            let broken = broken.map(|name| (json!(name), vec![rule.clone()]));
            let long = json!(format!("a.b.{}", "c".repeat(125)));
            [(json!(""), vec![least(1), rule.clone()]), (long, vec![most(128)])].into_iter().chain(broken).collect()
        }
        Kind::Operations => vec![(json!([]), vec![least(1)])],
        Kind::Cluster => {
            let rule = pattern("cluster-[2-7a-zA-Z]{11,16}");
            let lengths = [("cluster-2222222222", least(19)), ("cluster-22222222222222222", most(24))];
            let lengths = lengths.map(|(id, length)| (json!(id), vec![length, rule.clone()]));
            let ids = ["cluster-1abcdefghij", "cluster-8abcdefghij", "Cluster-2abcdefghij", "cluster-2abcdefghi-"];
            lengths.into_iter().chain(ids.map(|id| (json!(id), vec![rule.clone()]))).collect()
        }
        Kind::Password => vec![(json!("x".repeat(6)), vec![least(7)]), (json!("x".repeat(33)), vec![most(32)])],
        Kind::Texts(max) if max < 1000 => vec![(json!(vec!["x"; max + 1]), vec![most(max)])],
        Kind::Region => {
            let rule = pattern("^([a-z]+-){2,3}\\d+$");
            let names = ["eu-1", "eu-test-", "eu-test-x", "Eu-test-1", "eu--1", "a-b-c-d-1"];
            let lengths = [(json!(""), least(1)), (json!("e".repeat(33)), most(32))];
            let lengths = lengths.map(|(name, length)| (name, vec![length, rule.clone()]));
            lengths.into_iter().chain(names.map(|name| (json!(name), vec![rule.clone()]))).collect()
        }
        _ => Vec::new(),
    }
}

/// Values on each bound.
fn on_bounds(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Text(min, max) => vec![json!("x".repeat(min)), json!("x".repeat(max)), json!("é".repeat(max))],
        Kind::Pattern(min, max, character, _) => {
            vec![json!(character.to_string().repeat(min.max(1))), json!(character.to_string().repeat(max))]
        }
        Kind::Int(min, max) | Kind::Stricter(_, (min, max)) => vec![json!(min), json!(max), json!(max as f64 + 0.9)],
        Kind::Plaintext => on_bounds(Kind::Blob(1, 4096)),
        Kind::External(text) => vec![json!(text)],
        Kind::Blob(min, max) => vec![json!(base64(&vec![0; min])), json!(base64(&vec![0; max]))],
        Kind::Cluster => vec![json!("cluster-22222222222"), json!("cluster-Zz77777777777777")],
        Kind::Password => vec![json!("x".repeat(7)), json!("é".repeat(32))],
        Kind::Word(words) => words.iter().map(|word| json!(word)).collect(),
        Kind::Texts(max) => vec![json!([]), json!(vec!["x"; max.min(1000)])],
        Kind::Service => vec![json!("a.b.c"), json!(format!("a.b.{}", "c".repeat(124)))],
        Kind::Operations => vec![json!(["Encrypt"]), json!(vec!["Encrypt"; 1000]), json!(["Sign", "Verify"])],
        Kind::Modifiers => vec![json!([]), json!(["IGNORE_CIPHERTEXT"])],
        Kind::Region => vec![json!("a-b-1"), json!("us-gov-west-1"), json!(format!("eu-{}-1", "x".repeat(27)))],
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn every_bound_holds_one_beyond_it() {
    let world = World::new().await;
    for (subject, member) in members() {
        let things = Things::of(subject, &world).await;
        for (value, rules) in beyond(member.kind) {
            let request = with((subject.request)(&things), json!({member.name: value}));
            let (status, code, message) = world.call(subject.name, request).await.refusal();
            assert_eq!((status, &*code), (400, "ValidationException"), "{} {}", subject.name, member.name);
            let plural = if rules.len() == 1 { "" } else { "s" };
            let faults = message.strip_prefix(&format!("{} validation error{plural} detected: ", rules.len()));
            let faults: Vec<_> = faults.unwrap_or_else(|| panic!("{}: {message}", subject.name)).split("; ").collect();
            assert_eq!(faults.len(), rules.len(), "{}: {message}", subject.name);
            for (fault, rule) in faults.into_iter().zip(rules) {
                assert_tells(fault, member, &rule);
            }
        }
    }
}

/// One fault of a message: the rule, and the value unless it is a secret.
fn assert_tells(fault: &str, member: &Member, rule: &str) {
    let tail = format!(" at '{}' failed to satisfy constraint: Member must {rule}", lower_camel(member.name));
    let (whole, words) = (fault.ends_with(&tail), fault.contains(&tail) && fault.ends_with(']'));
    assert!(whole || (matches!(member.kind, Kind::Word(_)) && words), "{fault}");
    let secret = matches!(member.kind, Kind::Blob(..) | Kind::Plaintext | Kind::Password);
    let (shown, hidden) = (fault.starts_with("Value '"), fault.starts_with("Value at '"));
    assert!(if secret { hidden } else { shown || hidden }, "{fault}");
}

#[tokio::test]
async fn a_rule_that_is_stricter_than_the_models_has_a_sentence_of_its_own() {
    let world = World::new().await;
    let mut held = 0;
    for (subject, member) in members() {
        let Kind::Stricter((min, max), (least, most)) = member.kind else { continue };
        held += 1;
        let things = Things::of(subject, &world).await;
        let message = format!("{} must be between {least} and {most}", member.name);
        for value in [min, least - 1, most + 1, max].into_iter().filter(|value| !(least..=most).contains(value)) {
            if !(min..=max).contains(&value) {
                continue;
            }
            let request = with((subject.request)(&things), json!({member.name: value}));
            world.refuse(subject.name, request, "ValidationException", &message).await;
        }
    }
    assert_eq!(held, 5);
}

#[tokio::test]
async fn what_is_on_a_bound_is_within_it() {
    let world = World::new().await;
    for (subject, member) in members() {
        for value in on_bounds(member.kind) {
            let answer = try_with(subject, &world, json!({member.name: value})).await;
            let message = if answer.status == 200 { String::new() } else { answer.refusal().2 };
            let at = format!("at '{}' failed to satisfy constraint", lower_camel(member.name));
            assert!(!message.contains(&at), "{} {}: {message}", subject.name, member.name);
            assert!(answer.status < 500, "{} {}: {}", subject.name, member.name, answer.text());
        }
    }
}

#[tokio::test]
async fn broken_constraints_are_told_together_and_a_wrong_type_before_them() {
    let world = World::new().await;
    let request = json!({"KeyId": "", "Plaintext": base64(&[0; 4097])});
    let all = "3 validation errors detected: Value '' at 'keyId' failed to satisfy constraint: Member must have length \
               greater than or equal to 1; Value '' at 'keyId' failed to satisfy constraint: Member must satisfy regular \
               expression pattern: ^\\p{ASCII}+$; Value at 'plaintext' failed to satisfy constraint: Member must have \
               length less than or equal to 4096";
    world.refuse("Encrypt", request.clone(), "ValidationException", all).await;
    let wrong = "STRING_VALUE can not be converted to a Boolean";
    world.refuse("Encrypt", with(request, json!({"DryRun": "x"})), "SerializationException", wrong).await;
}

#[tokio::test]
async fn of_many_broken_constraints_ten_are_told() {
    let world = World::new().await;
    let key = world.key().await;
    for request in
        [json!({"KeyId": key, "Tags": vec![json!({}); 8000]}), json!({"KeyId": key, "Tags": [{}, {}, {}, {}, {}]})]
    {
        let (status, code, message) = world.call("TagResource", request).await.refusal();
        assert_eq!((status, &*code), (400, "ValidationException"));
        assert!(message.starts_with("10 validation errors detected: ") && message.len() < 2000, "{message}");
    }
}

#[tokio::test]
async fn a_request_of_too_many_values_is_refused_whatever_they_are() {
    let world = World::new().await;
    let message = "The request has more than 8192 values.";
    for (subject, member) in members() {
        for value in [json!([vec![0; 8192]]), json!({"x": vec![0; 8192]}), json!(vec![vec![0; 90]; 100])] {
            world.refuse(subject.name, json!({member.name: value}), "ValidationException", message).await;
        }
    }
}

#[tokio::test]
async fn a_long_list_of_broken_items_is_shown_cut() {
    let world = World::new().await;
    let request = json!({"KeyId": world.key().await, "TagKeys": vec!["k".repeat(129); 5000]});
    let (_, code, message) = world.call("UntagResource", request).await.refusal();
    assert!(code == "ValidationException" && message.len() < 3000, "{}", message.len());
}

#[tokio::test]
async fn keys_go_by_every_name_they_may() {
    let world = World::new().await;
    for subject in subjects() {
        let Some((member, names)) = subject.key else { continue };
        let aliases = if names == Names::Any { 2 } else { 0 };
        for form in 0..2 + aliases {
            let things = Things::of(subject, &world).await;
            let name =
                [things.key.clone(), world.arn_of(&things.key), things.alias.clone(), world.arn_of(&things.alias)]
                    [form]
                    .clone();
            world.ok(subject.name, with((subject.request)(&things), json!({member: name}))).await;
        }
    }
}

#[tokio::test]
async fn an_alias_is_refused_where_only_ids_and_arns_are_taken() {
    let world = World::new().await;
    for subject in subjects() {
        let Some((member, Names::IdOrArn)) = subject.key else { continue };
        let things = Things::of(subject, &world).await;
        for name in [things.alias.clone(), world.arn_of(&things.alias)] {
            let request = with((subject.request)(&things), json!({member: name}));
            let message = "Key Aliases are not supported for this operation.";
            world.refuse(subject.name, request, "InvalidArnException", message).await;
        }
    }
}

#[tokio::test]
async fn a_name_of_nothing_is_refused_by_its_form() {
    let world = World::new().await;
    let unknown = "1234abcd-12ab-34cd-56ef-1234567890ab";
    let multi_region = "mrk-1234abcd12ab34cd56ef1234567890ab";
    let there_is_no = |id| format!("Key '{}' does not exist", world.arn_of(id));
    let elsewhere = world.in_region("eu-other-1").arn_of(unknown);
    let capitals = "1234ABCD-12AB-34cd-56ef-1234567890AB";
    let cases = [
        ("fake-key-id".to_owned(), "NotFoundException", "Invalid keyId 'fake-key-id'".to_owned()),
        (unknown.replace('-', ""), "NotFoundException", format!("Invalid keyId '{}'", unknown.replace('-', ""))),
        ("mrk-fake".to_owned(), "NotFoundException", "Invalid keyId 'mrk-fake'".to_owned()),
        (unknown.to_owned(), "NotFoundException", there_is_no(unknown)),
        (multi_region.to_owned(), "NotFoundException", there_is_no(multi_region)),
        (world.arn_of(unknown), "NotFoundException", there_is_no(unknown)),
        (capitals.to_owned(), "NotFoundException", there_is_no(capitals)),
        (world.arn_of(capitals), "NotFoundException", there_is_no(capitals)),
        (world.arn_of("fake-key-id"), "NotFoundException", "Invalid keyId fake-key-id".to_owned()),
        (elsewhere, "NotFoundException", "Invalid arn eu-other-1".to_owned()),
    ];
    for subject in subjects() {
        let Some((member, _)) = subject.key else { continue };
        let things = Things::of(subject, &world).await;
        for (name, code, message) in &cases {
            let request = with((subject.request)(&things), json!({member: name}));
            world.refuse(subject.name, request, code, message).await;
        }
    }
}

#[tokio::test]
async fn an_unknown_alias_is_told_by_its_arn() {
    let world = World::new().await;
    for subject in subjects() {
        let Some((member, Names::Any)) = subject.key else { continue };
        let things = Things::of(subject, &world).await;
        let message = format!("Alias {} is not found.", world.arn_of("alias/none"));
        for name in ["alias/none".to_owned(), world.arn_of("alias/none")] {
            let request = with((subject.request)(&things), json!({member: name}));
            world.refuse(subject.name, request, "NotFoundException", &message).await;
        }
    }
}

#[tokio::test]
async fn arns_of_nothing_here_are_malformed_or_another_accounts() {
    let world = World::new().await;
    for subject in subjects() {
        let Some((member, _)) = subject.key else { continue };
        let things = Things::of(subject, &world).await;
        let arn = world.arn_of(&things.key);
        let name = arn.replace(ACCOUNT, "444455556666");
        let foreign = world.call(subject.name, with((subject.request)(&things), json!({member: name}))).await;
        assert_eq!(
            foreign.refusal(),
            (400, "AccessDeniedException".to_owned(), not_to_be_revealed(&world, subject, member))
        );
        for (name, code) in [
            (arn.replace(":kms:", ":s3:"), "InvalidArnException"),
            (arn.replace(":key/", ":thing/"), "InvalidArnException"),
            ("arn:aws:kms".to_owned(), "InvalidArnException"),
            (format!("arn:aws:kms:{REGION}:{ACCOUNT}:"), "InvalidArnException"),
        ] {
            let answer = world.call(subject.name, with((subject.request)(&things), json!({member: name}))).await;
            assert_eq!(answer.code(), code, "{} {name}: {}", subject.name, answer.text());
        }
    }
}

/// What is said of a key of another account, of which nobody is told whether it exists.
fn not_to_be_revealed(world: &World, subject: &Subject, member: &str) -> String {
    let action = match (subject.name, member) {
        ("ReEncrypt", "DestinationKeyId") => "ReEncryptTo",
        ("ReEncrypt", _) => "ReEncryptFrom",
        (name, _) => name,
    };
    format!(
        "User: {} is not authorized to perform: kms:{action} on this resource because the resource does not exist in this \
         Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
        world.arn
    )
}

/// The refusal of each number in the table.
pub fn state_refusal(number: u8, arn: &str) -> (&'static str, String) {
    let invalid = |rest| ("KMSInvalidStateException", format!("{arn} is {rest}."));
    match number {
        1 => ("DisabledException", format!("{arn} is disabled.")),
        3 => invalid("pending deletion"),
        4 => invalid("not pending deletion"),
        5 => invalid("pending import"),
        11 => invalid("unavailable"),
        14 => invalid("creating"),
        15 => invalid("updating"),
        _ => panic!("no such cell"),
    }
}

#[tokio::test]
async fn permission_comes_before_state_and_existence_before_permission() {
    let world = World::new().await;
    let nobody = world.as_user(&[]).await;
    for subject in subjects() {
        let Some((member, _)) = subject.key else { continue };
        let things = Things::of(subject, &world).await;
        world.set_state(&things.key, KeyState::PendingDeletion).await;
        let request = (subject.request)(&things);
        assert_eq!(nobody.call(subject.name, request.clone()).await.code(), "AccessDeniedException");
        if !matches!(subject.name, "CreateAlias" | "UpdateAlias" | "ReEncrypt" | "ListAliases") {
            let unknown = with(request, json!({member: "1234abcd-12ab-34cd-56ef-1234567890ab"}));
            assert_eq!(nobody.call(subject.name, unknown).await.code(), "NotFoundException", "{}", subject.name);
        }
    }
}

fn with_dry_run() -> impl Iterator<Item = &'static Subject> {
    subjects().filter(takes_dry_run)
}

fn takes_dry_run(subject: &&'static Subject) -> bool {
    subject.members.iter().any(|member| member.name == "DryRun")
}

#[tokio::test]
async fn a_dry_run_is_told_apart_and_false_is_none() {
    let world = World::new().await;
    let would = "The request would have succeeded, but the DryRun option is set.";
    assert_eq!(SUBJECTS.iter().filter(takes_dry_run).count(), 17);
    for subject in with_dry_run() {
        let dry = try_with(subject, &world, json!({"DryRun": true})).await;
        assert_eq!(dry.refusal(), (400, "DryRunOperationException".to_owned(), would.to_owned()));
        assert_eq!(try_with(subject, &world, json!({"DryRun": false})).await.status, 200);
    }
}

#[tokio::test]
async fn a_dry_run_asks_for_permission_and_state() {
    let world = World::new().await;
    let nobody = world.as_user(&[]).await;
    for subject in with_dry_run() {
        let things = Things::of(subject, &world).await;
        let request = with((subject.request)(&things), json!({"DryRun": true}));
        assert_eq!(nobody.call(subject.name, request.clone()).await.code(), "AccessDeniedException");
        world.set_state(&things.key, KeyState::Disabled).await;
        let takes_any = subject.states == ANY_STATE;
        let expected = if takes_any { "DryRunOperationException" } else { "DisabledException" };
        assert_eq!(world.call(subject.name, request).await.code(), expected);
    }
}
