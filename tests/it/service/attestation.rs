//! What attests a recipient, and above all what does not.

use std::time::Duration;

use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};
use strongroom::{
    attestation::{MAX_AGE, Measurements, Refusal, Registers, Roots, verify},
    clock::Timestamp,
};

use crate::{
    attester::{Attester, Cbor, Chain, Claims, ES384, REGISTER, cose_sign1, rsa_spki},
    world::START,
};

fn public_key() -> Vec<u8> {
    rsa_spki(&[0xc5; 256], &[1, 0, 1])
}

fn refusal(attester: &Attester, document: &[u8]) -> Option<Refusal> {
    verify(document, &attester.roots(), START).err()
}

/// What becomes of a good document whose claims were changed.
fn claiming(change: impl FnOnce(Claims) -> Claims) -> Option<Refusal> {
    let attester = Attester::new();
    let claims = change(attester.claims(START, &public_key()));
    refusal(&attester, &attester.document(&claims))
}

/// What becomes of a good document whose certificates were made otherwise.
fn certified(spoil: impl FnOnce(&mut Chain)) -> Option<Refusal> {
    let attester = Attester::with(spoil);
    refusal(&attester, &attester.document(&attester.claims(START, &public_key())))
}

/// What becomes of a good document for this public key.
fn receiving(public_key: &[u8]) -> Option<Refusal> {
    claiming(|claims| claims.with("public_key", Cbor::Bytes(public_key.to_vec())))
}

fn registers(count: u64, bytes: usize) -> Cbor {
    Cbor::Map((0..count).map(|number| (Cbor::Uint(number), Cbor::Bytes(vec![7; bytes]))).collect())
}

#[test]
fn a_good_document_attests_its_key_and_says_what_was_measured() {
    let attester = Attester::new();
    let document = attester.document(&attester.claims(START, &public_key()));
    let attested = verify(&document, &attester.roots(), START).unwrap();
    assert_eq!(attested.public_key(), public_key());
    assert_eq!(attested.module_id(), "i-0123456789abcdef0-enc0123456789abcdef");
    let registers: Registers = (0..4).map(|number| (number, REGISTER)).collect();
    assert_eq!(*attested.measurements(), Measurements::Enclave(registers));
}

#[test]
fn a_document_of_a_nitro_tpm_attests_too() {
    let attester = Attester::new();
    let claims = attester.claims(START, &public_key()).without("pcrs").and("nitrotpm_pcrs", registers(24, 48));
    let attested = verify(&attester.document(&claims), &attester.roots(), START).unwrap();
    assert!(matches!(attested.measurements(), Measurements::NitroTpm(registers) if registers.len() == 24));
}

#[test]
fn a_document_may_be_tagged_and_its_map_may_end_with_a_break() {
    let attester = Attester::new();
    let claims = attester.claims(START, &public_key());
    let document = attester.document(&claims);
    assert_eq!(refusal(&attester, &[&[0xd2], &document[..]].concat()), None);
    assert_eq!(refusal(&attester, &attester.sign(&claims.payload_with_a_break())), None);
    for tag in [&[0xd1][..], &[0xd2, 0xd2], &[0xd8, 98]] {
        assert_eq!(refusal(&attester, &[tag, &document].concat()), Some(Refusal::Malformed));
    }
}

#[test]
fn every_flipped_byte_is_refused() {
    let attester = Attester::new();
    let (roots, document) = (attester.roots(), attester.document(&attester.claims(START, &public_key())));
    for at in 0..document.len() {
        let mut flipped = document.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(verify(&flipped, &roots, START).is_err(), "byte {at}");
    }
}

#[test]
fn every_cut_and_everything_longer_is_refused() {
    let attester = Attester::new();
    let document = attester.document(&attester.claims(START, &public_key()));
    for length in 0..document.len() {
        assert!(refusal(&attester, &document[..length]).is_some(), "{length}");
    }
    assert_eq!(refusal(&attester, &[&document[..], &[0]].concat()), Some(Refusal::Malformed));
    assert_eq!(refusal(&attester, &document.repeat(2)), Some(Refusal::Malformed));
}

#[test]
fn five_minutes_is_as_old_and_as_new_as_a_document_may_be() {
    let attester = Attester::new();
    let document = attester.document(&attester.claims(START, &public_key()));
    let at = |ms: i64| verify(&document, &attester.roots(), Timestamp::from_ms(START.ms() + ms)).err();
    let limit = i64::try_from(MAX_AGE.as_millis()).unwrap();
    assert_eq!([at(limit), at(-limit)], [None, None]);
    assert_eq!([at(limit + 1), at(-limit - 1)], [Some(Refusal::Stale), Some(Refusal::Early)]);
}

