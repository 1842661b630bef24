//! Imported key material: it comes, expires, is deleted and comes again, always the same under the same name (AWS KMS: "Importing
//! key material").

use std::{borrow::Cow, sync::Arc};

use super::{
    Key, Origin, UNCOUNTED,
    generation::Generation,
    material::{Material, MaterialId},
    multi_region::{Family, not_primary},
    state::KeyState,
};
use crate::{
    clock::{Moment, Timestamp},
    error::{Code, KmsError},
};

/// The members of ImportKeyMaterial that say something of the material.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// True if it is to be material that the key never had (ImportType); if that is not said, only the first one is.
    pub is_new: Option<bool>,
    /// ValidTo; none if it does not expire.
    pub expiry: Option<Moment>,
    /// KeyMaterialDescription; what is known stays if there is none.
    pub description: Option<String>,
    /// KeyMaterialId, which it must turn out to have.
    pub material_id: Option<MaterialId>,
}

/// Material that comes.
impl Key {
    /// Takes material in: the first, that which it had before, or one that waits for a rotation. With the last one that it lacked,
    /// the key is enabled.
    ///
    /// # Errors
    /// `IncorrectKeyMaterialException` if it is not what was said of it; `UnsupportedOperationException` if it is new and the key
    /// a replica; `KMSInvalidStateException` if other new material waits already.
    pub fn import(
        &mut self,
        relatives: &mut Family,
        material: &Arc<Material>,
        options: &ImportOptions,
        now: Timestamp,
        arn: &str,
    ) -> Result<(), KmsError> {
        self.state = self.at(now).state;
        let is_known = self.all_generations().any(|generation| generation.id == material.id);
        let is_new = options.is_new.unwrap_or(self.generations.is_empty());
        if is_known == is_new || options.material_id.is_some_and(|id| id != material.id) {
            return Err(KmsError::bare(Code::IncorrectKeyMaterialException));
        }
        if is_new {
            self.add_generation(relatives, material.id, arn)?;
        }
        self.keep_options(material.id, options);
        if !self.has(material.id) {
            self.materials.push(Arc::clone(material));
        }
        if self.state == KeyState::PendingImport && !self.at(now).lacks_material() {
            self.state = KeyState::Enabled;
        }
        Ok(())
    }

    /// The first material is the key's at once; another waits for a rotation, and is awaited in other regions, too.
    fn add_generation(&mut self, relatives: &mut Family, id: MaterialId, arn: &str) -> Result<(), KmsError> {
        if self.generations.is_empty() {
            self.generations.push(Generation::of(id));
            return Ok(());
        }
        if !self.is_primary() {
            return Err(not_primary(arn));
        }
        if let Some(pending) = &self.pending {
            let text = format!(
                "New key material (id: {id}) cannot be imported into KMS key {arn}, because another key material (id: {}) \
                 is pending rotation.",
                pending.id
            );
            return Err(KmsError::new(Code::KMSInvalidStateException, text));
        }
        std::iter::once(self)
            .chain(relatives.values_mut())
            .for_each(|key| key.pending = Some(Box::new(Generation::of(id))));
        Ok(())
    }

    /// Keeps what an import says of a material that it knows.
    fn keep_options(&mut self, id: MaterialId, options: &ImportOptions) {
        let mut known = self.generations.iter_mut().chain(self.pending.as_deref_mut());
        if let Some(known) = known.find(|generation| generation.id == id) {
            known.valid_to = options.expiry.map(|expiry| expiry.now);
            known.valid_after = options.expiry.map(|expiry| expiry.running);
            known.description = options.description.clone().or(known.description.take());
        }
    }

    /// True if a material is missing that was imported once, or has never come.
    pub fn lacks_material(&self) -> bool {
        let is_missing = |generation: &Generation| !self.has(generation.id);
        self.origin == Origin::External && (self.generations.is_empty() || self.generations.iter().any(is_missing))
    }
}

/// Material that expires.
impl Key {
    /// The key as it is at this date: expired material is as good as gone, even before a task destroys it.
    pub fn at(&self, now: Timestamp) -> Cow<'_, Self> {
        let over: Vec<_> = self.there().filter(|one| one.is_over(now)).map(|generation| generation.id).collect();
        let mut key = Cow::Borrowed(self);
        for id in over {
            key.to_mut().take_material(id);
        }
        key
    }

    /// ValidTo: when the first of its imported materials that are there for good expires.
    pub fn valid_to(&self) -> Option<Timestamp> {
        let there = self.generations.iter().filter(|generation| self.has(generation.id));
        there.filter_map(|generation| generation.valid_to).min()
    }

    /// When the first of its materials that are there expires, that which waits for rotation among them.
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
}

