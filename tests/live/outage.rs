//! An HSM, or its worker process, that goes away and comes back: the service says so, and needs nobody.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    server::{Server, within},
    wire::{Answer, Connection},
};

/// By when the service works again after its HSM does.
const RECOVERY: Duration = Duration::from_secs(5);

/// A development directory that is set up, with a key, to be served by `serve`.
fn set_up() -> (Server, String) {
    let mut server = Server::started();
    let key = server.new_key();
    assert_eq!(server.stop().code(), Some(0));
    let data = server.data().into_os_string();
    let server = server.with_arguments(["serve".into(), "--data".into(), data]);
    (server.with("STRONGROOM__LISTEN", "127.0.0.1:0"), key)
}

fn readiness(server: &Server) -> (u16, String) {
    let mut connection = Connection::open(server.address());
    let answer = connection.send(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").answer();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

fn encrypt(server: &Server, key: &str) -> Answer {
    server.call("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}))
}

fn assert_works_again(server: &Server, key: &str) {
    assert!(within(RECOVERY, || encrypt(server, key).status == 200), "{:?}", readiness(server));
    assert!(within(RECOVERY, || readiness(server) == (200, "ready\n".to_owned())), "{:?}", readiness(server));
}

#[test]
fn a_worker_that_is_killed_costs_answers_that_clients_retry() {
    let server = Server::started();
    let key = server.new_key();
    for _ in 0..5 {
        server.kill_worker();
        let began = Instant::now();
        let mut answer = encrypt(&server, &key);
        while answer.status != 200 {
            assert_eq!((answer.status, answer.exception()), (500, "DependencyTimeoutException".to_owned()));
            assert!(began.elapsed() < Duration::from_secs(4), "not back after {:?}", began.elapsed());
            std::thread::sleep(Duration::from_millis(5));
            answer = encrypt(&server, &key);
        }
    }
}

#[test]
fn the_module_is_not_loaded_in_the_service() {
    let (mut server, key) = set_up();
    server.start();
    assert_eq!(encrypt(&server, &key).status, 200);
    assert_eq!(server.workers().len(), 1);
    let maps = format!("/proc/{}/maps", server.pid());
    assert!(!fs::read_to_string(maps).unwrap().contains("libsofthsm2"), "the module is loaded in the service");
}

#[test]
fn it_starts_without_its_hsm_and_becomes_ready_by_itself() {
    let (mut server, key) = set_up();
    let (tokens, away) = (server.data().join("tokens"), server.data().join("tokens.away"));
    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    server.start();
    let (status, text) = readiness(&server);
    assert_eq!(status, 503);
    assert!(text.starts_with("not ready: the HSM: ") && text.contains("no token fits"), "{text}");
    let answer = encrypt(&server, &key);
    assert_eq!((answer.status, answer.exception()), (500, "DependencyTimeoutException".to_owned()));
    assert!(server.stderr().contains("the HSM cannot be opened; it is tried again"), "{}", server.stderr());

    fs::remove_dir(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    assert_works_again(&server, &key);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_refused_pin_is_tried_once_whatever_is_started_anew_and_another_one_needs_no_restart() {
    let (mut server, key) = set_up();
    let pin = server.data().join("pin");
    let right = fs::read_to_string(&pin).unwrap();
    fs::write(&pin, "wrong-pin-0000").unwrap();
    for _ in 0..3 {
        server.start();
        let (status, text) = readiness(&server);
        assert!(status == 503 && (text.contains("CKR_PIN_INCORRECT") || text.contains("refused before")), "{text}");
        server.kill();
    }
    server.start();
    // Longer than the service waits before it looks for another PIN.
    std::thread::sleep(Duration::from_millis(2500));
    let log = server.stderr();
    assert!(!log.contains("wrong-pin-0000"), "{log}");
    assert_eq!(log.matches("CKR_PIN_INCORRECT").count(), 1, "{log}");
    assert_eq!(encrypt(&server, &key).exception(), "DependencyTimeoutException");
    let refuses =
        |value: u8| server.get("/metrics").1.contains(&format!("strongroom_hsm_pin_refused{{hsm=\"hsm\"}} {value}\n"));
    assert!(refuses(1));

    fs::write(&pin, right).unwrap();
    assert_works_again(&server, &key);
    assert!(refuses(0));
}

#[test]
fn a_token_that_vanishes_and_returns_is_found_again() {
    let server = Server::started();
    let key = server.new_key();
    let (tokens, away) = (server.data().join("tokens"), server.data().join("tokens.away"));
    for _ in 0..2 {
        fs::rename(&tokens, &away).unwrap();
        server.kill_worker();
        assert!(within(RECOVERY, || readiness(&server).0 == 503));
        fs::rename(&away, &tokens).unwrap();
        assert_works_again(&server, &key);
    }
}
