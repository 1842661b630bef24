//! Members of a request: types that refuse what AWS refuses, in AWS's words (AWS JSON 1.1; KMS model constraints).
//!
//! A wrong type is a `SerializationException` about the first one met. A broken constraint is noted, and all of them
//! together are one `ValidationException`: `2 validation errors detected: …; …`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};

use super::json::Json;
use crate::{
    action::Action,
    arn::{AccountId, Arn},
    clock::Timestamp,
    error::{Code, KmsError},
    key::{
        Origin,
        algorithm::{
            EncapsulationAlgorithm, KeyAgreementAlgorithm, MacAlgorithm, MessageType, SigningAlgorithm,
            WrappingAlgorithm, WrappingKeySpec,
        },
        context::EncryptionContext,
        custom_store::{KeyStoreType, is_cluster_id},
        grant::{Constraints, ContextConstraint, GrantId, GrantOperation, Party},
        spec::{EncryptionAlgorithm, KeySpec, KeyUsage},
        tags::Tag,
    },
    page::PageRequest,
    secret::{SecretBytes, SecretText},
};

/// Declares a request: one line per member, which says its type, whether it must be there, and its name on the wire.
///
/// `required` refuses an absent member, `optional` makes an `Option`, `default` takes the type's default.
macro_rules! request {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty = $mode:ident $wire:literal),* $(,)? }) => {
        $(#[$meta])*
        pub struct $name { $($field: request!(@type $mode $type)),* }

        impl $crate::operations::Request for $name {
            #[allow(unused_variables, reason = "a request may have no members")]
            fn read(members: &mut $crate::operations::member::Members<'_>) -> Option<Self> {
                $(let $field = members.$mode($wire);)*
                Some(Self { $($field: $field?),* })
            }
        }
    };
    (@type required $type:ty) => { $type };
    (@type default $type:ty) => { $type };
    (@type optional $type:ty) => { Option<$type> };
}
pub(crate) use request;

/// The most characters of a refused value that an error message repeats.
const MAX_ECHO: usize = 2048;
/// The most broken constraints that one error message tells, as AWS; a long list could break a million.
const MAX_TOLD: usize = 10;

/// A type that a member can have.
pub trait Member: Sized {
    /// Reads `json`, which is not `null`; `None` after noting in `faults` why not.
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self>;
}

/// Where a member stands in the request, as messages name it.
pub enum Path<'a> {
    /// A member of the request itself, by its name on the wire.
    Top(&'a str),
    /// A member of a member.
    Inner(&'a Path<'a>, &'a str),
    /// A member of the n-th item of a list; items count from 1.
    Item(&'a Path<'a>, usize, &'a str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top(name) => lower_camel(f, name),
            Self::Inner(outer, name) => {
                write!(f, "{outer}.")?;
                lower_camel(f, name)
            }
            Self::Item(list, n, name) => {
                write!(f, "{list}.{n}.member.")?;
                lower_camel(f, name)
            }
        }
    }
}

fn lower_camel(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let (first, rest) = name.split_at_checked(1).unwrap_or(("", name));
    write!(f, "{}{rest}", first.to_ascii_lowercase())
}

/// What is wrong with a request, gathered while it is read.
#[derive(Default)]
pub struct Faults {
    wrong_type: Option<String>,
    constraints: Vec<String>,
}

