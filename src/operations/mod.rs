//! The operations of the API: the table, and one file for each.
//!
//! An operation is its request: it is read already valid ([`request`]), and its `run` goes resolve → authorize → state,
//! usage and size → dry run → HSM or store → answer. A new one is a file and a line in [`TABLE`].

mod body;
mod ciphertext;
mod exceptions;
mod grant_list;
mod metadata;
mod policy_text;
mod recipient;
mod response;

use std::pin::Pin;

use serde::Serialize;

use crate::{
    audit::RequestParameters,
    error::{Code, KmsError},
    key::Origin,
    kms::cx::Cx,
    request::{self, Request},
};
pub use body::Body;

/// An operation of the API; the type that implements it is its request.
pub trait Operation: Request + Send + 'static {
    /// The name in `X-Amz-Target`.
    const NAME: &'static str;
    /// True if the operation changes nothing: CloudTrail's `readOnly`.
    const READ_ONLY: bool;
    /// Exceptions that its model declares beside KMSInternalException (AWS KMS API Reference: "Errors"), without those of external
    /// key stores.
    const EXCEPTIONS: &'static [Code];
    /// The response; a unit struct for an empty body.
    type Response: Serialize + Send;

    /// Performs the operation.
    fn run(self, cx: &Cx<'_>) -> impl Future<Output = Result<Self::Response, KmsError>> + Send;
}

/// A request that was read, ready to be performed once. The result is a `T`.
pub type Prepared<T> = Box<dyn for<'a> FnOnce(&'a Cx<'a>) -> RunningOperation<'a, T> + Send>;

type RunningOperation<'a, T> = Pin<Box<dyn Future<Output = Result<T, KmsError>> + Send + 'a>>;

/// A line of the table.
pub struct Entry {
    /// The operation's name.
    pub name: &'static str,
    /// True if the operation changes nothing.
    pub read_only: bool,
    /// The names of its members on the wire.
    pub members: &'static [&'static str],
    exceptions: &'static [Code],
    read: fn(&[u8], &mut RequestParameters) -> Result<Prepared<Body>, KmsError>,
}

impl Entry {
    /// Reads the request from `body`, which is not needed any more then. The members that could be read are added to `shown`, also
    /// if the request is refused.
    ///
    /// # Errors
    /// `SerializationException`, `ValidationException`.
    pub fn read(&self, body: &[u8], shown: &mut RequestParameters) -> Result<Prepared<Body>, KmsError> {
        (self.read)(body, shown)
    }
}

/// The operation that `X-Amz-Target` names, matched exactly.
pub fn find(target: &str) -> Option<&'static Entry> {
    let name = target.strip_prefix("TrentService.")?;
    TABLE.iter().find(|entry| entry.name == name)
}

/// Declares the modules of all operations, and the table.
macro_rules! operations {
    ($($module:ident::$operation:ident),+) => {
        $(mod $module;)+

        /// Every operation of the API.
        pub static TABLE: &[Entry] = &[
            $(Entry {
                name: <$module::$operation as Operation>::NAME,
                read_only: <$module::$operation as Operation>::READ_ONLY,
                members: <$module::$operation as Request>::MEMBERS,
                exceptions: <$module::$operation as Operation>::EXCEPTIONS,
                read: read::<$module::$operation>,
            },)+
        ];
    };
}

operations! {
    cancel_key_deletion::CancelKeyDeletion,
    connect_custom_key_store::ConnectCustomKeyStore,
    create_alias::CreateAlias,
    create_custom_key_store::CreateCustomKeyStore,
    create_grant::CreateGrant,
    create_key::CreateKey,
    decapsulate::Decapsulate,
    decrypt::Decrypt,
    delete_alias::DeleteAlias,
    delete_custom_key_store::DeleteCustomKeyStore,
    delete_imported_key_material::DeleteImportedKeyMaterial,
    derive_shared_secret::DeriveSharedSecret,
    describe_custom_key_stores::DescribeCustomKeyStores,
    describe_key::DescribeKey,
    disable_key::DisableKey,
    disable_key_rotation::DisableKeyRotation,
    disconnect_custom_key_store::DisconnectCustomKeyStore,
    enable_key::EnableKey,
    enable_key_rotation::EnableKeyRotation,
    encapsulate::Encapsulate,
    encrypt::Encrypt,
    generate_data_key::GenerateDataKey,
    generate_data_key_pair::GenerateDataKeyPair,
    generate_data_key_pair_without_plaintext::GenerateDataKeyPairWithoutPlaintext,
    generate_data_key_without_plaintext::GenerateDataKeyWithoutPlaintext,
    generate_mac::GenerateMac,
    generate_random::GenerateRandom,
    get_key_last_usage::GetKeyLastUsage,
    get_key_policy::GetKeyPolicy,
    get_key_rotation_status::GetKeyRotationStatus,
    get_parameters_for_import::GetParametersForImport,
    get_public_key::GetPublicKey,
    import_key_material::ImportKeyMaterial,
    list_aliases::ListAliases,
    list_grants::ListGrants,
    list_key_policies::ListKeyPolicies,
    list_key_rotations::ListKeyRotations,
    list_keys::ListKeys,
    list_resource_tags::ListResourceTags,
    list_retirable_grants::ListRetirableGrants,
    put_key_policy::PutKeyPolicy,
    re_encrypt::ReEncrypt,
    replicate_key::ReplicateKey,
    retire_grant::RetireGrant,
    revoke_grant::RevokeGrant,
    rotate_key_on_demand::RotateKeyOnDemand,
    schedule_key_deletion::ScheduleKeyDeletion,
    sign::Sign,
    tag_resource::TagResource,
    untag_resource::UntagResource,
    update_alias::UpdateAlias,
    update_custom_key_store::UpdateCustomKeyStore,
    update_key_description::UpdateKeyDescription,
    update_primary_region::UpdatePrimaryRegion,
    verify::Verify,
    verify_mac::VerifyMac
}

fn read<O: Operation>(body: &[u8], shown: &mut RequestParameters) -> Result<Prepared<Body>, KmsError> {
    let request = request::read::<O>(body, shown)?;
    Ok(Box::new(move |cx| Box::pin(async move { body::write(&request.run(cx).await?) })))
}

/// The error for a key whose origin does not allow the operation.
fn wrong_origin(arn: &str, origin: Origin) -> KmsError {
    let text = format!("{arn} origin is {origin} which is not valid for this operation.");
    KmsError::new(Code::UnsupportedOperationException, text)
}

/// Ends a dry run, once all checks have passed and before the HSM is called.
///
/// # Errors
/// `DryRunOperationException` if `dry_run`.
fn end_dry_run(dry_run: bool) -> Result<(), KmsError> {
    if !dry_run {
        return Ok(());
    }
    let text = "The request would have succeeded, but the DryRun option is set.";
    Err(KmsError::new(Code::DryRunOperationException, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_awss_56_operations_once_each() {
        let mut names: Vec<_> = TABLE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 56);
    }

    #[test]
    fn a_target_is_matched_exactly() {
        assert!(find("TrentService.Encrypt").is_some());
        for target in ["", "Encrypt", "trentservice.Encrypt", "TrentService.encrypt", "TrentService.", "TrentService.X"]
        {
            assert!(find(target).is_none(), "{target}");
        }
    }
}
