//! The only road from "the caller said" to "the HSM does": [`Resolved`] → [`Authorized`] → [`Usable`].
//!
//! Each has one way in, the step before it, so an operation that forgets a check does not compile. Nothing of a key can
//! be read before it is authorized.
//!
//! Policies decide first. Where they do not allow, and none denies, a grant of the key may: see
//! [`Resolved::authorize_use`].

use std::{borrow::Cow, sync::Arc};

use crate::{
    action::Action,
    arn::{AccountId, Realm},
    client::Client,
    clock::Timestamp,
    error::{Code, KmsError},
    key::{
        Key,
        algorithm::Algorithm,
        custom_store::CustomKeyStore,
        grant::{Grant, GrantId, GrantOperation},
        material::{Material, MaterialId},
        reference::KeyId,
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
        state::{Demand, KeyState},
    },
    policy::{self, Decision, Document, Facts, Reason, RequestFacts, Resource},
    principal::{Naming, Principal},
};

/// A key and its key policy, compiled.
#[derive(Debug)]
pub struct KeyEntry {
    /// The key.
    pub key: Key,
    /// Its policy, which keys with the same text share.
    pub policy: Arc<Document>,
}

impl KeyEntry {
    /// The same as it is at this date: see [`Key::at`].
    pub fn at(self: Arc<Self>, now: Timestamp) -> Arc<Self> {
        match self.key.at(now) {
            Cow::Borrowed(_) => {}
            Cow::Owned(key) => return Arc::new(Self { key, policy: Arc::clone(&self.policy) }),
        }
        self
    }
}

/// The caller of a request, with their identity policies.
#[derive(Clone)]
pub struct Caller {
    /// The principal.
    pub principal: Principal,
    /// The policies attached to it.
    pub policies: Vec<Arc<Document>>,
}

/// One request, as all decisions about it see it: who asks, from where, when and with which parameters.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The caller.
    pub caller: &'a Caller,
    /// Parameters that conditions may ask about.
    pub request: &'a RequestFacts,
    /// The client and its network.
    pub client: &'a Client,
    /// When the request came.
    pub time: Timestamp,
}

impl<'a> Asking<'a> {
    /// Lets the caller do `action`, which no key policy has a say in, with `resource`.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize(&self, action: Action, resource: Resource<'_>) -> Result<(), KmsError> {
        let request = self.on(action, resource, None, None);
        match policy::decide(&request, None, &self.caller.policies) {
            Decision::Allowed => Ok(()),
            Decision::Denied(reason) => Err(denied(reason, &request)),
        }
    }

    /// True if the caller could still replace the policy of the key with `arn` where `policy` is that policy.
    pub fn keeps_control(&self, policy: &Document, arn: &str, owner: &AccountId) -> bool {
        let again = self.on(Action::PutKeyPolicy, Resource::Key { arn, owner }, None, None);
        policy::keeps_control(policy, &again, &self.caller.policies)
    }

    fn on<'b>(
        &self,
        action: Action,
        resource: Resource<'b>,
        key: Option<&'b Key>,
        alias: Option<&'b str>,
    ) -> policy::Request<'b>
    where
        'a: 'b,
    {
        let Self { caller, request, client, time } = *self;
        let facts = Facts { request, alias, key, client, time };
        policy::Request { principal: &caller.principal, action, resource, facts }
    }
}

/// A key that was found. That is all that can be known of it.
pub struct Resolved {
    entry: Arc<KeyEntry>,
    key_store: Option<Arc<CustomKeyStore>>,
    arn: String,
    owner: AccountId,
    alias: Option<String>,
}

impl Resolved {
    /// A key found in `realm`, with the custom key store that it is in.
    pub fn new(entry: Arc<KeyEntry>, key_store: Option<Arc<CustomKeyStore>>, realm: &Realm) -> Self {
        Self { arn: entry.key.arn(realm), owner: realm.account.clone(), entry, key_store, alias: None }
    }

    /// The same, found by the alias of this name.
    #[must_use]
    pub fn by_alias(self, name: &str) -> Self {
        Self { alias: Some(name.to_owned()), ..self }
    }

    /// The key ARN, which the caller named or could have named.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The key id, which is in the ARN.
    pub fn id(&self) -> KeyId {
        self.entry.key.id()
    }

