//! Secrets of access keys and passwords of custom key stores at rest: sealed in the HSM under the deployment's own material, each
//! bound to its id.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use serde::{Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq;

use crate::{
    error::KmsError,
    failure,
    hsm::{
        Hsm, Kind,
        command::{self, Sealed},
    },
    identity::Asker,
    key::material::MaterialId,
    secret::{SecretBytes, SecretText},
    store::{Deployment, Store},
};

use super::service_materials::ServiceMaterials;

const IV_BYTES: usize = 12;

/// A sealed text begins with the IV, followed by ciphertext and tag. Under another material than the first there is this in
/// front, and the material's name; no IV of 12 random bytes ever begins so.
const NAMED: &[u8] = b"strongroom\0\x01";

/// The purpose of a token; one is never taken for the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// An import token.
    Import,
    /// A grant token.
    Grant,
}

impl TokenKind {
    /// The additional authenticated data that binds tokens of this kind.
    fn aad(self) -> Vec<u8> {
        match self {
            Self::Import => b"strongroom import token".to_vec(),
            Self::Grant => b"strongroom grant token".to_vec(),
        }
    }
}

/// Seals and opens secrets at rest.
#[derive(Clone)]
pub struct Vault {
    hsm: Hsm,
    /// Nothing until the deployment is founded, which takes an HSM that is open.
    materials: Arc<OnceLock<ServiceMaterials>>,
}

impl Vault {
    /// A vault that opens when it is given the deployment's own material.
    pub fn new(hsm: Hsm) -> Self {
        Self { hsm, materials: Arc::default() }
    }

    /// Gives it the materials of `deployment`, which is in `store`, once.
    pub fn furnish(&self, store: Store, deployment: &Deployment) {
        let _ = self.materials.set(ServiceMaterials::new(store, deployment));
    }

    /// True if it has been given the deployment's own material.
    pub fn has_material(&self) -> bool {
        self.materials.get().is_some()
    }

    fn materials(&self) -> Result<&ServiceMaterials, KmsError> {
        self.materials.get().ok_or_else(|| failure::not_open("the deployment has not been founded"))
    }

    /// The command that opens `sealed`; nothing if it is not of a form that anything is sealed in.
    async fn opening(&self, aad: Vec<u8>, sealed: &[u8]) -> Result<Option<command::Open>, KmsError> {
        let materials = self.materials()?;
        let (material, sealed) = match sealed.strip_prefix(NAMED).and_then(|named| named.split_first_chunk()) {
            Some((id, sealed)) => (materials.named(MaterialId(*id)).await?, sealed),
            None => (Some(Arc::clone(materials.founding())), sealed),
        };
        let parts = material.zip(sealed.split_first_chunk::<IV_BYTES>());
        Ok(parts.map(|(material, (iv, ciphertext))| command::Open {
            material,
            aad,
            iv: *iv,
            ciphertext: ciphertext.to_vec(),
        }))
    }

