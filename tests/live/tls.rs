//! TLS, with a certificate made here.

use std::{
    fs,
    io::BufReader,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use serde_json::json;

use crate::{
    server::{Credentials, Server},
    wire::{Connection, Request},
};

/// A server behind TLS, as an operator starts it, with the administrator's access key and the certificate.
pub fn serving() -> (Server, Credentials, CertificateDer<'static>) {
    let mut server = Server::started();
    let administrator = server.administrator();
    assert_eq!(server.stop().code(), Some(0));
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = server.root().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = (file("cert.pem", cert.pem()), file("key.pem", signing_key.serialize_pem()));
    let (conf, config) = (server.data().join("softhsm2.conf"), server.data().join("strongroom.toml"));
    server = server
        .with_arguments(["serve".into(), "--config".into(), config.into_os_string()])
        .with("SOFTHSM2_CONF", conf.display())
        .with("STRONGROOM__LISTEN", "127.0.0.1:0")
        .with("STRONGROOM__LIMITS__HEADER_TIMEOUT_MS", 500)
        .with("STRONGROOM__TLS__CERTIFICATE", certificate)
        .with("STRONGROOM__TLS__KEY", key);
    server.start();
    (server, administrator, cert.der().clone())
}

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

pub fn connect(
    address: SocketAddr,
    trusted: Option<&CertificateDer<'static>>,
    version: &'static SupportedProtocolVersion,
) -> Connection<Tls> {
    connect_trusting(address, trusted, version)
}

/// A connection of a client that trusts these certificates.
pub fn connect_trusting<'a>(
    address: SocketAddr,
    trusted: impl IntoIterator<Item = &'a CertificateDer<'static>>,
    version: &'static SupportedProtocolVersion,
) -> Connection<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.into_iter().cloned());
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    Connection(BufReader::new(StreamOwned::new(connection, stream)))
}

#[test]
fn both_versions_of_tls_are_spoken() {
    let (mut server, administrator, certificate) = serving();
    let versions = [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)];
    for (version, expected) in versions {
        let mut connection = connect(server.address(), Some(&certificate), version);
        let request = Request::signed(server.address(), &administrator, "ListKeys", &json!({}));
        for _ in 0..3 {
            let answer = connection.send(&request.bytes()).answer();
            assert_eq!(answer.status, 200);
        }
        assert_eq!(connection.0.get_ref().conn.protocol_version(), Some(expected));
    }
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn who_sends_too_much_gets_to_read_so_over_tls_too() {
    let (server, administrator, certificate) = serving();
    for version in [&TLS12, &TLS13] {
        let mut connection = connect(server.address(), Some(&certificate), version);
        let body = vec![b'x'; 5 << 20];
        let request = Request::signed_bytes(server.address(), &administrator, "ListKeys", body);
        assert!(connection.try_send(&request.bytes()), "reset");
        assert_eq!(connection.answer().status, 413);
    }
}

#[test]
fn the_certificate_is_the_one_configured() {
    let (server, _, _) = serving();
    let mut connection = connect(server.address(), None, &TLS13);
    assert!(!connection.try_send(b"GET / HTTP/1.1\r\n\r\n"), "a client that does not trust it was served");
}

#[test]
fn plain_http_is_not_spoken_on_the_tls_port() {
    let (server, administrator, certificate) = serving();
    let request = Request::signed(server.address(), &administrator, "ListKeys", &json!({})).bytes();
    let mut plain = Connection::open(server.address());
    plain.send(&request);
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain.0, &mut said);
    assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));
    assert_eq!(connect(server.address(), Some(&certificate), &TLS13).send(&request).answer().status, 200);
}

#[test]
fn a_handshake_that_does_not_come_is_not_waited_for() {
    let (mut server, _, _) = serving();
    let waited = Connection::open(server.address()).closed_after();
    assert!(waited >= Duration::from_millis(400) && waited < Duration::from_secs(5), "{waited:?}");
    let mut half = Connection::open(server.address());
    half.send(&[22, 3, 1]);
    assert!(half.closed_after() < Duration::from_secs(5));
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn a_key_that_is_not_of_the_certificate_is_refused() {
    let (mut server, ..) = serving();
    assert_eq!(server.stop().code(), Some(0));
    let other = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(server.root().join("key.pem"), other.signing_key.serialize_pem()).unwrap();
    let ended = server.try_start().unwrap_err();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("key.pem: it is not the key of the certificate in "), "{}", ended.stderr);
    fs::remove_file(server.root().join("cert.pem")).unwrap();
    let ended = server.try_start().unwrap_err();
    assert!(ended.stderr.contains("cert.pem: "), "{}", ended.stderr);
}

#[test]
fn a_development_server_behind_tls_says_https() {
    let (tls, ..) = serving();
    let file = |name: &str| tls.root().join(name).display().to_string();
    let mut server = Server::new()
        .with("STRONGROOM__TLS__CERTIFICATE", file("cert.pem"))
        .with("STRONGROOM__TLS__KEY", file("key.pem"));
    server.start();
    assert_eq!(server.endpoint(), format!("https://{}", server.address()));
}
