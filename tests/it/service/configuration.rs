//! The configuration files that are given out, and what a configuration may not say.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use strongroom::{config::Config, server::operator::config_check::check};

use crate::{attester::Attester, world::World};

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

/// A field of the example: where it is, and what its comment says that it is without being set.
struct Documented {
    place: String,
    default: Option<String>,
    reloads: bool,
}

/// Every field of the example, also those that are commented out; those of tables that there may be several of have no defaults.
fn documented() -> Vec<Documented> {
    let (mut table, mut comment, mut found) = (Some(String::new()), String::new(), Vec::new());
    for line in std::fs::read_to_string("deploy/strongroom.toml").unwrap().lines() {
        let bare = line.trim_start_matches(['#', ' ']);
        if line.is_empty() {
            comment.clear();
            // What is commented out ends with its paragraph.
            table = table.or_else(|| Some("hsm.".to_owned()));
        } else if bare.starts_with("[[") {
            table = None;
        } else if bare.starts_with('[') {
            table = Some(bare.trim_matches(['[', ']']).to_owned() + ".");
        } else if let Some((name, _)) = bare.split_once(" = ").filter(|(name, _)| is_field(name)) {
            let (default, reloads) = (default_in(&comment), comment.contains("(reload)"));
            found.extend(table.iter().map(|table| Documented {
                place: format!("{table}{name}"),
                default: default.clone(),
                reloads,
            }));
        } else {
            comment += &format!("{bare} ");
        }
    }
    found
}