#[test]
fn each_member_must_be_there_but_three() {
    for name in ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"] {
        assert_eq!(claiming(|claims| claims.without(name)), Some(Refusal::Malformed), "{name}");
        assert_eq!(claiming(|claims| claims.with(name, Cbor::Null)), Some(Refusal::Malformed), "{name}");
    }
    assert_eq!(claiming(|claims| claims.without("user_data").without("nonce")), None);
    assert_eq!(claiming(|claims| claims.without("public_key")), Some(Refusal::NoPublicKey));
    assert_eq!(claiming(|claims| claims.with("public_key", Cbor::Null)), Some(Refusal::NoPublicKey));
}

#[test]
fn no_member_comes_twice_and_none_is_unknown() {
    for (name, value) in Attester::new().claims(START, &public_key()).0 {
        let twice =
            |claims: Claims| claims.without("user_data").without("nonce").and(name, value.clone()).and(name, value);
        assert_eq!(claiming(twice), Some(Refusal::Malformed), "{name}");
    }
    let both = |claims: Claims| claims.without("nonce").and("nitrotpm_pcrs", registers(1, 48));
    assert_eq!(claiming(both), Some(Refusal::Malformed));
    let unknown = |claims: Claims| claims.without("nonce").and("unheard", Cbor::Null);
    assert_eq!(claiming(unknown), Some(Refusal::Malformed));
    let numbered = |claims: Claims| {
        Claims(
            claims
                .0
                .into_iter()
                .map(|(name, value)| if name == "nonce" { ("", value) } else { (name, value) })
                .collect(),
        )
    };
    assert_eq!(claiming(numbered), Some(Refusal::Malformed));
}

#[test]
fn what_is_beyond_its_bounds_is_refused() {
    let bytes = |length| Cbor::Bytes(vec![7; length]);
    let numbered = |number| Cbor::Map(vec![(Cbor::Uint(number), bytes(48))]);
    for (name, value) in [
        ("module_id", Cbor::Text(String::new())),
        ("module_id", Cbor::Text("x".repeat(1025))),
        ("module_id", bytes(8)),
        ("module_id", Cbor::Raw(vec![0x61, 0xff])),
        ("digest", Cbor::Text("SHA256".to_owned())),
        ("digest", Cbor::Text("SHA512".to_owned())),
        ("digest", bytes(6)),
        ("timestamp", Cbor::Uint(0)),
        ("timestamp", Cbor::Uint(u64::MAX)),
        ("timestamp", Cbor::Raw(vec![0x20])),
        ("timestamp", Cbor::Raw(vec![0xfb, 0x42, 0x79, 0x9f, 0x3c, 0x40, 0, 0, 0])),
        ("pcrs", registers(0, 48)),
        ("pcrs", registers(33, 48)),
        ("pcrs", registers(1, 47)),
        ("pcrs", registers(1, 32)),
        ("pcrs", registers(1, 64)),
        ("pcrs", numbered(32)),
        ("pcrs", numbered(256)),
        ("pcrs", Cbor::Map(vec![(Cbor::Uint(0), bytes(48)), (Cbor::Uint(0), bytes(48))])),
        ("pcrs", Cbor::Map(vec![(Cbor::Text("0".to_owned()), bytes(48))])),
        ("certificate", bytes(0)),
        ("certificate", bytes(1025)),
        ("cabundle", Cbor::List(vec![])),
        ("cabundle", Cbor::List(vec![bytes(0)])),
        ("cabundle", Cbor::List(vec![bytes(1025)])),
        ("cabundle", Cbor::List(vec![bytes(1); 9])),
        ("public_key", bytes(0)),
        ("public_key", bytes(1025)),
        ("user_data", bytes(513)),
        ("user_data", Cbor::Text("text".to_owned())),
        ("nonce", bytes(513)),
    ] {
        let at = value.encode().len();
        assert_eq!(claiming(|claims| claims.with(name, value)), Some(Refusal::Malformed), "{name}, {at} bytes");
    }
    assert_eq!(claiming(|claims| claims.with("user_data", bytes(512)).with("nonce", bytes(0))), None);
    assert_eq!(claiming(|claims| claims.with("pcrs", registers(32, 48))), None);
}

#[test]
fn a_payload_has_a_bound() {
    let attester = Attester::new();
    let padded = |length: usize| attester.sign(&vec![0; length]);
    assert_eq!(refusal(&attester, &padded(0)), Some(Refusal::Malformed));
    assert_eq!(refusal(&attester, &padded(16_385)), Some(Refusal::Malformed));
}

