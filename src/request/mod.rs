//! How a request is read from AWS's JSON: types of members that refuse what AWS refuses, in AWS's words (AWS JSON 1.1; KMS
//! model constraints).
//!
//! A member that was read says what the audit record shows of it: the record is made of what the operation gets, and of
//! nothing else that was sent.

mod faults;
mod grant;
mod json;
mod list;
mod map;
mod scalar;
mod text;
mod word;

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::Value;

use crate::{audit::RequestParameters, error::KmsError, page::PageRequest};
use json::Object;

pub use json::Json;

pub use faults::{Faults, Path, missing};
pub use grant::{GrantConstraints, GrantIdText, GrantOperations, GrantTokenText, GrantTokens};
pub use list::{DryRunModifiers, TagKeys, TagList};
pub use map::XksCredential;
pub use scalar::{Blob, Ciphertext, Int, Limit50, Limit100, Limit1000, Plaintext, Time};
pub use text::{
    AccountText, AliasText, ClusterId, Description, GrantName, KeyStoreText, KeyText, Marker, MaterialDescription,
    MaterialText, Password, PolicyName, PolicyText, PrincipalText, RegionText, ServiceText, Text, XksKeyId,
    XksUriEndpoint, XksUriPath, XksVpcService,
};
pub use word::{
    DataKeyPairSpec, DataKeySpec, ExpirationModel, ImportType, IncludeKeyMaterial, KeyEncryptionAlgorithm,
    XksConnectivity,
};

/// A request that can be read from a body.
pub trait Request: Sized {
    /// The names of its members on the wire.
    const MEMBERS: &'static [&'static str];

    /// Reads every member; `None` if a fault was noted.
    fn read(members: &mut Members<'_>) -> Option<Self>;
}

/// Reads a request from `body`, of which nothing is needed any more then. What could be read is in `shown`, also of a request that
/// is refused.
///
/// # Errors
/// `SerializationException`, `ValidationException`.
pub fn read<R: Request>(body: &[u8], shown: &mut RequestParameters) -> Result<R, KmsError> {
    let body = Object::read(body, R::MEMBERS)?;
    let mut members = Members::of(&body, shown);
    let request = R::read(&mut members);
    members.finish(request)
}

/// Declares a request: one line per member, which says its type, whether it must be there, and its name on the wire.
///
/// `required` refuses an absent member, `optional` makes an `Option`, `default` takes the type's default.
macro_rules! request {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty = $mode:ident $wire:literal),* $(,)? }) => {
        $(#[$meta])*
        pub struct $name { $($field: request!(@type $mode $type)),* }

        impl $crate::request::Request for $name {
            const MEMBERS: &'static [&'static str] = &[$($wire),*];

            #[allow(unused_variables, reason = "a request may have no members")]
            fn read(members: &mut $crate::request::Members<'_>) -> Option<Self> {
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

/// A type that a member can have.
pub trait Member: Sized {
    /// True if the model marks the member as sensitive. Messages show nothing of such a member, not even that it is null.
    const IS_SENSITIVE: bool = false;

    /// Reads `json`, which is `null` only in a list or map; `None` after noting in `faults` why not.
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self>;

    /// The value for the audit record; `None` for a secret or a blob: plaintexts, ciphertexts, tokens, passwords.
    fn shown(&self) -> Option<Value>;
}

/// Reads members out of one request body, and has each that was read shown.
pub struct Members<'a> {
    body: &'a Object<'a>,
    shown: &'a mut RequestParameters,
    faults: Faults,
}

impl<'a> Members<'a> {
    /// Members of `body`.
    pub fn of(body: &'a Object<'a>, shown: &'a mut RequestParameters) -> Self {
        Self { body, shown, faults: Faults::default() }
    }

    /// A member that must be there.
    pub fn required<T: Member>(&mut self, name: &str) -> Option<T> {
        match self.optional(name)? {
            Some(value) => Some(value),
            None => self.faults.missing(&Path::Top(name)),
        }
    }

    /// A member that may be absent: `Some(None)` then.
    pub fn optional<T: Member>(&mut self, name: &str) -> Option<Option<T>> {
        let Some(json) = self.body.member(name) else { return Some(None) };
        let value = T::read(json, &Path::Top(name), &mut self.faults)?;
        if let Some(shown) = value.shown() {
            self.shown.add(name, shown);
        }
        Some(Some(value))
    }

    /// A member whose absence means its type's default.
    pub fn default<T: Member + Default>(&mut self, name: &str) -> Option<T> {
        self.optional(name).map(Option::unwrap_or_default)
    }

    /// The request, if nothing was wrong with it.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`, see [`Faults`].
    pub fn finish<T>(self, request: Option<T>) -> Result<T, KmsError> {
        match (self.faults.into_error(), request) {
            (Some(error), _) => Err(error),
            (None, Some(request)) => Ok(request),
            (None, None) => Err(KmsError::internal("a member was refused without a reason")),
        }
    }
}

/// The page that `Limit` and `Marker` ask for.
pub fn page_request<const MOST: i64>(limit: Int<1, 1000, 1, MOST>, marker: Option<Marker>) -> PageRequest {
    // `Int` holds what its bounds allow.
    PageRequest { limit: usize::try_from(limit.0).unwrap_or(1), marker: marker.map(|Marker(text)| text) }
}

/// A member of a structure that may be absent: `Some(None)` then.
pub fn inner<T: Member>(json: &Json<'_>, outer: &Path<'_>, name: &str, faults: &mut Faults) -> Option<Option<T>> {
    match json.member(name) {
        Some(json) => T::read(json, &Path::Inner(outer, name), faults).map(Some),
        None => Some(None),
    }
}

/// A member of a structure that must be there.
pub fn inner_required<T: Member>(json: &Json<'_>, outer: &Path<'_>, name: &str, faults: &mut Faults) -> Option<T> {
    match inner(json, outer, name, faults)? {
        Some(value) => Some(value),
        None => faults.missing(&Path::Inner(outer, name)),
    }
}

/// The members of a structure.
pub fn structure<'a, 'b>(json: &'a Json<'b>, faults: &mut Faults) -> Option<&'a BTreeMap<Cow<'b, str>, Json<'b>>> {
    match json {
        Json::Map(members) => Some(members),
        Json::List(_) => faults.not_a("structure", json),
        _ => faults.wrong_type("Expected null"),
    }
}

fn string<'a>(json: &'a Json<'_>, faults: &mut Faults) -> Option<&'a str> {
    match json {
        Json::Text(text) => Some(text),
        other => faults.cannot_be("a String", other),
    }
}
