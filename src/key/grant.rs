//! Grants: permissions to use one key, beside its policy (AWS KMS: "Grants in AWS KMS").
//!
//! A grant allows and never denies. Who it is for, what it allows and under which constraints are its [`Terms`]; these
//! never change. What a grant does not understand of a request it does not allow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Key,
    context::EncryptionContext,
    material::read_hex,
    reference::KeyId,
    spec::{KeySpec, KeyUsage},
};
use crate::{
    action::Action,
    arn::AccountId,
    aws_names::aws_enum,
    clock::Timestamp,
    error::KmsError,
    principal::{Naming, Principal, is_federated_user},
};

aws_enum! {
    /// An operation that a grant can allow.
    GrantOperation {
        Decrypt = "Decrypt",
        Encrypt = "Encrypt",
        GenerateDataKey = "GenerateDataKey",
        GenerateDataKeyWithoutPlaintext = "GenerateDataKeyWithoutPlaintext",
        ReEncryptFrom = "ReEncryptFrom",
        ReEncryptTo = "ReEncryptTo",
        Sign = "Sign",
        Verify = "Verify",
        GetPublicKey = "GetPublicKey",
        CreateGrant = "CreateGrant",
        RetireGrant = "RetireGrant",
        DescribeKey = "DescribeKey",
        GenerateDataKeyPair = "GenerateDataKeyPair",
        GenerateDataKeyPairWithoutPlaintext = "GenerateDataKeyPairWithoutPlaintext",
        GenerateMac = "GenerateMac",
        VerifyMac = "VerifyMac",
        DeriveSharedSecret = "DeriveSharedSecret",
        Encapsulate = "Encapsulate",
        Decapsulate = "Decapsulate",
    }
}

impl GrantOperation {
    /// True if it uses the key for cryptography, and so asks for a key that may be used.
    pub fn is_cryptographic(self) -> bool {
        !matches!(self, Self::GetPublicKey | Self::CreateGrant | Self::RetireGrant | Self::DescribeKey)
    }

    /// The permission of the same name.
    pub fn action(self) -> Action {
        match self {
            Self::Decrypt => Action::Decrypt,
            Self::Encrypt => Action::Encrypt,
            Self::GenerateDataKey => Action::GenerateDataKey,
            Self::GenerateDataKeyWithoutPlaintext => Action::GenerateDataKeyWithoutPlaintext,
            Self::ReEncryptFrom => Action::ReEncryptFrom,
            Self::ReEncryptTo => Action::ReEncryptTo,
            Self::Sign => Action::Sign,
            Self::Verify => Action::Verify,
            Self::GetPublicKey => Action::GetPublicKey,
            Self::CreateGrant => Action::CreateGrant,
            Self::RetireGrant => Action::RetireGrant,
            Self::DescribeKey => Action::DescribeKey,
            Self::GenerateDataKeyPair => Action::GenerateDataKeyPair,
            Self::GenerateDataKeyPairWithoutPlaintext => Action::GenerateDataKeyPairWithoutPlaintext,
            Self::GenerateMac => Action::GenerateMac,
            Self::VerifyMac => Action::VerifyMac,
            Self::DeriveSharedSecret => Action::DeriveSharedSecret,
            Self::Encapsulate => Action::Encapsulate,
            Self::Decapsulate => Action::Decapsulate,
        }
    }

    /// True if keys of this spec and usage have such an operation.
    pub fn fits(self, spec: KeySpec, usage: KeyUsage) -> bool {
        match self {
            Self::CreateGrant | Self::RetireGrant | Self::DescribeKey => true,
            Self::GetPublicKey => spec.is_asymmetric(),
            Self::Encrypt | Self::Decrypt | Self::ReEncryptFrom | Self::ReEncryptTo => {
                usage == KeyUsage::EncryptDecrypt
            }
            Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::GenerateDataKeyPair
            | Self::GenerateDataKeyPairWithoutPlaintext => spec == KeySpec::SymmetricDefault,
            Self::Sign | Self::Verify => usage == KeyUsage::SignVerify,
            Self::GenerateMac | Self::VerifyMac => usage == KeyUsage::GenerateVerifyMac,
            Self::DeriveSharedSecret => usage == KeyUsage::KeyAgreement,
            Self::Encapsulate | Self::Decapsulate => usage == KeyUsage::EncapsulateDecapsulate,
        }
    }
}

