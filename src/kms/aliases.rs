//! Aliases: how they come, move and go. Changes take the decision that allows them, which is made in their transaction.

use std::sync::Arc;

use crate::{
    access::Authorized,
    action::Action,
    error::{Code, KmsError},
    failure,
    key::{alias::Alias, reference::KeyId},
    kms::{call_change::CallChange, cx::Cx, keys::gone},
    store::{AliasInsert, AliasMove, AliasName},
};

/// Aliases that one key can have (AWS KMS: "Resource quotas").
const MAX_ALIASES_PER_KEY: usize = 50;

impl Cx<'_> {
    /// Gives the key that `may` authorizes the alias `name`.
    ///
    /// # Errors
    /// Those of `may`; `AlreadyExistsException`, `LimitExceededException`; else as the store answers.
    pub async fn create_alias(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        name: String,
    ) -> Result<(), KmsError> {
        let key = may(self)?;
        let act = CallChange::of(self);
        let region = self.realm().region.as_str().into();
        let alias = Alias { name: name.into(), region, target: key.id(), created: self.now(), updated: self.now() };
        let judge = || act.decide(&may)?.demand_action(&[Action::CreateAlias]);
        let made = self.kms.store.insert_alias(&act, &alias, MAX_ALIASES_PER_KEY, judge).await;
        match made.map_err(|error| failure::change(error, || gone(&key)))? {
            AliasInsert::Done => {
                act.conclude();
                Ok(())
            }
            AliasInsert::NameTaken => {
                let text = format!("An alias with the name {} already exists", self.realm().arn(&alias.name));
                Err(KmsError::new(Code::AlreadyExistsException, text))
            }
            AliasInsert::TooMany => Err(too_many_aliases(&key)),
            AliasInsert::TargetGone => Err(gone(&key)),
        }
    }

    /// Points the alias `name` at the key that `may` authorizes.
    ///
    /// # Errors
    /// Those of `may`; `NotFoundException`, `LimitExceededException`; else as the store answers.
    pub async fn move_alias(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        name: &str,
    ) -> Result<(), KmsError> {
        let key = may(self)?;
        let act = CallChange::of(self);
        let region = &self.realm().region;
        let alias = AliasName { region, name };
        let target = (key.id(), self.now());
        let judge = || act.decide(&may)?.demand_action(&[Action::UpdateAlias]);
        let moved = self.kms.store.move_alias(&act, alias, target, MAX_ALIASES_PER_KEY, judge).await;
        match moved.map_err(|error| failure::change(error, || gone(&key)))? {
            AliasMove::Done => {
                act.conclude();
                Ok(())
            }
            AliasMove::NotFound => Err(self.no_such_alias(name)),
            AliasMove::TooMany => Err(too_many_aliases(&key)),
            AliasMove::TargetGone => Err(gone(&key)),
        }
    }

    /// Takes the alias `name` from the key it names, which `may` authorizes.
    ///
    /// # Errors
    /// Those of `may`; `NotFoundException` if it is gone; else as the store answers.
    pub async fn delete_alias(
        &self,
        may: impl Fn(&Cx<'_>) -> Result<Authorized, KmsError>,
        name: &str,
    ) -> Result<(), KmsError> {
        let key = may(self)?;
        let act = CallChange::of(self);
        let region = &self.realm().region;
        let judge = || act.decide(&may)?.demand_action(&[Action::DeleteAlias]);
        let deleted = self.kms.store.delete_alias(&act, AliasName { region, name }, judge).await;
        match deleted.map_err(|error| failure::change(error, || gone(&key)))? {
            true => {
                act.conclude();
                Ok(())
            }
            false => Err(self.no_such_alias(name)),
        }
    }

    /// The next `n` aliases of the realm, or of one key, by name. The caller has been authorized for ListAliases.
    pub fn aliases_after(&self, target: Option<KeyId>, after: Option<&str>, n: usize) -> Vec<Arc<Alias>> {
        self.kms.store.view().aliases_after(&self.realm().region, target, after, n)
    }
}

fn too_many_aliases(key: &Authorized) -> KmsError {
    let text = format!("{} has {MAX_ALIASES_PER_KEY} aliases, which is as many as a key can have.", key.arn());
    KmsError::new(Code::LimitExceededException, text)
}
