//! What a KMS key is: its own facts, its state, its materials. Everything here is public; key bytes never are.

pub mod algorithm;
pub mod alias;
pub mod bytes;
pub mod context;
pub mod custom_store;
pub mod grant;
pub mod material;
pub mod multi_region;
pub mod reference;
pub mod rotation;
pub mod spec;
pub mod state;
pub mod tags;
pub mod tombstone;
pub mod usage;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    arn::Realm,
    aws_names::aws_enum,
    clock::{self, Moment, Running, Timestamp},
};
use custom_store::KeyStoreId;
use material::{Keeping, Material, MaterialId};
use multi_region::MultiRegion;
use reference::KeyId;
use rotation::{Generation, MOST_ON_DEMAND, MaterialState, Rotation, RotationType, Schedule};
use spec::{KeySpec, KeyUsage};
use state::KeyState;
use tags::Tags;

/// The longest that a key waits for its deletion (AWS KMS: ScheduleKeyDeletion).
const LONGEST_WINDOW_DAYS: u16 = 30;

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

/// A KMS key, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The key id: unique over all regions, but for multi-Region keys.
    pub id: KeyId,
    /// The region whose key space it belongs to.
    pub region: String,
    /// What kind of material it has.
    pub spec: KeySpec,
    /// What it may be used for.
    pub usage: KeyUsage,
    /// Where its material comes from.
    pub origin: Origin,
    /// Its state, without the date that goes with PendingDeletion.
    pub state: KeyState,
    /// Free text of its owner, at most 8,192 characters.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it is due, while it is pending deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_date: Option<Timestamp>,
    /// What else its deletion waits for, and who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Scheduled>,
    /// How long it waits for its deletion once its last replica is gone, while that is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_window_days: Option<u16>,
    /// Its place among its relatives, if it is a multi-Region key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_region: Option<MultiRegion>,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
    /// Its key policy, as text.
    pub policy: String,
    /// The materials that are there, in no order that means anything.
    pub materials: Vec<Arc<Material>>,
    /// The custom key store whose HSM has its materials; none for the service's own HSMs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_key_store: Option<KeyStoreId>,
    /// All materials that it ever had for good, oldest first; the last one is current.
    #[serde(default, alias = "imported", skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<Generation>,
    /// Imported material that a rotation on demand will make current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Generation>,
    /// Automatic rotation, if it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
}