/// GrantId: 32 random bytes, 64 lower-case hexadecimal digits in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId(pub [u8; 32]);

impl GrantId {
    /// Reads 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        read_hex(text).map(Self)
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for GrantId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GrantId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

/// Whom a grant is for, or who may retire it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Party {
    /// A root for its account, a user, a role with all its sessions, or one session.
    Principal(Principal),
    /// A federated user, by its ARN: legal, and none of them calls us.
    Federated(String),
    /// A service, such as `logs.eu-west-1.amazonaws.com`: none of them calls us either.
    Service(String),
}

impl Party {
    /// The principal of that ARN.
    pub fn of_arn(arn: &str) -> Option<Self> {
        if is_federated_user(arn) {
            return Some(Self::Federated(arn.to_owned()));
        }
        Principal::try_from(arn.to_owned()).ok().map(Self::Principal)
    }

    /// The ARN, or the name of the service.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Principal(principal) => principal.arn(),
            Self::Federated(name) | Self::Service(name) => name,
        }
    }

    /// The text under which an index of grants has it.
    pub fn index_key(&self) -> String {
        match self {
            Self::Principal(principal) => principal.index_key(),
            Self::Federated(name) | Self::Service(name) => name.clone(),
        }
    }

    /// How closely this names `caller`; none if it does not.
    pub fn names(&self, caller: &Principal) -> Option<Naming> {
        match self {
            Self::Principal(principal) => principal.names(caller),
            Self::Federated(_) | Self::Service(_) => None,
        }
    }
}

impl TryFrom<String> for Party {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.starts_with("arn:") {
            return Ok(Self::Service(text));
        }
        Self::of_arn(&text).ok_or_else(|| format!("`{text}` is not the ARN of a principal"))
    }
}

impl From<Party> for String {
    fn from(party: Party) -> Self {
        party.as_str().to_owned()
    }
}

/// Pairs that the encryption context of a request must have. Keys and values are compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContextConstraint {
    /// These and no others.
    Equals(BTreeMap<String, String>),
    /// These, and perhaps others.
    Subset(BTreeMap<String, String>),
}

impl ContextConstraint {
    fn holds(&self, context: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Equals(pairs) => pairs == context,
            Self::Subset(pairs) => pairs.iter().all(|(key, value)| context.get(key) == Some(value)),
        }
    }

    /// True if everything that `other` lets through passes this one, too.
    fn is_as_wide_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Equals(pairs), Self::Equals(others)) => pairs == others,
            (Self::Equals(_), Self::Subset(_)) => false,
            (Self::Subset(_), Self::Equals(others) | Self::Subset(others)) => self.holds(others),
        }
    }
}

/// Under which conditions a grant allows; all of them must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraints {
    /// The pairs that the encryption context must have. A stored grant says so where there is nothing that it must be.
    #[serde(deserialize_with = "Option::deserialize")]
    pub context: Option<ContextConstraint>,
    /// The resource on whose behalf a service must call. No service calls us, so it is never met.
    #[serde(deserialize_with = "Option::deserialize")]
    pub source_arn: Option<String>,
}

impl Constraints {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The pairs that an encryption context must have; it may have to have none beside them.
    pub fn pairs(&self) -> Option<&BTreeMap<String, String>> {
        self.context.as_ref().map(|context| match context {
            ContextConstraint::Equals(pairs) | ContextConstraint::Subset(pairs) => pairs,
        })
    }
}

/// The terms of a grant: the operations that it allows, and the principals that it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Whom it is for.
    pub grantee: Party,
    /// The principal beside the grantee that may retire it.
    pub retiring: Option<Party>,
    /// The operations that it allows.
    pub operations: BTreeSet<GrantOperation>,
    /// Under which conditions.
    pub constraints: Constraints,
    /// A name, by which a repeated request is told from a new one.
    pub name: Option<String>,
}