#[test]
fn lengths_that_lie_and_nests_are_refused_at_once() {
    let attester = Attester::new();
    let long = [0xff; 8];
    let mut bombs: Vec<Vec<u8>> =
        [0x5b, 0x7b, 0x9b, 0xbb, 0xdb].iter().map(|head| [&[*head][..], &long].concat()).collect();
    bombs.extend([0x81, 0x9f, 0xa1, 0xbf, 0xd2, 0xc1, 0x5f, 0x7f].map(|head| vec![head; 100_000]));
    bombs.extend([vec![0xff; 3], vec![0xf6; 3], vec![0x1c], vec![0x9f], vec![0xbf]]);
    for bomb in &bombs {
        let shown = &bomb[..bomb.len().min(9)];
        assert_eq!(refusal(&attester, bomb), Some(Refusal::Malformed), "{shown:x?}");
        let within = &bomb[..bomb.len().min(16_000)];
        assert_eq!(refusal(&attester, &attester.sign(within)), Some(Refusal::Malformed), "a payload of {shown:x?}");
        for name in ["pcrs", "cabundle", "certificate", "module_id", "nonce", "timestamp"] {
            let change = |claims: Claims| claims.with(name, Cbor::Raw(within[..within.len().min(4000)].to_vec()));
            assert_eq!(claiming(change), Some(Refusal::Malformed), "{name}: {shown:x?}");
        }
    }
}

#[test]
fn only_es384_is_taken_and_only_in_the_protected_header() {
    let attester = Attester::new();
    let payload = attester.claims(START, &public_key()).payload();
    let with_header =
        |header: &[u8]| refusal(&attester, &cose_sign1(header, &payload, &attester.signature(header, &payload)));
    assert_eq!(with_header(ES384), None);
    // ES256, ES512, EdDSA, HMAC, none at all, nothing said, more than that, a longer way to write it.
    for header in ["a10126", "a1013823", "a10127", "a10105", "a10100", "", "a0", "a20138220400", "a1011900dd"] {
        let header: Vec<u8> =
            (0..header.len()).step_by(2).map(|i| u8::from_str_radix(&header[i..i + 2], 16).unwrap()).collect();
        assert_eq!(with_header(&header), Some(Refusal::Algorithm), "{header:x?}");
    }
    let document = attester.sign(&payload);
    let unprotected = [&document[..6], &[0xa1, 0x01, 0x38, 0x22], &document[7..]].concat();
    assert_eq!(document[6], 0xa0);
    assert_eq!(refusal(&attester, &unprotected), Some(Refusal::Malformed));
}

#[test]
fn the_signature_is_of_the_certificate_and_over_this_payload() {
    let (attester, other) = (Attester::new(), Attester::new());
    let payload = attester.claims(START, &public_key()).payload();
    let signed = |signature: &[u8]| refusal(&attester, &cose_sign1(ES384, &payload, signature));
    assert_eq!(signed(&attester.signature(ES384, &payload)), None);
    assert_eq!(signed(&other.signature(ES384, &payload)), Some(Refusal::Signature));
    assert_eq!(signed(&attester.signature(ES384, b"another")), Some(Refusal::Signature));
    assert_eq!(signed(&[0; 96]), Some(Refusal::Signature));
    assert_eq!(signed(&[0xff; 96]), Some(Refusal::Signature));
    for length in [0, 64, 95, 97, 132] {
        assert_eq!(signed(&vec![1; length]), Some(Refusal::Malformed), "{length}");
    }
}

#[test]
fn only_a_configured_root_vouches() {
    // Of the same names.
    let (attester, other) = (Attester::new(), Attester::new());
    let claims = attester.claims(START, &public_key());
    let document = attester.document(&claims);
    assert_eq!(verify(&document, &other.roots(), START).err(), Some(Refusal::UnknownRoot));
    assert_eq!(verify(&document, &Roots::default(), START).err(), Some(Refusal::UnknownRoot));
    let bundled = |bundle: &[&Vec<u8>]| {
        let bundle = bundle.iter().map(|der| Cbor::Bytes(der.to_vec())).collect();
        refusal(&attester, &attester.document(&claims.with("cabundle", Cbor::List(bundle))))
    };
    let [root, issuer] = [&attester.bundle[0], &attester.bundle[1]];
    assert_eq!(bundled(&[root, issuer]), None);
    assert_eq!(bundled(&[&other.bundle[0], issuer]), Some(Refusal::UnknownRoot));
    assert_eq!(bundled(&[issuer]), Some(Refusal::UnknownRoot));
    assert_eq!(bundled(&[issuer, root]), Some(Refusal::UnknownRoot));
    assert_eq!(bundled(&[root]), Some(Refusal::Chain));
    assert_eq!(bundled(&[root, &other.bundle[1]]), Some(Refusal::Chain));
    assert_eq!(bundled(&[root, issuer, issuer]), Some(Refusal::Chain));
    assert_eq!(bundled(&[root, issuer, &other.bundle[1]]), Some(Refusal::Chain));
    assert_eq!(bundled(&[root, root, issuer]), Some(Refusal::Chain));
}