impl Faults {
    /// A value of the wrong JSON type; the first one counts.
    pub fn wrong_type<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.wrong_type.get_or_insert_with(|| message.into());
        None
    }

    /// A broken constraint. `value` is what the caller sent, or `None` for a value that must not be repeated.
    pub fn constraint<T>(&mut self, value: Option<&str>, path: &Path<'_>, rule: impl fmt::Display) -> Option<T> {
        let shown = value.map(|v| format!(" '{}'", echo(v))).unwrap_or_default();
        self.tell(format_args!("Value{shown} at '{path}' failed to satisfy constraint: Member must {rule}"))
    }

    pub(super) fn missing<T>(&mut self, path: &Path<'_>) -> Option<T> {
        self.tell(format_args!("Value null at '{path}' failed to satisfy constraint: Member must not be null"))
    }

    fn tell<T>(&mut self, fault: fmt::Arguments<'_>) -> Option<T> {
        if self.constraints.len() < MAX_TOLD {
            self.constraints.push(fault.to_string());
        }
        None
    }

    /// The rules that were broken, each once: what a list says of its items.
    fn rules(&self) -> String {
        let rule = |fault: &String| fault.split_once("constraint: ").map(|(_, rule)| rule.to_owned());
        let rules: BTreeSet<String> = self.constraints.iter().filter_map(rule).collect();
        format!("satisfy constraint: [{}]", Vec::from_iter(rules).join(", "))
    }

    fn into_error(self) -> Option<KmsError> {
        if let Some(message) = self.wrong_type {
            return Some(KmsError::new(Code::SerializationException, message));
        }
        let count = self.constraints.len();
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| {
            KmsError::invalid(format!("{count} validation error{plural} detected: {}", self.constraints.join("; ")))
        })
    }
}

/// A bounded piece of a refused value.
fn echo(value: &str) -> &str {
    let end = value.char_indices().nth(MAX_ECHO).map_or(value.len(), |(i, _)| i);
    &value[..end]
}

/// Reads members out of one request body.
pub struct Members<'a> {
    body: &'a Json<'a>,
    faults: Faults,
}

impl<'a> Members<'a> {
    /// Members of `body`.
    pub fn of(body: &'a Json<'a>) -> Self {
        Self { body, faults: Faults::default() }
    }

    /// A member that must be there.
    pub fn required<T: Member>(&mut self, name: &str) -> Option<T> {
        let path = Path::Top(name);
        match self.body.member(name) {
            Some(json) => T::read(json, &path, &mut self.faults),
            None => self.faults.missing(&path),
        }
    }

    /// A member that may be absent: `Some(None)` then.
    pub fn optional<T: Member>(&mut self, name: &str) -> Option<Option<T>> {
        match self.body.member(name) {
            Some(json) => T::read(json, &Path::Top(name), &mut self.faults).map(Some),
            None => Some(None),
        }
    }

    /// A member whose absence means its type's default.
    pub fn default<T: Member + Default>(&mut self, name: &str) -> Option<T> {
        self.optional(name).map(Option::unwrap_or_default)
    }

    /// The request, if nothing was wrong with it.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`, see the head of this file.
    pub fn finish<T>(self, request: Option<T>) -> Result<T, KmsError> {
        match (self.faults.into_error(), request) {
            (Some(error), _) => Err(error),
            (None, Some(request)) => Ok(request),
            (None, None) => Err(KmsError::internal("a member was refused without a reason")),
        }
    }
}

/// Text of `MIN` to `MAX` characters.
pub struct Text<const MIN: usize, const MAX: usize>(pub String);

/// KeyIdType: any way to name a key.
pub type KeyText = Text<1, 2048>;
/// DescriptionType.
pub type Description = Text<0, 8192>;

impl<const MIN: usize, const MAX: usize> Member for Text<MIN, MAX> {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, MIN, MAX, path, faults)?;
        Some(Self(text.to_owned()))
    }
}

impl<const MIN: usize, const MAX: usize> Default for Text<MIN, MAX> {
    fn default() -> Self {
        Self(String::new())
    }
}

/// Checks length in characters.
fn length_between(text: &str, min: usize, max: usize, path: &Path<'_>, faults: &mut Faults) -> Option<()> {
    // A string of n bytes has at most n characters and at least n / 4: most need no counting.
    let length = if text.len() <= max && text.len() >= 4 * min { text.len() } else { text.chars().count() };
    if length < min {
        return faults.constraint(Some(text), path, format_args!("have length greater than or equal to {min}"));
    }
    if length > max {
        return faults.constraint(Some(text), path, format_args!("have length less than or equal to {max}"));
    }
    Some(())
}

fn matches_pattern(
    text: &str,
    allowed: fn(char) -> bool,
    pattern: &str,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<()> {
    match !text.is_empty() && text.chars().all(allowed) {
        true => Some(()),
        false => faults.constraint(Some(text), path, format_args!("satisfy regular expression pattern: {pattern}")),
    }
}

/// AliasNameType.
pub struct AliasText(pub String);

impl Member for AliasText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 1, 256, path, faults)?;
        matches_pattern(text, is_alias_character, "^[a-zA-Z0-9:/_-]+$", path, faults)?;
        Some(Self(text.to_owned()))
    }
}