fn is_field(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// What stands after `Default: `, up to a comma or the end of the sentence; nothing after `No default.`
fn default_in(comment: &str) -> Option<String> {
    let (_, said) = comment.split_once("Default: ")?;
    let end = said.find(". ").unwrap_or_else(|| panic!("no end: {comment}"));
    Some(said[..end].split(',').next().unwrap().to_owned())
}

/// What is in effect of a field that is not set, as the example would say it.
fn in_effect(place: &str) -> String {
    let effective: serde_json::Value = serde_json::from_str(&Config::parse(MINIMAL).unwrap().effective()).unwrap();
    let value = place.split('.').fold(&effective, |value, name| &value[name]);
    match value {
        serde_json::Value::Null => "none".to_owned(),
        serde_json::Value::Array(none) if none.is_empty() => "none".to_owned(),
        value => value.to_string(),
    }
}

#[test]
fn every_default_in_the_example_is_the_default() {
    let (with, without): (Vec<_>, Vec<_>) = documented().into_iter().partition(|field| field.default.is_some());
    assert!(with.len() >= 20, "{}", with.len());
    for Documented { place, default, .. } in with {
        assert_eq!(default.unwrap(), in_effect(&place), "{place}");
    }
    // The others must be set.
    let required =
        ["account", "tls.certificate", "tls.key", "store.path", "audit.path", "hsm.module", "hsm.token", "hsm.pin"];
    assert_eq!(without.iter().map(|field| &field.place).collect::<Vec<_>>(), required);
    for name in ["account", "path", "module", "token", "pin"] {
        let text = MINIMAL.lines().filter(|line| !line.starts_with(&format!("{name} = ")));
        assert!(refusal(&text.collect::<Vec<_>>().join("\n")).contains("missing"), "{name}");
    }
}

fn has(config: &Config, place: &str) -> bool {
    let config = serde_json::to_value(config).unwrap();
    place.split('.').try_fold(&config, |value, name| value.get(name)).is_some()
}

/// Another value of the same kind.
fn another(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::{Value, json};
    match value {
        Value::Bool(is) => json!(!is),
        Value::Number(number) => json!(number.as_u64().unwrap() + 1),
        Value::Array(list) if list.is_empty() => json!(["/r"]),
        Value::Array(list) => json!([format!("{}-2", list[0].as_str().unwrap())]),
        Value::Object(_) => json!({"file": "/another"}),
        value => json!(match value.as_str().unwrap() {
            "info" => "debug".to_owned(),
            "wrapped" => "token".to_owned(),
            "process" => "none".to_owned(),
            text =>
                text.replace("8200", "8201").replace("000000000000", "000000000001").replace("tls", "tls2")
                    + if text.contains(':') && !text.contains("pkcs11") || text.starts_with("0000") { "" } else { "2" },
        }),
    }
}

#[test]
fn the_example_says_which_fields_a_reload_takes_up_and_those_it_does() {
    let one = example("deploy/strongroom.toml");
    let fields: Vec<_> = documented().into_iter().filter(|field| has(&one, &field.place)).collect();
    assert!(fields.len() > 25, "{}", fields.len());
    for Documented { place, reloads, .. } in fields {
        let (mut other, (table, name)) =
            (serde_json::to_value(&one).unwrap(), place.split_once('.').unwrap_or(("", &place)));
        let field = if table.is_empty() { &mut other[name] } else { &mut other[table][name] };
        *field = another(field);
        let other: Config = serde_json::from_value(other).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(one.differences(&other), [&*place]);
        let taken_up = one.with_changes_of(&other);
        assert_eq!(one.differences(&taken_up).is_empty(), !reloads, "{place} is taken up, or it is not");
        assert_eq!(taken_up.differences(&other).is_empty(), reloads, "{place}");
    }
}

const CANARY: &str = "4711081518";

/// A PIN or a key that stands where only its place should.
#[test]
fn no_error_repeats_what_may_be_a_secret() {
    let pin = |value: &str| MINIMAL.replace("pin = { file = \"/p\" }", &format!("pin = {value}"));
    let hsm = |field: &str| format!("{MINIMAL}\n{field}");
    let further = |field: &str| hsm(&format!("[[hsm.further]]\nname = \"a\"\ntoken = \"pkcs11:token=u\"\n{field}"));
    let cluster =
        |field: &str| hsm(&format!("[[clusters]]\nid = \"cluster-2abcdefghij\"\ntoken = \"pkcs11:token=u\"\n{field}"));
    let tls = |field: &str| hsm(&format!("[tls]\ncertificate = \"/c\"\n{field}"));
    let forms = [
        "\"@\"",
        "'@'",
        "@",
        "[\"@\"]",
        "[@]",
        "{ value = \"@\" }",
        "{ \"@\" = \"@\" }",
        "{ file = @ }",
        "{ file = [\"@\"] }",
        "{ file = \"@\" }",
        "{ fd = \"@x\" }",
        "{ fd = -@ }",
        "{ fd = @@ }",
        "{ credential = \"@\" }",
        "{ environment = \"@\" }",
        "{ environment = \"PIN=@\" }",
        "{ environment = @ }",
        "{ file = \"/p\", value = \"@\" }",
        "{ pin = @ }",
        "\"@",
        "@ @",
        "{ file = \"@ }",
        "{ file = @",
        "\"\\q@\"",
        "{ file: \"@\" }",
    ];
    let pins =
        forms.iter().flat_map(|form| [pin(form), further(&format!("pin = {form}")), cluster(&format!("pin = {form}"))]);
    let others = [
        hsm("environment = \"PIN=@\""),
        hsm("environment = [\"@\"]"),
        hsm("environment = { PIN = [\"@\"] }"),
        hsm("environment = { PIN = \"@ }"),
        further("environment = \"@\""),
        cluster("environment = \"@\""),
        hsm("init_reserved = [\"@\"]"),
        hsm("init_reserved = \"password='@"),
        hsm("password = \"@\""),
        hsm("password = \"@"),
        MINIMAL.replace("token=t", "token=t?pin-value=@"),
        MINIMAL.replace("token=t", "token=t;pin-value=@"),
        MINIMAL.replace("token=t", "token=t?pin-value:@"),
        MINIMAL.replace("pkcs11:token=t", "@"),
        tls("key = \"-----BEGIN PRIVATE KEY-----@\""),
        tls("key = \"\"\"\n-----BEGIN PRIVATE KEY-----\n@\n\"\"\""),
        tls("key = [\"@\"]"),
        tls("key = \"-----BEGIN PRIVATE KEY-----\n@\""),
        MINIMAL.replace("[hsm]", "hsm = \"@\"\n[other]"),
        format!("hsm = \"@\"\n{MINIMAL}"),
    ];
    for text in pins.chain(others) {
        let text = text.replace('@', CANARY);
        let refused = refusal(&text);
        assert!(!refused.contains(CANARY), "{text}\n{refused}");
        assert!(!refused.is_empty());
    }
    assert!(refusal(&pin("\"1234\"")).contains("the PIN itself is not accepted for key `hsm.pin`"));
}

#[test]
fn no_error_about_a_seed_repeats_the_secret_of_an_access_key() {
    let dir = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("a.toml", "[[principals]]\nname = \"a\"\nsecret_access_key = [\"@\"]"),
        ("b.toml", "[[principals]]\nname = \"a\"\nsecret_access_key = { value = \"@\" }"),
        ("c.toml", "[[principals]]\nname = \"a\"\nsecret_access_key = \"@"),
        ("d.toml", "[[principals]]\nname = \"a\"\nsecret_access_key = @x"),
        ("e.toml", "[[principals]]\nname = \"a\"\naccess_key = \"@\""),
        ("f.toml", "principals = \"@\""),
        ("g.json", "{\"principals\": [{\"name\": \"a\", \"secret_access_key\": [\"@\"]}]}"),
        ("h.json", "{\"principals\": [\"@\"]}"),
        ("i.json", "{\"principals\": [{\"secret_access_key\": \"@\" \"@\"}]}"),
    ] {
        let path = dir.path().join(file);
        std::fs::write(&path, text.replace('@', CANARY)).unwrap();
        let refused = strongroom::dev::read_seed(&path).err().unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(!refused.text.contains(CANARY), "{text}\n{}", refused.text);
    }
}