    /// Lets `caller` do `action` with this key, if the policies do. For what grants cannot allow.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize(self, asking: &Asking<'_>, action: Action) -> Result<Authorized, KmsError> {
        let request = self.request(asking, action);
        match policy::decide(&request, Some(&self.entry.policy), &asking.caller.policies) {
            Decision::Allowed => Ok(self.authorized(action, None)),
            Decision::Denied(reason) => Err(denied(reason, &request)),
        }
    }

    /// Lets `caller` do `operation` with this key, if the policies do or, where they are silent, a grant. `find` answers
    /// one of the key's grants for which its argument says yes; it is asked only if a grant can make a difference.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize_use(
        self,
        asking: &Asking<'_>,
        operation: GrantOperation,
        find: impl FnOnce(&dyn Fn(&Grant) -> bool) -> Option<Arc<Grant>>,
    ) -> Result<Authorized, KmsError> {
        let facts = asking.request.of_constraints();
        self.authorize_or(asking, operation, |key, of_account| {
            let allows = |grant: &Grant| {
                let naming = grant.allows(&asking.caller.principal, operation, facts).filter(|_| key.has(grant));
                suffices(naming, of_account)
            };
            find(&allows).filter(|grant| allows(grant)).map(|grant| grant.id)
        })
    }

    /// Lets `caller` still do `operation` with this key, where it was allowed a moment ago, by `grant` if policies were silent.
    /// The terms of a grant never change.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn confirm_use(
        self,
        asking: &Asking<'_>,
        operation: GrantOperation,
        grant: Option<&Grant>,
    ) -> Result<Authorized, KmsError> {
        self.authorize_or(asking, operation, |key, of_account| {
            let grant = grant.filter(|grant| key.has(grant))?;
            suffices(grant.terms.grantee.names(&asking.caller.principal), of_account).then_some(grant.id)
        })
    }

    /// Lets `caller` do `operation`, if the policies do or, where they are silent, `by_grant` answers a grant; it is told whether
    /// the caller's own policies allow it.
    fn authorize_or(
        self,
        asking: &Asking<'_>,
        operation: GrantOperation,
        by_grant: impl FnOnce(&Self, bool) -> Option<GrantId>,
    ) -> Result<Authorized, KmsError> {
        let action = operation.action();
        let policies = &asking.caller.policies;
        let request = self.request(asking, action);
        let reason = match policy::decide(&request, Some(&self.entry.policy), policies) {
            Decision::Allowed => return Ok(self.authorized(action, None)),
            Decision::Denied(reason) if reason.is_explicit() => return Err(denied(reason, &request)),
            Decision::Denied(reason) => reason,
        };
        match by_grant(&self, policy::identity_allows(&request, policies)) {
            Some(grant) => Ok(self.authorized(action, Some(grant))),
            None => Err(denied(reason, &request)),
        }
    }

    /// Lets `caller` retire `grant`, if the grant does and no policy denies. A key policy cannot allow it (AWS KMS:
    /// "Retiring and revoking grants").
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize_retirement(self, asking: &Asking<'_>, grant: &Grant) -> Result<Authorized, KmsError> {
        let caller = asking.caller;
        let request = self.request(asking, Action::RetireGrant);
        match policy::decide(&request, Some(&self.entry.policy), &caller.policies) {
            Decision::Denied(reason) if reason.is_explicit() => return Err(denied(reason, &request)),
            Decision::Denied(_) | Decision::Allowed => {}
        }
        let naming = grant.may_be_retired_by(&caller.principal).filter(|_| self.has(grant));
        match suffices(naming, policy::identity_allows(&request, &caller.policies)) {
            true => Ok(self.authorized(Action::RetireGrant, Some(grant.id))),
            false => Err(denied(Reason::NoIdentityPolicyAllows, &request)),
        }
    }

    fn request<'a>(&'a self, asking: &Asking<'a>, action: Action) -> policy::Request<'a> {
        let resource = Resource::Key { arn: &self.arn, owner: &self.owner };
        asking.on(action, resource, Some(&self.entry.key), self.alias.as_deref())
    }

    fn has(&self, grant: &Grant) -> bool {
        grant.key == self.entry.key.id() && grant.region == self.entry.key.region()
    }

    fn authorized(self, action: Action, grant: Option<GrantId>) -> Authorized {
        Authorized { entry: self.entry, key_store: self.key_store, arn: self.arn, action, grant }
    }
}

/// True if a grant that names the caller so is enough: one that names the account is for those whom the account allows.
fn suffices(naming: Option<Naming>, of_account: bool) -> bool {
    match naming {
        Some(Naming::Itself) => true,
        Some(Naming::Account) => of_account,
        None => false,
    }
}

fn denied(reason: Reason, request: &policy::Request<'_>) -> KmsError {
    KmsError::denied(reason.message(request), reason.as_str())
}

/// A key that the caller may do one action with.
pub struct Authorized {
    entry: Arc<KeyEntry>,
    key_store: Option<Arc<CustomKeyStore>>,
    arn: String,
    action: Action,
    grant: Option<GrantId>,
}

impl Authorized {
    /// The key.
    pub fn key(&self) -> &Key {
        &self.entry.key
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.key().id()
    }

