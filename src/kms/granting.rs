//! Grants: authorization by them, their creation and deletion, and their tokens.
//!
//! A grant token is a sealed text that names a grant. It permits nothing by itself, since the caller must still be the grantee,
//! and the grant must be in the store: a token of a deleted grant is not valid. If the view does not have the grant, it reads the
//! feed first; so the token of a grant that another process has just made is valid at once.
//!
//! Grants count where no policy allows and none denies. A call looks at the caller's own grants, and of these at those that
//! demand no pair of its encryption context or one that it has (`store/grant_index`). What a grant passed on stays when it is
//! revoked. A grantee need not exist, as in a key policy; grants for services can be kept and are never met. AWS does not say
//! what a token of a revoked grant is: here it is refused with InvalidGrantTokenException, even where policies allow the call.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::{
    access::{Authorized, Resolved},
    action::Action,
    authn::TokenKind,
    error::{Code, KmsError},
    failure,
    key::{
        grant::{Grant, GrantId, GrantOperation, Party, Terms},
        reference::KeyId,
    },
    kms::{
        call_change::CallChange,
        cx::{AllowedUse, Cx},
        keys::{gone, random},
    },
    policy::RequestFacts,
    store::GrantInsert,
};

/// Grants that one key can have (AWS KMS: "Resource quotas").
const MAX_GRANTS_PER_KEY: usize = 50_000;

/// The content of a grant token. A grant's id is random, so it is of one region only.
#[derive(Serialize, Deserialize)]
struct GrantToken {
    key: KeyId,
    grant: GrantId,
}

/// The result of CreateGrant.
pub struct NewGrant {
    /// The grant.
    pub id: GrantId,
    /// A token of it, another one each time.
    pub token: String,
}