#[test]
fn who_has_the_root_in_a_bundle_does_not_have_its_key() {
    // The forger's root has the same name; the bundle begins with ours.
    let (attester, forger) = (Attester::new(), Attester::new());
    let bundle = [&attester.bundle[0], &forger.bundle[1]].map(|der| Cbor::Bytes(der.clone())).to_vec();
    let claims = forger.claims(START, &public_key()).with("cabundle", Cbor::List(bundle));
    assert_eq!(refusal(&attester, &forger.document(&claims)), Some(Refusal::Chain));
}

#[test]
fn no_certificate_may_have_expired_or_be_early() {
    for at in 0..3 {
        let expired = |chain: &mut Chain| chain[at].not_after = date_time_ymd(2025, 12, 31);
        let early = |chain: &mut Chain| chain[at].not_before = date_time_ymd(2026, 1, 2);
        assert_eq!(certified(expired), Some(Refusal::Expired), "{at}");
        assert_eq!(certified(early), Some(Refusal::NotYetValid), "{at}");
    }
}

#[test]
fn issuers_are_authorities_within_their_path_lengths() {
    let constrained = |length| IsCa::Ca(BasicConstraints::Constrained(length));
    assert_eq!(certified(|chain| chain[0].is_ca = constrained(1)), None);
    assert_eq!(certified(|chain| chain[1].is_ca = constrained(0)), None);
    assert_eq!(certified(|chain| chain[1].is_ca = IsCa::ExplicitNoCa), Some(Refusal::Chain));
    assert_eq!(certified(|chain| chain[1].is_ca = IsCa::NoCa), Some(Refusal::Chain));
    assert_eq!(certified(|chain| chain[2].is_ca = constrained(0)), Some(Refusal::Chain));
    assert_eq!(certified(|chain| chain[0].is_ca = constrained(0)), Some(Refusal::Chain));
}

#[test]
fn a_key_is_used_for_what_its_certificate_says() {
    let usages = |at: usize, usages: &[KeyUsagePurpose]| {
        let usages = usages.to_vec();
        certified(move |chain| chain[at].key_usages = usages)
    };
    assert_eq!(usages(2, &[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::ContentCommitment]), None);
    assert_eq!(usages(2, &[]), Some(Refusal::KeyUsage));
    assert_eq!(usages(2, &[KeyUsagePurpose::KeyAgreement]), Some(Refusal::KeyUsage));
    assert_eq!(usages(1, &[KeyUsagePurpose::KeyCertSign]), None);
    assert_eq!(usages(1, &[]), Some(Refusal::KeyUsage));
    assert_eq!(usages(1, &[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign]), Some(Refusal::KeyUsage));
    for at in [1, 2] {
        for purpose in [ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any] {
            let for_another = |chain: &mut Chain| chain[at].extended_key_usages = vec![purpose];
            assert_eq!(certified(for_another), Some(Refusal::Chain), "{at}");
        }
    }
}

#[test]
fn a_critical_extension_that_is_not_known_is_refused() {
    let extended = |at: usize, critical: bool| {
        certified(|chain: &mut Chain| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
            extension.set_criticality(critical);
            chain[at].custom_extensions.push(extension);
        })
    };
    for at in [1, 2] {
        assert_eq!(extended(at, false), None, "{at}");
        assert!(extended(at, true).is_some(), "{at}");
    }
}

#[test]
fn certificates_are_ecdsa_on_p384_or_p256_and_the_signer_on_p384() {
    let (p384, p256) = (&PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P256_SHA256);
    let made_with = |keys| {
        let attester = Attester::of(keys, |_| ());
        refusal(&attester, &attester.document(&attester.claims(START, &public_key())))
    };
    assert_eq!(made_with([p256, p256, p384]), None);
    assert_eq!(made_with([p256, p384, p384]), None);
    assert_eq!(made_with([p384, p384, p256]), Some(Refusal::Signature));
    let attester = Attester::of([p384, &PKCS_ED25519, p384], |_| ());
    let document = attester.document(&attester.claims(START, &public_key()));
    assert_eq!(refusal(&attester, &document), Some(Refusal::Chain));
}

