//! Import of key material. An import token is a sealed text with all that is needed for one import: the id of the KMS key, and the
//! wrapped private key that decrypts the material. So nothing is stored until material is imported.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    access::Authorized,
    action::Action,
    authn::TokenKind,
    clock::Timestamp,
    error::{Code, KmsError},
    failure,
    hsm::command::{GenerateCarrier, Import, Imported, Place},
    key::{
        Key,
        algorithm::WrappingAlgorithm,
        importing::ImportOptions,
        material::{Keeping, Material, MaterialId},
        multi_region::Family,
        reference::KeyId,
        spec::KeySpec,
        state::Demand,
    },
    kms::{Kms, call_change::CallChange, cx::Cx},
    store::{Actor, ChangeError, Intent},
};

/// How long a token and its wrapping key can be used (AWS KMS: GetParametersForImport).
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// The result of GetParametersForImport.
pub struct ImportParameters {
    /// The import token, which the caller sends back with the material.
    pub token: Vec<u8>,
    /// The key to encrypt the material under, as DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    /// How long both can be used.
    pub valid_to: Timestamp,
}

/// The content of an import token.
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
    ) -> Result<ImportParameters, KmsError> {
        key.demand_action(&[Action::GetParametersForImport])?;
        let deadline = Instant::now() + self.kms.settings.generation_deadline;
        let carrier = self.kms.hsm.call_for(self.asker(), GenerateCarrier { spec }, deadline).await;
        let carrier = carrier.map_err(failure::hsm_about_making)?;
        let public_key = public_half(&carrier)?;
        let valid_to = self.now().plus(TOKEN_LIFE);
        let token =
            ImportToken { key: key.key().id(), region: key.key().region().to_owned(), algorithm, valid_to, carrier };
        let token = self.kms.vault.seal_token(TokenKind::Import, &token, self.asker(), deadline).await?;
        Ok(ImportParameters { token, public_key, valid_to })
    }

    /// Opens an import token for `key`.
    ///
    /// # Errors
    /// `InvalidImportTokenException` if it is none, or another key's; `ExpiredImportTokenException`.
    pub async fn open_import_token(&self, key: &Authorized, token: &[u8]) -> Result<ImportToken, KmsError> {
        let vault = &self.kms.vault;
        let asker = self.asker();
        let token: Option<ImportToken> = vault.open_token(TokenKind::Import, token, asker, self.deadline()).await?;
        let token = token.filter(|token| token.key == key.key().id() && token.region == key.key().region());
        let token = token.ok_or_else(|| KmsError::bare(Code::InvalidImportTokenException))?;
        match token.valid_to > self.now() {
            true => Ok(token),
            false => Err(KmsError::bare(Code::ExpiredImportTokenException)),
        }
    }

    /// Takes material into the key that `may` authorizes; answers its name.
    ///
    /// # Errors
    /// Those of `may`; `InvalidCiphertextException` if it does not unwrap, `IncorrectKeyMaterialException` if it is not of the key spec, not
    /// what was imported before or not as new as it should be; `KMSInvalidStateException` if other new material waits already;
    /// `ThrottlingException` for a caller who fails too often; else as HSM and store answer.
    pub async fn import_material(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        token: ImportToken,
        blob: Vec<u8>,
        options: &ImportOptions,
    ) -> Result<MaterialId, KmsError> {
        let key = may(self)?;
        key.demand_action(&[Action::ImportKeyMaterial])?;
        let spec = key.key().spec();
        let usage = key.key().usage();
        let id = key.id();
        let deadline = Instant::now() + self.kms.settings.generation_deadline;
        let attempt = self.attempt(id, deadline).await?;
        let place = self.kms.place(self.asker(), key.key()).await?;
        let carrier = Arc::new(token.carrier);
        let command = Import { carrier, algorithm: token.algorithm, blob, spec, usage, place };
        let imported = self.kms.hsm.call_for(self.asker(), command, deadline).await;
        let Imported { material, fingerprint } = attempt.conclude(imported.map_err(failure::hsm_about_import))?;
        let name = MaterialId::of_imported(id, &fingerprint);
        let material = Arc::new(Material { id: name, ..material });
        let import =
            |own: &mut Key, relatives: &mut Family| own.import(relatives, &material, options, self.now(), key.arn());
        let imported = self.change_family(may, Demand::Import, import).await;
        match (&imported, place) {
            // If the store cannot say, the object may be the key's all the same; the intent has the task look, when it is known.
            (Err(refused), Place::Token { .. }) if refused.code != Code::DependencyTimeoutException => {
                let _ = self.kms.hsm.destroy(&material, deadline).await;
            }
            _ => {}
        }
        imported.map(|_| name)
    }

    /// Takes the current material, or the one of that name, out of the key that `may` authorizes and destroys it; answers its name.
    ///
    /// # Errors
    /// Those of `may`; `NotFoundException` if the key never had that material; else as HSM and store answer.
    pub async fn delete_material(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        name: Option<MaterialId>,
    ) -> Result<Option<MaterialId>, KmsError> {
        let key = may(self)?;
        key.demand_action(&[Action::DeleteImportedKeyMaterial])?;
        let act = CallChange::of(self);
        // Material whose time is over may still be there, to be destroyed.
        let stored = self.kms.store.view().key(&self.realm().region, key.id());
        let stored = stored.as_ref().map_or(key.key(), |entry| &entry.key);
        let Some(name) = stored.material_to_delete(name)? else { return Ok(None) };
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
    /// Those of `must`; as HSM and store answer.
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
        let taken = self.store.change_family(actor, key.region(), key.id(), |own, relatives| {
            if !must(own).map_err(Some)? {
                return Err(None);
            }
            own.delete_material(relatives, name);
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
            tracing::warn!(key = %key.id(), error = error.with_causes(), "removed key material is not destroyed yet");
        }
    }

    async fn intent_to_destroy(&self, key: &Key, material: &Material) -> Result<Option<Intent>, KmsError> {
        let Keeping::Token { cka_id, .. } = &material.keeping else { return Ok(None) };
        let Ok(cka_id) = cka_id.as_slice().try_into() else { return Ok(None) };
        let made = self.running().await?;
        let region = key.region().to_owned();
        let key_store = key.custom_key_store().cloned();
        Ok(Some(Intent { region, key: key.id(), spec: key.spec(), cka_id, key_store, made }))
    }
}

/// The public half of the key pair under which material comes.
pub(super) fn public_half(carrier: &Material) -> Result<Vec<u8>, KmsError> {
    carrier.public_key.clone().ok_or_else(|| KmsError::internal("the HSM made a key pair without a public half"))
}