fn is_alias_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '/' | '_' | '-')
}

impl AliasText {
    /// `text` as a request could name it, for a name that comes in no request.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn parse(text: String) -> Result<Self, KmsError> {
        match (1..=256).contains(&text.len()) && text.chars().all(is_alias_character) {
            true => Ok(Self(text)),
            false => Err(KmsError::invalid(format!("`{text}` is not a name for an alias"))),
        }
    }

    /// The name, if it is one that callers may use.
    ///
    /// # Errors
    /// `ValidationException`; `NotAuthorizedException` for the names that AWS keeps for itself.
    pub fn checked(self) -> Result<String, KmsError> {
        let Some(name) = self.0.strip_prefix("alias/") else {
            return Err(KmsError::invalid(
                "Alias must start with the prefix \"alias/\". Please see \
                 https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
            ));
        };
        match name {
            "" => Err(KmsError::invalid("Invalid identifier")),
            _ if name.starts_with("aws/") => Err(KmsError::bare(Code::NotAuthorizedException)),
            _ if name.contains(':') => {
                Err(KmsError::invalid(format!("{} contains invalid characters for an alias", self.0)))
            }
            _ => Ok(self.0),
        }
    }
}

/// CustomKeyStoreIdType: the id of a key store, whether it is one or not.
pub type KeyStoreText = Text<1, 64>;

/// CloudHsmClusterIdType.
pub struct ClusterId(pub String);

impl Member for ClusterId {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 19, 24, path, faults)?;
        if !is_cluster_id(text) {
            let pattern = "satisfy regular expression pattern: cluster-[2-7a-zA-Z]{11,16}";
            return faults.constraint(Some(text), path, pattern);
        }
        Some(Self(text.to_owned()))
    }
}

/// KeyStorePasswordType. It is repeated to nobody.
pub struct Password(pub SecretText);

impl Member for Password {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        match text.chars().count() {
            0..7 => faults.constraint(None, path, "have length greater than or equal to 7"),
            7..=32 => Some(Self(SecretText::from(text.to_owned()))),
            _ => faults.constraint(None, path, "have length less than or equal to 32"),
        }
    }
}

crate::word::words! {
    /// XksProxyConnectivityType.
    XksConnectivity {
        PublicEndpoint = "PUBLIC_ENDPOINT",
        VpcEndpointService = "VPC_ENDPOINT_SERVICE",
    }
}

/// XksProxyAuthenticationCredentialType, which nothing is done with. It is repeated to nobody.
pub struct XksCredential;

impl Member for XksCredential {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        if !matches!(json, Json::Map(_)) {
            return match json {
                Json::List(_) => not_a_scalar(json, faults),
                _ => faults.wrong_type("Expected null"),
            };
        }
        let mut member = |name| {
            let path = Path::Inner(path, name);
            let Some(value) = json.member(name) else { return faults.missing(&path) };
            string(value, faults).map(drop)
        };
        let (id, secret) = (member("AccessKeyId"), member("RawSecretAccessKey"));
        id.and(secret).map(|()| Self)
    }
}

/// XksKeyIdType.
pub struct XksKeyId;

impl Member for XksKeyId {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 1, 128, path, faults)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        matches_pattern(text, allowed, "^[a-zA-Z0-9-_.]+$", path, faults)?;
        Some(Self)
    }
}

/// PolicyNameType.
pub struct PolicyName(pub String);

impl Member for PolicyName {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 1, 128, path, faults)?;
        matches_pattern(text, |c| c.is_ascii_alphanumeric() || c == '_', "[\\w]+", path, faults)?;
        Some(Self(text.to_owned()))
    }
}

impl Default for PolicyName {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

/// PolicyType: the text of a key policy.
pub struct PolicyText(pub String);

impl Member for PolicyText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 1, 131_072, path, faults)?;
        let allowed = |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}');
        matches_pattern(text, allowed, "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+", path, faults)?;
        Some(Self(text.to_owned()))
    }
}

