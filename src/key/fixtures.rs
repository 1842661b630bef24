//! Keys and materials for the tests of this folder.

use std::sync::Arc;

use super::{
    Key, Origin,
    importing::ImportOptions,
    material::{Keeping, Material, MaterialId},
    multi_region::Family,
    reference::KeyId,
    spec::{KeySpec, KeyUsage},
};
use crate::clock::{self, Moment, Running, Timestamp};

pub(super) const REGION: &str = "eu-test-1";
pub(super) const ELSEWHERE: &str = "eu-test-2";
pub(super) const ARN: &str = "arn:aws:kms:eu-test-1:111122223333:key/k";

pub(super) fn id(n: u8) -> KeyId {
    KeyId::from_parts(false, [n; 16])
}

/// The moment so many days after the first.
pub(super) fn day(n: u64) -> Moment {
    Moment { now: Timestamp::from_ms(0), running: Running::from_ms(0) }.plus(clock::days(n))
}

pub(super) fn material(n: u8) -> Arc<Material> {
    let spec = KeySpec::SymmetricDefault;
    let usage = KeyUsage::EncryptDecrypt;
    let keeping = Keeping::Token { cka_id: vec![n; 16], member: None };
    Arc::new(Material { id: MaterialId([n; 32]), spec, usage, keeping, public_key: None })
}

/// A symmetric key without material.
pub(super) fn new_key(id: KeyId) -> Key {
    let kind = (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    Key::new(id, REGION, kind, "{}".to_owned(), day(0).now)
}

/// A symmetric key whose material 1 was made here.
pub(super) fn key_of_kms() -> Key {
    let mut key = new_key(id(1));
    key.put_first(material(1));
    key
}

/// A symmetric key whose material 1 was imported and does not expire.
pub(super) fn imported_key() -> Key {
    let mut key = new_key(id(1)).with_origin(Origin::External);
    key.put_first(material(1));
    key
}

/// A multi-Region key of that origin with material 1, and its replica in another region.
pub(super) fn primary_and_replica(origin: Origin) -> (Key, Family) {
    let id = KeyId::from_parts(true, [1; 16]);
    let mut key = new_key(id).with_origin(origin);
    key.put_first(material(1));
    let mut relatives = Family::new();
    let own = Key { region: ELSEWHERE.into(), ..new_key(id) };
    key.add_replica(&mut relatives, own, ARN).expect("a replica");
    (key, relatives)
}

/// The options of an import that gives none.
pub(super) fn no_options() -> ImportOptions {
    ImportOptions { is_new: None, expiry: None, description: None, material_id: None }
}
