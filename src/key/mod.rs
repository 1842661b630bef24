//! A KMS key, and the rules by which it changes: its own facts, its state, its materials. Everything here is public; key bytes never are.
//!
//! The fields of [`Key`] change in this folder only, by the rules of AWS KMS: [`state`], [`rotation`], [`importing`], [`deletion`]
//! and [`multi_region`] each hold one part of them.

pub mod algorithm;
pub mod alias;
pub mod bytes;
pub mod context;
pub mod custom_store;
pub mod deletion;
pub mod generation;
pub mod grant;
pub mod importing;
pub mod material;
pub mod multi_region;
pub mod reference;
pub mod rotation;
pub mod spec;
pub mod state;
pub mod tags;
pub mod tombstone;
pub mod usage;

#[cfg(test)]
mod fixtures;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    arn::Realm,
    aws_names::aws_enum,
    clock::{self, Running, Timestamp},
    error::KmsError,
};
use custom_store::KeyStoreId;
use deletion::ScheduledDeletion;
use generation::Generation;
use material::Material;
use multi_region::MultiRegion;
use reference::KeyId;
use rotation::Schedule;
use spec::{KeySpec, KeyUsage};
use state::KeyState;
use tags::{Tag, Tags};

/// How long what was to be deleted, or to expire, before running time was counted has to wait since then: the shortest window.
const UNCOUNTED: Running = Running::from_ms(clock::days(7).as_secs() * 1000);

aws_enum! {
    /// Where the key material comes from.
    Origin {
        AwsKms = "AWS_KMS",
        External = "EXTERNAL",
        AwsCloudHsm = "AWS_CLOUDHSM",
        ExternalKeyStore = "EXTERNAL_KEY_STORE",
    }
}

/// A KMS key. Its serde form is how it is stored. There may be a million in memory, so what few have is in boxes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    id: KeyId,
    region: Arc<str>,
    spec: KeySpec,
    usage: KeyUsage,
    origin: Origin,
    state: KeyState,
    description: String,
    created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deletion_date: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scheduled: Option<Box<ScheduledDeletion>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending_window_days: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    multi_region: Option<Box<MultiRegion>>,
    #[serde(default)]
    tags: Tags,
    policy: Arc<str>,
    materials: Vec<Arc<Material>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    custom_key_store: Option<KeyStoreId>,
    #[serde(default, alias = "imported", skip_serializing_if = "Vec::is_empty")]
    generations: Vec<Generation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<Box<Generation>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schedule: Option<Schedule>,
}

/// New keys.
impl Key {
    /// An enabled key whose material is made here, and that has none yet. A multi-Region id makes it a primary key.
    pub fn new(
        id: KeyId,
        region: &str,
        (spec, usage): (KeySpec, KeyUsage),
        policy: String,
        created: Timestamp,
    ) -> Self {
        Self {
            id,
            region: region.into(),
            spec,
            usage,
            origin: Origin::AwsKms,
            state: KeyState::Enabled,
            description: String::new(),
            created,
            deletion_date: None,
            scheduled: None,
            pending_window_days: None,
            multi_region: id.is_multi_region().then(|| Box::new(MultiRegion::of_primary(region))),
            tags: Tags::default(),
            policy: policy.into(),
            materials: Vec::new(),
            custom_key_store: None,
            generations: Vec::new(),
            pending: None,
            schedule: None,
        }
    }

    /// The same, with material of that origin. Imported material is yet to come, so the key waits for it.
    #[must_use]
    pub fn with_origin(self, origin: Origin) -> Self {
        let state = if origin == Origin::External { KeyState::PendingImport } else { self.state };
        Self { origin, state, ..self }
    }

    /// The same, with a description.
    #[must_use]
    pub fn with_description(self, description: String) -> Self {
        Self { description, ..self }
    }

    /// The same, with tags.
    #[must_use]
    pub fn with_tags(self, tags: Tags) -> Self {
        Self { tags, ..self }
    }

