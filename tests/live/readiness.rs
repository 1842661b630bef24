//! `/readyz` is not ready when no call can work, and says why to a person.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::json;

use crate::{
    server::{Server, within},
    volume::Volume,
};

const SOON: Duration = Duration::from_secs(10);

/// What no person should have to read.
const JARGON: &[&str] =
    &["Some(", "None", "TokenSelector", "Error {", "DeviceLost", "os error", "choose:", "somebody-elses"];

/// A directory that is set up and has a key, to be served by `serve`.
fn set_up() -> (Server, String) {
    let mut server = Server::started();
    let key = server.new_key();
    assert_eq!(server.stop().code(), Some(0));
    let data = server.data().into_os_string();
    (server.with_arguments(["serve".into(), "--data".into(), data]).with("STRONGROOM__LISTEN", "127.0.0.1:0"), key)
}

/// Waits until the service is not ready, and why.
fn why_not(server: &Server) -> String {
    assert!(within(SOON, || server.get("/readyz").0 == 503), "{:?}", server.get("/readyz"));
    let why = server.get("/readyz").1;
    let jargon = JARGON.iter().find(|word| why.contains(**word));
    assert_eq!(jargon, None, "{why}");
    assert!(server.get("/metrics").1.contains("strongroom_ready 0\n"));
    why
}

fn works(server: &Server, key: &str) -> bool {
    server.call("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="})).status == 200
}

/// Another token in the place of the one that there is, or beside it.
fn make_token(server: &Server, label: &str) {
    let pin = fs::read_to_string(server.data().join("pin")).unwrap();
    let mut command = Command::new("softhsm2-util");
    command.args(["--init-token", "--free", "--label", label, "--so-pin", "officer-0000", "--pin", &pin]);
    command.env("SOFTHSM2_CONF", server.data().join("softhsm2.conf"));
    assert!(command.output().unwrap().status.success());
}

fn empty(directory: &Path) {
    fs::rename(directory, directory.with_extension("away")).unwrap();
    fs::create_dir(directory).unwrap();
}

#[test]
fn another_wrapping_key_is_said_and_none_is_made_where_one_is_lost() {
    let (mut server, key) = set_up();
    empty(&server.data().join("tokens"));
    make_token(&server, "strongroom");
    let refused = |server: &Server| {
        let output = server.verb(&["hsm", "init"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("does not have the wrapping key"), "{text}");
        assert!(text.contains("CKA_ID ") && text.contains("hsm join"), "{text}");
    };
    refused(&server);
    // A token that is somebody else's, with a wrapping key of another store.
    let elsewhere = server.root().join("elsewhere.sqlite").display().to_string();
    server = server.with("STRONGROOM__STORE__PATH", elsewhere);
    assert!(server.printed(&["hsm", "init"]).contains("wrapping key made"));
    let store = server.data().join("strongroom.sqlite");
    server = server.with("STRONGROOM__STORE__PATH", store.display());
    refused(&server);
    server.start();
    let why = why_not(&server);
    assert!(why.contains("it does not have the wrapping key that the keys in the store are wrapped under"), "{why}");
    assert!(!works(&server, &key));
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn other_tokens_are_not_named() {
    let (mut server, _) = set_up();
    empty(&server.data().join("tokens"));
    make_token(&server, "somebody-elses");
    server.start();
    let why = why_not(&server);
    assert!(why.contains("no token fits hsm.token"), "{why}");
}

#[test]
fn a_database_that_is_removed_takes_no_more_changes() {
    let server = Server::started();
    let key = server.new_key();
    assert!(works(&server, &key));
    let (store, away) = (server.data().join("strongroom.sqlite"), server.data().join("away.sqlite"));
    fs::rename(&store, &away).unwrap();
    let answer = server.call("CreateKey", &json!({}));
    assert_eq!(
        (answer.status, &*answer.exception()),
        (500, "DependencyTimeoutException"),
        "it would be in no database"
    );
    let why = why_not(&server);
    assert!(why.contains("the store cannot be written: ") && why.contains("was removed or replaced"), "{why}");
    assert!(works(&server, &key), "what changes nothing goes on");
    fs::rename(&away, &store).unwrap();
    assert!(within(SOON, || server.get("/readyz").0 == 200));
    server.new_key();
}

#[test]
fn a_trail_without_room_or_without_a_directory_is_known_before_a_call_needs_it() {
    let Some(volume) = Volume::mount(16 << 10) else { return };
    let directory = volume.file("log");
    fs::create_dir(&directory).unwrap();
    let trail = directory.join("audit.jsonl");
    let mut server = Server::new().with("STRONGROOM__AUDIT__PATH", trail.display());
    server.start();
    assert!(within(SOON, || server.get("/readyz").0 == 200));
    fs::remove_dir_all(&directory).unwrap();
    let why = why_not(&server);
    assert!(why.contains(&format!("the audit trail cannot be written: {}: No such file", trail.display())), "{why}");
    fs::create_dir(&directory).unwrap();
    assert!(within(SOON, || server.get("/readyz").0 == 200));
    server.new_key();
    assert!(fs::read_to_string(&trail).unwrap().contains("CreateKey"));
    volume.fill();
    // What is left is the room that was asked for before.
    let mut file = fs::OpenOptions::new().append(true).open(&trail).unwrap();
    while std::io::Write::write_all(&mut file, b"\"-\"\n").is_ok() {}
    let why = why_not(&server);
    assert!(why.contains("No space left on device"), "{why}");
    volume.make_room();
    assert!(within(SOON, || server.get("/readyz").0 == 200));
}
