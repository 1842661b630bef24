//! Facts about a request that conditions of policies and constraints of grants may ask about, beside who asks for which action on
//! which resource (IAM: "AWS global condition context keys"; AWS KMS: "AWS KMS condition keys").

use std::sync::Arc;

use crate::{
    attestation::Measurements,
    client::Client,
    clock::Timestamp,
    key::{
        Key, Origin,
        algorithm::{
            KeyAgreementAlgorithm, MacAlgorithm, MessageType, SigningAlgorithm, WrappingAlgorithm, WrappingKeySpec,
        },
        context::EncryptionContext,
        grant::{ConstraintFacts, Terms},
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
        tags::Tag,
    },
};

/// Everything that a decision may ask about one request. Every decision is given it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The parameters of the request that conditions may ask about.
    pub request: &'a RequestFacts,
    /// The alias by which the caller names the key, if by one (`kms:RequestAlias`).
    pub alias: Option<&'a str>,
    /// The key, where the action is on one that is there.
    pub key: Option<&'a Key>,
    /// The client and its network.
    pub client: &'a Client,
    /// The time of the request (`aws:CurrentTime`).
    pub time: Timestamp,
}

/// Parameters of a request that conditions may ask about; each is none where the action has no such parameter. Where a parameter is
/// omitted and has a default, it is the default.
#[derive(Debug, Default)]
pub struct RequestFacts {
    /// `kms:EncryptionContext:…`, `kms:EncryptionContextKeys`; empty where an action has one that is not given.
    pub encryption_context: Option<Arc<EncryptionContext>>,
    /// `kms:EncryptionAlgorithm`.
    pub encryption_algorithm: Option<EncryptionAlgorithm>,
    /// `kms:SigningAlgorithm`.
    pub signing_algorithm: Option<SigningAlgorithm>,
    /// `kms:MessageType`.
    pub message_type: Option<MessageType>,
    /// `kms:MacAlgorithm`.
    pub mac_algorithm: Option<MacAlgorithm>,
    /// `kms:KeyAgreementAlgorithm`.
    pub key_agreement_algorithm: Option<KeyAgreementAlgorithm>,
    /// `kms:DataKeyPairSpec`.
    pub data_key_pair_spec: Option<KeySpec>,
    /// `kms:RecipientAttestation:…`: of a recipient that has been attested.
    pub recipient: Option<Measurements>,
    /// `kms:GrantOperations`, `kms:GrantConstraintType`, `kms:GranteePrincipal` …: of the grant to be made or retired.
    pub grant: Option<Terms>,
    /// `kms:KeySpec`, `kms:KeyUsage`, `kms:KeyOrigin`, `kms:MultiRegion`: of a key to be made.
    pub new_key: Option<NewKey>,
    /// `kms:BypassPolicyLockoutSafetyCheck`; none where the parameter is omitted.
    pub bypass_policy_lockout_safety_check: Option<bool>,
    /// `kms:WrappingAlgorithm`.
    pub wrapping_algorithm: Option<WrappingAlgorithm>,
    /// `kms:WrappingKeySpec`.
    pub wrapping_key_spec: Option<WrappingKeySpec>,
    /// `kms:ExpirationModel`; none where the parameter is omitted.
    pub expiration_model: Option<&'static str>,
    /// `kms:ValidTo`.
    pub valid_to: Option<Timestamp>,
    /// `kms:RotationPeriodInDays`.
    pub rotation_period_days: Option<u32>,
    /// `kms:ScheduleKeyDeletionPendingWindowInDays`.
    pub pending_window_days: Option<u16>,
    /// `kms:PrimaryRegion`.
    pub primary_region: Option<String>,
    /// `kms:ReplicaRegion`.
    pub replica_region: Option<String>,
    /// `aws:RequestTag/…`, `aws:TagKeys`: tags to be put on a key.
    pub tags: Vec<Tag>,
    /// `aws:TagKeys`: names of tags to be taken from a key.
    pub tag_keys: Vec<String>,
}

/// A key that is to be made, as conditions see it.
#[derive(Debug, Clone, Copy)]
pub struct NewKey {
    /// Its key spec.
    pub spec: KeySpec,
    /// Its key usage.
    pub usage: KeyUsage,
    /// The origin of its material.
    pub origin: Origin,
    /// True for a multi-Region key.
    pub multi_region: bool,
}

impl RequestFacts {
    /// Of a request that encrypts or decrypts with this context and algorithm.
    pub fn of_encryption(context: &Arc<EncryptionContext>, algorithm: EncryptionAlgorithm) -> Self {
        let encryption_context = Some(Arc::clone(context));
        Self { encryption_context, encryption_algorithm: Some(algorithm), ..Self::default() }
    }

    /// The part that constraints of grants ask about.
    pub fn of_constraints(&self) -> ConstraintFacts<'_> {
        match (&self.grant, &self.encryption_context) {
            (Some(terms), _) => ConstraintFacts::Child(terms),
            (None, Some(context)) => ConstraintFacts::Context(context),
            (None, None) => ConstraintFacts::Bare,
        }
    }
}
