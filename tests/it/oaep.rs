//! RSAES-OAEP by another implementation.

use std::process::{Command, Stdio};

/// RSAES-OAEP by OpenSSL, as whoever brings a key would do it.
pub fn oaep(spki: &[u8], hash: &str, plaintext: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (key, input, output) = (dir.path().join("key"), dir.path().join("input"), dir.path().join("output"));
    std::fs::write(&key, spki).unwrap();
    std::fs::write(&input, plaintext).unwrap();
    let ended = Command::new("openssl")
        .args(["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-pkeyopt", "rsa_padding_mode:oaep"])
        .args(["-pkeyopt", &format!("rsa_oaep_md:{hash}"), "-pkeyopt", &format!("rsa_mgf1_md:{hash}")])
        .arg("-inkey")
        .arg(&key)
        .arg("-in")
        .arg(&input)
        .arg("-out")
        .arg(&output)
        .stdout(Stdio::null())
        .status()
        .expect("openssl is installed");
    assert!(ended.success());
    std::fs::read(output).unwrap()
}