    /// The same, in a custom key store; in none, the service's own HSMs have its material.
    #[must_use]
    pub fn in_key_store(self, custom_key_store: Option<KeyStoreId>) -> Self {
        Self { custom_key_store, ..self }
    }

    /// Gives a new key its first material. A key that waited for it is enabled.
    pub fn put_first(&mut self, material: impl Into<Arc<Material>>) {
        let material = material.into();
        self.generations.push(Generation::of(material.id));
        self.materials.push(material);
        if self.state == KeyState::PendingImport {
            self.state = KeyState::Enabled;
        }
    }
}

/// The facts of a key.
impl Key {
    /// The key id: unique over all regions, but for multi-Region keys.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The region whose key space it belongs to.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The key ARN in the realm it is served in.
    pub fn arn(&self, realm: &Realm) -> String {
        realm.arn(format_args!("key/{}", self.id))
    }

    /// The kind of material that it has.
    pub fn spec(&self) -> KeySpec {
        self.spec
    }

    /// The operations that it is for.
    pub fn usage(&self) -> KeyUsage {
        self.usage
    }

    /// Where its material comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Its state, without the date that goes with PendingDeletion.
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// Free text of its owner, at most 8,192 characters.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Its tags.
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// Its key policy, as text.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// The custom key store whose HSM has its materials; none for the service's own HSMs.
    pub fn custom_key_store(&self) -> Option<&KeyStoreId> {
        self.custom_key_store.as_ref()
    }
}

/// Room in memory.
impl Key {
    /// Gives room back that it does not need, and has its region and its policy where other keys have the same texts.
    pub fn save_memory(&mut self, region: &Arc<str>, policy: &Arc<str>) {
        self.materials.shrink_to_fit();
        self.generations.shrink_to_fit();
        for (own, shared) in [(&mut self.region, region), (&mut self.policy, policy)] {
            if own == shared {
                own.clone_from(shared);
            }
        }
    }
}

/// Changes that its owner may make at any time.
impl Key {
    /// UpdateKeyDescription.
    pub fn describe(&mut self, description: &str) {
        description.clone_into(&mut self.description);
    }

    /// PutKeyPolicy, with a text that has been checked.
    pub fn put_policy(&mut self, policy: &str) {
        self.policy = policy.into();
    }

    /// TagResource.
    ///
    /// # Errors
    /// As [`Tags::with`].
    pub fn tag(&mut self, tags: &[Tag]) -> Result<(), KmsError> {
        self.tags = self.tags.with(tags)?;
        Ok(())
    }

    /// UntagResource.
    ///
    /// # Errors
    /// As [`Tags::without`].
    pub fn untag(&mut self, tag_keys: &[String]) -> Result<(), KmsError> {
        self.tags = self.tags.without(tag_keys)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{fixtures::*, *};

    #[test]
    fn a_key_whose_material_is_imported_waits_for_it() {
        let mut key = new_key(id(1)).with_origin(Origin::External);
        assert_eq!(key.state(), KeyState::PendingImport);
        key.put_first(material(7));
        assert_eq!(key.state(), KeyState::Enabled);
        assert_eq!(new_key(id(1)).with_origin(Origin::AwsCloudHsm).state(), KeyState::Enabled);
    }

    #[test]
    fn what_is_refused_of_tags_leaves_them_as_they_are() {
        let tag = |key: &str| Tag { tag_key: key.to_owned(), tag_value: "v".to_owned() };
        let mut key = new_key(id(1));
        key.tag(&[tag("a"), tag("b")]).expect("fine");
        assert!(key.tag(&[tag("aws:c")]).is_err() && key.untag(&["aws:c".to_owned()]).is_err());
        assert_eq!(key.tags().as_slice(), [tag("a"), tag("b")]);
        key.untag(&["a".to_owned()]).expect("fine");
        assert_eq!(key.tags().as_slice(), [tag("b")]);
    }
}