impl Cx<'_> {
    /// Lets the caller do `operation` with the key that `text` names in any way, if policies or a grant do. Every token must be one,
    /// and of a grant that there is, whatever allows the call.
    ///
    /// # Errors
    /// As [`Self::resolve`]; then as [`Self::authorize_resolved_use`].
    pub async fn authorize_use(
        &self,
        operation: GrantOperation,
        text: &str,
        facts: &Arc<RequestFacts>,
        tokens: &[String],
    ) -> Result<Authorized, KmsError> {
        let key = self.resolve(operation.action(), text)?;
        self.authorize_resolved_use(operation, key, facts, tokens).await
    }

    /// As [`Self::authorize_use`], with a key that was found.
    ///
    /// # Errors
    /// `InvalidGrantTokenException`, `AccessDeniedException`; else as HSM and store answer.
    pub async fn authorize_resolved_use(
        &self,
        operation: GrantOperation,
        key: Resolved,
        facts: &Arc<RequestFacts>,
        tokens: &[String],
    ) -> Result<Authorized, KmsError> {
        self.open_grant_tokens(tokens).await?;
        self.authorize_use_now(operation, key, facts)
    }

    /// The grants that tokens name.
    ///
    /// # Errors
    /// As [`Self::open_grant_token`].
    pub async fn open_grant_tokens(&self, tokens: &[String]) -> Result<Vec<Arc<Grant>>, KmsError> {
        let mut grants = Vec::with_capacity(tokens.len());
        for token in tokens {
            // Boxed, for else every call would carry the state of this, and few have tokens.
            grants.push(Box::pin(self.open_grant_token(token)).await?);
        }
        Ok(grants)
    }

    /// Checks that a grant that was found before is still there.
    ///
    /// # Errors
    /// `InvalidGrantTokenException`.
    pub fn is_there(&self, grant: &Grant) -> Result<(), KmsError> {
        match self.kms.store.view().grant(&grant.region, grant.key, grant.id) {
            Some(_) => Ok(()),
            None => Err(KmsError::bare(Code::InvalidGrantTokenException)),
        }
    }

    /// As [`Self::authorize_resolved_use`], once the tokens have been opened.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize_use_now(
        &self,
        operation: GrantOperation,
        key: Resolved,
        facts: &Arc<RequestFacts>,
    ) -> Result<Authorized, KmsError> {
        let view = self.kms.store.view();
        let region = &self.realm().region;
        let id = key.id();
        let caller = &self.caller().principal;
        let request = (operation, facts.of_constraints());
        let find = |wanted: &dyn Fn(&Grant) -> bool| view.grant_for(region, id, caller, request, wanted);
        let key = key.authorize_use(&self.asking(facts), operation, find)?;
        self.note_use(AllowedUse { key: id, operation, facts: Arc::clone(facts), grant: key.grant() });
        if let Some(grant) = key.grant() {
            let of_destination = operation == GrantOperation::ReEncryptTo;
            let name = if of_destination { "destinationAuthorizingGrantId" } else { "authorizingGrantId" };
            self.note_more(name, grant.to_string().into());
        }
        Ok(key)
    }

    /// Lets the caller retire `grant`, which is one of `key`.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize_retirement(&self, key: Resolved, grant: &Grant) -> Result<Authorized, KmsError> {
        self.note_grant(grant.id);
        let facts = RequestFacts { grant: Some(grant.terms.clone()), ..RequestFacts::default() };
        key.authorize_retirement(&self.asking(&facts), grant)
    }

    /// Makes a grant of the key that `may` authorizes; where the key has one of these terms and this name, that one is meant.
    ///
    /// # Errors
    /// Those of `may`; `LimitExceededException`, `NotFoundException` if the key is gone; else as HSM and store answer.
    pub async fn create_grant(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        key: &Authorized,
        terms: Terms,
    ) -> Result<NewGrant, KmsError> {
        let region = self.realm().region.clone();
        let issuer = self.caller().principal.account().clone();
        let id = GrantId(random()?);
        let grant = Grant { id, key: key.id(), region, terms, created: self.now(), issuer };
        // Sealed first: a grant is not left behind without an answer because the HSM is away.
        let token = self.seal_grant_token(grant.key, id).await?;
        let act = CallChange::of(self);
        let judge = || {
            act.decide(|cx| {
                cx.note_grant(id);
                may(cx)?.demand_action(&[Action::CreateGrant])
            })
        };
        let made = self.kms.store.insert_grant(&act, &grant, MAX_GRANTS_PER_KEY, judge).await;
        match made.map_err(|error| failure::change(error, || gone(key)))? {
            GrantInsert::Done => {
                act.conclude();
                Ok(NewGrant { id, token })
            }
            GrantInsert::There(id) => {
                self.note_grant(id);
                Ok(NewGrant { id, token: self.seal_grant_token(grant.key, id).await? })
            }
            GrantInsert::TooMany => {
                let text =
                    format!("{} has {MAX_GRANTS_PER_KEY} grants, which is as many as a key can have.", key.arn());
                Err(KmsError::new(Code::LimitExceededException, text))
            }
            GrantInsert::KeyGone => Err(gone(key)),
        }
    }

    /// Deletes a grant of the key that `may` authorizes.
    ///
    /// # Errors
    /// Those of `may`; `NotFoundException` if the grant is gone; else as the store answers.
    pub async fn delete_grant(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        grant: &Grant,
    ) -> Result<(), KmsError> {
        let act = CallChange::of(self);
        let judge = || {
            act.decide(|cx| {
                cx.note_grant(grant.id);
                may(cx)?.demand_action(&[Action::RevokeGrant, Action::RetireGrant])
            })
        };
        let deleted = self.kms.store.delete_grant(&act, grant, judge).await;
        match deleted.map_err(|error| failure::change(error, || no_such_grant(grant.id)))? {
            true => {
                act.conclude();
                Ok(())
            }
            false => {
                self.note_grant(grant.id);
                Err(no_such_grant(grant.id))
            }
        }
    }

    /// The grant of that key and id. One that the view does not have may be another process's of this moment.
    ///
    /// # Errors
    /// `NotFoundException`; else as the store answers.
    pub async fn grant(&self, key: KeyId, id: GrantId) -> Result<Arc<Grant>, KmsError> {
        self.look_for_grant(key, id).await?.ok_or_else(|| no_such_grant(id))
    }

    /// The grant that a token names.
    ///
    /// # Errors
    /// `InvalidGrantTokenException` if it is no token of a grant that there is; else as HSM and store answer.
    pub async fn open_grant_token(&self, token: &str) -> Result<Arc<Grant>, KmsError> {
        let invalid = || KmsError::bare(Code::InvalidGrantTokenException);
        let sealed = STANDARD.decode(token).map_err(|_| invalid())?;
        let vault = &self.kms.vault;
        let asker = self.asker();
        let token: Option<GrantToken> = vault.open_token(TokenKind::Grant, &sealed, asker, self.deadline()).await?;
        let token = token.ok_or_else(invalid)?;
        self.look_for_grant(token.key, token.grant).await?.ok_or_else(invalid)
    }

    async fn look_for_grant(&self, key: KeyId, id: GrantId) -> Result<Option<Arc<Grant>>, KmsError> {
        let store = &self.kms.store;
        let region = &self.realm().region;
        if let Some(grant) = store.view().grant(region, key, id) {
            return Ok(Some(grant));
        }
        store.follow().await.map_err(failure::store)?;
        Ok(store.view().grant(region, key, id))
    }

    async fn seal_grant_token(&self, key: KeyId, grant: GrantId) -> Result<String, KmsError> {
        let token = GrantToken { key, grant };
        let sealed = self.kms.vault.seal_token(TokenKind::Grant, &token, self.asker(), self.deadline()).await?;
        Ok(STANDARD.encode(sealed))
    }

    /// The grant of that id, if the key has it.
    pub fn grant_of(&self, key: &Authorized, id: GrantId) -> Option<Arc<Grant>> {
        self.kms.store.view().grant(&self.realm().region, key.key().id(), id)
    }

    /// The next `n` grants of a key, by id: all, or those of one grantee.
    pub fn grants_after(
        &self,
        key: &Authorized,
        grantee: Option<&Party>,
        after: Option<GrantId>,
        n: usize,
    ) -> Vec<Arc<Grant>> {
        self.kms.store.view().grants_after(&self.realm().region, key.key().id(), grantee, after, n)
    }

    /// The next `n` grants that `retiring` may retire, by key and id. The caller has been authorized for
    /// ListRetirableGrants.
    pub fn retirable_grants_after(
        &self,
        retiring: &Party,
        after: Option<(KeyId, GrantId)>,
        n: usize,
    ) -> Vec<Arc<Grant>> {
        self.kms.store.view().retirable_grants_after(&self.realm().region, retiring, after, n)
    }

    /// Notes in the audit record the grant that a call is about.
    fn note_grant(&self, id: GrantId) {
        self.note_more("grantId", id.to_string().into());
    }
}

fn no_such_grant(id: GrantId) -> KmsError {
    KmsError::new(Code::NotFoundException, format!("Grant ID {id} not found"))
}
