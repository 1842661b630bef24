//! Members that are texts.

use std::fmt;

use serde_json::Value;

use super::{Faults, Member, Path, string};
use crate::{
    arn::{AccountId, Arn, has_form_of_region},
    error::{Code, KmsError},
    key::{alias, custom_store::is_cluster_id, grant::Party},
    request::Json,
    secret::SecretText,
};

/// Text of `MIN` to `MAX` characters.
pub struct Text<const MIN: usize, const MAX: usize>(pub String);

/// DescriptionType.
pub type Description = Text<0, 8192>;
/// CustomKeyStoreIdType: the id of a key store, whether it is one or not.
pub type KeyStoreText = Text<1, 64>;

impl<const MIN: usize, const MAX: usize> Member for Text<MIN, MAX> {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let text = Seen::of(json, path, faults)?;
        text.has_length(MIN, MAX, faults)?;
        Some(Self(text.text.to_owned()))
    }

    fn shown(&self) -> Option<Value> {
        Some(self.0.as_str().into())
    }
}

impl<const MIN: usize, const MAX: usize> Default for Text<MIN, MAX> {
    fn default() -> Self {
        Self(String::new())
    }
}

/// A text that is looked at.
pub(super) struct Seen<'a> {
    text: &'a str,
    path: &'a Path<'a>,
    is_sensitive: bool,
}

impl<'a> Seen<'a> {
    fn of(json: &'a Json<'_>, path: &'a Path<'a>, faults: &mut Faults) -> Option<Self> {
        Some(Self { text: string(json, faults)?, path, is_sensitive: false })
    }

    /// One that messages do not repeat.
    pub(super) fn sensitive(json: &'a Json<'_>, path: &'a Path<'a>, faults: &mut Faults) -> Option<Self> {
        Some(Self { is_sensitive: true, ..Self::of(json, path, faults)? })
    }

    /// Checks its length in characters.
    pub(super) fn has_length(&self, min: usize, max: usize, faults: &mut Faults) -> Option<()> {
        let text = self.text;
        // A string of n bytes has at most n characters and at least n / 4: most need no counting.
        let length = if text.len() <= max && text.len() >= 4 * min { text.len() } else { text.chars().count() };
        if length < min {
            return self.refuse(format_args!("have length greater than or equal to {min}"), faults);
        }
        if length > max {
            return self.refuse(format_args!("have length less than or equal to {max}"), faults);
        }
        Some(())
    }

    /// Checks what a pattern of the model says, which `fits` decides.
    pub(super) fn matches(&self, fits: impl FnOnce(&str) -> bool, pattern: &str, faults: &mut Faults) -> Option<()> {
        if fits(self.text) {
            return Some(());
        }
        self.refuse(format_args!("satisfy regular expression pattern: {pattern}"), faults)
    }

    fn refuse(&self, rule: fmt::Arguments<'_>, faults: &mut Faults) -> Option<()> {
        faults.constraint((!self.is_sensitive).then_some(self.text), self.path, rule)
    }
}

