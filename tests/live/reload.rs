//! SIGHUP: the trail, the configuration and the certificate are taken up anew, and what is worse than before is not.

use std::{fs, path::Path, time::Duration};

use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd, generate_simple_self_signed};
use rustix::process::Signal;
use rustls::{pki_types::CertificateDer, version::TLS13};
use serde_json::json;

use crate::{
    server::{Credentials, Server, within},
    tls::{connect, serving},
    wire::Request,
};

const SOON: Duration = Duration::from_secs(10);

fn lines(server: &Server, text: &str) -> usize {
    server.stderr().matches(text).count()
}

/// Sends SIGHUP, and waits until it has had its effect; what was logged since.
fn reload(server: &Server) -> String {
    let (before, logged) = (lines(server, "\"reloaded\""), server.stderr().len());
    server.signal(Signal::HUP);
    let reloaded = within(SOON, || lines(server, "\"reloaded\"") > before);
    // A line about what waits for a start comes after that.
    assert!(reloaded && server.get_healthz(), "{}", server.stderr());
    server.stderr().split_off(logged)
}

impl Server {
    fn get_healthz(&self) -> bool {
        within(SOON, || std::net::TcpStream::connect(self.address()).is_ok())
    }
}

/// Whether a client that trusts this certificate gets an answer.
fn serves(server: &Server, administrator: &Credentials, trusted: &CertificateDer<'static>) -> bool {
    let mut connection = connect(server.address(), Some(trusted), &TLS13);
    let request = Request::signed(server.address(), administrator, "ListKeys", &json!({}));
    connection.try_send(&request.bytes()) && connection.try_answer().is_some_and(|answer| answer.status == 200)
}

fn dated(key: &KeyPair, from: i32, until: i32) -> String {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    params.self_signed(key).unwrap().pem()
}

#[test]
fn a_certificate_is_renewed_and_a_worse_one_is_not() {
    let (mut server, administrator, old) = serving();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (server.root().join("cert.pem"), server.root().join("key.pem"));
    let mut kept = connect(server.address(), Some(&old), &TLS13);
    let request = Request::signed(server.address(), &administrator, "ListKeys", &json!({})).bytes();
    assert_eq!(kept.send(&request).answer().status, 200);
    let old_key = fs::read_to_string(&key).unwrap();
    let old_key = KeyPair::from_pem(&old_key).unwrap();
    for (worse, why) in [
        (dated(&old_key, 2001, 2002), "cert.pem: it expired at 2002-01-01T00:00:00Z"),
        (dated(&old_key, 2900, 2901), "cert.pem: it is not valid before 2900-01-01T00:00:00Z"),
        (cert.pem(), "key.pem: it is not the key of the certificate in "),
        (String::new(), "cert.pem: it is empty"),
    ] {
        fs::write(&certificate, worse).unwrap();
        let log = reload(&server);
        assert!(log.contains(why) && log.contains("the old one stays in use"), "{why}: {log}");
        assert!(serves(&server, &administrator, &old), "{why}");
    }
    fs::write(&certificate, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    let log = reload(&server);
    assert!(
        log.contains("\"changed\":\"nothing\"") && log.contains("\"certificate\":\"valid until 4096-01-01T00:00:00Z\""),
        "{log}"
    );
    assert!(serves(&server, &administrator, cert.der()) && !serves(&server, &administrator, &old));
    assert_eq!(kept.send(&request).answer().status, 200, "a connection that was there is not cut off");
    drop(kept);
    assert_eq!(server.stop().code(), Some(0));

    // At a start there is no better one to stay with, and another can be put in its place.
    fs::write(&certificate, dated(&signing_key, 2001, 2002)).unwrap();
    server.start();
    assert!(server.stderr().contains("the certificate expired at 2002-01-01T00:00:00Z"), "{}", server.stderr());
    fs::write(&certificate, cert.pem()).unwrap();
    reload(&server);
    assert!(serves(&server, &administrator, cert.der()));
}

/// Sends SIGHUP to this process as soon as it catches that signal (proc(5): the lowest bit of `SigCgt`), and says so.
const HANG_UP_EARLY: &str = "(until grep -q '^SigCgt:.*[13579bdf]$' /proc/$$/status; do sleep 0.01; done; echo asked to reload >&2; kill -HUP $$) & true";

#[test]
fn who_asks_for_a_reload_while_the_server_starts_gets_it_when_it_serves() {
    let mut server = Server::new().with_prelude(HANG_UP_EARLY);
    server.start();
    assert!(within(SOON, || lines(&server, "reloaded") == 1), "{}", server.stderr());
    let log = server.stderr();
    let order = ["asked to reload", "serving", "reloaded"].map(|text| log.find(text));
    assert!(order.is_sorted() && order[0].is_some(), "{log}");
    assert_eq!(server.stop().code(), Some(0));
}

fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    fs::write(file, change(fs::read_to_string(file).unwrap())).unwrap();
}

#[test]
fn what_may_change_takes_effect_and_what_may_not_is_named() {
    let mut server = Server::started();
    assert_eq!(server.stop().code(), Some(0));
    let config = server.data().join("strongroom.toml");
    let arguments = ["serve".into(), "--data".into(), server.data().into_os_string()];
    server = server.with_arguments(arguments).with("STRONGROOM__LISTEN", "127.0.0.1:0");
    server.start();
    let long = json!({"KeyId": "x".repeat(200), "Plaintext": "eA=="});
    assert_ne!(server.call("Encrypt", &long).status, 413);
    edit(&config, |text| {
        text + "keepalive_ms = 1\n[limits]\nbody_bytes = 100\nconnections = 9\n[log]\nfilter = \"warn\"\n"
    });
    let log = {
        let logged = server.stderr().len();
        server.signal(Signal::HUP);
        let named = "\"fields\":\"hsm.keepalive_ms, limits.connections\"";
        assert!(within(SOON, || server.stderr().contains(named)), "{}", server.stderr());
        server.stderr().split_off(logged)
    };
    assert!(!log.contains("\"INFO\",\"fields\":{\"message\":\"reloaded\""), "the log tells warnings only: {log}");
    assert!(within(SOON, || server.call("Encrypt", &long).status == 413));
    edit(&config, |text| text.replace("\"warn\"", "\"info\"").replace("body_bytes = 100", "body_bytes = 1000"));
    let log = reload(&server);
    assert!(log.contains("\"changed\":\"limits.body_bytes, log.filter\""), "{log}");
    assert!(within(SOON, || server.call("Encrypt", &long).status != 413));
    edit(&config, |text| text + "no_such_field = 1\n");
    let log = reload(&server);
    assert!(log.contains("no_such_field") && log.contains("the old one stays in effect"), "{log}");
    assert_ne!(server.call("Encrypt", &long).status, 413);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_trail_whose_file_is_renamed_or_removed_goes_on_in_a_new_one_without_being_told() {
    let mut server = Server::started();
    let (trail, away) = (server.data().join("audit.jsonl"), server.data().join("audit.jsonl.1"));
    server.new_key();
    fs::rename(&trail, &away).unwrap();
    assert!(within(SOON, || trail.exists()), "nobody has noticed");
    let first = server.new_key();
    fs::remove_file(&trail).unwrap();
    let second = server.new_key();
    let recorded = |key: &str| server.audit().iter().any(|record| record.to_string().contains(key));
    assert!(recorded(&second) && !recorded(&first), "the record of a call is in no file");
    assert!(fs::read_to_string(&away).unwrap().lines().count() > 0);
    assert_eq!(server.get("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(server.stop().code(), Some(0));
}
