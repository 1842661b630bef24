//! Updates of the view: what a row of the database shows once its document is read and its policies are compiled.

use std::{fmt, sync::Arc};

use super::{
    access_keys::AccessKey,
    document::StoredDocument,
    principals::PrincipalRecord,
    shared::{Policy, Shared},
    view::PrincipalEntry,
};
use crate::{
    access::KeyEntry,
    error::KmsError,
    key::{
        Key,
        alias::Alias,
        custom_store::CustomKeyStore,
        grant::{Grant, GrantId},
        reference::KeyId,
    },
    policy::Document,
};

/// A document as a row has it; without a body if it is gone.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) kind: &'a str,
    pub(super) id: &'a str,
    pub(super) body: Option<&'a str>,
}

/// One thing that is new, different, or gone.
pub(super) enum Update {
    Key(Arc<str>, KeyId, Option<Arc<KeyEntry>>),
    Alias(Arc<str>, Arc<str>, Option<Arc<Alias>>),
    Grant(Arc<str>, KeyId, GrantId, Option<Arc<Grant>>),
    KeyStore(Arc<str>, String, Option<CustomKeyStore>),
    Principal(String, Option<PrincipalEntry>),
    AccessKey(String, Option<AccessKey>),
}

impl Row<'_> {
    /// The update that the row brings; nothing for the kinds that the view does not show.
    pub(super) fn update(self, shared: &Shared) -> Option<Update> {
        Some(match self.kind {
            Key::KIND => {
                let (region, id) = self.id.split_once('/')?;
                let entry = self.document().and_then(|key| compile(key, shared));
                Update::Key(shared.region(region), KeyId::parse(id)?, entry)
            }
            Alias::KIND => {
                let (region, name) = self.id.split_once('/')?;
                let region = shared.region(region);
                let alias = self.document().map(|alias| Arc::new(Alias { region: Arc::clone(&region), ..alias }));
                let name = alias.as_ref().map_or_else(|| name.into(), |alias| Arc::clone(&alias.name));
                Update::Alias(region, name, alias)
            }
            Grant::KIND => {
                let (key, id) = self.id.rsplit_once('/')?;
                let (region, key) = key.split_once('/')?;
                let grant = self.document().map(Arc::new);
                Update::Grant(shared.region(region), KeyId::parse(key)?, GrantId::parse(id)?, grant)
            }
            CustomKeyStore::KIND => {
                let (region, id) = self.id.split_once('/')?;
                Update::KeyStore(shared.region(region), id.to_owned(), self.document())
            }
            PrincipalRecord::KIND => {
                let entry = self.document().and_then(PrincipalEntry::compile);
                Update::Principal(self.id.to_owned(), entry)
            }
            AccessKey::KIND => Update::AccessKey(self.id.to_owned(), self.document()),
            _ => return None,
        })
    }

    /// A document that cannot be read is as good as gone: one bad row stops nobody else's keys, and nothing is allowed
    /// because of it.
    fn document<D: StoredDocument>(self) -> Option<D> {
        D::read("read a stored document", self.id, self.body?)
            .inspect_err(|error| {
                let cause = error as &dyn std::error::Error;
                tracing::error!(kind = self.kind, id = self.id, error = cause, "a stored document cannot be read");
            })
            .ok()
    }
}

/// A policy in the place of one that does not compile. An explicit denial: silence could be overruled by another
/// policy, and the lost one may have been a denial itself.
const DENY_KEY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*"}]}"#;
const DENY_IDENTITY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"kms:*","Resource":"*"}]}"#;

/// Compiles a key's policy once, for all requests to come. `None` only if not even the denial compiles.
pub(super) fn compile(mut key: Key, shared: &Shared) -> Option<Arc<KeyEntry>> {
    let policy = match shared.policy(key.policy()) {
        Some(policy) => policy,
        None => {
            let denial = or_deny(Document::key_policy, key.policy(), DENY_KEY, &key.id())?;
            Policy { text: key.policy().into(), compiled: Arc::new(denial) }
        }
    };
    key.save_memory(&shared.region(key.region()), &policy.text);
    Some(Arc::new(KeyEntry { key, policy: policy.compiled }))
}

impl PrincipalEntry {
    /// Compiles the principal's policies. `None` only if not even the denial compiles.
    fn compile(record: PrincipalRecord) -> Option<Self> {
        let policies = record.policies.values();
        let policies = policies
            .map(|text| or_deny(Document::identity_policy, text, DENY_IDENTITY, &record.principal).map(Arc::new))
            .collect::<Option<_>>()?;
        Some(Self { record, policies })
    }
}

/// Compiles a stored policy. One that no longer compiles denies everything, and stops nobody else.
fn or_deny(
    compile: fn(&str) -> Result<Document, KmsError>,
    text: &str,
    denial: &str,
    owner: &dyn fmt::Display,
) -> Option<Document> {
    compile(text)
        .or_else(|error| {
            tracing::error!(%owner, %error, "a stored policy does not compile: everything is denied");
            compile(denial)
        })
        .ok()
}