/// Declares texts by their length in characters, what else they must be, and the pattern of the model that says so.
macro_rules! texts {
    ($($(#[$meta:meta])* $name:ident: $min:literal..=$max:literal, $fits:expr, $pattern:literal;)+) => { $(
        $(#[$meta])*
        pub struct $name(pub String);

        impl Member for $name {
            fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
                let seen = Seen::of(json, path, faults)?;
                // Each constraint is told for itself: a text may be too short and not fit its pattern either.
                let length = seen.has_length($min, $max, faults);
                let pattern = seen.matches($fits, $pattern, faults);
                length.and(pattern).map(|()| Self(seen.text.to_owned()))
            }

            fn shown(&self) -> Option<Value> {
                Some(self.0.as_str().into())
            }
        }
    )+ };
}

texts! {
    /// KeyIdType: any way to name a key. The pattern is in messages only, and in no model that is public.
    KeyText: 1..=2048, |text| all(text, |c| c.is_ascii()), "^\\p{ASCII}+$";
    /// AliasNameType.
    AliasText: 1..=256, |text| all(text, alias::is_name_character), "^[a-zA-Z0-9:/_-]+$";
    /// GrantNameType.
    GrantName: 1..=256, |text| all(text, alias::is_name_character), "^[a-zA-Z0-9:/_-]+$";
    /// CloudHsmClusterIdType.
    ClusterId: 19..=24, is_cluster_id, "cluster-[2-7a-zA-Z]{11,16}";
    /// XksKeyIdType.
    XksKeyId: 1..=128, |text| all(text, |c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "^[a-zA-Z0-9-_.]+$";
    /// XksProxyUriEndpointType.
    XksUriEndpoint: 10..=128,
        |text| text.strip_prefix("https://").is_some_and(|host| all(host, |c| c.is_ascii_alphanumeric() || ".-".contains(c))),
        "^https://[a-zA-Z0-9.-]+$";
    /// XksProxyUriPathType.
    XksUriPath: 10..=128, is_xks_path,
        "^(/[a-zA-Z0-9\\/_-]+/kms/xks/v\\d{1,2})$|^(/kms/xks/v\\d{1,2})$";
    /// XksProxyVpcEndpointServiceNameType.
    XksVpcService: 20..=64, is_vpc_service,
        "^(com|eu)\\.amazonaws\\.vpce\\.([a-z]+-){2,3}\\d+\\.vpce-svc-[0-9a-z]+$";
    /// AccountIdType.
    AccountText: 12..=12, |text| text.len() == 12 && all(text, |c| c.is_ascii_digit()), "[0-9]{12}";
    /// PolicyNameType.
    PolicyName: 1..=128, |text| all(text, |c| c.is_ascii_alphanumeric() || c == '_'), "[\\w]+";
    /// PolicyType: the text of a key policy.
    PolicyText: 1..=131_072, |text| all(text, |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}')),
        "[\\u0009\\u000A\\u000D\\u0020-\\u00FF]+";
    /// MarkerType.
    Marker: 1..=1024, |text| text.chars().all(|c| matches!(c, ' '..='\u{ff}')), "[\\u0020-\\u00FF]*";
    /// KeyMaterialDescriptionType.
    MaterialDescription: 0..=256,
        |text| all(text, |c| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":/_.-".contains(c)),
        "^[a-zA-Z0-9:/_\\s.-]+$";
    /// RegionType.
    RegionText: 1..=32, has_form_of_region, "^([a-z]+-){2,3}\\d+$";
    /// BackingKeyIdType: KeyMaterialId.
    MaterialText: 64..=64, |text| all(text, |c| matches!(c, 'a'..='f' | '0'..='9')), "^[a-f0-9]+$";
    /// PrincipalIdType.
    PrincipalText: 1..=256, |text| all(text, |c| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c)),
        "^[\\w+=,.@:/-]+$";
    /// ServicePrincipalType.
    ServiceText: 1..=128, is_service, "^([A-Za-z0-9\\-]+)\\.([A-Za-z0-9\\-]+)(\\.[A-Za-z0-9\\-]+)+$";
    /// GrantConstraintSourceArnType.
    SourceArn: 20..=512, is_source_arn, "^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$";
}

pub(super) fn all(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

/// A prefix of a path, or none, and where AWS's specification has external key stores.
fn is_xks_path(text: &str) -> bool {
    let is_prefix = |text: &str| all(text, |c| c.is_ascii_alphanumeric() || "/_-".contains(c));
    text.rsplit_once("/kms/xks/v").is_some_and(|(prefix, version)| {
        let has_prefix = prefix.is_empty() || prefix.strip_prefix('/').is_some_and(is_prefix);
        has_prefix && version.len() <= 2 && all(version, |c| c.is_ascii_digit())
    })
}

/// A service in a region of AWS's.
fn is_vpc_service(text: &str) -> bool {
    let rest = text.strip_prefix("com").or_else(|| text.strip_prefix("eu"));
    let named = rest.and_then(|rest| rest.strip_prefix(".amazonaws.vpce.")?.split_once(".vpce-svc-"));
    named.is_some_and(|(region, id)| {
        has_form_of_region(region) && all(id, |c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

/// Three labels or more, with dots between.
fn is_service(text: &str) -> bool {
    let label = |label: &str| all(label, |c| c.is_ascii_alphanumeric() || c == '-');
    text.split('.').count() >= 3 && text.split('.').all(label)
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

impl AliasText {
    /// The name, if it is one that callers may use.
    ///
    /// # Errors
    /// As [`alias::name_for_callers`].
    pub fn checked(self) -> Result<String, KmsError> {
        alias::name_for_callers(self.0)
    }
}

impl Default for PolicyName {
    fn default() -> Self {
        Self("default".to_owned())
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

/// KeyStorePasswordType. It is repeated to nobody.
pub struct Password(pub SecretText);

impl Member for Password {
    const IS_SENSITIVE: bool = true;

    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let seen = Seen::sensitive(json, path, faults)?;
        seen.has_length(7, 32, faults)?;
        Some(Self(SecretText::from(seen.text.to_owned())))
    }

    fn shown(&self) -> Option<Value> {
        None
    }
}
