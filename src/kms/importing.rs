//! Key material that comes from elsewhere. An import token is a sealed parcel that holds all there is to know of one import: the
//! key it is for, and the private key that opens what comes, wrapped. So nothing is stored until material has come.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    access::Authorized,
    authn::TokenKind,
    clock::{Moment, Timestamp},
    error::{Code, KmsError},
    failure,
    hsm::command::{GenerateCarrier, Import, Imported, Place},
    key::{
        Key,
        algorithm::WrappingAlgorithm,
        material::{Keeping, Material, MaterialId},
        reference::KeyId,
        rotation::Generation,
        spec::KeySpec,
        state::{Demand, KeyState},
    },
    kms::{Kms, act::Act, cx::Cx, multi_region::not_primary},
    store::{Actor, ChangeError, Family, Intent},
};

/// How long a token and its wrapping key can be used (AWS KMS: GetParametersForImport).
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What GetParametersForImport gives.
pub struct Parameters {
    /// What the caller hands back with the material.
    pub token: Vec<u8>,
    /// The key to encrypt the material under, as DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// How long both can be used.
    pub valid_to: Timestamp,
}

/// What the caller says of the material that comes.
pub struct Arrival {
    /// Whether it is to be one that the key never had; if it is not said, only the first one is.
    pub is_new: Option<bool>,
    /// When it goes by itself.
    pub valid_to: Option<Moment>,
    /// KeyMaterialDescription; what is known stays if there is none.
    pub description: Option<String>,
    /// The name that it must turn out to have.
    pub name: Option<MaterialId>,
}

/// What is in an import token.
#[derive(Serialize, Deserialize)]
pub struct ImportToken {
    key: KeyId,
    region: String,
    algorithm: WrappingAlgorithm,
    valid_to: Timestamp,
    carrier: Material,
}

