//! One attempt at one command: the session that it is made on, and what commands have in common.

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use crate::hsm::error::{HsmError, Kind};
use crate::key::material::MaterialId;
use crate::key::spec::EncryptionAlgorithm;
use crate::secret::SecretBytes;

use crate::hsm::engine::calls::generating::WrapContext;
use crate::hsm::engine::calls::mechanism::OaepHash;
use crate::hsm::engine::calls::proof;
use crate::hsm::engine::calls::session_calls::{Oaep, Sealed, SessionCalls};
use crate::hsm::engine::leases::Lease;
use crate::hsm::engine::state::EngineState;

/// The name of material that is given one later, or needs none.
pub(super) const UNNAMED: MaterialId = MaterialId([0; 32]);

/// The means for one attempt at a command: a session, the handle that it needs, the engine's state.
pub struct RunContext<'a> {
    pub(in crate::hsm) state: &'a EngineState,
    pub(in crate::hsm) calls: SessionCalls<'a>,
    /// The handle that the command needs.
    pub(in crate::hsm) lease: Option<&'a Lease>,
    /// Opens another session, for which it may have to wait until the deadline.
    pub(in crate::hsm) open: &'a dyn Fn() -> Result<Session, HsmError>,
}

impl RunContext<'_> {
    pub(super) fn key(&self) -> Result<ObjectHandle, HsmError> {
        self.lease().map(|lease| lease.handle)
    }

    pub(super) fn lease(&self) -> Result<&Lease, HsmError> {
        self.lease.ok_or_else(|| HsmError::new(Kind::Bug, "lease", "the command came without its handle"))
    }

    /// Encrypts under AES-256-GCM, and proves the ciphertext if a proof is due.
    pub(super) fn seal(&self, aad: &[u8], input: &SecretBytes) -> Result<Sealed, HsmError> {
        let Lease { handle, believed, .. } = self.lease()?;
        let sealed = self.calls.seal(*handle, aad, input.expose())?;
        believed.or_prove(|| self.calls.prove_sealed(*handle, aad, &sealed, input.expose()))?;
        Ok(sealed)
    }

    /// The plaintext that `open` gives; it is called twice if a proof is due.
    pub(super) fn twice(&self, open: impl Fn() -> Result<SecretBytes, HsmError>) -> Result<SecretBytes, HsmError> {
        let opened = open()?;
        self.lease()?.believed.or_prove(|| proof::prove(opened.expose(), open()))?;
        Ok(opened)
    }

    pub(super) fn oaep(&self, algorithm: EncryptionAlgorithm) -> Result<Oaep, HsmError> {
        let hash = match algorithm {
            EncryptionAlgorithm::RsaesOaepSha1 => OaepHash::Sha1,
            EncryptionAlgorithm::RsaesOaepSha256 => OaepHash::Sha256,
            other => return Err(HsmError::new(Kind::Unsupported, "oaep", format!("{other} is not RSAES-OAEP"))),
        };
        Ok(Oaep { hash, sha256: self.state.profile.oaep_sha256 })
    }

    pub(super) fn means(&self) -> Result<WrapContext<'_>, HsmError> {
        Ok(WrapContext { profile: &self.state.profile, wrapping: self.state.wrapping_key(self.calls.session)? })
    }
}

/// The worker process has answered what was not asked.
pub(in crate::hsm) fn another() -> HsmError {
    HsmError::new(Kind::Bug, "worker process", "the answer is to another command")
}