/// MarkerType.
pub struct Marker(pub String);

impl Member for Marker {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 1, 1024, path, faults)?;
        matches_pattern(text, |c| matches!(c, ' '..='\u{ff}'), "[\\u0020-\\u00FF]*", path, faults)?;
        Some(Self(text.to_owned()))
    }
}

/// The page that `Limit` and `Marker` ask for.
pub fn page_request<const MIN: i64, const MAX: i64>(limit: Int<MIN, MAX>, marker: Option<Marker>) -> PageRequest {
    // `Int` holds what its bounds allow, and lists have bounds from 1.
    PageRequest { limit: usize::try_from(limit.0).unwrap_or(1), marker: marker.map(|Marker(text)| text) }
}

/// An integer from `MIN` to `MAX`.
pub struct Int<const MIN: i64, const MAX: i64>(pub i64);

/// LimitType of lists that AWS cuts at 1,000.
pub type Limit1000 = Int<1, 1000>;
/// Limit of ListAliases.
pub type Limit100 = Int<1, 100>;
/// Limit of ListResourceTags.
pub type Limit50 = Int<1, 50>;

impl<const MIN: i64, const MAX: i64> Member for Int<MIN, MAX> {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let value = match json {
            // Decimals are cut; the cast saturates and makes zero of what is no number.
            Json::Number(number) => *number as i64,
            Json::List(_) | Json::Map(_) => return not_a_scalar(json, faults),
            other => return faults.wrong_type(format!("{} can not be converted to an Integer", kind(other))),
        };
        let text = value.to_string();
        if value < MIN {
            return faults.constraint(Some(&text), path, format_args!("have value greater than or equal to {MIN}"));
        }
        if value > MAX {
            return faults.constraint(Some(&text), path, format_args!("have value less than or equal to {MAX}"));
        }
        Some(Self(value))
    }
}

impl Member for bool {
    fn read(json: &Json<'_>, _: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        match json {
            Json::Bool(value) => Some(*value),
            Json::List(_) | Json::Map(_) => not_a_scalar(json, faults),
            other => faults.wrong_type(format!("{} can not be converted to a Boolean", kind(other))),
        }
    }
}

/// Base64 of `MIN` to `MAX` bytes.
pub struct Blob<const MIN: usize, const MAX: usize>(pub SecretBytes);

/// PlaintextType.
pub type Plaintext = Blob<1, 4096>;
/// CiphertextType.
pub type Ciphertext = Blob<1, 6144>;

impl<const MIN: usize, const MAX: usize> Member for Blob<MIN, MAX> {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        let bytes = match STANDARD.decode(text) {
            Ok(bytes) => SecretBytes::from(bytes),
            Err(error) => return faults.wrong_type(not_base64(text, &error)),
        };
        if bytes.len() < MIN {
            return faults.constraint(None, path, format_args!("have length greater than or equal to {MIN}"));
        }
        if bytes.len() > MAX {
            return faults.constraint(None, path, format_args!("have length less than or equal to {MAX}"));
        }
        Some(Self(bytes))
    }
}

/// AWS repeats the text here; we do not, since it may be most of a plaintext.
fn not_base64(text: &str, error: &DecodeError) -> String {
    match error {
        DecodeError::InvalidByte(_, byte) => {
            format!("The value can not be converted to a Blob: Invalid Base64 character: '{}'", char::from(*byte))
        }
        DecodeError::InvalidLastSymbol(..) => {
            "The value can not be converted to a Blob: Invalid last non-pad Base64 character dectected".to_owned()
        }
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => format!(
            "The value can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but \
             found: {}",
            text.len()
        ),
    }
}

/// Enums of AWS's words.
macro_rules! word_members {
    ($($type:ty),+) => { $(
        impl Member for $type {
            fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
                let text = string(json, faults)?;
                Self::from_word(text).or_else(|| {
                    let words: Vec<_> = Self::ALL.iter().map(|word| word.as_str()).collect();
                    let rule = format_args!("satisfy enum value set: [{}]", words.join(", ")).to_string();
                    faults.constraint(Some(text), path, rule)
                })
            }
        }
    )+ };
}