impl Cx<'_> {
    /// Makes a wrapping key and a token for an import into `key`.
    ///
    /// # Errors
    /// As the HSM answers.
    pub async fn import_parameters(
        &self,
        key: &Authorized,
        algorithm: WrappingAlgorithm,
        spec: KeySpec,
    ) -> Result<Parameters, KmsError> {
        let deadline = Instant::now() + self.kms.settings.generation_deadline;
        let carrier = self.kms.hsm.call_for(self.asker(), GenerateCarrier { spec }, deadline).await;
        let carrier = carrier.map_err(failure::hsm_about_making)?;
        let public_key = public_half(&carrier)?;
        let valid_to = self.now().plus(TOKEN_LIFE);
        let token = ImportToken { key: key.key().id, region: key.key().region.clone(), algorithm, valid_to, carrier };
        let token = self.kms.vault.seal_token(TokenKind::Import, &token, self.asker(), deadline).await?;
        Ok(Parameters { token, public_key, valid_to })
    }

    /// Opens an import token for `key`.
    ///
    /// # Errors
    /// `InvalidImportTokenException` if it is none, or another key's; `ExpiredImportTokenException`.
    pub async fn open_import_token(&self, key: &Authorized, token: &[u8]) -> Result<ImportToken, KmsError> {
        let (vault, asker) = (&self.kms.vault, self.asker());
        let token: Option<ImportToken> = vault.open_token(TokenKind::Import, token, asker, self.deadline()).await?;
        let token = token.filter(|token| token.key == key.key().id && token.region == key.key().region);
        let token = token.ok_or_else(|| KmsError::bare(Code::InvalidImportTokenException))?;
        match token.valid_to > self.now() {
            true => Ok(token),
            false => Err(KmsError::bare(Code::ExpiredImportTokenException)),
        }
    }

    /// Takes material into the key that `may` authorizes; answers its name.
    ///
    /// # Errors
    /// What `may` refuses; `InvalidCiphertextException` if it does not unwrap, `IncorrectKeyMaterialException` if it is not of the key spec, not
    /// what was imported before or not as new as it should be; `KMSInvalidStateException` if other new material waits already;
    /// `ThrottlingException` for a caller who fails too often; else as HSM and store answer.
    pub async fn import_material(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        token: ImportToken,
        blob: Vec<u8>,
        arrival: &Arrival,
    ) -> Result<MaterialId, KmsError> {
        let key = may(self)?;
        let Key { spec, usage, id, .. } = *key.key();
        let deadline = Instant::now() + self.kms.settings.generation_deadline;
        let attempt = self.attempt(id, deadline).await?;
        let place = self.kms.place(self.asker(), key.key()).await?;
        let (carrier, algorithm) = (Arc::new(token.carrier), token.algorithm);
        let command = Import { carrier, algorithm, blob, spec, usage, place };
        let imported = self.kms.hsm.call_for(self.asker(), command, deadline).await;
        let imported = attempt.conclude(imported.map_err(failure::hsm_about_import))?;
        let Imported { material, fingerprint } = imported;
        let name = material_name(id, &fingerprint);
        let material = Arc::new(Material { id: name, ..material });
        let now = self.now();
        let take_in = |own: &mut Key, relatives: &mut Family| {
            own.state = own.at(now).state;
            take_in(own, relatives, &material, arrival, key.arn())?;
            if own.state == KeyState::PendingImport && !own.at(now).lacks_material() {
                own.state = KeyState::Enabled;
            }
            Ok(())
        };
        let taken_in = self.change_family(may, Demand::Import, take_in).await;
        match (&taken_in, place) {
            // If the store cannot say, the object may be the key's all the same; the intent has the task look, when it is known.
            (Err(refused), Place::Token { .. }) if refused.code != Code::DependencyTimeoutException => {
                let _ = self.kms.hsm.destroy(&material, deadline).await;
            }
            _ => {}
        }
        taken_in.map(|_| name)
    }

    /// Takes the current material, or the one of that name, out of the key that `may` authorizes and destroys it; answers its name.
    ///
    /// # Errors
    /// What `may` refuses; `NotFoundException` if the key never had that material; else as HSM and store answer.
    pub async fn delete_material(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        name: Option<MaterialId>,
    ) -> Result<Option<MaterialId>, KmsError> {
        let (key, act) = (may(self)?, Act::of(self));
        // Material whose time is over may still be there, to be destroyed.
        let stored = self.kms.store.view().key(&self.realm().region, key.id());
        let stored = stored.as_ref().map_or(key.key(), |entry| &entry.key);
        let known = |name: &MaterialId| stored.all_generations().any(|generation| generation.id == *name);
        if name.is_some_and(|name| !known(&name)) {
            return Err(KmsError::new(Code::NotFoundException, "The key has no such key material."));
        }
        let Some(name) = name.or_else(|| stored.generations.last().map(|current| current.id)) else {
            return Ok(None);
        };
        let must = |_: &Key| act.decide(may).map(|_| true);
        self.kms.remove_material(&act, stored, name, must).await?;
        act.conclude();
        Ok(Some(name))
    }
}

impl Kms {
    /// Takes imported material out of `key`, if it is there and `must` says yes of the key as it is then, and destroys what the
    /// HSM has of it; whether it was. That it is meant is stored first, so that a crash leaves no object without its key.
    ///
    /// # Errors
    /// What `must` refuses; as HSM and store answer.
    pub async fn remove_material(
        &self,
        actor: &impl Actor,
        key: &Key,
        name: MaterialId,
        must: impl FnOnce(&Key) -> Result<bool, KmsError>,
    ) -> Result<bool, KmsError> {
        let Some(material) = key.material(name).map(Arc::clone) else { return Ok(false) };
        let intent = self.intent_to_destroy(key, &material).await?;
        if let Some(intent) = &intent {
            self.store.intend(actor.asker(), intent).await.map_err(failure::store)?;
        }
        let taken = self.store.change_family(actor, &key.region, key.id, |family| {
            let own = family.get(&key.region).ok_or(None)?;
            if !must(own).map_err(Some)? {
                return Err(None);
            }
            take_out(family, key, name);
            Ok(())
        });
        let refused = match taken.await {
            Ok(_) => {
                self.destroy_removed(key, material, intent).await;
                return Ok(true);
            }
            Err(ChangeError::Store(error)) => return Err(failure::store(error)),
            Err(ChangeError::Refused(refused)) => refused,
            Err(ChangeError::NotFound) => None,
        };
        if let Some(intent) = intent {
            self.store.forget_intent(&intent).await.map_err(failure::store)?;
        }
        refused.map_or(Ok(false), Err)
    }

