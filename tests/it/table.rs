//! `docs/hsms.md`: what each HSM of the tests can do, made of the profiles that the probe's own test holds against each.
//!
//! `UPDATE_EXPECT=1 cargo test --test it table` writes it anew.

use std::fmt::Write as _;

use expect_test::expect_file;
use strongroom::key::spec::{KeySpec, KeyUsage};

const HSMS: [(&str, &str); 5] = [
    ("SoftHSM2 2.6.1", include_str!("profiles/softhsm2.txt")),
    ("Kryoptic, OpenSSL of today", include_str!("profiles/kryoptic.txt")),
    ("Kryoptic, Debian's OpenSSL", include_str!("profiles/kryoptic-debian.txt")),
    ("NSS softokn", include_str!("profiles/nss.txt")),
    ("openCryptoki 3.8, soft token", include_str!("profiles/opencryptoki.txt")),
];

/// What else differs, by the names that the probe gives it.
const FEATURES: [&str; 8] = [
    "AES-256-GCM with AAD",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "raw RSA, all bytes",
    "ED25519_PH_SHA_512",
    "AES that may not leave does not",
    "RSA that decrypts does not sign",
    "all other keys bound to mechanisms",
];

const HEAD: &str = "\
# What HSMs can do

Made of what `strongroom hsm probe` finds by trying; a test holds it against each of these HSMs. Yours may differ: ask it.

- **wrapped**: such keys are kept in the database, wrapped under the HSM's wrapping key, and can be imported.
- **in it**: the HSM has such keys and does not wrap them, so each is kept as an object in it, whatever the key store is; none can be
  imported.
- **–**: the HSM has no such keys, and CreateKey answers UnsupportedOperationException.

An HSM must do AES-256-GCM and give random bytes: the service seals what is its own with them, and sees by a known answer that the
HSM is well. Without them `strongroom hsm probe` prints what there is, and the service says what it lacks and does not begin. Two that
were tried show what that looks like:

- **openCryptoki's soft token** (Debian's 3.8; in the table) has no AES-GCM, no key wrap and no curves; its RSA, AES keys and HMAC work.
  Of the service's tests that of the probe runs on it, since all others need the service.
- **A TPM 2.0** (Debian's libtpm2-pkcs11 1.9 with swtpm and tpm2-abrmd) is found, lets the user in and gives random bytes. It has no
  secret keys, and refuses private keys that could leave it wrapped, which all of the probe's can, so nothing else that is tried works.

Data key pairs of RSA and of the NIST and SECG curves can be made where the spec is wrapped; of Ed25519 and ML-KEM everywhere.

";

#[test]
fn the_table_of_hsms_is_what_the_probes_find() {
    let mut text = HEAD.to_owned();
    row(&mut text, "key spec, key usage", "operations", HSMS.map(|(name, _)| name.to_owned()));
    text.push_str("|---|---|---|---|---|---|---|\n");
    for (spec, usage) in specs() {
        row(
            &mut text,
            &format!("{spec} {usage}"),
            operations(usage),
            HSMS.map(|(_, profile)| kept(profile, spec, usage)),
        );
    }
    text.push_str("\nAnd, by the names that the probe has for it:\n\n");
    row(&mut text, "trial", "", HSMS.map(|(name, _)| name.to_owned()));
    text.push_str("|---|---|---|---|---|---|---|\n");
    for name in FEATURES {
        row(&mut text, name, "", HSMS.map(|(_, profile)| found(profile, name)));
    }
    expect_file!["../../docs/hsms.md"].assert_eq(&text);
}

fn specs() -> impl Iterator<Item = (KeySpec, KeyUsage)> {
    KeySpec::ALL.iter().flat_map(|spec| spec.usages().iter().map(|usage| (*spec, *usage)))
}

fn row(text: &mut String, first: &str, second: &str, others: [String; 5]) {
    writeln!(text, "| {first} | {second} | {} |", others.join(" | ")).unwrap();
}

fn operations(usage: KeyUsage) -> &'static str {
    match usage {
        KeyUsage::EncryptDecrypt => "Encrypt, Decrypt, ReEncrypt, GenerateDataKey…",
        KeyUsage::SignVerify => "Sign, Verify",
        KeyUsage::GenerateVerifyMac => "GenerateMac, VerifyMac",
        KeyUsage::KeyAgreement => "DeriveSharedSecret",
        KeyUsage::EncapsulateDecapsulate => "Encapsulate, Decapsulate",
    }
}

fn kept(profile: &str, spec: KeySpec, usage: KeyUsage) -> String {
    let start = format!("{spec} {usage}: ");
    let kept = profile.lines().find_map(|line| line.strip_prefix(&start)).expect("each spec is in each profile");
    match kept {
        "wrapped or on the token" => "wrapped",
        "on the token only" => "in it",
        "not at all" => "–",
        other => panic!("{other}"),
    }
    .to_owned()
}

fn found(profile: &str, name: &str) -> String {
    let line = profile.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with("  "));
    line.expect("each trial is in each profile")[name.len()..].trim().to_owned()
}