crate::word::words! {
    /// KeySpec of GenerateDataKey.
    DataKeySpec {
        Aes256 = "AES_256",
        Aes128 = "AES_128",
    }
}

crate::word::words! {
    /// KeyPairSpec of GenerateDataKeyPair.
    DataKeyPairSpec {
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        EccNistP256 = "ECC_NIST_P256",
        EccNistP384 = "ECC_NIST_P384",
        EccNistP521 = "ECC_NIST_P521",
        EccSecgP256k1 = "ECC_SECG_P256K1",
        Sm2 = "SM2",
        EccNistEdwards25519 = "ECC_NIST_EDWARDS25519",
        MlKem512 = "ML_KEM_512",
        MlKem768 = "ML_KEM_768",
        MlKem1024 = "ML_KEM_1024",
    }
}

impl DataKeyPairSpec {
    /// The same pair as a KMS key.
    pub fn key_spec(self) -> KeySpec {
        match self {
            Self::Rsa2048 => KeySpec::Rsa2048,
            Self::Rsa3072 => KeySpec::Rsa3072,
            Self::Rsa4096 => KeySpec::Rsa4096,
            Self::EccNistP256 => KeySpec::EccNistP256,
            Self::EccNistP384 => KeySpec::EccNistP384,
            Self::EccNistP521 => KeySpec::EccNistP521,
            Self::EccSecgP256k1 => KeySpec::EccSecgP256k1,
            Self::Sm2 => KeySpec::Sm2,
            Self::EccNistEdwards25519 => KeySpec::EccNistEdwards25519,
            Self::MlKem512 => KeySpec::MlKem512,
            Self::MlKem768 => KeySpec::MlKem768,
            Self::MlKem1024 => KeySpec::MlKem1024,
        }
    }
}

crate::word::words! {
    /// KeyEncryptionMechanism of a Recipient.
    KeyEncryptionAlgorithm {
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
    }
}

crate::word::words! {
    /// DryRunModifiers of Decrypt and ReEncrypt.
    DryRunModifier {
        IgnoreCiphertext = "IGNORE_CIPHERTEXT",
    }
}

word_members!(Action, KeySpec, KeyUsage, EncryptionAlgorithm, Origin, DataKeySpec, DataKeyPairSpec, DryRunModifier);
word_members!(KeyEncryptionAlgorithm, KeyStoreType, XksConnectivity);

crate::word::words! {
    /// ExpirationModelType.
    ExpirationModel {
        KeyMaterialExpires = "KEY_MATERIAL_EXPIRES",
        KeyMaterialDoesNotExpire = "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
}

crate::word::words! {
    /// ImportType.
    ImportType {
        NewKeyMaterial = "NEW_KEY_MATERIAL",
        ExistingKeyMaterial = "EXISTING_KEY_MATERIAL",
    }
}

crate::word::words! {
    /// IncludeKeyMaterial of ListKeyRotations.
    IncludeKeyMaterial {
        AllKeyMaterial = "ALL_KEY_MATERIAL",
        RotationsOnly = "ROTATIONS_ONLY",
    }
}

word_members!(GrantOperation, ExpirationModel, ImportType, IncludeKeyMaterial, WrappingAlgorithm, WrappingKeySpec);
word_members!(SigningAlgorithm, MacAlgorithm, KeyAgreementAlgorithm, EncapsulationAlgorithm, MessageType);

/// A time, as JSON has it: seconds since the epoch.
pub struct Time(pub Timestamp);

impl Member for Time {
    fn read(json: &Json<'_>, _: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        match json {
            // The cast saturates and makes zero of what is no number.
            Json::Number(seconds) => Some(Self(Timestamp::from_ms((seconds * 1000.0) as i64))),
            Json::List(_) | Json::Map(_) => not_a_scalar(json, faults),
            other => faults.wrong_type(format!("{} can not be converted to a Timestamp", kind(other))),
        }
    }
}

/// KeyMaterialDescriptionType.
pub struct MaterialDescription(pub String);

impl Member for MaterialDescription {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 0, 256, path, faults)?;
        let allowed =
            |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || matches!(c, ':' | '/' | '_' | '.' | '-');
        matches_pattern(text, allowed, "^[a-zA-Z0-9:/_\\s.-]+$", path, faults)?;
        Some(Self(text.to_owned()))
    }
}