#[test]
fn what_is_in_effect_shows_no_variable_of_a_module() {
    let hsm = format!("environment = {{ PIN = \"{CANARY}\" }}");
    let further = format!("[[hsm.further]]\nname = \"a\"\ntoken = \"pkcs11:token=u\"\n{hsm}");
    let shown = Config::parse(&format!("{MINIMAL}{hsm}\n{further}")).unwrap().effective();
    assert!(!shown.contains(CANARY) && shown.matches("\"PIN\"").count() == 2, "{shown}");
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
        ("[hsm]", "[hsm]\nsessions = 401", "at most 400"),
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
    for name in
        ["HSM", "HSM__PIN", "HSM__PIN__VALUE", "HSM__PIN__FD", "HSM__ENVIRONMENT", "HSM__PASSWORD", "HSM__TOKEN"]
    {
        let variable = format!("STRONGROOM__{name}");
        let refused = check(&variable, CANARY);
        assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("{variable}: ")), "{refused:?}");
        assert!(!refused.status.success() && !format!("{refused:?}").contains(CANARY), "{name}: {refused:?}");
    }
    let refused = check("STRONGROOM__TLS__KEY", &format!("-----BEGIN PRIVATE KEY-----\n{CANARY}"));
    assert!(!refused.status.success() && !format!("{refused:?}").contains(CANARY), "{refused:?}");
    for (name, value) in [("HSM__SESSIONS", "many"), ("HSM__SESSIONS", "0"), ("HSM__UNHEARD", "1"), ("LISTEN", "x")] {
        let variable = format!("STRONGROOM__{name}");
        let refused = check(&variable, value);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(&format!("{variable}: ")) && !said.contains("wrong: "), "{said}");
    }
    let raw_rsa = check("STRONGROOM__HSM__ALLOW_RAW_RSA", "true");
    let effective: serde_json::Value = serde_json::from_slice(&raw_rsa.stdout).unwrap();
    assert_eq!(effective["hsm"]["allow_raw_rsa"], true);
    let label = check("STRONGROOM__HSM__WRAPPING_KEY_LABEL", "007");
    assert!(String::from_utf8_lossy(&label.stdout).contains("\"007\""), "{label:?}");
    let account = check("STRONGROOM__ACCOUNT", "000011112222");
    assert!(String::from_utf8_lossy(&account.stdout).contains("000011112222"), "{account:?}");
}