impl Terms {
    /// Checks that a key can have a grant like this.
    ///
    /// # Errors
    /// `ValidationException` if it has no encryption context to constrain, or not the operations.
    pub fn fit(&self, key: &Key) -> Result<(), KmsError> {
        let Key { spec, usage, .. } = *key;
        if self.constraints.context.is_some() && spec != KeySpec::SymmetricDefault {
            let text = "EncryptionContext is supported only when creating a grant for a symmetric encryption KMS key.";
            return Err(KmsError::invalid(text));
        }
        if let Some(unfit) = self.operations.iter().find(|operation| !operation.fits(spec, usage)) {
            let text = format!("The operation {unfit} is not valid for a key of KeySpec {spec} and KeyUsage {usage}.");
            return Err(KmsError::invalid(text));
        }
        Ok(())
    }

    /// True if a grant of these terms may make one of `child`'s: no other operations, and nothing let through that
    /// these would not.
    fn may_pass_on(&self, child: &Self) -> bool {
        let is_as_wide = match (&self.constraints.context, &child.constraints.context) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(childs)) => own.is_as_wide_as(childs),
        };
        is_as_wide && child.operations.is_subset(&self.operations)
    }
}

/// The facts of a request that constraints look at. There is no default, so that an operation must say what it has; what it
/// does not say meets no constraint.
#[derive(Debug, Clone, Copy)]
pub enum ConstraintFacts<'a> {
    /// The operation has no encryption context.
    Bare,
    /// The encryption context, which may be empty.
    Context(&'a EncryptionContext),
    /// The grant that is to be made.
    Child(&'a Terms),
}

/// A grant, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Its name in the API.
    pub id: GrantId,
    /// The key.
    pub key: KeyId,
    /// The region of the key.
    pub region: String,
    /// Its terms.
    pub terms: Terms,
    /// When it was made.
    pub created: Timestamp,
    /// The account whose principal made it.
    pub issuer: AccountId,
}

impl Grant {
    /// How closely this names `caller`, if it allows them to do `operation` with its key: where it names their account only, their
    /// own policies must allow, too.
    pub fn allows(&self, caller: &Principal, operation: GrantOperation, facts: ConstraintFacts<'_>) -> Option<Naming> {
        let naming = self.terms.grantee.names(caller)?;
        (self.terms.operations.contains(&operation) && self.covers(operation, facts)).then_some(naming)
    }

    fn covers(&self, operation: GrantOperation, facts: ConstraintFacts<'_>) -> bool {
        let Constraints { context, source_arn } = &self.terms.constraints;
        let covered = match (operation, facts) {
            (GrantOperation::CreateGrant, ConstraintFacts::Child(child)) => self.terms.may_pass_on(child),
            (GrantOperation::CreateGrant, _) | (_, ConstraintFacts::Child(_)) => false,
            // These have no encryption context and may be in a grant that constrains it.
            (GrantOperation::DescribeKey | GrantOperation::RetireGrant, _) => true,
            (_, ConstraintFacts::Context(given)) => context.as_ref().is_none_or(|context| context.holds(given.pairs())),
            (_, ConstraintFacts::Bare) => context.is_none(),
        };
        covered && source_arn.is_none()
    }