/// RegionType.
pub struct RegionText(pub String);

impl Member for RegionText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 1, 32, path, faults)?;
        match is_region(text) {
            true => Some(Self(text.to_owned())),
            false => faults.constraint(Some(text), path, "satisfy regular expression pattern: ^([a-z]+-){2,3}\\d+$"),
        }
    }
}

/// Two or three words and a number, with hyphens between.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (2..=3).contains(&words.len()) && words.iter().all(is_word) && is_number
}

/// BackingKeyIdType: KeyMaterialId.
pub struct MaterialText(pub String);

impl Member for MaterialText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 64, 64, path, faults)?;
        matches_pattern(text, |c| matches!(c, 'a'..='f' | '0'..='9'), "^[a-f0-9]+$", path, faults)?;
        Some(Self(text.to_owned()))
    }
}

impl Member for EncryptionContext {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let Json::Map(members) = json else { return not_a("map", json, faults) };
        let mut pairs = BTreeMap::new();
        for (key, value) in members {
            // A `null` value is a value that was not given.
            if !matches!(value, Json::Null) {
                pairs.insert(key.clone().into_owned(), string(value, faults)?.to_owned());
            }
        }
        Self::new(pairs).map_or_else(|_| faults.constraint(None, path, "have length less than or equal to 8192"), Some)
    }
}

/// GrantTokenList: texts, which are opened where the caller is authorized.
#[derive(Default)]
pub struct GrantTokens(pub Vec<String>);

impl Member for GrantTokens {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let tokens: Vec<Text<1, 8192>> = list(json, 0, 10, path, faults)?;
        Some(Self(tokens.into_iter().map(|Text(token)| token).collect()))
    }
}

/// GrantOperationList: at least one.
pub struct GrantOperations(pub BTreeSet<GrantOperation>);

impl Member for GrantOperations {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let operations: Vec<GrantOperation> = list(json, 1, usize::MAX, path, faults)?;
        Some(Self(operations.into_iter().collect()))
    }
}

/// GrantNameType.
pub struct GrantName(pub String);

impl Member for GrantName {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        AliasText::read(json, path, faults).map(|AliasText(name)| Self(name))
    }
}

/// GrantIdType.
pub struct GrantIdText(Text<1, 128>);

impl Member for GrantIdText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        Text::read(json, path, faults).map(Self)
    }
}

impl GrantIdText {
    /// The id, if it could be one.
    ///
    /// # Errors
    /// `InvalidGrantIdException`.
    pub fn checked(&self) -> Result<GrantId, KmsError> {
        let Text(text) = &self.0;
        GrantId::parse(text).ok_or_else(|| KmsError::bare(Code::InvalidGrantIdException))
    }
}

/// GrantTokenType.
pub type GrantTokenText = Text<1, 8192>;

/// PrincipalIdType.
pub struct PrincipalText(String);

impl Member for PrincipalText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 1, 256, path, faults)?;
        let allowed =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '=' | ',' | '.' | '@' | ':' | '/' | '-');
        matches_pattern(text, allowed, "^[\\w+=,.@:/-]+$", path, faults)?;
        Some(Self(text.to_owned()))
    }
}

impl PrincipalText {
    /// The principal, if it is one that a grant can name.
    ///
    /// # Errors
    /// `InvalidArnException`.
    pub fn checked(&self) -> Result<Party, KmsError> {
        Party::of_arn(&self.0).ok_or_else(|| {
            let text = format!("ARN does not refer to a valid principal: {}", self.0);
            KmsError::new(Code::InvalidArnException, text)
        })
    }
}

/// ServicePrincipalType.
pub struct ServiceText(pub String);

impl Member for ServiceText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 1, 128, path, faults)?;
        let label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let pattern = "^([A-Za-z0-9\\-]+)\\.([A-Za-z0-9\\-]+)(\\.[A-Za-z0-9\\-]+)+$";
        match text.split('.').count() >= 3 && text.split('.').all(label) {
            true => Some(Self(text.to_owned())),
            false => faults.constraint(Some(text), path, format_args!("satisfy regular expression pattern: {pattern}")),
        }
    }
}