    /// Destroys what the HSM has of material that no key has any more. If that cannot be done now, the intent has a task do it.
    async fn destroy_removed(&self, key: &Key, material: Arc<Material>, intent: Option<Intent>) {
        let destroyed = match (intent, self.hsm_of(key)) {
            (Some(intent), _) => self.abandon(&intent).await,
            (None, Ok(hsm)) => self.destroy(&hsm, material).await,
            (None, Err(error)) => Err(error),
        };
        if let Err(error) = destroyed {
            tracing::warn!(key = %key.id, error = error.with_causes(), "removed key material is not destroyed yet");
        }
    }

    async fn intent_to_destroy(&self, key: &Key, material: &Material) -> Result<Option<Intent>, KmsError> {
        let Keeping::Token { cka_id, .. } = &material.keeping else { return Ok(None) };
        let Ok(cka_id) = cka_id.as_slice().try_into() else { return Ok(None) };
        let made = self.running().await?;
        let (region, key_store) = (key.region.clone(), key.custom_key_store.clone());
        Ok(Some(Intent { region, key: key.id, spec: key.spec, cka_id, key_store, made }))
    }
}

/// Takes material out of a key; what waits for rotation is given up everywhere if the primary key gives it up.
fn take_out(family: &mut Family, key: &Key, name: MaterialId) {
    let waits = key.pending.as_ref().is_some_and(|pending| pending.id == name);
    let goes = |one: &&mut Key| one.region == key.region || waits && key.is_primary();
    for one in family.values_mut().filter(goes) {
        let pending = one.pending.clone();
        one.take_material(name);
        // A replica goes on to wait for what its primary key has.
        one.pending = one.pending.take().or(pending.filter(|_| !key.is_primary()));
    }
}

/// What a key is when material has come: the first, that which it had before, or one that waits for rotation.
fn take_in(
    key: &mut Key,
    relatives: &mut Family,
    material: &Arc<Material>,
    arrival: &Arrival,
    arn: &str,
) -> Result<(), KmsError> {
    let is_known = key.all_generations().any(|generation| generation.id == material.id);
    let is_new = arrival.is_new.unwrap_or(key.generations.is_empty());
    if is_known == is_new || arrival.name.is_some_and(|name| name != material.id) {
        return Err(KmsError::bare(Code::IncorrectKeyMaterialException));
    }
    if is_new {
        add_generation(key, relatives, material.id, arn)?;
    }
    let known = key.generations.iter_mut().chain(&mut key.pending).find(|generation| generation.id == material.id);
    if let Some(known) = known {
        known.valid_to = arrival.valid_to.map(|due| due.now);
        known.valid_after = arrival.valid_to.map(|due| due.running);
        known.description = arrival.description.clone().or(known.description.take());
    }
    if key.material(material.id).is_none() {
        key.materials.push(Arc::clone(material));
    }
    Ok(())
}

/// The first material is the key's at once; another waits for a rotation, and is awaited in other regions, too.
fn add_generation(key: &mut Key, relatives: &mut Family, id: MaterialId, arn: &str) -> Result<(), KmsError> {
    if key.generations.is_empty() {
        key.generations.push(Generation::of(id));
        return Ok(());
    }
    if !key.is_primary() {
        return Err(not_primary(arn));
    }
    if let Some(pending) = &key.pending {
        let text = format!(
            "New key material (id: {id}) cannot be imported into KMS key {arn}, because another key material (id: {}) is \
             pending rotation.",
            pending.id
        );
        return Err(KmsError::new(Code::KMSInvalidStateException, text));
    }
    std::iter::once(key).chain(relatives.values_mut()).for_each(|one| one.pending = Some(Generation::of(id)));
    Ok(())
}

/// The public half of the key pair under which material comes.
pub(super) fn public_half(carrier: &Material) -> Result<Vec<u8>, KmsError> {
    carrier.public_key.clone().ok_or_else(|| KmsError::internal("the HSM made a key pair without a public half"))
}

/// KeyMaterialId of imported material: the same for the same material in the same key, and for no other.
pub(super) fn material_name(key: KeyId, fingerprint: &[u8; 32]) -> MaterialId {
    let hash = Sha256::new().chain_update(b"strongroom imported material\0").chain_update(key.to_string());
    MaterialId(hash.chain_update(fingerprint).finalize().into())
}
