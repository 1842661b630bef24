//! AWS's key-state table (AWS KMS: "Key states of AWS KMS keys"): what a key in each state may be asked.

use super::Key;
use crate::{
    aws_names::aws_enum,
    error::{Code, KmsError},
};

aws_enum! {
    /// KeyState.
    KeyState {
        Creating = "Creating",
        Enabled = "Enabled",
        Disabled = "Disabled",
        PendingDeletion = "PendingDeletion",
        PendingImport = "PendingImport",
        PendingReplicaDeletion = "PendingReplicaDeletion",
        Unavailable = "Unavailable",
        Updating = "Updating",
    }
}

/// A row of the table: what the operation wants of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Reading about the key, its policy, its aliases: any state will do.
    Nothing,
    /// Using the key or its public half.
    Use,
    /// CreateGrant.
    Grant,
    /// Tags, description, a new alias: anything but pending deletion.
    Change,
    /// EnableKey, DisableKey.
    Switch,
    /// ScheduleKeyDeletion.
    ScheduleDeletion,
    /// CancelKeyDeletion.
    CancelDeletion,
    /// GetParametersForImport.
    PrepareImport,
    /// ImportKeyMaterial.
    Import,
    /// DeleteImportedKeyMaterial.
    DeleteMaterial,
    /// EnableKeyRotation, DisableKeyRotation. Keys of other origins are refused for that.
    ScheduleRotation,
    /// RotateKeyOnDemand.
    Rotate,
    /// ReplicateKey.
    Replicate,
    /// UpdatePrimaryRegion.
    UpdatePrimary,
}

impl KeyState {
    /// The cell of the table for this state and `demand`.
    ///
    /// # Errors
    /// `DisabledException` or `KMSInvalidStateException`, naming the key by its ARN.
    pub fn check(self, demand: Demand, key_arn: &str) -> Result<(), KmsError> {
        use Demand::*;
        use KeyState::*;
        match (demand, self) {
            (Nothing, _) => Ok(()),
            (CancelDeletion, PendingDeletion | PendingReplicaDeletion) => Ok(()),
            (DeleteMaterial, PendingDeletion | PendingReplicaDeletion) => Ok(()),
            (CancelDeletion, _) => Err(invalid(key_arn, "is not pending deletion.")),
            (_, PendingDeletion | PendingReplicaDeletion) => Err(invalid(key_arn, "is pending deletion.")),
            (_, Enabled) | (Change, _) => Ok(()),
            (Use | Grant | ScheduleRotation | Rotate | Replicate | UpdatePrimary, Disabled) => {
                Err(KmsError::new(Code::DisabledException, format!("{key_arn} is disabled.")))
            }
            (Switch | ScheduleDeletion, Disabled | Unavailable) => Ok(()),
            (PrepareImport | Import | DeleteMaterial, Disabled | Unavailable | PendingImport) => Ok(()),
            (Import, Updating) => Ok(()),
            (ScheduleRotation, PendingImport | Unavailable | Updating) | (Rotate, Unavailable) => Ok(()),
            (UpdatePrimary, Updating) | (Grant, Updating | Unavailable) => Ok(()),
            (Use | Replicate | UpdatePrimary, Unavailable) => Err(invalid(key_arn, "is unavailable.")),
            (Use | Grant | Switch | Rotate | Replicate | UpdatePrimary, PendingImport) => {
                Err(invalid(key_arn, "is pending import."))
            }
            (ScheduleDeletion, PendingImport | Creating) | (Use, Updating) => Ok(()),
            (_, Creating) => Err(invalid(key_arn, "is creating.")),
            (_, Updating) => Err(invalid(key_arn, "is updating.")),
        }
    }
}

impl Key {
    /// EnableKey.
    pub fn enable(&mut self) {
        self.state = KeyState::Enabled;
    }

    /// DisableKey.
    pub fn disable(&mut self) {
        self.state = KeyState::Disabled;
    }
}

fn invalid(key_arn: &str, rest: &str) -> KmsError {
    KmsError::new(Code::KMSInvalidStateException, format!("{key_arn} {rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_awss() {
        let row = |demand: Demand| {
            KeyState::ALL
                .iter()
                .map(|state| match state.check(demand, "K") {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => error.message.unwrap_or_default(),
                })
                .collect::<Vec<_>>()
                .join(" | ")
        };
        // Creating, Enabled, Disabled, PendingDeletion, PendingImport, PendingReplicaDeletion, Unavailable, Updating
        for (demand, expected) in [
            (Demand::Nothing, "ok | ok | ok | ok | ok | ok | ok | ok"),
            (
                Demand::Use,
                "K is creating. | ok | K is disabled. | K is pending deletion. | K is pending import. | K is pending deletion. | K is unavailable. | ok",
            ),
            (
                Demand::Grant,
                "K is creating. | ok | K is disabled. | K is pending deletion. | K is pending import. | K is pending deletion. | ok | ok",
            ),
            (Demand::Change, "ok | ok | ok | K is pending deletion. | ok | K is pending deletion. | ok | ok"),
            (
                Demand::Switch,
                "K is creating. | ok | ok | K is pending deletion. | K is pending import. | K is pending deletion. | ok | K is updating.",
            ),
            (
                Demand::ScheduleDeletion,
                "ok | ok | ok | K is pending deletion. | ok | K is pending deletion. | ok | K is updating.",
            ),
            (
                Demand::PrepareImport,
                "K is creating. | ok | ok | K is pending deletion. | ok | K is pending deletion. | ok | K is updating.",
            ),
            (
                Demand::Import,
                "K is creating. | ok | ok | K is pending deletion. | ok | K is pending deletion. | ok | ok",
            ),
            (
                Demand::ScheduleRotation,
                "K is creating. | ok | K is disabled. | K is pending deletion. | ok | K is pending deletion. | ok | ok",
            ),
            (
                Demand::Rotate,
                "K is creating. | ok | K is disabled. | K is pending deletion. | K is pending import. | K is pending deletion. | ok | K is updating.",
            ),
            (
                Demand::Replicate,
                "K is creating. | ok | K is disabled. | K is pending deletion. | K is pending import. | K is pending deletion. | K is unavailable. | K is updating.",
            ),
            (Demand::DeleteMaterial, "K is creating. | ok | ok | ok | ok | ok | ok | K is updating."),
            (
                Demand::CancelDeletion,
                "K is not pending deletion. | K is not pending deletion. | K is not pending deletion. | ok | K is not pending deletion. | ok | K is not pending deletion. | K is not pending deletion.",
            ),
        ] {
            assert_eq!(row(demand), expected, "{demand:?}");
        }
    }
}
