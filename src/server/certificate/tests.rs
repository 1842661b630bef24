//! Files that an operator may put in the place of a certificate or a key, and what is said of each.

use std::path::PathBuf;

use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd, generate_simple_self_signed};

use super::*;

/// A directory with a certificate and its key.
struct Files {
    directory: tempfile::TempDir,
    made: CertifiedKey<KeyPair>,
}

impl Files {
    fn new() -> Self {
        let made = generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let files = Self { directory: tempfile::tempdir().expect("a directory"), made };
        files.write("cert", files.made.cert.pem());
        files.write("key", files.made.signing_key.serialize_pem());
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("written");
    }

    fn read(&self) -> Result<ServerCertificate, String> {
        ServerCertificate::read(&TlsConfig { certificate: self.path("cert"), key: self.path("key") })
    }

    /// The error while this is the content of a file. It names the field and the file.
    fn refusal(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let good = fs::read(self.path(name)).expect("there");
        self.write(name, content);
        let text = self.read().err().expect("accepted");
        self.write(name, good);
        let field = if name == "cert" { "tls.certificate" } else { "tls.key" };
        let place = format!("{field}: {}: ", self.path(name).display());
        text.strip_prefix(&place).unwrap_or_else(|| panic!("{place} {text}")).to_owned()
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_in_words() {
    let files = Files::new();
    files.read().map(drop).expect("both are good");
    let (cert, key) = (files.made.cert.pem(), files.made.signing_key.serialize_pem());
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old_encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
                         -----END RSA PRIVATE KEY-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let another = KeyPair::generate().expect("made").serialize_pem();
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    for (name, content, why) in [
        ("cert", String::new(), "it is empty"),
        ("cert", "\n\n".to_owned(), "it is empty"),
        ("cert", "hello".to_owned(), "it holds no certificate in PEM form"),
        ("cert", key.clone(), "it holds a private key and no certificate; are tls.certificate and tls.key exchanged?"),
        ("cert", cut(&cert), "what it holds is damaged"),
        ("cert", no_certificate.to_owned(), "it holds a certificate that cannot be read"),
        ("key", String::new(), "it is empty"),
        ("key", "hello".to_owned(), "it holds no private key in PEM form"),
        ("key", cert.clone(), "it holds a certificate and no private key; are tls.certificate and tls.key exchanged?"),
        ("key", cut(&key), "what it holds is damaged"),
        ("key", encrypted.to_owned(), "the key is encrypted, and there is nobody to ask for its password"),
        ("key", old_encrypted.to_owned(), "the key is encrypted, and there is nobody to ask for its password"),
        ("key", no_key.to_owned(), "it is of a kind that TLS is not spoken with here"),
        ("key", another, "it is not the key of the certificate in "),
    ] {
        let said = files.refusal(name, &content);
        assert!(said.starts_with(why), "{content}\n{said}");
    }
    let said = files.refusal("cert", files.made.cert.der());
    assert!(said.starts_with("it is in DER form"), "{said}");
    let said = files.refusal("key", files.made.signing_key.serialize_der());
    assert!(said.starts_with("it is in DER form"), "{said}");
    for name in ["cert", "key"] {
        fs::remove_file(files.path(name)).expect("removed");
        let said = files.read().err().expect("accepted");
        assert!(said.ends_with(&format!("{}: No such file or directory", files.path(name).display())), "{said}");
        files.write(name, if name == "cert" { &cert } else { &key });
    }
}

#[test]
fn a_chain_is_valid_while_all_its_certificates_are() {
    let files = Files::new();
    let dated = |from: i32, until: i32| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        params.self_signed(&files.made.signing_key).expect("signed").pem()
    };
    files.write("cert", dated(2001, 2040) + &dated(2010, 2020));
    let validity = files.read().map(|presented| presented.validity).expect("read");
    assert_eq!(
        (&*validity.from.iso8601(), &*validity.until.iso8601()),
        ("2010-01-01T00:00:00Z", "2020-01-01T00:00:00Z")
    );
}
