//! Authentication: a Signature Version 4 claim is checked against the access keys of the store.
//!
//! The secret of an access key is sealed under a key in the HSM. It is opened once per access key and day; a warm request
//! asks neither store nor HSM.

mod last_days;
mod service_materials;
mod signing_keys;
mod vault;

use std::{sync::Arc, time::Instant};

pub use self::vault::{TokenKind, Vault};
use self::{last_days::LastDays, signing_keys::SigningKeys};
use crate::{
    error::{Code, KmsError},
    identity::Identity,
    policy::Document,
    sigv4::{Claim, DateKey},
    store::{AccessKey, Store},
};

/// A caller whose proof was verified. Made by [`Authn`] only.
pub struct Proved {
    identity: Identity,
    policies: Vec<Arc<Document>>,
    region: String,
}

impl Proved {
    /// The caller.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The region that the proof is for, and so the call.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The caller, their identity policies, and the region.
    pub fn into_parts(self) -> (Identity, Vec<Arc<Document>>, String) {
        (self.identity, self.policies, self.region)
    }
}

/// Finds out who calls.
pub struct Authn {
    store: Store,
    vault: Vault,
    signing_keys: SigningKeys,
    last_days: LastDays,
    nobody: DateKey,
}

impl Authn {
    /// Authentication against the access keys in `store`, whose secrets `vault` opens.
    pub fn new(store: Store, vault: Vault) -> Self {
        let signing_keys = SigningKeys::default();
        let last_days = LastDays::default();
        Self { store, vault, signing_keys, last_days, nobody: DateKey::of_nobody() }
    }

    /// The caller that `claim` is about and their identity policies, if the signature proves it.
    ///
    /// # Errors
    /// `UnrecognizedClientException`, `InvalidSignatureException`; else as the HSM answers.
    pub async fn identify(&self, claim: &Claim, deadline: Instant) -> Result<Proved, KmsError> {
        let access_key = self.access_key(claim).inspect_err(|_| {
            self.signing_keys.forget(&claim.access_key_id);
            // An unknown access key costs what a known one costs.
            let _ = claim.verify(&self.nobody.signing_key(&claim.region));
        })?;
        self.verify(claim, &access_key, deadline).await?;
        let identity = Identity { principal: access_key.principal.clone(), access_key_id: claim.access_key_id.clone() };
        let policies = self.policies_of(&identity)?;
        Ok(Proved { identity, policies, region: claim.region.clone() })
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

    /// True if the secret of `access_key` made the signature.
    async fn verify(&self, claim: &Claim, access_key: &AccessKey, deadline: Instant) -> Result<(), KmsError> {
        let day = self.signing_keys.day(&access_key.id, &claim.date);
        if let Some(signing_key) = day.of_region(&claim.region) {
            return claim.verify(&signing_key);
        }
        let derive = || async {
            let secret = self.vault.open(&access_key.id, &access_key.sealed_secret, deadline).await?;
            Ok::<_, KmsError>(DateKey::derive(&secret, &claim.date))
        };
        // Boxed, for else every call would carry the state of this, which is done once a day.
        let date_key = Box::pin(day.key.get_or_try_init(derive)).await?;
        let signing_key = Arc::new(date_key.signing_key(&claim.region));
        claim.verify(&signing_key)?;
        // Not before: whoever cannot sign could fill it with regions that nobody uses.
        day.keep(&claim.region, signing_key);
        self.last_days.note(&access_key.id, &claim.date);
        Ok(())
    }

    /// Writes to the store on which day each access key signed last; answers of how many that is news.
    ///
    /// # Errors
    /// As the store answers; it is written the next time.
    pub async fn write_last_days(&self) -> Result<usize, KmsError> {
        self.last_days.write(&self.store).await
    }
}

fn unrecognized() -> KmsError {
    KmsError::new(Code::UnrecognizedClientException, "The security token included in the request is invalid.")
}
