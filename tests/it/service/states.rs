//! AWS's key-state table as one test: every operation that takes a key, in every state of the key; then the keys that an
//! operation takes beside, and keys of a kind that it does not take. A refusal is told exactly, and changes nothing.

use serde_json::{Value, json};
use strongroom::{
    clock::Clock,
    key::{Key, reference::KeyId, state::KeyState, usage::UsingOperation},
};

use crate::{
    operations::{About, STATES, States, Subject, Things, USE, state_refusal, subjects},
    world::{REGION, World, with},
};

/// An exception and its message, which the key's ARN is put into.
type Refusal = (&'static str, String);

struct Table {
    world: World,
    cells: usize,
}

impl Table {
    /// Puts `key` into each state and asks: what the row says of the state is answered, or what `kind` refuses whatever the
    /// state allows.
    async fn row(&mut self, what: &str, operation: &str, states: States, kind: Option<&Refusal>, key: &Asked<'_>) {
        for (state, cell) in STATES.into_iter().zip(states) {
            let (key, request) = key.ask(&self.world).await;
            self.world.set_state(&key, state).await;
            let refusal = if cell == 0 { kind.cloned() } else { Some(state_refusal(cell, "KEY")) };
            self.cell(&format!("{operation}, {what}, {state}"), operation, &key, request, refusal).await;
        }
    }

    async fn cell(&mut self, what: &str, operation: &str, key: &str, request: Value, refusal: Option<Refusal>) {
        self.cells += 1;
        let before = document(&self.world, key);
        let answer = self.world.call(operation, request).await;
        let Some((code, message)) = refusal else {
            assert_eq!(answer.status, 200, "{what}: {}", answer.text());
            return;
        };
        let told = (400, code.to_owned(), message.replace("KEY", &self.world.arn_of(key)));
        assert_eq!(answer.refusal(), told, "{what}");
        assert_eq!(document(&self.world, key), before, "{what}");
    }
}

fn document(world: &World, key: &str) -> Key {
    world.store.view().key(REGION, KeyId::parse(key).unwrap()).unwrap().key.clone()
}

/// How a key comes to be asked for something.
enum Asked<'a> {
    /// As the subject's request has it.
    AsItIs(&'a Subject),
    /// By this member, in the place of the subject's own key; with these members beside.
    InPlace(&'a Subject, &'static str, About, Value),
    /// An alias of it is pointed at another.
    ThroughItsAlias(&'a Subject),
}

impl Asked<'_> {
    /// The key, and the request.
    async fn ask(&self, world: &World) -> (String, Value) {
        match self {
            Self::AsItIs(subject) => {
                let things = Things::of(subject, world).await;
                let request = (subject.request)(&things);
                // What a list may be narrowed to.
                let member = subject.key.map_or("KeyId", |(member, _)| member);
                let named = request.get(member).is_some() || subject.about != About::Nothing;
                let request = if named { request } else { with(request, json!({member: things.key})) };
                (things.key, request)
            }
            Self::InPlace(subject, member, about, more) => {
                let things = Things::of(subject, world).await;
                let other = Things::key_of(*about, world).await;
                let request = with((subject.request)(&things), more.clone());
                let request = with(request, json!({*member: other}));
                (other, request)
            }
            Self::ThroughItsAlias(subject) => {
                let (old, new) = (Things::of(subject, world).await, Things::of(subject, world).await);
                let request = json!({"AliasName": old.alias, "TargetKeyId": new.key});
                (old.key, request)
            }
        }
    }
}

fn subject(name: &str) -> Option<&'static Subject> {
    subjects().find(|subject| subject.name == name)
}

/// The refusals of keys of the wrong kind, by operation: they come after those of the state, but for the three of imports, and
/// but for those of another usage.
fn wrong_kinds() -> Vec<(&'static str, About, Refusal, bool)> {
    let unsupported = |text: &str| ("UnsupportedOperationException", text.to_owned());
    let ours = unsupported("KEY origin is AWS_KMS which is not valid for this operation.");
    let theirs = unsupported("KEY origin is EXTERNAL which is not valid for this operation.");
    let single = unsupported("KEY is not a multi-region primary key.");
    let nothing_waits = "No available key material pending rotation for the key: KEY.".to_owned();
    vec![
        ("GetParametersForImport", About::Symmetric, ours.clone(), true),
        ("ImportKeyMaterial", About::Symmetric, ours.clone(), true),
        ("DeleteImportedKeyMaterial", About::Symmetric, ours.clone(), true),
        ("GetParametersForImport", About::Signing, ours.clone(), true),
        ("EnableKeyRotation", About::External, theirs.clone(), false),
        ("EnableKeyRotation", About::Rsa, unsupported(""), false),
        ("EnableKeyRotation", About::Mac, unsupported(""), false),
        ("DisableKeyRotation", About::External, theirs.clone(), false),
        ("DisableKeyRotation", About::Rsa, unsupported(""), false),
        ("DisableKeyRotation", About::Mac, unsupported(""), false),
        ("GetKeyRotationStatus", About::External, theirs, false),
        ("RotateKeyOnDemand", About::Rsa, unsupported(""), false),
        ("RotateKeyOnDemand", About::Mac, unsupported(""), false),
        ("RotateKeyOnDemand", About::External, ("KMSInvalidStateException", nothing_waits), false),
        ("ListKeyRotations", About::Rsa, unsupported(""), false),
        ("ListKeyRotations", About::Mac, unsupported(""), false),
        ("ReplicateKey", About::Symmetric, single.clone(), false),
        ("UpdatePrimaryRegion", About::Symmetric, single, false),
        ("GetPublicKey", About::Symmetric, unsupported(""), false),
        ("GetPublicKey", About::Mac, unsupported(""), false),
    ]
}

