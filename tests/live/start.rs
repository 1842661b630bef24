//! The start: what a second one finds, and what is said when it cannot be.

use std::{fs, process::Output};

use serde_json::{Value, json};

use crate::{
    server::{Server, within},
    wire::Connection,
};

/// Exit status when the HSM refuses the PIN.
const PIN_REFUSED: i32 = 78;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A development directory, set up, and nobody serving it.
fn set_up() -> Server {
    let mut server = Server::started();
    assert_eq!(server.stop().code(), Some(0));
    server
}

#[test]
fn a_second_start_finds_everything() {
    let mut server = Server::started();
    let before = server.administrator();
    let key = server.new_key();
    server.done("CreateAlias", &json!({"AliasName": "alias/kept", "TargetKeyId": key}));
    server.done("TagResource", &json!({"KeyId": key, "Tags": [{"TagKey": "a", "TagValue": "b"}]}));
    let described = server.done("DescribeKey", &json!({"KeyId": key}));
    let sealed = server.done("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}));
    for polite in [true, false] {
        match polite {
            true => assert_eq!(server.stop().code(), Some(0)),
            false => server.kill(),
        }
        server.start();
        assert_eq!(server.administrator().id, before.id);
        assert_eq!(server.administrator().secret, before.secret);
        assert_eq!(server.done("DescribeKey", &json!({"KeyId": "alias/kept"})), described);
        let opened = server.done("Decrypt", &json!({"CiphertextBlob": sealed["CiphertextBlob"]}));
        assert_eq!(opened["Plaintext"], "eA==");
        let tags = server.done("ListResourceTags", &json!({"KeyId": key}));
        assert_eq!(tags["Tags"], json!([{"TagKey": "a", "TagValue": "b"}]));
    }
}

#[test]
fn a_directory_that_does_not_say_where_softhsm2s_configuration_is_serves_all_the_same() {
    let mut server = set_up();
    let file = server.data().join("strongroom.toml");
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("environment = ")).collect();
    assert_eq!(lines.len() + 1, text.lines().count());
    fs::write(&file, lines.join("\n")).unwrap();
    server.start();
    server.new_key();
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_wrong_pin_is_tried_once_and_ends_the_program_with_its_own_status() {
    let mut server = set_up();
    let pin = server.data().join("pin");
    let right = fs::read_to_string(&pin).unwrap();
    fs::write(&pin, "wrong-pin-0000").unwrap();
    let ended = server.try_start().unwrap_err();
    assert_eq!(ended.status.code(), Some(PIN_REFUSED), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("C_Login").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("CKR_PIN_INCORRECT"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("wrong-pin-0000"), "{}", ended.stderr);

    fs::write(&pin, right).unwrap();
    server.start();
    server.new_key();
}

#[test]
fn a_pin_that_cannot_be_read_is_said_to_be_so() {
    let mut server = set_up();
    fs::remove_file(server.data().join("pin")).unwrap();
    let ended = server.try_start().unwrap_err();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("hsm.pin:") && ended.stderr.contains("No such file"), "{}", ended.stderr);
}

#[test]
fn a_module_that_is_not_there_is_named() {
    let mut server = Server::new().with_argument("--module").with_argument("/nowhere/libhsm.so");
    let ended = server.try_start().unwrap_err();
    assert_eq!(ended.status.code(), Some(1));
    let text = "strongroom: /nowhere/libhsm.so is not there: install the package softhsm2, or name the module with \
                --module\n";
    assert_eq!(ended.stderr, text);

    let mut server = set_up().with("STRONGROOM__HSM__MODULE", "/nowhere/libhsm.so");
    let ended = server.try_start().unwrap_err();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.starts_with("strongroom: the HSM: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("/nowhere/libhsm.so"), "{}", ended.stderr);
}

#[test]
fn a_token_that_is_not_there_is_named() {
    let mut server = set_up().with("STRONGROOM__HSM__TOKEN", "pkcs11:token=elsewhere");
    let ended = server.try_start().unwrap_err();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("elsewhere"), "{}", ended.stderr);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut server = Server::new();
    let data = server.data().into_os_string();
    server = server.with_arguments(["dev".into(), "--listen".into(), address.clone().into(), "--data".into(), data]);
    let ended = server.try_start().unwrap_err();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains(&address) && ended.stderr.contains("in use"), "{}", ended.stderr);
}

