//! The chain of certificates from an attestation document to a root that the operator configured, at a given time.
//!
//! `webpki` decides the path: signatures, validity, basicConstraints with pathLen, name constraints, unknown critical
//! extensions. What it does not look at is decided here, and can only refuse more: keyUsage; all of the root but its name and
//! key; and that a certificate made for something else, TLS above all, attests nothing.

use std::{collections::BTreeSet, time::Duration};

use der::{Decode, Encode};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime, pem::PemObject};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert,
    ring::{ECDSA_P256_SHA256, ECDSA_P384_SHA384},
};
use x509_cert::{
    Certificate,
    ext::pkix::{BasicConstraints, KeyUsage},
};

use super::Refusal;
use crate::clock::Timestamp;

/// The signatures that a chain may be made with.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[ECDSA_P384_SHA384, ECDSA_P256_SHA256];

/// The certificates that the operator trusts to vouch for attestations.
#[derive(Debug, Clone, Default)]
pub struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// True if nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Trusts every certificate of a PEM text; there must be one.
    ///
    /// # Errors
    /// Why the text cannot be trusted, for an operator.
    pub fn trust_pem(&mut self, pem: &[u8]) -> Result<(), String> {
        let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let certificates = read.map_err(|error| error.to_string())?;
        if certificates.is_empty() {
            return Err("there is no certificate in it".to_owned());
        }
        for certificate in certificates {
            is_root(&certificate)?;
            self.0.push(certificate);
        }
        Ok(())
    }

    fn find(&self, der: &[u8]) -> Option<&CertificateDer<'static>> {
        self.0.iter().find(|root| root.as_ref() == der)
    }
}

/// True if a text is one certificate in PEM, and nothing else that PEM can hold.
pub fn is_certificate(pem: &[u8]) -> bool {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    matches!(read.as_deref(), Ok([certificate]) if Certificate::from_der(certificate).is_ok())
}

fn is_root(der: &CertificateDer<'_>) -> Result<(), String> {
    let parsed = Certificate::from_der(der).map_err(|error| format!("a certificate does not parse: {error}"))?;
    anchor_from_trusted_cert(der).map_err(|error| format!("a certificate cannot be a root: {error}"))?;
    may_issue(&parsed, 0)
        .map_err(|_| format!("the certificate of {} may not sign certificates", parsed.tbs_certificate().subject()))
}

/// A certificate that a root vouches for.
pub(super) struct TrustedCertificate<'a>(EndEntityCert<'a>);

impl<'a> TrustedCertificate<'a> {
    /// Follows `bundle`, which is a configured root and then each issuer in turn, to the certificate.
    pub(super) fn by(
        roots: &Roots,
        bundle: &[&[u8]],
        certificate: &'a CertificateDer<'a>,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let (root, issuers) = bundle.split_first().ok_or(Refusal::UnknownRoot)?;
        let root = roots.find(root).ok_or(Refusal::UnknownRoot)?;
        inspect(bundle, certificate, now)?;
        let vouched = EndEntityCert::try_from(certificate).map_err(|_| Refusal::Certificate)?;
        follow(&vouched, root, issuers, now)?;
        Ok(Self(vouched))
    }

    /// Checks that the key of the certificate made this signature with ES384: r and s, one after the other.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8; 96]) -> Result<(), Refusal> {
        let signature = in_der(signature).map_err(|_| Refusal::Signature)?;
        self.0.verify_signature(ECDSA_P384_SHA384, message, &signature).map_err(|_| Refusal::Signature)
    }
}

fn follow(
    certificate: &EndEntityCert<'_>,
    root: &CertificateDer<'_>,
    issuers: &[&[u8]],
    now: Timestamp,
) -> Result<(), Refusal> {
    let anchor = [anchor_from_trusted_cert(root).map_err(|_| Refusal::Certificate)?];
    let issuers: Vec<_> = issuers.iter().map(|issuer| CertificateDer::from(*issuer)).collect();
    let now = UnixTime::since_unix_epoch(since_epoch(now));
    let followed = certificate.verify_for_usage(ALGORITHMS, &anchor, &issuers, now, NoOtherPurpose, None, None);
    followed.map(drop).map_err(|_| Refusal::Chain)
}

/// No purpose is defined for attestation, so a certificate that has one is for something else.
struct NoOtherPurpose;

impl ExtendedKeyUsageValidator for NoOtherPurpose {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        match purposes.next() {
            None => Ok(()),
            // Any error will do: which one it was is not told.
            Some(_) => Err(webpki::Error::UnsupportedCriticalExtension),
        }
    }
}

/// Looks at each certificate for itself. All are of different subjects, so that there is one path and no search for it.
fn inspect(bundle: &[&[u8]], certificate: &[u8], now: Timestamp) -> Result<(), Refusal> {
    let mut subjects = BTreeSet::new();
    let mut read = |der: &[u8]| {
        let parsed = Certificate::from_der(der).map_err(|_| Refusal::Certificate)?;
        is_in_time(&parsed, now)?;
        let subject = parsed.tbs_certificate().subject().to_der().map_err(|_| Refusal::Certificate)?;
        if subjects.insert(subject) { Ok(parsed) } else { Err(Refusal::Chain) }
    };
    for (followers, issuer) in bundle.iter().rev().enumerate() {
        may_issue(&read(issuer)?, followers)?;
    }
    may_sign(&read(certificate)?)
}

fn is_in_time(certificate: &Certificate, now: Timestamp) -> Result<(), Refusal> {
    let validity = certificate.tbs_certificate().validity();
    let now = since_epoch(now);
    if now < validity.not_before.to_unix_duration() {
        return Err(Refusal::NotYetValid);
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(Refusal::Expired);
    }
    Ok(())
}

/// Checks that the key of the certificate may sign certificates with so many issuers between it and the last one.
fn may_issue(certificate: &Certificate, followers: usize) -> Result<(), Refusal> {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    let fits = |is: &BasicConstraints| is.ca && is.path_len_constraint.is_none_or(|max| followers <= max.into());
    if !constraints.ok().flatten().is_some_and(|(_, is)| fits(&is)) {
        return Err(Refusal::Chain);
    }
    match usage(certificate) {
        Some(usage) if usage.key_cert_sign() => Ok(()),
        _ => Err(Refusal::KeyUsage),
    }
}

/// Checks that the key of the certificate may sign documents.
fn may_sign(certificate: &Certificate) -> Result<(), Refusal> {
    match usage(certificate) {
        Some(usage) if usage.digital_signature() => Ok(()),
        _ => Err(Refusal::KeyUsage),
    }
}

fn usage(certificate: &Certificate) -> Option<KeyUsage> {
    let usage = certificate.tbs_certificate().get_extension::<KeyUsage>();
    usage.ok().flatten().map(|(_, usage)| usage)
}

fn since_epoch(time: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(time.ms()).unwrap_or(0))
}

/// An ECDSA signature as X.509 writes it: SEQUENCE { r INTEGER, s INTEGER }.
fn in_der(signature: &[u8; 96]) -> der::Result<Vec<u8>> {
    let (r, s) = signature.split_at(48);
    [der::asn1::UintRef::new(r)?, der::asn1::UintRef::new(s)?].to_der()
}