/// Material that goes.
impl Key {
    /// The material that DeleteImportedKeyMaterial deletes: the one named, else the current one; none if there never was any.
    ///
    /// # Errors
    /// `NotFoundException` if the key never had the one named.
    pub fn material_to_delete(&self, named: Option<MaterialId>) -> Result<Option<MaterialId>, KmsError> {
        let is_known = |id: MaterialId| self.all_generations().any(|generation| generation.id == id);
        match named {
            Some(id) if !is_known(id) => {
                Err(KmsError::new(Code::NotFoundException, "The key has no such key material."))
            }
            named => Ok(named.or_else(|| self.generations.last().map(|current| current.id))),
        }
    }

    /// Takes a material out, deleted or expired. What waits for a rotation is given up everywhere if the primary key gives it up.
    pub fn delete_material(&mut self, relatives: &mut Family, id: MaterialId) {
        let pending = self.pending.clone();
        let is_pending = pending.as_ref().is_some_and(|pending| pending.id == id);
        self.take_material(id);
        if !self.is_primary() {
            // A replica goes on to wait for what its primary key has.
            self.pending = pending;
        } else if is_pending {
            relatives.values_mut().for_each(|relative| relative.take_material(id));
        }
    }

    /// Takes a material out, and the state follows.
    fn take_material(&mut self, id: MaterialId) {
        // What waits for rotation never belonged to the key for good.
        let was_pending = self.pending.take_if(|pending| pending.id == id).is_some();
        let Some(at) = self.materials.iter().position(|material| material.id == id) else { return };
        self.materials.remove(at);
        if !was_pending && matches!(self.state, KeyState::Enabled | KeyState::Disabled) {
            self.state = KeyState::PendingImport;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::fixtures::*;

    const NEW: Option<bool> = Some(true);

    fn code<T>(refused: Result<T, KmsError>) -> Option<Code> {
        refused.err().map(|error| error.code)
    }

    fn before(moment: Moment) -> Timestamp {
        Timestamp::from_ms(moment.now.since_ms(Timestamp::from_ms(0)) - 1)
    }

    fn ids<'a>(generations: impl IntoIterator<Item = &'a Generation>) -> Vec<MaterialId> {
        generations.into_iter().map(|generation| generation.id).collect()
    }

    /// The same key with new material 2, which waits for a rotation.
    fn with_pending((mut key, mut relatives): (Key, Family)) -> (Key, Family) {
        let options = ImportOptions { is_new: NEW, ..no_options() };
        key.import(&mut relatives, &material(2), &options, day(0).now, ARN).expect("imported");
        (key, relatives)
    }

    #[test]
    fn the_first_material_enables_the_key() {
        let mut key = new_key(id(1)).with_origin(Origin::External);
        let options = ImportOptions { expiry: Some(day(3)), description: Some("first".to_owned()), ..no_options() };
        key.import(&mut Family::new(), &material(1), &options, day(0).now, ARN).expect("imported");
        assert_eq!((key.state(), key.valid_to()), (KeyState::Enabled, Some(day(3).now)));
        assert_eq!(key.current_material_id(), Some(MaterialId([1; 32])));
        assert_eq!(key.generations()[0].description.as_deref(), Some("first"));
    }

    #[test]
    fn material_must_be_what_is_said_of_it() {
        let other = Some(MaterialId([9; 32]));
        for (n, options) in [
            (1, ImportOptions { is_new: NEW, ..no_options() }),
            (2, no_options()),
            (2, ImportOptions { is_new: Some(false), ..no_options() }),
            (1, ImportOptions { material_id: other, ..no_options() }),
        ] {
            let refused = imported_key().import(&mut Family::new(), &material(n), &options, day(0).now, ARN);
            assert_eq!(code(refused), Some(Code::IncorrectKeyMaterialException), "{options:?}");
        }
    }

    #[test]
    fn the_same_material_comes_again_with_what_is_said_then() {
        let mut key = imported_key();
        for (options, description) in [
            (ImportOptions { description: Some("a".to_owned()), expiry: Some(day(3)), ..no_options() }, "a"),
            (ImportOptions { expiry: Some(day(4)), ..no_options() }, "a"),
        ] {
            key.import(&mut Family::new(), &material(1), &options, day(0).now, ARN).expect("imported");
            assert_eq!(key.generations()[0].description.as_deref(), Some(description));
            assert_eq!(key.valid_to(), options.expiry.map(|expiry| expiry.now));
        }
        assert_eq!(key.materials().len(), 1);
    }

    #[test]
    fn new_material_waits_for_a_rotation_in_all_regions() {
        let (mut key, mut relatives) = with_pending(primary_and_replica(Origin::External));
        assert_eq!(ids(key.pending()), [MaterialId([2; 32])]);
        assert_eq!(ids(relatives[ELSEWHERE].pending()), [MaterialId([2; 32])]);
        assert_eq!(key.current_material_id(), Some(MaterialId([1; 32])));
        let options = ImportOptions { is_new: NEW, ..no_options() };
        let refused = key.import(&mut relatives, &material(3), &options, day(0).now, ARN);
        assert_eq!(code(refused), Some(Code::KMSInvalidStateException));
    }

    #[test]
    fn new_material_begins_with_the_primary_key() {
        let (key, mut relatives) = primary_and_replica(Origin::External);
        let mut replica = relatives.remove(ELSEWHERE).expect("a replica");
        let mut relatives = Family::from([(REGION.to_owned(), key)]);
        let options = ImportOptions { is_new: NEW, ..no_options() };
        let refused = replica.import(&mut relatives, &material(2), &options, day(0).now, ARN);
        assert_eq!(code(refused), Some(Code::UnsupportedOperationException));
    }

    #[test]
    fn expired_material_is_as_good_as_gone() {
        let mut key = imported_key();
        let options = ImportOptions { expiry: Some(day(3)), ..no_options() };
        key.import(&mut Family::new(), &material(1), &options, day(0).now, ARN).expect("imported");
        assert!(matches!(key.at(before(day(3))), Cow::Borrowed(_)));
        let over = key.at(day(3).now).into_owned();
        assert_eq!((over.state(), over.materials().len()), (KeyState::PendingImport, 0));
        assert_eq!(Vec::from_iter(key.expired(day(3))), [MaterialId([1; 32])]);
        assert_eq!(key.expired(Moment { running: day(2).running, ..day(4) }).next(), None, "a clock that jumped");
        // It comes again before it was destroyed.
        let options = ImportOptions { expiry: Some(day(9)), ..no_options() };
        let again = ImportOptions { is_new: Some(false), ..options };
        key.import(&mut Family::new(), &material(1), &again, day(3).now, ARN).expect("imported");
        assert_eq!((key.state(), key.first_expiry()), (KeyState::Enabled, Some(day(9).now)));
    }

    #[test]
    fn the_material_to_delete_is_the_one_named_or_the_current_one() {
        let (key, _) = with_pending((imported_key(), Family::new()));
        assert_eq!(key.material_to_delete(None).ok(), Some(Some(MaterialId([1; 32]))));
        assert_eq!(key.material_to_delete(Some(MaterialId([2; 32]))).ok(), Some(Some(MaterialId([2; 32]))));
        assert_eq!(code(key.material_to_delete(Some(MaterialId([3; 32])))), Some(Code::NotFoundException));
        assert_eq!(new_key(id(1)).material_to_delete(None).ok(), Some(None));
    }

    #[test]
    fn a_key_without_its_material_waits_for_it() {
        let mut key = imported_key();
        key.delete_material(&mut Family::new(), MaterialId([1; 32]));
        assert_eq!((key.state(), key.materials().len()), (KeyState::PendingImport, 0));
        assert!(key.lacks_material());
        assert_eq!(key.current_material_id(), Some(MaterialId([1; 32])), "its name stays");
    }

    #[test]
    fn pending_material_is_given_up_with_the_primary_key_only() {
        let (mut key, mut relatives) = with_pending(primary_and_replica(Origin::External));
        let mut replica = relatives[ELSEWHERE].clone();
        replica.delete_material(&mut Family::from([(REGION.to_owned(), key.clone())]), MaterialId([2; 32]));
        assert_eq!(ids(replica.pending()), [MaterialId([2; 32])]);
        key.delete_material(&mut relatives, MaterialId([2; 32]));
        assert_eq!((key.pending(), relatives[ELSEWHERE].pending()), (None, None));
        assert_eq!(key.state(), KeyState::Enabled, "it was never the key's for good");
    }
}