#[test]
fn a_program_that_writes_pins_to_files_is_not_let_in() {
    for name in ["PKCS11SPY", "P11_KIT_DEBUG", "SOFTHSM2_PKCS11_DBG", "PKCS11_LOGGER_LOG_FILE_PATH"] {
        let ended = Server::new().with(name, "x").try_start().unwrap_err();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains(&format!("{name} is set")), "{}", ended.stderr);
    }
}

#[test]
fn the_configuration_is_shown_without_secrets() {
    let server = Server::started();
    let shown = server.printed(&["config", "check"]);
    let shown_value: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown_value["account"], "000000000000");
    assert_eq!(shown_value["limits"]["connections"], 8192);
    assert_eq!(shown_value["hsm"]["pin"], json!({"file": server.data().join("pin")}));
    for name in ["pin", "so-pin"] {
        assert!(!shown.contains(&fs::read_to_string(server.data().join(name)).unwrap()), "{name}");
    }
    assert!(!shown.contains(&server.administrator().secret));
}

#[test]
fn a_field_that_is_not_known_is_refused() {
    let server = set_up();
    let file = server.data().join("strongroom.toml");
    let right = fs::read_to_string(&file).unwrap();
    for wrong in ["nonsense = 1\n", "[limits]\nnonsense = 1\n", "[authentication]\nenabled = false\n"] {
        let text = if wrong.starts_with('[') { format!("{right}\n{wrong}") } else { format!("{wrong}{right}") };
        fs::write(&file, text).unwrap();
        let output = server.verb(&["config", "check"]);
        assert_eq!(output.status.code(), Some(1), "{wrong}");
        let name = if wrong.contains("nonsense") { "nonsense" } else { "authentication" };
        assert!(stderr(&output).contains(&format!("unknown field `{name}`")), "{}", stderr(&output));
    }
    fs::write(&file, right).unwrap();
    let mut server = server.with("STRONGROOM__LIMITS__NONSENSE", 1);
    let ended = server.try_start().unwrap_err();
    assert!(ended.stderr.contains("unknown field `nonsense`"), "{}", ended.stderr);
}

#[test]
fn plain_http_off_loopback_is_refused() {
    let text = "plain HTTP off loopback needs `tls`";
    let server = set_up().with("STRONGROOM__LISTEN", "0.0.0.0:0");
    let output = server.verb(&["config", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(text), "{}", stderr(&output));

    let mut server = Server::new();
    let data = server.data().into_os_string();
    server = server.with_arguments(["dev".into(), "--listen".into(), "0.0.0.0:0".into(), "--data".into(), data]);
    let ended = server.try_start().unwrap_err();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
}

#[test]
fn a_verb_on_a_directory_that_is_none_makes_none() {
    let server = Server::new();
    let output = server.verb(&["config", "check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&*server.data().to_string_lossy()), "{}", stderr(&output));
    assert!(!server.data().exists());
}

#[test]
fn the_operators_door_answers() {
    let server = Server::started();
    let get = |path: &str| {
        let mut connection = Connection::open(server.address());
        let answer = connection.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).answer();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    assert_eq!(get("/healthz"), (200, "ok\n".to_owned()));
    let mut readiness = get("/readyz");
    within(std::time::Duration::from_secs(5), || {
        readiness = get("/readyz");
        readiness.0 == 200
    });
    assert_eq!(readiness, (200, "ready\n".to_owned()));
    server.new_key();
    let (status, metrics) = get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("CreateKey") && metrics.ends_with("# EOF\n"), "{metrics}");
}

#[test]
fn where_a_spy_would_see_the_pin_nobody_logs_in() {
    let server = set_up().with("PKCS11SPY", "/nonexistent");
    for verb in [&["hsm", "probe"], &["hsm", "init"]] {
        let refused = server.verb(verb);
        assert_eq!(refused.status.code(), Some(1), "{verb:?}");
        assert!(stderr(&refused).contains("PKCS11SPY is set"), "{verb:?}: {}", stderr(&refused));
    }
}

#[test]
fn a_log_in_a_file_is_plain_and_a_filter_that_is_none_is_said_to_be_so() {
    let mut server = Server::new().with("RUST_LOG", "strongroom=loud");
    server.start();
    let log = server.stderr();
    assert!(log.contains("RUST_LOG is not understood") && log.contains("the HSM is well"), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}