#[test]
fn the_public_key_is_rsa_of_a_fit_size() {
    let (big, exponent) = (|bytes: usize| vec![0xc5; bytes], &[1, 0, 1][..]);
    for bytes in [256, 384, 512] {
        assert_eq!(receiving(&rsa_spki(&big(bytes), exponent)), None, "{bytes}");
    }
    let refused = [
        rsa_spki(&big(128), exponent),
        rsa_spki(&big(255), exponent),
        rsa_spki(&[&[1][..], &big(512)].concat(), exponent),
        rsa_spki(&[&[0x7f][..], &big(255)].concat(), exponent),
        rsa_spki(&[&big(255)[..], &[2]].concat(), exponent),
        rsa_spki(&big(256), &[3]),
        rsa_spki(&big(256), &[1]),
        rsa_spki(&big(256), &[1, 0, 0]),
        rsa_spki(&big(256), &[1; 9]),
        [&public_key()[..], &[0]].concat(),
        b"dummy".to_vec(),
    ];
    for (n, key) in refused.iter().enumerate() {
        assert_eq!(receiving(key), Some(Refusal::PublicKey), "{n}");
    }
    // RSASSA-PSS, and rsaEncryption without its NULL.
    let other = |from: &[u8], to: &[u8]| {
        let mut key = public_key();
        let at = key.windows(from.len()).position(|window| window == from).unwrap();
        key[at..at + from.len()].copy_from_slice(to);
        receiving(&key)
    };
    assert_eq!(other(&[0x0d, 1, 1, 1, 5, 0], &[0x0d, 1, 1, 10, 5, 0]), Some(Refusal::PublicKey));
    assert_eq!(other(&[0x0d, 1, 1, 1, 5, 0], &[0x0d, 1, 1, 1, 4, 0]), Some(Refusal::PublicKey));
}

#[test]
fn a_root_is_a_certificate_that_may_sign_others() {
    let trusted = |pem: &str| Roots::default().trust_pem(pem.as_bytes());
    let [good, other] = [Attester::new().root_pem(), Attester::new().root_pem()];
    assert_eq!(trusted(&format!("{good}{other}")), Ok(()));
    assert_eq!(trusted(""), Err("there is no certificate in it".to_owned()));
    let spoilt = |spoil: fn(&mut CertificateParams)| Attester::with(|chain| spoil(&mut chain[0])).root_pem();
    assert!(trusted(&spoilt(|root| root.key_usages = vec![KeyUsagePurpose::CrlSign])).is_err());
    assert!(trusted(&spoilt(|root| root.key_usages.clear())).is_err());
    assert!(trusted(&spoilt(|root| root.is_ca = IsCa::ExplicitNoCa)).is_err());
    assert!(trusted(&good.replace("CERTIFICATE", "PRIVATE KEY")).is_err());
    let cut: String = good.lines().take(1).chain(["AAAA", "-----END CERTIFICATE-----"]).collect::<Vec<_>>().join("\n");
    assert!(trusted(&cut).is_err());
    assert!(trusted("-----BEGIN CERTIFICATE-----\nAAAA").is_err());
}

#[test]
fn what_is_refused_is_said_in_words() {
    assert_eq!(Refusal::Stale.to_string(), "it is older than five minutes");
    assert_eq!(MAX_AGE, Duration::from_secs(300));
}

proptest! {
    #[test]
    fn no_bytes_attest_or_break_anything(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(verify(&bytes, &Roots::default(), START).is_err());
        let signed = cose_sign1(ES384, &bytes, &[1; 96]);
        prop_assert!(verify(&signed, &Roots::default(), START).is_err());
    }
}

/// A good document, and the roots that vouch for it, made once: keys are not cheap.
fn good() -> &'static (Vec<u8>, Roots) {
    static GOOD: std::sync::OnceLock<(Vec<u8>, Roots)> = std::sync::OnceLock::new();
    GOOD.get_or_init(|| {
        let attester = Attester::new();
        (attester.document(&attester.claims(START, &public_key())), attester.roots())
    })
}

proptest! {
    #[test]
    fn a_piece_that_was_replaced_is_noticed(
        at in any::<prop::sample::Index>(),
        piece in proptest::collection::vec(any::<u8>(), 1..64),
    ) {
        let (document, roots) = good();
        let (mut spoilt, at) = (document.clone(), at.index(document.len()));
        spoilt.splice(at..(at + piece.len()).min(document.len()), piece);
        prop_assume!(spoilt != *document);
        prop_assert!(verify(&spoilt, roots, START).is_err());
    }
}
