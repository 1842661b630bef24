//! Attestation: which public key a plaintext may be encrypted for instead of being answered in clear.
//!
//! An attestation document goes bytes → `document` (what it claims, nothing believed) → `chain` (a configured root vouches
//! for its certificate) → its signature → its age → its public key. What comes out is [`Attested`], and only of that can a
//! CiphertextForRecipient be made (`cms`).
//!
//! AWS: <https://docs.aws.amazon.com/enclaves/latest/user/verify-root.html>.
//!
//! A Recipient is verified before the caller is authorized, because a policy may ask for its measurements, and in a dry run
//! too. `webpki` decides the path of certificates; what is decided beside it can only refuse more. PCRs are not judged yet,
//! because conditions are not: so a root should be the operator's own.

mod chain;
mod cms;
mod document;

use std::{error::Error, fmt, time::Duration};

use der::Decode;
use pkcs1::{ALGORITHM_ID, RsaPublicKeyRef};
use rustls_pki_types::CertificateDer;
use spki::SubjectPublicKeyInfoRef;

pub use chain::{Roots, is_certificate};
pub use cms::ContentKey;
pub use document::{Measurements, Registers};

use crate::{clock::Timestamp, secret::SecretBytes};
use chain::TrustedCertificate;
use document::{Claims, SignedDocument};

/// How far the time of a document may be from ours, in either direction.
pub const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// The sizes of RSA keys that may receive.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// A recipient that a root vouches for. Made by [`verify`] only.
#[derive(Debug)]
pub struct Attested {
    public_key: Vec<u8>,
    module_id: String,
    measurements: Measurements,
}

impl Attested {
    /// The recipient's RSA public key: DER SubjectPublicKeyInfo.
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// The name that the platform gives the recipient.
    pub fn module_id(&self) -> &str {
        &self.module_id
    }

    /// The platform's measurements of the recipient.
    pub fn measurements(&self) -> &Measurements {
        &self.measurements
    }

    /// CiphertextForRecipient: `plaintext` under `content_key`, which `encrypted_key` is under the public key. `None` if it
    /// does not encode, which is a defect of ours.
    pub fn envelope(
        &self,
        encrypted_key: Vec<u8>,
        content_key: ContentKey,
        plaintext: &SecretBytes,
    ) -> Option<Vec<u8>> {
        cms::envelope(&self.public_key, encrypted_key, content_key, plaintext)
    }
}

/// Why a document attests nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is no COSE_Sign1 with a payload of the specified form.
    Malformed,
    /// It is signed with something else than ES384.
    Algorithm,
    /// Its bundle does not begin with a root that is configured.
    UnknownRoot,
    /// A certificate does not parse.
    Certificate,
    /// A certificate has expired.
    Expired,
    /// A certificate is not valid yet.
    NotYetValid,
    /// A certificate's key is not for this use.
    KeyUsage,
    /// The certificates do not lead from the root to the signer.
    Chain,
    /// The signature is not of the certificate's key.
    Signature,
    /// It was made too long ago.
    Stale,
    /// It was made in the future.
    Early,
    /// It has no public key.
    NoPublicKey,
    /// Its public key is not RSA of 2048 to 4096 bits in DER.
    PublicKey,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not a COSE_Sign1 of the specified form",
            Self::Algorithm => "it is not signed with ES384",
            Self::UnknownRoot => "its cabundle does not begin with a configured attestation root",
            Self::Certificate => "a certificate does not parse",
            Self::Expired => "a certificate has expired",
            Self::NotYetValid => "a certificate is not valid yet",
            Self::KeyUsage => "a certificate is not for this use",
            Self::Chain => "its certificates do not lead to the attestation root",
            Self::Signature => "its signature is wrong",
            Self::Stale => "it is older than five minutes",
            Self::Early => "its timestamp is more than five minutes ahead",
            Self::NoPublicKey => "it has no public_key",
            Self::PublicKey => "its public_key is not an RSA key of 2048 to 4096 bits in DER",
        })
    }
}

impl Error for Refusal {}

/// Decides whether `document` attests its public key at the time `now`.
///
/// # Errors
/// Why it does not.
pub fn verify(document: &[u8], roots: &Roots, now: Timestamp) -> Result<Attested, Refusal> {
    let signed = SignedDocument::read(document)?;
    let claims = Claims::read(signed.payload)?;
    let certificate = CertificateDer::from(claims.certificate);
    let signer = TrustedCertificate::by(roots, &claims.bundle, &certificate, now)?;
    signer.signed(&signed.signed_bytes()?, signed.signature)?;
    is_fresh(claims.timestamp, now)?;
    let public_key = claims.public_key.ok_or(Refusal::NoPublicKey)?;
    can_receive(public_key)?;
    Ok(Attested {
        public_key: public_key.to_vec(),
        module_id: claims.module_id.to_owned(),
        measurements: claims.measurements,
    })
}

fn is_fresh(timestamp: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if timestamp.plus(MAX_AGE) < now {
        return Err(Refusal::Stale);
    }
    if timestamp > now.plus(MAX_AGE) {
        return Err(Refusal::Early);
    }
    Ok(())
}

/// True if `der` is an RSA public key of a size that may receive, with an exponent that any HSM takes.
fn can_receive(der: &[u8]) -> Result<(), Refusal> {
    let refuse = |_| Refusal::PublicKey;
    let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(refuse)?;
    let key = RsaPublicKeyRef::from_der(spki.subject_public_key.raw_bytes()).map_err(refuse)?;
    let modulus = key.modulus.as_bytes();
    let exponent = key.public_exponent.as_bytes();
    let fits = MODULUS_BITS.contains(&bits(modulus)) && (17..=64).contains(&bits(exponent));
    match spki.algorithm == ALGORITHM_ID && fits && is_odd(modulus) && is_odd(exponent) {
        true => Ok(()),
        false => Err(Refusal::PublicKey),
    }
}

/// How many bits a number has that has no leading zeros.
fn bits(number: &[u8]) -> usize {
    let leading = number.first().map_or(0, |first| first.leading_zeros() as usize);
    8 * number.len() - leading
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last & 1 == 1)
}
