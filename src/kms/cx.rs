//! The context of one request. Operations reach store and HSM through it and by no other way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    access::{Asking, Authorized, Caller, Resolved},
    action::Action,
    arn::Realm,
    authn::Proved,
    clock::{Moment, Timestamp},
    error::{Code, KmsError},
    identity::{Asker, Identity},
    key::{
        grant::{GrantId, GrantOperation},
        reference::{KeyId, KeyRef, no_such_key},
        state::Demand,
    },
    kms::{
        Kms,
        record::{Notes, Record},
    },
    policy::{Document, Reason, RequestFacts, Resource},
    principal::Principal,
};

/// The context of one authenticated request.
pub struct Cx<'a> {
    pub(super) kms: &'a Kms,
    record: &'a Record,
    identity: Identity,
    caller: Caller,
    asker: Asker,
    realm: Realm,
    deadline: Instant,
    notes: Mutex<Notes>,
    /// The version of the view when the request came.
    version: u64,
    uses: Mutex<Vec<AllowedUse>>,
}

/// A use of a key that was allowed.
#[derive(Clone)]
pub(super) struct AllowedUse {
    pub(super) key: KeyId,
    pub(super) operation: GrantOperation,
    pub(super) facts: Arc<RequestFacts>,
    /// The grant that allowed it, if policies did not.
    pub(super) grant: Option<GrantId>,
}

impl<'a> Cx<'a> {
    /// The context of a request that `proved` made. Only the `call` layer makes one.
    pub fn new(kms: &'a Kms, record: &'a Record, proved: Proved, deadline: Instant) -> Self {
        let (identity, policies, region) = proved.into_parts();
        let realm = Realm { partition: kms.settings.partition.clone(), account: kms.settings.account.clone(), region };
        Self::of(kms, record, identity, policies, realm, deadline)
    }

    fn of(
        kms: &'a Kms,
        record: &'a Record,
        identity: Identity,
        policies: Vec<Arc<Document>>,
        realm: Realm,
        deadline: Instant,
    ) -> Self {
        let caller = Caller { principal: identity.principal.clone(), policies };
        let asker = Asker::named(caller.principal.arn());
        let version = kms.store.view().version();
        let notes = Mutex::default();
        let uses = Mutex::default();
        Self { kms, record, identity, caller, asker, realm, deadline, notes, version, uses }
    }

    /// The context of the same request if it came now: the access key's principal, with the policies that it has now.
    ///
    /// # Errors
    /// `UnrecognizedClientException` if the access key may not sign any more.
    pub(super) fn anew(&self) -> Result<Self, KmsError> {
        let policies = self.kms.authn.policies_of(&self.identity)?;
        let identity = self.identity.clone();
        let realm = self.realm.clone();
        Ok(Self::of(self.kms, self.record, identity, policies, realm, self.deadline))
    }

    /// The time of the request, which stays the same while it is served.
    pub fn now(&self) -> Timestamp {
        self.record.time
    }