    /// Seals the secret of access key `id`.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn seal(&self, id: &str, secret: &SecretText, deadline: Instant) -> Result<Vec<u8>, KmsError> {
        let input = SecretBytes::from(secret.expose().as_bytes().to_vec());
        self.seal_for(aad(ACCESS_KEY, id), input, Asker::SERVICE, deadline).await
    }

    /// Opens what [`Self::seal`] made for access key `id`.
    ///
    /// # Errors
    /// As the HSM answers; a sealed secret that does not open is a damaged store, not a caller's fault.
    pub async fn open(&self, id: &str, sealed: &[u8], deadline: Instant) -> Result<SecretText, KmsError> {
        self.open_for(aad(ACCESS_KEY, id), id, sealed, deadline).await
    }

    /// Seals the password of custom key store `id`, as [`Self::seal`] does.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn seal_password(&self, id: &str, password: &SecretText, deadline: Instant) -> Result<Vec<u8>, KmsError> {
        let input = SecretBytes::from(password.expose().as_bytes().to_vec());
        self.seal_for(aad(KEY_STORE, id), input, Asker::SERVICE, deadline).await
    }

    /// Opens what [`Self::seal_password`] made for custom key store `id`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_password(&self, id: &str, sealed: &[u8], deadline: Instant) -> Result<SecretText, KmsError> {
        self.open_for(aad(KEY_STORE, id), id, sealed, deadline).await
    }

    /// Seals what a token holds, for whoever hands it back. On behalf of `asker`.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn seal_token(
        &self,
        kind: TokenKind,
        token: &impl Serialize,
        asker: Asker,
        deadline: Instant,
    ) -> Result<Vec<u8>, KmsError> {
        let input = SecretBytes::from(serde_json::to_vec(token).map_err(KmsError::internal)?);
        self.seal_for(kind.aad(), input, asker, deadline).await
    }

    /// Opens what [`Self::seal_token`] made; nothing if it is not that.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn open_token<T: DeserializeOwned>(
        &self,
        kind: TokenKind,
        sealed: &[u8],
        asker: Asker,
        deadline: Instant,
    ) -> Result<Option<T>, KmsError> {
        let Some(command) = self.opening(kind.aad(), sealed).await? else { return Ok(None) };
        match self.hsm.call_for(asker, command, deadline).await {
            Ok(token) => Ok(serde_json::from_slice(token.expose()).ok()),
            Err(error) if error.kind == Kind::Rejected => Ok(None),
            Err(error) => Err(failure::hsm_about_own_key(error)),
        }
    }

    /// Seals something under the deployment's own material; what opens it on an HSM proves that this one has the wrapping key
    /// that all else is wrapped under.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn proof(&self, deadline: Instant) -> Result<command::Open, KmsError> {
        let aad = b"strongroom readiness".to_vec();
        let sealed = self.seal_for(aad.clone(), SecretBytes::from(vec![0; 16]), Asker::SERVICE, deadline).await?;
        self.opening(aad, &sealed).await?.ok_or_else(|| KmsError::internal("what was sealed has lost its form"))
    }

    async fn seal_for(
        &self,
        aad: Vec<u8>,
        input: SecretBytes,
        asker: Asker,
        deadline: Instant,
    ) -> Result<Vec<u8>, KmsError> {
        let materials = self.materials()?;
        let material = materials.next(&self.hsm).await?;
        let id = material.id;
        let named = if id == materials.founding().id { Vec::new() } else { [NAMED, &id.0[..]].concat() };
        let sealed = self.hsm.call_for(asker, command::Seal { material, aad, input }, deadline).await;
        let Sealed { iv, ciphertext } = sealed.map_err(failure::hsm_about_own_key)?;
        Ok([&named[..], &iv, &ciphertext].concat())
    }

    /// Opened twice: what is made of it is kept for a day, and one wrong answer of the HSM would lock its owner out for as long.
    async fn open_for(&self, aad: Vec<u8>, id: &str, sealed: &[u8], deadline: Instant) -> Result<SecretText, KmsError> {
        let damaged = || KmsError::internal(format!("the sealed secret of {id} is damaged"));
        let command = self.opening(aad, sealed).await?.ok_or_else(damaged)?;
        let secret = self.ask(command.clone(), deadline).await?;
        if !bool::from(secret.expose().ct_eq(self.ask(command, deadline).await?.expose())) {
            return Err(failure::not_open("the HSM opened a sealed secret in two ways"));
        }
        std::str::from_utf8(secret.expose()).map(|text| SecretText::from(text.to_owned())).map_err(|_| damaged())
    }

    async fn ask(&self, command: command::Open, deadline: Instant) -> Result<SecretBytes, KmsError> {
        self.hsm.call(command, deadline).await.map_err(failure::hsm_about_own_key)
    }
}

/// The additional authenticated data of the secrets of access keys, each beside its id.
const ACCESS_KEY: &[u8] = b"strongroom access key secret\0";

/// The additional authenticated data of the passwords of custom key stores, each beside its id.
const KEY_STORE: &[u8] = b"strongroom key store password\0";

fn aad(kind: &[u8], id: &str) -> Vec<u8> {
    [kind, id.as_bytes()].concat()
}
