//! Tokens of SoftHSM2 for tests. `SOFTHSM2_CONF` must name a configuration before the tests start, because the module reads
//! it once per process; each test has a token of its own in the token directory that it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use strongroom::hsm::{PinSource, Settings, TokenSelector, init_token, init_wrapping_key};
use strongroom::secret::SecretText;

/// The PIN of the security officer of every test token.
pub const SO_PIN: &str = "so-pin-5678";

/// The PIN of every test token.
pub const PIN: &str = "test-pin-1234";

/// Where Debian has the module.
pub fn module() -> PathBuf {
    std::env::var_os("STRONGROOM_TEST_PKCS11").map_or("/usr/lib/softhsm/libsofthsm2.so".into(), PathBuf::from)
}

/// Settings of a new token without a wrapping key.
pub fn bare_token() -> Settings {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    assert!(std::env::var_os("SOFTHSM2_CONF").is_some(), "run the tests with scripts/test, which sets SOFTHSM2_CONF");
    let label = format!("test {} {}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    init_token(&module(), &label, &secret(SO_PIN), &secret(PIN)).unwrap();
    settings(&module(), &label)
}

/// Settings of a new token with a wrapping key.
pub fn token() -> Settings {
    let settings = bare_token();
    assert!(init_wrapping_key(&settings).unwrap().created);
    settings
}

fn settings(module: &Path, label: &str) -> Settings {
    let name = label.replace(' ', "-");
    Settings {
        module: module.to_owned(),
        token: TokenSelector::labelled(label),
        pin: PinSource::File(pin_file()),
        ledger: scratch().join(format!("{name}.logins")),
        name,
        environment: BTreeMap::new(),
        keepalive_ms: 0,
        growth_bytes: 256 << 20,
        sessions: 2,
        queue: 128,
        cached_handles: 16,
        wrapping_key_label: "strongroom wrapping key".to_owned(),
        allow_raw_rsa: true,
    }
}

/// Where the configuration of SoftHSM2 is, and what tests leave goes.
fn scratch() -> PathBuf {
    let conf = PathBuf::from(std::env::var_os("SOFTHSM2_CONF").unwrap());
    conf.parent().unwrap().to_owned()
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