/// That a key is to be deleted, beside the date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// How long the deployment must have run.
    pub after: Running,
    /// The ARN of the principal that asked for it.
    pub by: String,
}

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
            region: region.to_owned(),
            spec,
            usage,
            origin: Origin::AwsKms,
            state: KeyState::Enabled,
            description: String::new(),
            created,
            deletion_date: None,
            scheduled: None,
            pending_window_days: None,
            multi_region: id.is_multi_region().then(|| MultiRegion::of_primary(region)),
            tags: Tags::default(),
            policy,
            materials: Vec::new(),
            custom_key_store: None,
            generations: Vec::new(),
            pending: None,
            schedule: None,
        }
    }

    /// The key ARN in the realm it is served in.
    pub fn arn(&self, realm: &Realm) -> String {
        realm.arn(format_args!("key/{}", self.id))
    }

    /// The material that new ciphertexts are made under; none while import is pending.
    pub fn current_material(&self) -> Option<&Arc<Material>> {
        match self.generations.last() {
            Some(current) => self.material(current.id),
            // A key of a version that did not rotate.
            None => self.materials.last(),
        }
    }

    /// The material that a ciphertext blob names.
    pub fn material(&self, id: MaterialId) -> Option<&Arc<Material>> {
        self.materials.iter().find(|material| material.id == id)
    }

    /// Whether this material is there.
    pub fn has(&self, id: MaterialId) -> bool {
        self.material(id).is_some()
    }

    /// CurrentKeyMaterialId. That of imported material stays when the material goes.
    pub fn current_material_id(&self) -> Option<MaterialId> {
        let current = self.generations.last().map(|generation| generation.id);
        let current = current.or_else(|| self.current_material().map(|material| material.id));
        current.filter(|_| self.names_materials())
    }

    /// Whether answers name its materials: symmetric encryption keys only, and not those in custom key stores.
    pub fn names_materials(&self) -> bool {
        self.spec == KeySpec::SymmetricDefault && self.custom_key_store.is_none()
    }

    /// Gives a new key its first material.
    pub fn put_first(&mut self, material: impl Into<Arc<Material>>) {
        let material = material.into();
        self.generations.push(Generation::of(material.id));
        self.materials.push(material);
    }

    /// Every material that it has or had, the one that waits for rotation last.
    pub fn all_generations(&self) -> impl Iterator<Item = &Generation> {
        self.generations.iter().chain(&self.pending)
    }

    /// What a material is to the key; `waits` says that it waits for its like in other regions.
    pub fn material_state(&self, id: MaterialId) -> MaterialState {
        let is = |generation: Option<&Generation>| generation.is_some_and(|one| one.id == id);
        match (is(self.pending.as_ref()), is(self.generations.last())) {
            (true, _) => MaterialState::PendingRotation,
            (_, true) => MaterialState::Current,
            _ => MaterialState::NonCurrent,
        }
    }

    /// Whether a material is missing that was imported once, or has never come.
    pub fn lacks_material(&self) -> bool {
        let is_missing = |generation: &Generation| !self.has(generation.id);
        self.origin == Origin::External && (self.generations.is_empty() || self.generations.iter().any(is_missing))
    }

    /// The key as it is at this date: imported material whose time is over is as good as gone, whoever is yet to destroy it.
    pub fn at(&self, now: Timestamp) -> Cow<'_, Self> {
        let over: Vec<_> = self.there().filter(|one| one.is_over(now)).map(|generation| generation.id).collect();
        let mut key = Cow::Borrowed(self);
        for id in over {
            key.to_mut().take_material(id);
        }
        key
    }

    /// Its generations whose material is there, that which waits for rotation among them.
    fn there(&self) -> impl Iterator<Item = &Generation> {
        self.all_generations().filter(|generation| self.has(generation.id))
    }

    /// When the first of its imported materials that are there for good goes by itself.
    pub fn valid_to(&self) -> Option<Timestamp> {
        let there = self.generations.iter().filter(|generation| self.has(generation.id));
        there.filter_map(|generation| generation.valid_to).min()
    }

    /// When the first of its materials that are there goes by itself, that which waits for rotation among them.
    pub fn first_expiry(&self) -> Option<Timestamp> {
        self.there().filter_map(|generation| generation.valid_to).min()
    }

    /// The imported materials that are to be destroyed: by the date, which alone ends their use, and by running time.
    pub fn expired(&self, moment: Moment) -> impl Iterator<Item = MaterialId> {
        let is_over = move |generation: &&Generation| {
            let running = generation.valid_after.unwrap_or(UNCOUNTED);
            generation.valid_to.is_some_and(|now| Moment { now, running }.has_come(moment))
        };
        self.there().filter(is_over).map(|generation| generation.id)
    }

    /// Takes a material out; answers it, and the state follows. An operator's deletion, or its time has come.
    pub fn take_material(&mut self, id: MaterialId) -> Option<Arc<Material>> {
        // What waits for rotation never belonged to the key for good.
        let waited = self.pending.take_if(|pending| pending.id == id).is_some();
        let at = self.materials.iter().position(|material| material.id == id)?;
        let taken = self.materials.remove(at);
        if !waited && matches!(self.state, KeyState::Enabled | KeyState::Disabled) {
            self.state = KeyState::PendingImport;
        }
        Some(taken)
    }

    /// Whether one of its materials is the object on an HSM with this CKA_ID.
    pub fn names_object(&self, cka_id: &[u8]) -> bool {
        let is_it =
            |material: &Material| matches!(&material.keeping, Keeping::Token { cka_id: id, .. } if id == cka_id);
        self.materials.iter().any(|material| is_it(material))
    }

    /// Whether its material can be rotated at all: symmetric, and made here or imported.
    pub fn is_rotatable(&self) -> bool {
        self.spec == KeySpec::SymmetricDefault && matches!(self.origin, Origin::AwsKms | Origin::External)
    }

    /// Whether it has been rotated on demand as often as a key can be.
    pub fn has_rotated_enough(&self) -> bool {
        let on_demand = |generation: &&Generation| {
            generation.rotation.is_some_and(|rotation| rotation.kind == RotationType::OnDemand)
        };
        self.generations.iter().filter(on_demand).count() >= MOST_ON_DEMAND
    }

    /// Whether the time of its next automatic rotation has come. No rotation is made while it cannot be used.
    pub fn is_due_for_rotation(&self, now: Timestamp) -> bool {
        let is_due = self.schedule.is_some_and(|schedule| schedule.next() <= now);
        is_due && self.state == KeyState::Enabled && self.is_primary()
    }

    /// Makes a new material current.
    pub fn rotate(&mut self, material: &Arc<Material>, rotation: Rotation) {
        self.materials.push(Arc::clone(material));
        self.make_current(Generation::of(material.id), rotation);
    }

    /// Makes the imported material current that waits for it; false if none does.
    pub fn rotate_to_pending(&mut self, rotation: Rotation) -> bool {
        let Some(pending) = self.pending.take() else { return false };
        self.make_current(pending, rotation);
        true
    }

    fn make_current(&mut self, generation: Generation, rotation: Rotation) {
        if self.generations.is_empty() {
            let first = self.materials.first().filter(|first| first.id != generation.id);
            self.generations.extend(first.map(|first| Generation::of(first.id)));
        }
        self.generations.push(Generation { rotation: Some(rotation), ..generation });
        if let (RotationType::Automatic, Some(schedule)) = (rotation.kind, &mut self.schedule) {
            schedule.counted_from = rotation.date;
        }
    }

    /// Has it deleted after so many days, as the principal of that ARN wants it. Those of a primary key with replicas begin when
    /// the last of them is gone.
    pub fn schedule_deletion(&mut self, window_days: u16, moment: Moment, by: &str) {
        let due = moment.plus(clock::days(window_days.into()));
        self.scheduled = Some(Scheduled { after: due.running, by: by.to_owned() });
        let has_replicas = self.multi_region.as_ref().is_some_and(|family| !family.replicas.is_empty());
        if has_replicas && self.is_primary() {
            self.state = KeyState::PendingReplicaDeletion;
            self.pending_window_days = Some(window_days);
        } else {
            self.state = KeyState::PendingDeletion;
            self.pending_window_days = None;
            self.deletion_date = Some(due.now);
        }
    }

    /// Its relative in `region` is gone. A primary key that waited for its last replica to go waits for its own deletion now.
    pub fn lose_relative(&mut self, region: &str, moment: Moment) {
        let Some(family) = &mut self.multi_region else { return };
        family.leave(region);
        if self.state == KeyState::PendingReplicaDeletion && family.replicas.is_empty() {
            let by = self.scheduled.take().map(|scheduled| scheduled.by).unwrap_or_default();
            self.schedule_deletion(self.pending_window_days.unwrap_or(LONGEST_WINDOW_DAYS), moment, &by);
        }
    }

    /// Whether it is to be deleted now: the date has come, and as much time has run as it was to wait.
    pub fn is_due_for_deletion(&self, moment: Moment) -> bool {
        let running = self.scheduled.as_ref().map_or(UNCOUNTED, |scheduled| scheduled.after);
        let has_come = |now| Moment { now, running }.has_come(moment);
        self.state == KeyState::PendingDeletion && self.deletion_date.is_some_and(has_come)
    }

    /// Whether it is the one that shared properties are changed on: every key but a replica.
    pub fn is_primary(&self) -> bool {
        self.multi_region.as_ref().is_none_or(|family| family.primary == self.region)
    }
}

/// A name for a key: unique in its realm, movable to another key of the same class and usage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The whole name, with its `alias/` prefix.
    pub name: String,
    /// The region it belongs to.
    pub region: String,
    /// The key it names now.
    pub target: KeyId,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last pointed at a key.
    pub updated: Timestamp,
}
