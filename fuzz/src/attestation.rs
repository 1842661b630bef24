//! The attestation document of a Recipient (AWS Nitro Enclaves: "Verifying the root of trust").

use strongroom::{
    attestation::{Attested, Roots, verify},
    clock::Timestamp,
};

/// A document that [`ROOT`] vouches for at [`NOW`]; the private keys behind it are gone.
const GENUINE: &[u8] = include_bytes!("../corpus/attestation/genuine");
const ROOT: &[u8] = include_bytes!("attestation_root.pem");
/// The beginning of the year 2026.
const NOW: Timestamp = Timestamp::from_ms(1_767_225_600_000);

/// Nobody can sign another document, so whatever is accepted attests the same.
pub fn check(bytes: &[u8]) {
    let mut roots = Roots::default();
    roots.trust_pem(ROOT).expect("a certificate");
    if let Ok(attested) = verify(bytes, &roots, NOW) {
        let genuine = verify(GENUINE, &roots, NOW).expect("it is genuine");
        assert_eq!(parts(&attested), parts(&genuine));
    }
    assert!(verify(bytes, &Roots::default(), NOW).is_err(), "without a root nobody vouches");
}

fn parts(attested: &Attested) -> (&[u8], &str, String) {
    (attested.public_key(), attested.module_id(), format!("{:?}", attested.measurements()))
}
