//! CreateKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, metadata::KeyMetadata, policy_text};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::{
        Key, Origin,
        algorithm::{WrappingAlgorithm, WrappingKeySpec},
        custom_store::CustomKeyStore,
        reference::KeyId,
        spec::{KeySpec, KeyUsage},
        tags::Tags,
    },
    kms::cx::Cx,
    policy::{self, NewKey, RequestFacts},
    request::{Description, KeyStoreText, PolicyText, TagList, XksKeyId, request},
};

request! {
    /// Makes a KMS key.
    CreateKey {
        policy: PolicyText = optional "Policy",
        description: Description = default "Description",
        key_usage: KeyUsage = optional "KeyUsage",
        customer_master_key_spec: KeySpec = optional "CustomerMasterKeySpec",
        key_spec: KeySpec = optional "KeySpec",
        origin: Origin = optional "Origin",
        custom_key_store_id: KeyStoreText = optional "CustomKeyStoreId",
        bypass_lockout_check: bool = optional "BypassPolicyLockoutSafetyCheck",
        tags: TagList = default "Tags",
        multi_region: bool = default "MultiRegion",
        xks_key_id: XksKeyId = optional "XksKeyId",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateKeyResponse {
    key_metadata: KeyMetadata,
}

impl Operation for CreateKey {
    const NAME: &'static str = "CreateKey";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::CloudHsmClusterInvalidConfigurationException,
        Code::CustomKeyStoreInvalidStateException,
        Code::CustomKeyStoreNotFoundException,
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::LimitExceededException,
        Code::MalformedPolicyDocumentException,
        Code::TagException,
        Code::UnsupportedOperationException,
    ];
    type Response = CreateKeyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<CreateKeyResponse, KmsError> {
        let spec = self.spec()?;
        let usage = self.usage(spec)?;
        let facts = self.facts(spec, usage);
        self.authorize(cx, &facts)?;
        refuse_sm2(spec)?;
        let key_store = self.key_store(cx, spec)?;
        let origin = self.origin.unwrap_or(Origin::AwsKms);
        let id = KeyId::random(self.multi_region);
        let tags = Tags::default().with(&self.tags.0)?;
        let policy = self.policy(cx, id, &facts)?;
        let key = Key::new(id, &cx.realm().region, (spec, usage), policy, cx.now())
            .with_origin(origin)
            .with_description(self.description.0.clone())
            .with_tags(tags)
            .in_key_store(key_store.as_ref().map(|key_store| key_store.id.clone()));
        let may = |cx: &Cx<'_>| {
            self.authorize(cx, &facts)?;
            self.policy(cx, id, &facts).map(drop)
        };
        let key = cx.create_key(may, key).await?;
        Ok(CreateKeyResponse { key_metadata: KeyMetadata::of(&key, cx).kept_in(key_store.as_deref()) })
    }
}

/// AWS has SM2 in China only, and PKCS#11 has no mechanisms for it.
fn refuse_sm2(spec: KeySpec) -> Result<(), KmsError> {
    if spec == KeySpec::Sm2 { unsupported("KeySpec SM2 is not supported in this Region") } else { Ok(()) }
}

fn unsupported<T>(text: &str) -> Result<T, KmsError> {
    Err(KmsError::new(Code::UnsupportedOperationException, text))
}

/// True if a wrapping algorithm can carry material of this key spec.
fn imports(spec: KeySpec) -> bool {
    WrappingAlgorithm::ALL.iter().any(|algorithm| algorithm.carries(spec, WrappingKeySpec::Rsa4096))
}

impl CreateKey {
    fn spec(&self) -> Result<KeySpec, KmsError> {
        match (self.key_spec, self.customer_master_key_spec) {
            (Some(_), Some(_)) => Err(KmsError::invalid(
                "You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is \
                 deprecated.",
            )),
            (spec, old) => Ok(spec.or(old).unwrap_or(KeySpec::SymmetricDefault)),
        }
    }

    fn usage(&self, spec: KeySpec) -> Result<KeyUsage, KmsError> {
        let usage = match (self.key_usage, spec) {
            (Some(usage), _) => usage,
            (None, KeySpec::SymmetricDefault) => KeyUsage::EncryptDecrypt,
            (None, _) => {
                return Err(KmsError::invalid(
                    "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
                ));
            }
        };
        match spec.usages().contains(&usage) {
            true => Ok(usage),
            false => Err(KmsError::invalid(format!("KeyUsage {usage} is not compatible with KeySpec {spec}"))),
        }
    }

    fn authorize(&self, cx: &Cx<'_>, facts: &RequestFacts) -> Result<(), KmsError> {
        cx.authorize(Action::CreateKey, facts)?;
        if self.tags.0.is_empty() { Ok(()) } else { cx.authorize(Action::TagResource, facts) }
    }

    fn facts(&self, spec: KeySpec, usage: KeyUsage) -> RequestFacts {
        let origin = self.origin.unwrap_or(Origin::AwsKms);
        RequestFacts {
            new_key: Some(NewKey { spec, usage, origin, multi_region: self.multi_region }),
            bypass_policy_lockout_safety_check: self.bypass_lockout_check,
            tags: self.tags.0.clone(),
            ..RequestFacts::default()
        }
    }

    /// The custom key store that the key is to be in; none for material of our own making, or imported.
    fn key_store(&self, cx: &Cx<'_>, spec: KeySpec) -> Result<Option<Arc<CustomKeyStore>>, KmsError> {
        let origin = self.origin.unwrap_or(Origin::AwsKms);
        if self.xks_key_id.is_some() && origin != Origin::ExternalKeyStore {
            return Err(KmsError::invalid(format!("XksKeyId is not valid for a key of origin {origin}.")));
        }
        let named = self.custom_key_store_id.as_ref();
        match origin {
            Origin::AwsCloudHsm => self.cluster(cx, spec).map(Some),
            Origin::ExternalKeyStore => unsupported("External key stores are not supported."),
            Origin::External if named.is_none() && !imports(spec) => {
                unsupported(&format!("Key material of key spec {spec} cannot be imported."))
            }
            Origin::AwsKms | Origin::External => match named {
                None => Ok(None),
                Some(id) if origin == Origin::AwsKms && cx.key_store(&id.0).is_err() => {
                    Err(KmsError::bare(Code::CustomKeyStoreNotFoundException))
                }
                Some(_) => Err(KmsError::invalid(format!("A key of origin {origin} is in no custom key store."))),
            },
        }
    }

    /// The custom key store of a key that is to be in one.
    fn cluster(&self, cx: &Cx<'_>, spec: KeySpec) -> Result<Arc<CustomKeyStore>, KmsError> {
        let Some(id) = &self.custom_key_store_id else {
            return Err(KmsError::invalid("You must specify a CustomKeyStoreId for a key of origin AWS_CLOUDHSM."));
        };
        if spec != KeySpec::SymmetricDefault {
            return unsupported(&format!("Keys of key spec {spec} cannot be in a custom key store."));
        }
        if self.multi_region {
            return unsupported("Multi-Region keys cannot be in a custom key store.");
        }
        cx.connected_key_store(&id.0)
    }

    fn policy(&self, cx: &Cx<'_>, id: KeyId, facts: &RequestFacts) -> Result<String, KmsError> {
        let realm = cx.realm();
        let Some(PolicyText(text)) = &self.policy else {
            return Ok(policy::default_key_policy(&realm.partition, &realm.account));
        };
        policy_text::check(cx, text, &realm.arn(format_args!("key/{id}")), facts)?;
        Ok(text.clone())
    }
}