/// What makes a request one that does not find its key by the ciphertext.
fn beside(operation: &str) -> Value {
    match operation {
        "Decrypt" => json!({"EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}),
        "ReEncrypt" => json!({"SourceEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}),
        _ => json!({}),
    }
}

#[tokio::test]
async fn every_operation_in_every_state() {
    let mut table = Table { world: World::new().await, cells: 0 };
    for subject in subjects().filter(|subject| subject.key.is_some() || subject.about != About::Nothing) {
        table.row("its key", subject.name, subject.states, None, &Asked::AsItIs(subject)).await;
    }
    println!("{} cells of the key-state table", table.cells);
    assert!(table.cells >= 8 * 40, "{}", table.cells);
}

/// Material whose time is over by the date is of no more use than none, although it is still there.
#[tokio::test]
async fn a_key_of_which_a_material_is_over_is_refused_as_one_that_awaits_it() {
    let mut table = Table { world: World::new().await, cells: 0 };
    let pending_import = STATES.iter().position(|state| *state == KeyState::PendingImport).unwrap();
    for subject in subjects().filter(|subject| subject.states[pending_import] != 0) {
        for state in [KeyState::Enabled, KeyState::Disabled] {
            let (key, request) = Asked::AsItIs(subject).ask(&table.world).await;
            table.world.set_state(&key, state).await;
            let generation = json!({"id": table.world.material_of(&key).id, "valid_to": table.world.clock.now()});
            table.world.edit_key(&key, "/generations/0", generation).await;
            let refusal = state_refusal(subject.states[pending_import], "KEY");
            table.cell(&format!("{}, {state}", subject.name), subject.name, &key, request, Some(refusal)).await;
        }
    }
    println!("{} cells of keys whose material is over", table.cells);
    assert!(table.cells >= 2 * 20, "{}", table.cells);
}

#[tokio::test]
async fn keys_that_are_taken_beside_in_every_state() {
    let mut table = Table { world: World::new().await, cells: 0 };
    let re_encrypt = subject("ReEncrypt").unwrap();
    let destination = Asked::InPlace(re_encrypt, "DestinationKeyId", About::Symmetric, json!({}));
    table.row("the destination", "ReEncrypt", USE, None, &destination).await;
    let update_alias = subject("UpdateAlias").unwrap();
    table.row("the key it named", "UpdateAlias", [0; 8], None, &Asked::ThroughItsAlias(update_alias)).await;
    println!("{} cells of keys that are taken beside", table.cells);
}

#[tokio::test]
async fn keys_of_the_wrong_kind_in_every_state() {
    let mut table = Table { world: World::new().await, cells: 0 };
    for (operation, about, refusal, kind_comes_first) in wrong_kinds() {
        let Some(subject) = subject(operation) else { continue };
        let states = if kind_comes_first { [0; 8] } else { subject.states };
        let asked = Asked::InPlace(subject, "KeyId", about, json!({}));
        table.row(&format!("a key of {:?}", about.key()), operation, states, Some(&refusal), &asked).await;
    }
    for operation in UsingOperation::ALL {
        let Some(subject) = subject(operation.as_str()) else { continue };
        let (about, usage) = match subject.about {
            About::Mac => (About::Symmetric, "ENCRYPT_DECRYPT"),
            _ => (About::Mac, "GENERATE_VERIFY_MAC"),
        };
        let text = format!("KEY key usage is {usage} which is not valid for {operation}.");
        let refusal = ("InvalidKeyUsageException", text);
        let member = if subject.name == "ReEncrypt" { "SourceKeyId" } else { "KeyId" };
        let asked = Asked::InPlace(subject, member, about, beside(subject.name));
        table.row("a key of another usage", subject.name, [0; 8], Some(&refusal), &asked).await;
    }
    println!("{} cells of keys of the wrong kind", table.cells);
    assert!(table.cells >= 8 * 30, "{}", table.cells);
}

#[tokio::test]
async fn an_asymmetric_key_has_no_rotation_in_any_state() {
    let world = World::new().await;
    for about in [About::Rsa, About::Mac] {
        let key = Things::key_of(about, &world).await;
        for state in KeyState::ALL {
            world.set_state(&key, *state).await;
            let status = world.ok("GetKeyRotationStatus", json!({"KeyId": key})).await;
            assert_eq!(status, json!({"KeyId": world.arn_of(&key), "KeyRotationEnabled": false}), "{state}");
        }
    }
}
