//! Secrets that two parties come to: ECDH and ML-KEM. They are answered, so their objects can be read, and are gone at once.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use serde::{Deserialize, Serialize};

use crate::hsm::error::{HsmError, Kind};
use crate::key::bytes;
use crate::key::spec::{Curve, KeySpec};
use crate::secret::SecretBytes;

use super::objects::TemporaryObject;
use super::session_calls::SessionCalls;
use super::templates;

/// Length of the secret that ML-KEM comes to, in bytes (FIPS 203 section 8).
const ML_KEM_SECRET_BYTES: usize = 32;

/// A secret, and what the holder of the private key needs to come to the same.
#[derive(Serialize, Deserialize)]
pub struct Encapsulated {
    /// The secret.
    pub secret: SecretBytes,
    /// The ciphertext for the holder of the private key.
    #[serde(with = "bytes")]
    pub ciphertext: Vec<u8>,
}

impl SessionCalls<'_> {
    /// The x coordinate that the private key and another's point come to (SP 800-56A section 5.7.1.2; the cofactor is 1).
    pub(in crate::hsm) fn agree(&self, curve: Curve, key: ObjectHandle, point: &[u8]) -> Result<SecretBytes, HsmError> {
        let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), point));
        let derived = self.session.derive_key(&mechanism, key, &templates::agreed_secret(curve.bytes()))?;
        self.read_secret(derived, curve.bytes())
    }

    /// ML-KEM with the public key whose handle is `key`.
    pub(in crate::hsm) fn encapsulate(&self, spec: KeySpec, key: ObjectHandle) -> Result<Encapsulated, HsmError> {
        let template = templates::agreed_secret(ML_KEM_SECRET_BYTES);
        let (ciphertext, handle) = self.session.encapsulate_key(&Mechanism::MlKem, key, &template)?;
        let secret = self.read_secret(handle, ML_KEM_SECRET_BYTES)?;
        match Some(ciphertext.len()) == ml_kem_ciphertext_bytes(spec) {
            true => Ok(Encapsulated { secret, ciphertext }),
            false => Err(HsmError::nonsense("C_EncapsulateKey", "the length of the ciphertext is wrong")),
        }
    }

    /// The inverse; another ciphertext of the right length gives another secret and no error (FIPS 203 section 6.3).
    pub(in crate::hsm) fn decapsulate(
        &self,
        spec: KeySpec,
        key: ObjectHandle,
        ciphertext: &[u8],
    ) -> Result<SecretBytes, HsmError> {
        if Some(ciphertext.len()) != ml_kem_ciphertext_bytes(spec) {
            return Err(HsmError::new(Kind::Rejected, "decapsulate", "the length of the ciphertext is wrong"));
        }
        let template = templates::agreed_secret(ML_KEM_SECRET_BYTES);
        let handle = self.session.decapsulate_key(&Mechanism::MlKem, key, &template, ciphertext)?;
        self.read_secret(handle, ML_KEM_SECRET_BYTES)
    }

    /// The value of a secret that is to be answered; its object is gone when this returns.
    fn read_secret(&self, handle: ObjectHandle, bytes: usize) -> Result<SecretBytes, HsmError> {
        let passing = TemporaryObject::new(self.session, handle);
        let values = self.session.get_attributes(passing.handle, &[AttributeType::Value])?;
        match values.into_iter().next() {
            Some(Attribute::Value(value)) => Some(SecretBytes::from(value)).filter(|secret| secret.len() == bytes),
            _ => None,
        }
        .ok_or_else(|| HsmError::nonsense("C_GetAttributeValue", "the length of the secret is wrong"))
    }
}

/// Length of a ciphertext (FIPS 203, table 3), in bytes.
fn ml_kem_ciphertext_bytes(spec: KeySpec) -> Option<usize> {
    match spec {
        KeySpec::MlKem512 => Some(768),
        KeySpec::MlKem768 => Some(1088),
        KeySpec::MlKem1024 => Some(1568),
        _ => None,
    }
}
