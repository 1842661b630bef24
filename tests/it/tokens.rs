//! The HSM of this run, as `softhsm/tokens` has set it up and says in the environment; each test has a token of its own in
//! it. No test knows which HSM it is.

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use strongroom::hsm::{PinSource, Settings, TokenSelector, init_token, init_wrapping_key};
use strongroom::secret::SecretText;

/// The PIN of the security officer of every test token. No PIN of openCryptoki is longer.
pub const SO_PIN: &str = "so-sesam";

/// The PIN of every test token.
pub const PIN: &str = "sesam-12";

/// The module; by default that of SoftHSM2, where Debian has it.
pub fn module() -> PathBuf {
    env::var_os("STRONGROOM_TEST_PKCS11").map_or("/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from)
}

/// Settings of a new token without a wrapping key.
pub fn bare_token() -> Settings {
    settings(&ready_token().unwrap_or_else(new_token))
}

/// Settings of a new token with a wrapping key.
pub fn token() -> Settings {
    let settings = bare_token();
    assert!(init_wrapping_key(&settings).unwrap().created);
    settings
}

/// The label of a token that was ready before the tests, for a module that makes none; no other test gets it.
fn ready_token() -> Option<String> {
    let count: u32 = env::var("STRONGROOM_TEST_TOKENS").ok()?.parse().unwrap();
    let mut labels = (0..count).map(|number| format!("test {number}"));
    let is_ours = |label: &String| File::create_new(scratch().join(format!("{label}.taken"))).is_ok();
    Some(labels.find(is_ours).expect("a token that no test has had"))
}

/// The label of a token that is made now.
fn new_token() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let label = format!("test {} {}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    init_token(&module(), &label, &secret(SO_PIN), &secret(PIN)).unwrap();
    label
}

fn settings(label: &str) -> Settings {
    let name = label.replace(' ', "-");
    Settings {
        module: module(),
        init_reserved: env::var("STRONGROOM_TEST_INIT_RESERVED").ok(),
        token: TokenSelector::labelled(label),
        pin: PinSource::File(pin_file()),
        held_pin: None,
        ledger: scratch().join(format!("{name}.logins")),
        name,
        environment: BTreeMap::new(),
        keepalive_ms: 0,
        growth_bytes: 256 << 20,
        sessions: 2,
        queue: 128,
        cached_handles: 16,
        holds_wrapping_key: true,
        wrapping_key_label: "strongroom wrapping key".to_owned(),
        allow_raw_rsa: true,
    }
}

/// Where what tests leave goes: beside the HSM.
fn scratch() -> PathBuf {
    let directory = env::var_os("STRONGROOM_TEST_DIRECTORY").expect("scripts/test, or `softhsm/tokens` before");
    PathBuf::from(directory)
}

/// The PIN, in a file.
fn pin_file() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let path = scratch().join(format!("pin-{}", std::process::id()));
        std::fs::write(&path, PIN).unwrap();
        path
    };
    FILE.get_or_init(make).clone()
}

/// A secret that is none.
pub fn secret(text: &str) -> SecretText {
    SecretText::from(text.to_owned())
}