    /// The key ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Sees that this is the proof for one of `actions`: what one action allows, another may not.
    ///
    /// # Errors
    /// `KMSInternalException`: an operation that asks for another permission than it makes use of is a defect of ours.
    pub fn demand_action(&self, actions: &[Action]) -> Result<(), KmsError> {
        match actions.contains(&self.action) {
            true => Ok(()),
            false => Err(KmsError::internal(format!("a permission for {} was to serve another action", self.action))),
        }
    }

    /// The grant that allowed it; none where policies did.
    pub fn grant(&self) -> Option<GrantId> {
        self.grant
    }

    /// The custom key store that it is in, if it is in one.
    pub fn key_store(&self) -> Option<&CustomKeyStore> {
        self.key_store.as_deref()
    }

    /// Its state, which in a custom key store depends on that.
    pub fn state(&self) -> KeyState {
        self.key_store().map_or(self.key().state(), |key_store| key_store.state_of_key(self.key().state()))
    }

    /// Refuses the operation in states of the key that do not meet `demand`.
    ///
    /// # Errors
    /// `DisabledException`, `KMSInvalidStateException`.
    pub fn demand(&self, demand: Demand) -> Result<(), KmsError> {
        self.state().check(demand, &self.arn)
    }

    /// Refuses `operation` the use of a key whose usage or state does not allow it.
    ///
    /// # Errors
    /// `InvalidKeyUsageException`, then as [`Self::demand`].
    pub fn demand_usage(&self, operation: &str, usage: KeyUsage) -> Result<(), KmsError> {
        if self.key().usage() == usage {
            return self.demand(Demand::Use);
        }
        let text = format!("{} key usage is {} which is not valid for {operation}.", self.arn, self.key().usage());
        Err(KmsError::new(Code::InvalidKeyUsageException, text))
    }

    /// The key, ready for `operation` to use with `algorithm`.
    ///
    /// # Errors
    /// As [`Self::demand_usage`], then `InvalidKeyUsageException` if the algorithm does not fit the key spec.
    pub fn usable<A: Algorithm>(self, operation: &str, algorithm: A) -> Result<Usable<A>, KmsError> {
        self.demand_usage(operation, A::USAGE)?;
        let spec = self.key().spec();
        if !A::of(spec).contains(&algorithm) {
            return Err(incompatible(algorithm, spec));
        }
        let material = self.key().current_material().map(Arc::clone);
        let material = material.ok_or_else(|| KmsError::bare(Code::KeyUnavailableException))?;
        Ok(Usable { authorized: self, material, algorithm })
    }
}

/// The refusal of an algorithm that keys of this spec are not used with.
pub fn incompatible(algorithm: impl Algorithm, spec: KeySpec) -> KmsError {
    let text = format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
    KmsError::new(Code::InvalidKeyUsageException, text)
}

/// A key that may be used now, with one algorithm. The HSM is asked only on behalf of one of these.
pub struct Usable<A = EncryptionAlgorithm> {
    authorized: Authorized,
    material: Arc<Material>,
    algorithm: A,
}

impl<A: Algorithm> Usable<A> {
    /// The key.
    pub fn key(&self) -> &Key {
        self.authorized.key()
    }

    /// The key ARN.
    pub fn arn(&self) -> &str {
        self.authorized.arn()
    }

    /// The algorithm it was made usable for.
    pub fn algorithm(&self) -> A {
        self.algorithm
    }

    /// The material to use, or to encrypt under, by what only one of `actions` allows: without it the HSM can be asked for nothing.
    ///
    /// # Errors
    /// As [`Authorized::demand_action`].
    pub fn material_for(&self, actions: &[Action]) -> Result<Arc<Material>, KmsError> {
        self.authorized.demand_action(actions)?;
        Ok(Arc::clone(&self.material))
    }
}

impl Usable {
    /// As [`Self::material_for`], the material that a blob names, current or not; none if the key has no such material.
    ///
    /// # Errors
    /// As [`Authorized::demand_action`].
    pub fn material_named(&self, id: MaterialId, actions: &[Action]) -> Result<Option<Arc<Material>>, KmsError> {
        self.authorized.demand_action(actions)?;
        Ok(self.key().material(id).map(Arc::clone))
    }

    /// Refuses a plaintext of `length` bytes that is too long for algorithm and key spec.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn fits(&self, length: usize) -> Result<(), KmsError> {
        let spec = self.key().spec();
        match spec.max_plaintext_bytes(self.algorithm) {
            Some(max) if length > max => Err(KmsError::invalid(format!(
                "Algorithm {} and key spec {spec} cannot encrypt data larger than {max} bytes.",
                self.algorithm
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
