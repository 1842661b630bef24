//! What tests put into the store, change in it and read of it past the API.

use std::{collections::HashMap, convert::Infallible, fs, sync::Arc, time::Instant};

use serde_json::{Value, json};
use strongroom::{
    clock::{Moment, Running},
    hsm::command::{Generate, Place},
    key::{
        Key,
        material::{Material, MaterialId},
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
        state::KeyState,
        tombstone::Tombstone,
    },
    policy::default_key_policy,
    store::{ChangeError, Store, Unrecorded},
};

use super::{LONG, REGION, START, World, account, hsm::hsm, realm};

impl World {
    /// A key that is put into the store past the API, for what the API cannot make (quickly).
    pub async fn plant(&self, spec: KeySpec, usage: KeyUsage) -> String {
        let key = key(spec, usage, material(spec, usage).await);
        insert_key(&self.store, &key).await;
        key.id().to_string()
    }

    /// An RSA_2048 key that encrypts.
    pub async fn rsa(&self) -> String {
        self.plant(KeySpec::Rsa2048, KeyUsage::EncryptDecrypt).await
    }

    /// Puts a key into a state past the API.
    pub async fn set_state(&self, key: &str, state: KeyState) {
        self.edit_key(key, "/state", json!(state)).await;
    }

    /// Puts another value into the document of a key, past the API and all rules.
    pub async fn edit_key(&self, key: &str, pointer: &str, value: Value) {
        let id = KeyId::parse(key).unwrap();
        let changed = self.store.change_key(&Unrecorded, REGION, id, |key| {
            let mut document = serde_json::to_value(&*key).unwrap();
            *document.pointer_mut(pointer).unwrap() = value;
            *key = serde_json::from_value(document).unwrap();
            Ok::<_, Infallible>(())
        });
        assert!(!matches!(changed.await, Err(ChangeError::NotFound | ChangeError::Store(_))), "{key}");
    }

    /// Deletes a key past the API and the time.
    pub async fn delete(&self, key: &str) {
        let (id, realm) = (KeyId::parse(key).unwrap(), realm(REGION));
        let moment = Moment { now: START, running: Running::default() };
        let bury = |key: &Key, relatives: &[&Key]| Some(Tombstone::of(key, relatives, &realm, START));
        let deleted = self.store.delete_key(REGION, id, moment, bury);
        deleted.await.unwrap().unwrap();
    }

    /// The material that a key has now.
    pub fn material_of(&self, key: &str) -> Arc<Material> {
        let entry = self.store.view().key(REGION, KeyId::parse(key).unwrap()).unwrap();
        Arc::clone(entry.key.current_material().unwrap())
    }

    /// Invocations of a key's material that are reserved by now.
    pub async fn reserved(&self, key: &str) -> u64 {
        self.reserve(key, 0).await
    }

    /// Reserves invocations past the service.
    pub async fn reserve(&self, key: &str, count: u64) -> u64 {
        let entry = self.store.view().key(REGION, KeyId::parse(key).unwrap()).unwrap();
        let material = entry.key.current_material().unwrap().id;
        self.store.reserve_invocations(material, count).await.unwrap()
    }

    /// All that is in the files of the store, as far as it is text.
    pub fn stored(&self) -> String {
        let files = [&self.database, &self.database.with_extension("sqlite-wal")].map(fs::read);
        files.into_iter().flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }
}

/// Stores a key past the API.
pub async fn insert_key(store: &Store, key: &Key) {
    store.insert_key(&Unrecorded, key, || Ok::<_, Infallible>(())).await.unwrap();
}

/// Material of this spec and usage, made once; none for what the HSM cannot make.
async fn material(spec: KeySpec, usage: KeyUsage) -> Vec<Arc<Material>> {
    type Made = HashMap<(KeySpec, KeyUsage), Arc<Material>>;
    static MADE: tokio::sync::Mutex<Option<Made>> = tokio::sync::Mutex::const_new(None);
    if !hsm().supports(spec, usage).unwrap() {
        return Vec::new();
    }
    let mut made = MADE.lock().await;
    let made = made.get_or_insert_default();
    if let Some(material) = made.get(&(spec, usage)) {
        return vec![Arc::clone(material)];
    }
    let mut id = [spec as u8; 32];
    id[31] = usage as u8;
    let place =
        if hsm().wraps(spec, usage) { Place::Wrapped } else { Place::Token { cka_id: id[16..].try_into().unwrap() } };
    let command = Generate { id: MaterialId(id), spec, usage, place };
    let material = hsm().call(command, Instant::now() + LONG).await;
    let material = material.unwrap_or_else(|error| panic!("no material for {spec} {usage}: {error}"));
    let material = made.entry((spec, usage)).or_insert(Arc::new(material));
    vec![Arc::clone(material)]
}

fn key(spec: KeySpec, usage: KeyUsage, materials: Vec<Arc<Material>>) -> Key {
    let policy = default_key_policy("aws", &account());
    let mut key = Key::new(KeyId::random(false), REGION, (spec, usage), policy, START);
    materials.into_iter().for_each(|material| key.put_first(material));
    key
}