/// GrantConstraints, as they come.
#[derive(Default)]
pub struct GrantConstraints {
    subset: Option<EncryptionContext>,
    equals: Option<EncryptionContext>,
    source_arn: Option<SourceArn>,
}

impl Member for GrantConstraints {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let Json::Map(_) = json else { return faults.wrong_type("Expected null") };
        let subset = inner(json, path, "EncryptionContextSubset", constraint_pairs, faults);
        let equals = inner(json, path, "EncryptionContextEquals", constraint_pairs, faults);
        let source_arn = inner(json, path, "SourceArn", SourceArn::read, faults);
        Some(Self { subset: subset?, equals: equals?, source_arn: source_arn? })
    }
}

impl GrantConstraints {
    /// The constraints, if they can be met together.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn checked(self) -> Result<Constraints, KmsError> {
        let pairs = |context: EncryptionContext| context.pairs().clone();
        let context = match (self.subset, self.equals) {
            (Some(_), Some(_)) => return Err(KmsError::invalid("More than one constraint supplied")),
            (Some(subset), None) => Some(ContextConstraint::Subset(pairs(subset))),
            (None, equals) => equals.map(pairs).map(ContextConstraint::Equals),
        };
        Ok(Constraints { context, source_arn: self.source_arn.map(|SourceArn(arn)| arn) })
    }
}

/// Pairs of a constraint: at most eight, with values of at most 384 characters (AWS KMS: CreateGrant, "Constraints").
fn constraint_pairs(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<EncryptionContext> {
    let context = EncryptionContext::read(json, path, faults)?;
    if context.pairs().len() > 8 {
        return faults.constraint(None, path, "have length less than or equal to 8");
    }
    if context.pairs().values().any(|value| value.chars().count() > 384) {
        return faults.constraint(None, path, "have values of length less than or equal to 384");
    }
    Some(context)
}

/// GrantConstraintSourceArnType.
struct SourceArn(String);

impl Member for SourceArn {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = string(json, faults)?;
        length_between(text, 20, 512, path, faults)?;
        if is_source_arn(text) {
            return Some(Self(text.to_owned()));
        }
        let pattern = "^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$";
        faults.constraint(Some(text), path, format_args!("satisfy regular expression pattern: {pattern}"))
    }
}

fn is_source_arn(text: &str) -> bool {
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    Arn::parse(text).is_some_and(|arn| {
        let account = AccountId::try_from(arn.account.to_owned());
        arn.partition.starts_with("aws")
            && account.is_ok()
            && [arn.partition, arn.service, arn.region].into_iter().all(plain)
    })
}

/// A member of a member that may be absent: `Some(None)` then.
fn inner<T>(
    json: &Json<'_>,
    outer: &Path<'_>,
    name: &str,
    read: fn(&Json<'_>, &Path<'_>, &mut Faults) -> Option<T>,
    faults: &mut Faults,
) -> Option<Option<T>> {
    match json.member(name) {
        Some(json) => read(json, &Path::Inner(outer, name), faults).map(Some),
        None => Some(None),
    }
}

/// TagList.
#[derive(Default)]
pub struct TagList(pub Vec<Tag>);

impl Member for TagList {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let Json::List(items) = json else { return not_a("list", json, faults) };
        // One fault does not hide the next: every tag is read.
        let tags: Vec<Option<Tag>> =
            items.iter().enumerate().map(|(n, item)| read_tag(item, path, n + 1, faults)).collect();
        tags.into_iter().collect::<Option<_>>().map(Self)
    }
}

fn read_tag(json: &Json<'_>, path: &Path<'_>, n: usize, faults: &mut Faults) -> Option<Tag> {
    if !matches!(json, Json::Map(_)) {
        return faults.wrong_type("Expected null");
    }
    let mut member = |name, min, max| {
        let path = Path::Item(path, n, name);
        let Some(value) = json.member(name) else { return faults.missing(&path) };
        let text = string(value, faults)?;
        length_between(text, min, max, &path, faults)?;
        Some(text.to_owned())
    };
    let (tag_key, tag_value) = (member("TagKey", 1, 128), member("TagValue", 0, 256));
    Some(Tag { tag_key: tag_key?, tag_value: tag_value? })
}

