//! The configuration files that are given out, and what a configuration may not say.

use std::process::Command;

use strongroom::{config::Config, kms::KeyStoreKind};

use crate::attester::Attester;

const MINIMAL: &str = r#"
account = "111122223333"
[store]
path = "/s"
[audit]
path = "/a"
[hsm]
module = "/m"
token = "pkcs11:token=t"
pin = { file = "/p" }
"#;

fn example(file: &str) -> Config {
    Config::parse(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn refusal(text: &str) -> String {
    Config::parse(text).err().unwrap_or_else(|| panic!("accepted: {text}"))
}

#[test]
fn the_examples_are_configurations() {
    assert_eq!(example("deploy/strongroom.toml").regions, ["eu-onprem-1"]);
    assert!(example("softhsm/strongroom.toml").hsm.allow_raw_rsa);
}

/// Each value in the example that its comment calls the default is the default.
#[test]
fn the_defaults_in_the_example_are_the_defaults() {
    let (example, minimal) = (example("deploy/strongroom.toml"), Config::parse(MINIMAL).unwrap());
    let of = |config: &Config| {
        let (hsm, limits) = (&config.hsm, &config.limits);
        (
            (config.partition.clone(), config.plain_http, hsm.sessions, hsm.queue, hsm.deadline_ms),
            (hsm.cached_handles, hsm.keeping == KeyStoreKind::Wrapped, hsm.wrapping_key_label.clone()),
            (hsm.allow_raw_rsa, limits.connections, limits.body_bytes, limits.header_timeout_ms),
            limits.body_timeout_ms,
        )
    };
    assert_eq!(of(&example), of(&minimal));
}

#[test]
fn the_example_names_every_field() {
    let text = std::fs::read_to_string("deploy/strongroom.toml").unwrap();
    let effective: serde_json::Value = serde_json::from_str(&example("deploy/strongroom.toml").effective()).unwrap();
    for (name, value) in effective.as_object().unwrap() {
        for field in value.as_object().into_iter().flat_map(|table| table.keys()).chain([name]) {
            let named = text.contains(&format!("\n{field} = ")) || text.contains(&format!("\n[{field}]"));
            assert!(named || field == "file" || field == "credential", "{field} is not in the example");
        }
    }
}

#[test]
fn what_a_module_is_told_another_is_not() {
    let further = |more: &str| {
        let text = MINIMAL.replace("[hsm]", "[hsm]\ninit_reserved = \"first\"");
        let further = format!("{text}\n[[hsm.further]]\nname = \"second\"\ntoken = \"pkcs11:token=u\"\n{more}");
        let settings = Config::parse(&further).unwrap().hsm_settings().unwrap();
        settings.into_iter().map(|hsm| hsm.init_reserved.unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(further(""), ["first", "first"]);
    assert_eq!(further("module = \"/n\""), ["first", ""]);
    assert_eq!(further("module = \"/n\"\ninit_reserved = \"second\""), ["first", "second"]);
}

#[test]
fn a_cluster_is_an_hsm_without_a_pin_and_without_a_wrapping_key() {
    let cluster = |more: &str| format!("{MINIMAL}\n[[clusters]]\ntoken = \"pkcs11:token=u\"\n{more}");
    let parsed = Config::parse(&cluster("id = \"cluster-2abcdefghij\"\nbackup = \"b\"")).unwrap();
    let [cluster_of] = &parsed.cluster_settings().unwrap()[..] else { panic!("not one") };
    let (settings, first) = (&cluster_of.settings, &parsed.hsm_settings().unwrap()[0]);
    assert_eq!((&*settings.name, cluster_of.backup.as_deref()), ("cluster-2abcdefghij", Some("b")));
    assert_eq!((&settings.module, settings.sessions, &settings.ledger), (&first.module, first.sessions, &first.ledger));
    assert!(first.holds_wrapping_key && !settings.holds_wrapping_key && settings.pin != first.pin);
    for (more, word) in [
        ("id = \"cluster-1abcdefghij\"", "cluster-1abcdefghij"),
        ("id = \"cluster-2abcdefghij\"\npin = { file = \"/p\" }", "pin"),
        (
            "id = \"cluster-2abcdefghij\"\n[[clusters]]\nid = \"cluster-2abcdefghij\"\ntoken = \"pkcs11:token=v\"",
            "name",
        ),
        (
            "id = \"cluster-2abcdefghij\"\n[[clusters]]\nid = \"cluster-3abcdefghij\"\ntoken = \"v\"",
            "clusters: cluster-3abc",
        ),
    ] {
        let refused = refusal(&cluster(more));
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn an_unknown_field_is_refused_wherever_it_is() {
    for text in [
        format!("authentication = false\n{MINIMAL}"),
        format!("{MINIMAL}\nslot = 0"),
        format!("{MINIMAL}\n[limits]\nunheard = 1"),
        MINIMAL.replace("[audit]", "[audit]\nenabled = false"),
        MINIMAL.replace("[store]", "[store]\nunheard = 1"),
        format!("{MINIMAL}\n[unheard]"),
    ] {
        assert!(refusal(&text).contains("unknown field"), "{}", refusal(&text));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (from, to, why) in [
        ("111122223333", "1111", "12 digits"),
        ("pkcs11:token=t", "pkcs11:slot-id=1", "hsm.token"),
        ("pkcs11:token=t", "t", "hsm.token"),
        ("[store]", "listen = \"0.0.0.0:1\"\n[store]", "listen"),
        ("[hsm]", "[hsm]\nsessions = 0", "hsm.sessions"),
        ("[hsm]", "[hsm]\nkeeping = \"nowhere\"", "nowhere"),
        ("path = \"/a\"", "", "path"),
    ] {
        let refused = refusal(&MINIMAL.replace(from, to));
        assert!(refused.contains(why), "{to}: {refused}");
    }
}

#[test]
fn plain_http_off_loopback_must_be_asked_for() {
    let off = |more: &str| MINIMAL.replace("[store]", &format!("listen = \"0.0.0.0:1\"\n{more}\n[store]"));
    Config::parse(&off("plain_http = true")).unwrap();
    Config::parse(&off("[tls]\ncertificate = \"/c\"\nkey = \"/k\"")).unwrap();
}

#[test]
fn attestation_roots_are_read_and_a_wrong_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let [good, empty, missing] = ["good.pem", "empty.pem", "missing.pem"].map(|name| dir.path().join(name));
    std::fs::write(&good, Attester::new().root_pem()).unwrap();
    std::fs::write(&empty, "").unwrap();
    let config = |roots| Config::parse(&format!("{MINIMAL}\n[attestation]\nroots = {roots:?}")).unwrap();
    assert!(Config::parse(MINIMAL).unwrap().kms_settings().unwrap().attestation_roots.is_empty());
    assert!(!config(vec![&good]).kms_settings().unwrap().attestation_roots.is_empty());
    assert!(config(vec![&good]).effective().contains("good.pem"));
    for (file, why) in [(&empty, "no certificate"), (&missing, "No such file")] {
        let refused = config(vec![&good, file]).kms_settings().err().unwrap();
        assert!(refused.starts_with(&format!("attestation.roots: {}: ", file.display())), "{refused}");
        assert!(refused.contains(why), "{refused}");
    }
}

/// In a process of its own: the environment of this one is everybody's.
#[test]
fn the_environment_comes_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strongroom.toml");
    std::fs::write(&file, MINIMAL).unwrap();
    let check = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
        command.args(["config", "check", "--config"]).arg(&file).env(name, value).output().unwrap()
    };
    let output = check("STRONGROOM__HSM__SESSIONS", "9");
    let effective: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(effective["hsm"]["sessions"], 9);
    let regions = check("STRONGROOM__REGIONS", "eu-a-1,eu-b-1");
    let effective: serde_json::Value = serde_json::from_slice(&regions.stdout).unwrap();
    assert_eq!(effective["regions"], serde_json::json!(["eu-a-1", "eu-b-1"]));
    let roots = check("STRONGROOM__ATTESTATION__ROOTS", "/r/one.pem, /r/two.pem");
    let effective: serde_json::Value = serde_json::from_slice(&roots.stdout).unwrap();
    assert_eq!(effective["attestation"]["roots"], serde_json::json!(["/r/one.pem", "/r/two.pem"]));
    assert!(!check("STRONGROOM__HSM__UNHEARD", "1").status.success());
    assert!(!check("STRONGROOM__HSM__SESSIONS", "many").status.success());
    let raw_rsa = check("STRONGROOM__HSM__ALLOW_RAW_RSA", "true");
    let effective: serde_json::Value = serde_json::from_slice(&raw_rsa.stdout).unwrap();
    assert_eq!(effective["hsm"]["allow_raw_rsa"], true);
    let label = check("STRONGROOM__HSM__WRAPPING_KEY_LABEL", "007");
    assert!(String::from_utf8_lossy(&label.stdout).contains("\"007\""), "{label:?}");
    let account = check("STRONGROOM__ACCOUNT", "000011112222");
    assert!(String::from_utf8_lossy(&account.stdout).contains("000011112222"), "{account:?}");
}