    /// How closely `caller` is named as one that may retire this: as the retiring principal, as a grantee
    /// who is allowed to, or as somebody of the account that made it.
    pub fn may_be_retired_by(&self, caller: &Principal) -> Option<Naming> {
        let retiring = self.terms.retiring.as_ref().and_then(|party| party.names(caller));
        let grantee = self.allows(caller, GrantOperation::RetireGrant, ConstraintFacts::Bare);
        let issuer = (self.issuer == *caller.account()).then_some(caller.named_by_account());
        [retiring, grantee, issuer].into_iter().flatten().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use GrantOperation::*;

    const ADA: &str = "arn:aws:iam::111122223333:user/ada";

    fn pairs(text: &str) -> BTreeMap<String, String> {
        text.split_whitespace()
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    }

    fn equals(text: &str) -> Option<ContextConstraint> {
        Some(ContextConstraint::Equals(pairs(text)))
    }

    fn subset(text: &str) -> Option<ContextConstraint> {
        Some(ContextConstraint::Subset(pairs(text)))
    }

    fn terms(operations: &[GrantOperation], context: Option<ContextConstraint>) -> Terms {
        Terms {
            grantee: Party::of_arn(ADA).expect("a principal"),
            retiring: None,
            operations: operations.iter().copied().collect(),
            constraints: Constraints { context, source_arn: None },
            name: None,
        }
    }

    fn grant(terms: Terms) -> Grant {
        let issuer = AccountId::try_from("111122223333".to_owned()).expect("digits");
        let (id, key) = (GrantId([1; 32]), KeyId::from_parts(false, [1; 16]));
        Grant { id, key, region: "eu-test-1".into(), terms, created: Timestamp::from_ms(0), issuer }
    }

    fn principal(arn: &str) -> Principal {
        Principal::try_from(arn.to_owned()).expect("a principal")
    }

    #[test]
    fn operations_have_the_words_of_their_actions() {
        for operation in GrantOperation::ALL {
            assert_eq!(operation.as_str(), operation.action().as_str());
        }
    }

    #[test]
    fn each_key_has_the_operations_of_awss_table() {
        let fitting = |spec, usage| {
            let all = GrantOperation::ALL.iter().filter(|operation| operation.fits(spec, usage));
            all.map(|operation| operation.as_str()).collect::<Vec<_>>().join(" ")
        };
        for (spec, usage, expected) in [
            (
                KeySpec::SymmetricDefault,
                KeyUsage::EncryptDecrypt,
                "Decrypt Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext ReEncryptFrom ReEncryptTo CreateGrant \
                 RetireGrant DescribeKey GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext",
            ),
            (
                KeySpec::Rsa2048,
                KeyUsage::EncryptDecrypt,
                "Decrypt Encrypt ReEncryptFrom ReEncryptTo GetPublicKey CreateGrant RetireGrant DescribeKey",
            ),
            (KeySpec::Rsa2048, KeyUsage::SignVerify, "Sign Verify GetPublicKey CreateGrant RetireGrant DescribeKey"),
            (KeySpec::MlDsa44, KeyUsage::SignVerify, "Sign Verify GetPublicKey CreateGrant RetireGrant DescribeKey"),
            (
                KeySpec::Hmac224,
                KeyUsage::GenerateVerifyMac,
                "CreateGrant RetireGrant DescribeKey GenerateMac VerifyMac",
            ),
            (
                KeySpec::EccNistP256,
                KeyUsage::KeyAgreement,
                "GetPublicKey CreateGrant RetireGrant DescribeKey DeriveSharedSecret",
            ),
            (
                KeySpec::MlKem512,
                KeyUsage::EncapsulateDecapsulate,
                "GetPublicKey CreateGrant RetireGrant DescribeKey Encapsulate Decapsulate",
            ),
        ] {
            assert_eq!(fitting(spec, usage), expected, "{spec} {usage}");
        }
    }

    #[test]
    fn a_constraint_is_met_by_the_context_and_by_nothing_else() {
        for (constraint, context, met) in [
            (None, "", true),
            (None, "a=1", true),
            (equals(""), "", true),
            (equals(""), "a=1", false),
            (equals("a=1"), "a=1", true),
            (equals("a=1"), "a=1 b=2", false),
            (equals("a=1"), "", false),
            (equals("a=1"), "A=1", false),
            (subset(""), "", true),
            (subset(""), "a=1", true),
            (subset("a=1"), "a=1", true),
            (subset("a=1"), "a=1 b=2", true),
            (subset("a=1"), "a=2", false),
            (subset("a=1"), "b=2", false),
            (subset("a=1 b=2"), "a=1", false),
        ] {
            let grant = grant(terms(&[Encrypt, Sign, DescribeKey], constraint.clone()));
            let given = EncryptionContext::new(pairs(context)).expect("short");
            let allows = |operation, facts| grant.allows(&principal(ADA), operation, facts).is_some();
            assert_eq!(allows(Encrypt, ConstraintFacts::Context(&given)), met, "{constraint:?} {context}");
            assert_eq!(
                allows(Sign, ConstraintFacts::Bare),
                constraint.is_none(),
                "what is not said meets no constraint"
            );
            assert!(allows(DescribeKey, ConstraintFacts::Bare) && !allows(Decrypt, ConstraintFacts::Context(&given)));
        }
    }

    #[test]
    fn a_source_is_never_met() {
        let mut terms = terms(&[Encrypt, DescribeKey, RetireGrant], None);
        terms.constraints.source_arn = Some("arn:aws:s3:::111122223333:bucket".into());
        let grant = grant(terms);
        for operation in [Encrypt, DescribeKey, RetireGrant] {
            let context = EncryptionContext::default();
            assert_eq!(grant.allows(&principal(ADA), operation, ConstraintFacts::Context(&context)), None);
        }
    }

    #[test]
    fn a_child_is_no_wider_than_its_parent() {
        let (some, more) = (&[CreateGrant, Encrypt][..], &[CreateGrant, Encrypt, Decrypt][..]);
        for (parent, child, may) in [
            (terms(more, None), terms(some, None), true),
            (terms(some, None), terms(some, equals("a=1")), true),
            (terms(some, None), terms(more, None), false),
            (terms(some, subset("a=1")), terms(some, subset("a=1")), true),
            (terms(some, subset("a=1")), terms(some, subset("a=1 b=2")), true),
            (terms(some, subset("a=1")), terms(some, equals("a=1 b=2")), true),
            (terms(some, subset("a=1")), terms(some, equals("b=2")), false),
            (terms(some, subset("a=1")), terms(some, subset("a=2")), false),
            (terms(some, subset("a=1")), terms(some, subset("")), false),
            (terms(some, subset("a=1")), terms(some, None), false),
            (terms(some, equals("a=1")), terms(some, equals("a=1")), true),
            (terms(some, equals("a=1")), terms(some, equals("a=1 b=2")), false),
            (terms(some, equals("a=1")), terms(some, subset("a=1")), false),
            (terms(&[Encrypt], None), terms(&[Encrypt], None), false),
        ] {
            let parent = grant(parent);
            let allowed = parent.allows(&principal(ADA), CreateGrant, ConstraintFacts::Child(&child)).is_some();
            assert_eq!(allowed, may, "{:?} {child:?}", parent.terms);
            assert_eq!(parent.allows(&principal(ADA), CreateGrant, ConstraintFacts::Bare), None);
            assert_eq!(parent.allows(&principal(ADA), Encrypt, ConstraintFacts::Child(&child)), None);
        }
    }

    #[test]
    fn who_may_retire() {
        let (root, eve) = ("arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:user/eve");
        let mut allowed = terms(&[Encrypt, RetireGrant], subset("a=1"));
        let grant = |terms: &Terms| grant(terms.clone());
        let (itself, account) = (Some(Naming::Itself), Some(Naming::Account));
        assert_eq!(grant(&allowed).may_be_retired_by(&principal(ADA)), itself);
        assert_eq!(grant(&terms(&[Encrypt], None)).may_be_retired_by(&principal(ADA)), account);
        assert_eq!(grant(&allowed).may_be_retired_by(&principal(root)), itself);
        assert_eq!(grant(&allowed).may_be_retired_by(&principal(eve)), None);
        allowed.retiring = Party::of_arn("arn:aws:iam::444455556666:root");
        assert_eq!(grant(&allowed).may_be_retired_by(&principal(eve)), account);
        allowed.retiring = Party::of_arn(eve);
        assert_eq!(grant(&allowed).may_be_retired_by(&principal(eve)), itself);
    }

    #[test]
    fn parties_are_principals_federated_users_and_services() {
        let read = |text: &str| Party::try_from(text.to_owned());
        for text in [ADA, "arn:aws:sts::111122223333:federated-user/ada", "logs.eu-west-1.amazonaws.com"] {
            assert_eq!(read(text).map(String::from), Ok(text.to_owned()));
        }
        for text in ["arn:aws:iam::111122223333:group/all", "arn:aws:kms:eu-test-1:111122223333:key/k", "arn:"] {
            assert!(read(text).is_err() && Party::of_arn(text).is_none(), "{text}");
        }
        assert_eq!(Party::of_arn("logs.amazonaws.com"), None);
        assert_eq!(Party::of_arn("111122223333"), None);
    }
}
