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

/// Who asks, and what identity policies give them.
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
    /// What a grant covers never changes.
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
        let (action, policies) = (operation.action(), &asking.caller.policies);
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

/// Whether a grant that names the caller so is enough: one that names the account is for those whom the account allows.
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

    /// Whether the key's state allows what the operation wants.
    ///
    /// # Errors
    /// `DisabledException`, `KMSInvalidStateException`.
    pub fn demand(&self, demand: Demand) -> Result<(), KmsError> {
        self.state().check(demand, &self.arn)
    }

    /// Whether usage and state allow `operation` to use the key.
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

    /// Whether a plaintext of `length` bytes fits algorithm and key spec.
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
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::key::{
        custom_store::{ConnectionState, KeyStoreId},
        grant::{Constraints, Party, Terms},
        material::Keeping,
    };

    const REGION: &str = "eu-test-1";
    const ALLOW: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;
    const DENY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}"#;

    fn account() -> AccountId {
        AccountId::try_from("111122223333".to_owned()).expect("digits")
    }

    fn id(n: u8) -> KeyId {
        KeyId::from_parts(false, [n; 16])
    }

    fn ada(policy: Option<&str>) -> Caller {
        let compile = |text: &str| Arc::new(Document::identity_policy(text).expect("a policy"));
        let principal = Principal::try_from("arn:aws:iam::111122223333:user/ada".to_owned()).expect("a principal");
        Caller { principal, policies: policy.into_iter().map(compile).collect() }
    }

    fn grant(key: KeyId, region: &str) -> Arc<Grant> {
        let terms = Terms {
            grantee: Party::Principal(ada(None).principal),
            retiring: None,
            operations: [GrantOperation::Sign, GrantOperation::RetireGrant].into(),
            constraints: Constraints::default(),
            name: None,
        };
        let (id, region, created) = (GrantId([9; 32]), region.to_owned(), Timestamp::from_ms(0));
        Arc::new(Grant { id, key, region, terms, created, issuer: account() })
    }

    fn resolved() -> Resolved {
        found(key(KeySpec::EccNistP256, KeyUsage::SignVerify))
    }

    fn key(spec: KeySpec, usage: KeyUsage) -> Key {
        let policy = policy::default_key_policy("aws", &account());
        Key::new(id(1), REGION, (spec, usage), policy, Timestamp::from_ms(0))
    }

    fn found(key: Key) -> Resolved {
        let realm = Realm { partition: "aws".into(), account: account(), region: REGION.into() };
        let policy = Document::key_policy(key.policy()).expect("a policy");
        Resolved::new(Arc::new(KeyEntry { key, policy: Arc::new(policy) }), None, &realm)
    }

    /// The key, which its account has made available for encryption, with a material.
    fn encrypting(spec: KeySpec, change: impl FnOnce(&mut Key)) -> Authorized {
        let mut key = key(spec, KeyUsage::EncryptDecrypt);
        key.put_first(material());
        change(&mut key);
        let authorized = asking(ada(Some(ALLOW)), |asking| found(key).authorize(asking, Action::Encrypt));
        authorized.unwrap_or_else(|error| panic!("{error}"))
    }

    fn material() -> Material {
        let keeping = Keeping::Token { cka_id: vec![1; 16], member: None };
        let (spec, usage) = (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt);
        Material { id: MaterialId([1; 32]), spec, usage, keeping, public_key: None }
    }

    fn code<T>(result: Result<T, KmsError>) -> Option<Code> {
        result.err().map(|error| error.code)
    }

    /// A request of this caller that says nothing more.
    fn asking<T>(caller: Caller, decide: impl FnOnce(&Asking<'_>) -> T) -> T {
        let (request, client) = (RequestFacts::default(), Client::default());
        decide(&Asking { caller: &caller, request: &request, client: &client, time: Timestamp::from_ms(0) })
    }

    #[test]
    fn a_permission_is_for_its_action_alone() {
        let key = asking(ada(Some(ALLOW)), |asking| resolved().authorize(asking, Action::GetPublicKey));
        let key = key.unwrap_or_else(|error| panic!("{error}"));
        assert!(key.demand_action(&[Action::DescribeKey, Action::GetPublicKey]).is_ok());
        let refused = key.demand_action(&[Action::Sign]).err();
        assert_eq!(refused.map(|error| error.code), Some(Code::KMSInternalException));
        let usable = encrypting(KeySpec::Rsa2048, |_| ()).usable("Encrypt", EncryptionAlgorithm::RsaesOaepSha1);
        let usable = usable.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(code(usable.material_for(&[Action::Encrypt])), None);
        assert_eq!(code(usable.material_for(&[Action::Decrypt])), Some(Code::KMSInternalException));
    }

    #[test]
    fn conditions_see_context_and_algorithm_of_an_encryption() {
        let context = Arc::new(crate::key::context::EncryptionContext::default());
        let facts = RequestFacts::of_encryption(&context, EncryptionAlgorithm::RsaesOaepSha1);
        assert!(facts.encryption_context.is_some());
        assert_eq!(facts.encryption_algorithm, Some(EncryptionAlgorithm::RsaesOaepSha1));
    }

    #[test]
    fn a_key_is_called_by_its_arn_at_every_step() {
        let arn = "arn:aws:kms:eu-test-1:111122223333:key/01010101-0101-0101-0101-010101010101";
        assert_eq!(resolved().arn(), arn);
        let authorized = encrypting(KeySpec::Rsa2048, |_| ());
        assert_eq!(authorized.arn(), arn);
        let usable = authorized.usable("Encrypt", EncryptionAlgorithm::RsaesOaepSha256);
        assert_eq!(usable.ok().as_ref().map(Usable::arn), Some(arn));
    }

    #[test]
    fn what_no_key_policy_has_a_say_in_is_allowed_by_the_callers_own() {
        for (policy, expected) in [(None, Some(Code::AccessDeniedException)), (Some(ALLOW), None)] {
            let allowed = asking(ada(policy), |asking| asking.authorize(Action::ListKeys, Resource::Any));
            assert_eq!(code(allowed), expected);
        }
    }

    #[test]
    fn a_policy_that_shuts_its_author_out_is_told_from_one_that_does_not() {
        let arn = resolved().arn().to_owned();
        for (principal, keeps) in
            [("arn:aws:iam::111122223333:root", true), ("arn:aws:iam::111122223333:user/bob", false)]
        {
            let statement =
                format!(r#"{{"Effect":"Allow","Principal":{{"AWS":"{principal}"}},"Action":"*","Resource":"*"}}"#);
            let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
            let policy = Document::key_policy(&policy).expect("a policy");
            assert_eq!(asking(ada(Some(ALLOW)), |asking| asking.keeps_control(&policy, &arn, &account())), keeps);
        }
    }

    #[test]
    fn conditions_see_the_alias_that_a_key_was_found_by() {
        let alias_of = |resolved: Resolved| {
            asking(ada(None), |asking| resolved.request(asking, Action::Sign).facts.alias.map(str::to_owned))
        };
        assert_eq!(alias_of(resolved()), None);
        assert_eq!(alias_of(resolved().by_alias("alias/a")).as_deref(), Some("alias/a"));
    }

    #[test]
    fn a_key_is_used_for_its_usage_while_it_is_enabled_with_an_algorithm_of_its_spec() {
        let (usage, other) = (KeyUsage::EncryptDecrypt, KeyUsage::SignVerify);
        let enabled = || encrypting(KeySpec::Rsa2048, |_| ());
        let disabled = || encrypting(KeySpec::Rsa2048, Key::disable);
        assert_eq!(code(enabled().demand(Demand::Use)), None);
        assert_eq!(code(disabled().demand(Demand::Use)), Some(Code::DisabledException));
        assert_eq!(code(enabled().demand_usage("Encrypt", usage)), None);
        assert_eq!(code(enabled().demand_usage("Sign", other)), Some(Code::InvalidKeyUsageException));
        assert_eq!(code(disabled().demand_usage("Encrypt", usage)), Some(Code::DisabledException));
        let (fits, does_not) = (EncryptionAlgorithm::RsaesOaepSha1, EncryptionAlgorithm::SymmetricDefault);
        assert_eq!(code(enabled().usable("Encrypt", fits)), None);
        assert_eq!(code(enabled().usable("Encrypt", does_not)), Some(Code::InvalidKeyUsageException));
        assert_eq!(code(disabled().usable("Encrypt", fits)), Some(Code::DisabledException));
    }

    #[test]
    fn a_key_in_a_custom_key_store_is_available_while_that_is_connected() {
        for (connection, state) in
            [(ConnectionState::Connected, KeyState::Enabled), (ConnectionState::Disconnected, KeyState::Unavailable)]
        {
            let key_store = Some(Arc::new(key_store(connection)));
            let resolved = Resolved { key_store, ..resolved() };
            let key = asking(ada(Some(ALLOW)), |asking| resolved.authorize(asking, Action::Sign));
            let key = key.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(key.key_store().map(|key_store| key_store.state), Some(connection));
            assert_eq!(key.state(), state);
        }
    }

    fn key_store(state: ConnectionState) -> CustomKeyStore {
        CustomKeyStore {
            id: KeyStoreId::random(),
            region: REGION.to_owned(),
            name: "ours".to_owned(),
            cluster: "cluster-2abcdefghij".to_owned(),
            trust_anchor: String::new(),
            sealed_password: Vec::new(),
            state,
            error: None,
            connection: 1,
            created: Timestamp::from_ms(0),
        }
    }

    #[test]
    fn a_blob_is_opened_with_the_material_that_it_names() {
        let usable = encrypting(KeySpec::Rsa2048, |_| ()).usable("Decrypt", EncryptionAlgorithm::RsaesOaepSha1);
        let usable = usable.unwrap_or_else(|error| panic!("{error}"));
        let named = |id, actions: &[Action]| usable.material_named(MaterialId([id; 32]), actions).ok().flatten();
        assert_eq!(named(1, &[Action::Encrypt]).map(|material| material.id), Some(MaterialId([1; 32])));
        assert!(named(2, &[Action::Encrypt]).is_none());
        assert!(named(1, &[Action::Decrypt]).is_none(), "by a permission for another action");
    }

    /// RFC 8017, section 7.1.1: a modulus of 256 bytes, less two hashes of 32 bytes and two bytes.
    #[test]
    fn the_longest_plaintext_fits_and_no_longer_one() {
        let usable = encrypting(KeySpec::Rsa2048, |_| ()).usable("Encrypt", EncryptionAlgorithm::RsaesOaepSha256);
        let usable = usable.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!([0, 190, 191].map(|bytes| code(usable.fits(bytes))), [None, None, Some(Code::ValidationException)]);
    }

    #[test]
    fn a_denial_has_its_reason() {
        for (policy, reason) in [(None, "NoIdentityPolicyAllows"), (Some(DENY), "ExplicitDenyInIdentityPolicy")] {
            let refused = asking(ada(policy), |asking| resolved().authorize(asking, Action::Sign)).err();
            assert_eq!(refused.and_then(|error| error.denial), Some(reason));
        }
    }

    #[test]
    fn a_grant_is_asked_for_where_policies_are_silent_only() {
        for (policy, asks, allowed_by) in
            [(None, true, Some(Some(GrantId([9; 32])))), (Some(ALLOW), false, Some(None)), (Some(DENY), false, None)]
        {
            let asked = Cell::new(false);
            let find = |_: &dyn Fn(&Grant) -> bool| {
                asked.set(true);
                Some(grant(id(1), REGION))
            };
            let use_it = |asking: &Asking<'_>| resolved().authorize_use(asking, GrantOperation::Sign, find);
            let authorized = asking(ada(policy), use_it);
            assert_eq!(authorized.ok().map(|key| key.grant()), allowed_by, "{policy:?}");
            assert_eq!(asked.get(), asks, "{policy:?}");
        }
    }

    #[test]
    fn a_grant_of_another_key_allows_nothing_here_whoever_found_it() {
        for (other, operation) in [
            (grant(id(2), REGION), GrantOperation::Sign),
            (grant(id(1), "eu-other-1"), GrantOperation::Sign),
            (grant(id(1), REGION), GrantOperation::Verify),
        ] {
            let find = |wanted: &dyn Fn(&Grant) -> bool| {
                assert!(!wanted(&other));
                Some(Arc::clone(&other))
            };
            let refused = asking(ada(None), |asking| resolved().authorize_use(asking, operation, find)).err();
            assert_eq!(refused.map(|error| error.code), Some(Code::AccessDeniedException));
        }
    }

    #[test]
    fn a_grant_is_retired_with_its_own_key() {
        for (policy, of, may) in [
            (None, grant(id(1), REGION), true),
            (None, grant(id(2), REGION), false),
            (Some(ALLOW), grant(id(1), "eu-other-1"), false),
            (Some(DENY), grant(id(1), REGION), false),
        ] {
            let retires = asking(ada(policy), |asking| resolved().authorize_retirement(asking, &of));
            assert_eq!(retires.is_ok(), may, "{policy:?} {of:?}");
        }
    }
}