/// TagKeyList.
pub struct TagKeys(pub Vec<String>);

impl Member for TagKeys {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let keys: Vec<Text<1, 128>> = list(json, 0, usize::MAX, path, faults)?;
        Some(Self(keys.into_iter().map(|Text(key)| key).collect()))
    }
}

/// DryRunModifiers.
#[derive(Default)]
pub struct DryRunModifiers(pub Vec<DryRunModifier>);

impl DryRunModifiers {
    /// The ciphertext to look at: none in a dry run that ignores it.
    ///
    /// # Errors
    /// `ValidationException` if it is missing and not ignored.
    pub fn blob(&self, dry_run: bool, blob: Option<Ciphertext>, path: &str) -> Result<Option<Vec<u8>>, KmsError> {
        if dry_run && self.0.contains(&DryRunModifier::IgnoreCiphertext) {
            return Ok(None);
        }
        match blob {
            Some(Blob(bytes)) => Ok(Some(bytes.expose().to_vec())),
            None => Err(KmsError::invalid(missing(path))),
        }
    }
}

/// The message for one member that is missing.
pub fn missing(path: &str) -> String {
    format!("1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null")
}

impl Member for DryRunModifiers {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        list(json, 0, 1, path, faults).map(Self)
    }
}

/// A list of scalars. What is wrong with its items is told of the list, as one fault.
fn list<T: Member>(json: &Json<'_>, min: usize, max: usize, path: &Path<'_>, faults: &mut Faults) -> Option<Vec<T>> {
    let Json::List(items) = json else { return not_a("list", json, faults) };
    // Every item is read, whatever is wrong with another or with their number: a wrong type is told before all else.
    let mut of_items = Faults::default();
    let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, path, &mut of_items)).collect();
    if let Some(message) = of_items.wrong_type {
        return faults.wrong_type(message);
    }
    if items.len() < min {
        return faults.constraint(None, path, format_args!("have length greater than or equal to {min}"));
    }
    if items.len() > max {
        return faults.constraint(None, path, format_args!("have length less than or equal to {max}"));
    }
    if !of_items.constraints.is_empty() {
        return faults.constraint(Some(&shown(items)), path, of_items.rules());
    }
    read.into_iter().collect()
}

/// A list of scalars as a message shows it, bounded like any value.
fn shown(items: &[Json<'_>]) -> String {
    let mut text = String::from("[");
    for (n, item) in items.iter().enumerate() {
        if text.len() > MAX_ECHO {
            break;
        }
        let Json::Text(item) = item else { continue };
        text.push_str(if n > 0 { ", " } else { "" });
        text.push_str(echo(item));
    }
    text + "]"
}

fn string<'a>(json: &'a Json<'_>, faults: &mut Faults) -> Option<&'a str> {
    match json {
        Json::Text(text) => Some(text),
        Json::List(_) | Json::Map(_) => not_a_scalar(json, faults),
        other => faults.wrong_type(format!("{} can not be converted to a String", kind(other))),
    }
}

fn not_a<T>(wanted: &str, json: &Json<'_>, faults: &mut Faults) -> Option<T> {
    match json {
        Json::List(_) | Json::Map(_) => not_a_scalar(json, faults),
        _ => faults.wrong_type(format!("Expected {wanted} or null")),
    }
}

fn not_a_scalar<T>(json: &Json<'_>, faults: &mut Faults) -> Option<T> {
    faults.wrong_type(match json {
        Json::List(_) => "Start of list found where not expected",
        _ => "Start of structure or map found where not expected.",
    })
}

fn kind(json: &Json<'_>) -> &'static str {
    match json {
        Json::Null => "NULL_VALUE",
        Json::Bool(true) => "TRUE_VALUE",
        Json::Bool(false) => "FALSE_VALUE",
        Json::Number(_) => "NUMBER_VALUE",
        Json::Text(_) => "STRING_VALUE",
        Json::List(_) => "START_ARRAY",
        Json::Map(_) => "START_OBJECT",
    }
}
