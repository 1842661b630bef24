//! What the probe finds, what follows from it, and what it leaves.

use std::path::Path;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki_sys::{CKM_AES_GCM, CKR_MECHANISM_INVALID};
use expect_test::expect_file;
use strongroom::hsm::command::Generate;
use strongroom::hsm::{Kind, OaepMethod, Profile, Settings, TrialOutcome, init_wrapping_key, probe};
use strongroom::key::material::{MaterialId, WrapMechanism};
use strongroom::key::spec::{KeySpec, KeyUsage};
use strongroom_faults::rule::Rule;

use super::{intruder, kind, soon, wrapped};
use crate::engine::Engine;
use crate::faults::Faults;
use crate::skip::skip;
use crate::tokens::{PIN, bare_token, token};

/// What is known of each HSM that the tests are run on is in a file of its name.
#[tokio::test]
async fn the_probe_tells_the_truth() {
    let profile = probe(&bare_token()).unwrap();
    // What comes before names this one token and the versions of this day.
    let table = profile.to_string().lines().skip(3).fold(String::new(), |table, row| table + row + "\n");
    let name = std::env::var("STRONGROOM_TEST_HSM").unwrap_or("softhsm2".to_owned());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/profiles/{name}.txt"));
    expect_file![path].assert_eq(&(table + &supported(&profile)));
}

#[test]
fn an_hsm_that_the_service_cannot_work_with_is_probed_and_says_what_it_lacks() {
    let (faults, settings) = Faults::before(token());
    let _lacking = faults.rule(Rule::on("C_EncryptInit").mechanism(CKM_AES_GCM).answer(CKR_MECHANISM_INVALID));
    let refused = TrialOutcome::Refused { code: "CKR_MECHANISM_INVALID".to_owned() };
    assert_eq!(probe(&settings).unwrap().outcome("AES-256-GCM with AAD"), Some(&refused));
    let error = Engine::start(settings).err().expect("an engine without its canary");
    let text = "the service cannot work with this HSM, which lacks what it needs for itself: AES-256-GCM with AAD, refused: \
                CKR_MECHANISM_INVALID";
    assert_eq!((error.kind, &*error.code), (Kind::Misconfigured, text));
}

/// Each kind of key, and how the HSM can keep it.
fn supported(profile: &Profile) -> String {
    let kinds = KeySpec::ALL.iter().flat_map(|spec| spec.usages().iter().map(move |usage| (*spec, *usage)));
    let rows = kinds.map(|(spec, usage)| match (profile.supports(spec, usage), profile.wraps(spec, usage)) {
        (true, true) => format!("{spec} {usage}: wrapped or on the token\n"),
        (true, false) => format!("{spec} {usage}: on the token only\n"),
        (false, _) => format!("{spec} {usage}: not at all\n"),
    });
    rows.collect()
}

#[tokio::test]
async fn what_follows_from_the_probe_is_said_in_words_and_in_json() {
    let profile = Engine::start(token()).unwrap().profile();
    assert_eq!(profile.outcome("RSAES_OAEP_SHA_1"), Some(&TrialOutcome::Ok));
    assert!(profile.supports(KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt));
    assert!(profile.supports(KeySpec::Rsa4096, KeyUsage::EncryptDecrypt));
    let [word, name] = match profile.wrap.unwrap() {
        WrapMechanism::AesKeyWrapKwp => ["aes_key_wrap_kwp", "AES_KEY_WRAP_KWP"],
        WrapMechanism::AesKeyWrapPad => ["aes_key_wrap_pad", "AES_KEY_WRAP_PAD"],
    };
    assert_eq!(serde_json::to_value(&*profile).unwrap()["wrap"], word);
    let table = profile.to_string();
    let row = table.lines().find(|row| row.starts_with("=> material is wrapped with")).unwrap();
    assert!(row.ends_with(name), "{row}");
}

#[tokio::test]
async fn raw_rsa_takes_the_place_of_oaep_only_where_it_is_allowed() {
    let settings = token();
    let profile = Engine::start(settings.clone()).unwrap().profile();
    if profile.oaep_sha256 == OaepMethod::Native {
        return skip("the HSM does RSAES_OAEP_SHA_256 itself");
    }
    assert_eq!(profile.oaep_sha256, OaepMethod::RawWithHostUnpadding);
    let strict = Engine::start(Settings { allow_raw_rsa: false, ..settings }).unwrap();
    assert_eq!(strict.profile().oaep_sha256, OaepMethod::Refused);
    assert!(!strict.profile().supports(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt));
    let (id, usage) = (MaterialId([0; 32]), KeyUsage::EncryptDecrypt);
    let generate = Generate { id, spec: KeySpec::Rsa2048, usage, place: wrapped() };
    assert_eq!(kind(strict.call(generate, soon()).await), Kind::Unsupported);
}

#[tokio::test]
async fn what_a_killed_probe_left_goes_and_nothing_that_only_looks_like_it() {
    let settings = bare_token();
    let label = "strongroom probe";
    // Even a wrapping key of that name stays.
    let named_so = Settings { wrapping_key_label: label.to_owned(), ..settings.clone() };
    assert!(init_wrapping_key(&named_so).unwrap().created);
    let intruder = intruder(&settings);
    intruder.login(UserType::User, Some(&PIN.to_owned().into())).unwrap();
    let leave = |label: &str, id: &[u8], others: &[Attribute]| {
        let mut template = vec![
            Attribute::Token(true),
            Attribute::ValueLen(32.into()),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
        ];
        let closed = [Attribute::Sign(false), Attribute::Verify(false), Attribute::Wrap(false)];
        template.extend(closed.into_iter().chain([Attribute::Unwrap(false), Attribute::Derive(false)]));
        template.retain(|one| others.iter().all(|other| other.attribute_type() != one.attribute_type()));
        template.extend_from_slice(others);
        intruder.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    };
    leave(label, &[1; 16], &[]);
    leave(label, &[2; 16], &[]);
    leave(label, &[3; 8], &[]);
    leave("strongroom probes", &[4; 16], &[]);
    leave(label, &[5; 16], &[Attribute::Wrap(true)]);
    leave(label, &[6; 16], &[Attribute::Token(false)]);
    let _hsm = Engine::start(Settings { holds_wrapping_key: false, ..settings }).unwrap();
    let left = |n: u8, len| intruder.find_objects(&[Attribute::Id(vec![n; len])]).unwrap().len();
    assert_eq!([left(1, 16), left(2, 16)], [0, 0]);
    assert_eq!([left(3, 8), left(4, 16), left(5, 16), left(6, 16)], [1, 1, 1, 1]);
    let stored = intruder.find_objects(&[Attribute::Label(label.into()), Attribute::Token(true)]).unwrap();
    assert_eq!(stored.len(), 3, "the wrapping key, the short id, the one that wraps; and none of this start");
}