    /// The time of the request, as date and running time.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn moment(&self) -> Result<Moment, KmsError> {
        Ok(Moment { now: self.now(), running: self.kms.running().await? })
    }

    /// The moment at `date`, if nobody sets the clock.
    ///
    /// # Errors
    /// As the store answers.
    pub async fn moment_at(&self, date: Timestamp) -> Result<Moment, KmsError> {
        let left = u64::try_from(date.since_ms(self.now())).unwrap_or(0);
        let Moment { running, .. } = self.moment().await?.plus(Duration::from_millis(left));
        Ok(Moment { now: date, running })
    }

    /// The time by which the HSM must have answered.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The key space the request is made in.
    pub fn realm(&self) -> &Realm {
        &self.realm
    }

    /// The caller, with its policies.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The caller, as fair queues know it.
    pub(super) fn asker(&self) -> Asker {
        self.asker
    }

    /// Lets the caller do `action` with the key that `text` names by its id or ARN, if policies do.
    ///
    /// # Errors
    /// As [`Self::resolve_key`] and [`Self::authorize_resolved`].
    pub fn authorize_key(&self, action: Action, text: &str, facts: &RequestFacts) -> Result<Authorized, KmsError> {
        self.authorize_resolved(action, self.resolve_key(action, text)?, facts)
    }

    /// Lets the caller do `action` with a key that was found, if policies do.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize_resolved(
        &self,
        action: Action,
        key: Resolved,
        facts: &RequestFacts,
    ) -> Result<Authorized, KmsError> {
        key.authorize(&self.asking(facts), action)
    }

    /// The key that `text` names: key id, key ARN, alias name or alias ARN; for `action`, which a refusal names.
    ///
    /// # Errors
    /// `NotFoundException`, `InvalidArnException`; `AccessDeniedException` for what another account may or may not have.
    pub fn resolve(&self, action: Action, text: &str) -> Result<Resolved, KmsError> {
        self.find(action, KeyRef::parse(text, &self.realm)?)
    }

    /// The key that `text` names by its id or ARN.
    ///
    /// # Errors
    /// As [`Self::resolve`]; `InvalidArnException` for an alias.
    pub fn resolve_key(&self, action: Action, text: &str) -> Result<Resolved, KmsError> {
        self.find(action, KeyRef::parse(text, &self.realm)?.without_alias()?)
    }

    /// The facts of this request, for decisions.
    pub(super) fn asking<'b>(&'b self, request: &'b RequestFacts) -> Asking<'b> {
        Asking { caller: &self.caller, request, client: &self.record.client, time: self.now() }
    }

    /// True if the caller could still replace the policy of the key with `arn` where `policy` is that policy.
    pub fn keeps_control(&self, policy: &Document, arn: &str, facts: &RequestFacts) -> bool {
        self.asking(facts).keeps_control(policy, arn, &self.realm.account)
    }

    /// Finds the key that a ciphertext blob names.
    pub fn resolve_named(&self, id: KeyId) -> Option<Resolved> {
        let view = self.kms.store.view();
        let region = &self.realm.region;
        let entry = view.key(region, id)?.at(self.now());
        let key_store = entry.key.custom_key_store().and_then(|id| view.key_store(region, id.as_str()));
        Some(self.touch(Resolved::new(entry, key_store, &self.realm)))
    }

    fn find(&self, action: Action, reference: KeyRef) -> Result<Resolved, KmsError> {
        match reference {
            KeyRef::Id(id) => self.find_key(id),
            KeyRef::Arn { id, account } => {
                self.own_account(action, &account)?;
                self.find_key(id)
            }
            KeyRef::Alias(name) => self.find_alias(&name),
            KeyRef::AliasArn { name, account } => {
                self.own_account(action, &account)?;
                self.find_alias(&name)
            }
        }
    }

    fn find_key(&self, id: KeyId) -> Result<Resolved, KmsError> {
        self.resolve_named(id).ok_or_else(|| no_such_key(&self.realm.arn(format_args!("key/{id}"))))
    }

    fn find_alias(&self, name: &str) -> Result<Resolved, KmsError> {
        let alias = self.kms.store.view().alias(&self.realm.region, name);
        let found = alias.and_then(|alias| self.resolve_named(alias.target));
        found.map(|key| key.by_alias(name)).ok_or_else(|| self.no_such_alias(name))
    }

    /// The error for an alias that does not exist.
    pub fn no_such_alias(&self, name: &str) -> KmsError {
        KmsError::new(Code::NotFoundException, format!("Alias {} is not found.", self.realm.arn(name)))
    }

    /// Refuses keys of other accounts, without telling whether they exist.
    fn own_account(&self, action: Action, account: &str) -> Result<(), KmsError> {
        if account == self.realm.account.as_str() {
            return Ok(());
        }
        let text = format!(
            "User: {} is not authorized to perform: kms:{action} on this resource because the resource does not exist in \
             this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access",
            self.caller.principal
        );
        Err(KmsError::denied(text, Reason::CrossAccount.as_str()))
    }

    fn touch(&self, resolved: Resolved) -> Resolved {
        self.note(resolved.arn().to_owned());
        self.notes().keys.push(resolved.id());
        resolved
    }

    /// Names a key in the audit record of this request.
    pub fn note(&self, arn: String) {
        self.notes().resources.push(arn);
    }

    /// Adds a member to `additionalEventData` in the audit record of this request.
    pub(super) fn note_more(&self, name: &str, value: Value) {
        self.notes().additional.insert(name.to_owned(), value);
    }

    /// The notes for the audit record.
    pub fn into_notes(self) -> Notes {
        self.notes.into_inner()
    }

    /// Notes a use of a key that was allowed.
    pub(super) fn note_use(&self, allowed: AllowedUse) {
        self.uses.lock().push(allowed);
    }

    /// Checks that the uses of keys that were allowed still are, now that the HSM has answered, which may have taken a while. A
    /// caller who is not allowed any more gets nothing. Changes need no such check: they are authorized in their transaction.
    ///
    /// # Errors
    /// Those of an authorization now.
    pub fn confirm_uses(&self) -> Result<(), KmsError> {
        let view = self.kms.store.view();
        if view.version() == self.version || self.notes().is_recorded {
            return Ok(());
        }
        let cx = self.anew()?;
        let uses = self.uses.lock().clone();
        for AllowedUse { key, operation, facts, grant } in uses {
            let resolved = cx.find_key(key)?;
            let grant = grant.and_then(|grant| view.grant(&self.realm.region, key, grant));
            let authorized = resolved.confirm_use(&cx.asking(&facts), operation, grant.as_deref())?;
            if operation.is_cryptographic() {
                authorized.demand(Demand::Use)?;
            }
        }
        Ok(())
    }

    /// The id of the audit record.
    pub(super) fn event_id(&self) -> Uuid {
        self.record.event_id
    }

    /// The record of this request as one that succeeded, with the notes of the last decision.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub(super) fn line(&self, decided: Option<&Notes>) -> Result<String, serde_json::Error> {
        let notes = self.notes().decided(decided.cloned());
        self.record.line(&self.kms.settings.account, &notes)
    }

    /// Ends a change that was made, or was none: the notes are those of the last decision.
    pub(super) fn conclude(&self, decided: Option<Notes>, is_recorded: bool) {
        let mut notes = self.notes();
        *notes = Notes { is_recorded: notes.is_recorded || is_recorded, ..notes.decided(decided) };
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock()
    }

    /// Lets the caller do `action`, which is about no key.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize(&self, action: Action, facts: &RequestFacts) -> Result<(), KmsError> {
        self.asking(facts).authorize(action, Resource::Any)
    }

    /// Lets the caller do `action` with an alias; the key it names is asked for separately.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize_alias(&self, action: Action, name: &str, facts: &RequestFacts) -> Result<(), KmsError> {
        let arn = self.realm.arn(name);
        self.asking(facts).authorize(action, Resource::Alias { arn: &arn, owner: &self.realm.account })
    }

    /// Lets the caller do `action`, which is about a principal.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize_about(&self, action: Action, principal: &Principal, facts: &RequestFacts) -> Result<(), KmsError> {
        self.asking(facts).authorize(action, Resource::Principal(principal))
    }
}