/// A configuration all of whose files are there and private, and what is to be replaced in it.
struct Sound {
    dir: tempfile::TempDir,
    text: String,
}

impl Sound {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        for (name, content, mode) in [
            ("module", "", 0o644),
            ("pin", "1234", 0o600),
            ("certificate", &made.cert.pem(), 0o644),
            ("key", &made.signing_key.serialize_pem(), 0o600),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        let at = |name: &str| dir.path().join(name).display().to_string();
        let text = format!(
            "account = \"111122223333\"\n[tls]\ncertificate = {:?}\nkey = {:?}\n[store]\npath = {:?}\n[audit]\npath = {:?}\n\
             [hsm]\nmodule = {:?}\ntoken = \"pkcs11:token=t\"\npin = {{ file = {:?} }}\n",
            at("certificate"),
            at("key"),
            at("store"),
            at("audit"),
            at("module"),
            at("pin"),
        );
        Self { dir, text }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What is wrong, a line each, with `from` replaced by `to`.
    async fn wrong(&self, from: &str, to: &str) -> Vec<String> {
        assert!(self.text.contains(from), "{from}");
        let config = Config::parse(&self.text.replace(from, to)).unwrap();
        let findings = check(&config).await.into_iter().filter(|finding| finding.is_wrong);
        findings.map(|finding| finding.to_string()).collect()
    }

    /// That one thing is wrong, and that these words say which.
    async fn one(&self, from: &str, to: &str, words: &[&str]) {
        let wrong = self.wrong(from, to).await;
        let [line] = &wrong[..] else { panic!("{words:?}: {wrong:?}") };
        assert!(words.iter().all(|word| line.contains(word)), "{words:?}: {line}");
    }
}

#[tokio::test]
async fn what_a_configuration_names_is_looked_at() {
    let sound = Sound::new();
    assert_eq!(sound.wrong("", "").await, [""; 0]);
    for (name, field) in [("module", "hsm.module"), ("pin", "hsm.pin"), ("certificate", "tls.certificate")] {
        sound.one(&format!("/{name}\""), "/missing\"", &[field, "missing is not there"]).await;
        sound.one(&format!("/{name}\""), "\"", &[field, "is a directory"]).await;
    }
    sound.one("/audit\"", "/missing/audit\"", &["audit.path", "missing is not there"]).await;
    sound.one("/certificate\"", "/key\"", &["wrong: tls"]).await;
    let relative = sound.wrong(&format!("{:?}", sound.at("store")), "\"store\"").await;
    assert!(relative.iter().any(|line| line.contains("store.path: store is relative")), "{relative:?}");
    for (name, field) in [("pin", "hsm.pin"), ("key", "tls.key")] {
        std::fs::set_permissions(sound.at(name), Permissions::from_mode(0o644)).unwrap();
        sound.one("", "", &[field, "open to others (mode 0644): chmod 640 it"]).await;
        std::fs::set_permissions(sound.at(name), Permissions::from_mode(0o640)).unwrap();
    }
    assert_eq!(sound.wrong("", "").await, [""; 0]);
}

#[tokio::test]
async fn a_store_is_looked_at_and_not_touched() {
    let sound = Sound::new();
    let (world, config) = (World::new().await, Config::parse(&sound.text).unwrap());
    let of_world =
        sound.text.replace(&sound.at("store").display().to_string(), &world.database().display().to_string());
    let said = |text: String| async move {
        let findings = check(&Config::parse(&text).unwrap()).await;
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let missing = said(sound.text.clone()).await;
    assert!(missing.contains("note: store.path:") && missing.contains("the first start makes it"), "{missing}");
    assert!(!sound.at("store").exists() && config.store.path == sound.at("store"));
    let there = said(of_world.clone()).await;
    assert!(there.contains("it is of account 111122223333") && there.contains("belongs to"), "{there}");
    let other = said(of_world.replace("111122223333", "444455556666")).await;
    assert!(other.contains("wrong: store.path: it is of account 111122223333, not 444455556666"), "{other}");
}
