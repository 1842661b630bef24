//! Who calls: a Signature Version 4 claim against the access keys of the store.
//!
//! The secret of an access key is sealed under a key in the HSM. It is opened once per access key, day and region, to
//! derive the signing key, which is cached; a warm request asks neither store nor HSM.

mod vault;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

pub use self::vault::{TokenKind, Vault};
use crate::{
    error::{Code, KmsError},
    identity::Identity,
    policy::Document,
    sigv4::{Claim, SigningKey},
    store::{AccessKey, Store},
};

/// The most signing keys that are kept; beyond, all are dropped and derived again.
const MAX_SIGNING_KEYS: usize = 10_000;

/// Finds out who calls.
pub struct Authn {
    store: Store,
    vault: Vault,
    signing_keys: Mutex<HashMap<Scope, Arc<SigningKey>>>,
    nobody: SigningKey,
}

/// What a signing key is derived for.
#[derive(PartialEq, Eq, Hash)]
struct Scope {
    access_key_id: String,
    date: String,
    region: String,
}

impl Authn {
    /// Authentication against the access keys in `store`, whose secrets `vault` opens.
    pub fn new(store: Store, vault: Vault) -> Self {
        Self { store, vault, signing_keys: Mutex::default(), nobody: SigningKey::for_nobody() }
    }

    /// The caller that `claim` is about and their identity policies, if the signature proves it.
    ///
    /// # Errors
    /// `UnrecognizedClientException`, `InvalidSignatureException`; else as the HSM answers.
    pub async fn identify(&self, claim: &Claim, deadline: Instant) -> Result<(Identity, Vec<Arc<Document>>), KmsError> {
        let access_key = self.access_key(claim).inspect_err(|_| {
            // An unknown access key costs what a known one costs.
            let _ = claim.verify(&self.nobody);
        })?;
        let signing_key = self.signing_key(claim, &access_key, deadline).await?;
        claim.verify(&signing_key)?;
        let identity = Identity { principal: access_key.principal.clone(), access_key_id: claim.access_key_id.clone() };
        let policies = self.policies_of(&identity)?;
        Ok((identity, policies))
    }

    /// The identity policies of a caller who was identified before, as they are now.
    ///
    /// # Errors
    /// `UnrecognizedClientException` if their access key may not sign any more.
    pub fn policies_of(&self, identity: &Identity) -> Result<Vec<Arc<Document>>, KmsError> {
        let view = self.store.view();
        let is_theirs = |key: &Arc<AccessKey>| key.enabled && key.principal == identity.principal;
        view.access_key(&identity.access_key_id).filter(is_theirs).ok_or_else(unrecognized)?;
        let principal = view.principal(identity.principal.arn()).ok_or_else(unrecognized)?;
        Ok(principal.policies.clone())
    }

    /// The access key that `claim` names, proved or not.
    ///
    /// # Errors
    /// `UnrecognizedClientException` if there is none, or it is disabled.
    pub fn access_key(&self, claim: &Claim) -> Result<Arc<AccessKey>, KmsError> {
        let access_key = self.store.view().access_key(&claim.access_key_id).filter(|key| key.enabled);
        // Temporary credentials are not given out here, so whoever brings a token did not get it from us.
        access_key.filter(|_| claim.session_token.is_none()).ok_or_else(unrecognized)
    }

    async fn signing_key(
        &self,
        claim: &Claim,
        access_key: &AccessKey,
        deadline: Instant,
    ) -> Result<Arc<SigningKey>, KmsError> {
        let Claim { access_key_id, date, region, .. } = claim;
        let scope = Scope { access_key_id: access_key_id.clone(), date: date.clone(), region: region.clone() };
        let known = self.signing_keys.lock().unwrap_or_else(|e| e.into_inner()).get(&scope).map(Arc::clone);
        if let Some(known) = known {
            return Ok(known);
        }
        let secret = self.vault.open(&access_key.id, &access_key.sealed_secret, deadline).await?;
        let derived = Arc::new(SigningKey::derive(&secret, date, region));
        let mut keys = self.signing_keys.lock().unwrap_or_else(|e| e.into_inner());
        if keys.len() >= MAX_SIGNING_KEYS {
            keys.clear();
        }
        keys.insert(scope, Arc::clone(&derived));
        Ok(derived)
    }
}

fn unrecognized() -> KmsError {
    KmsError::new(Code::UnrecognizedClientException, "The security token included in the request is invalid.")
}
