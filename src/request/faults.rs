//! The faults of a request, in AWS's words.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use super::Member;
use crate::{
    aws_names::lower_camel,
    error::{Code, KmsError},
    request::Json,
};

/// The most characters of a refused value that an error message repeats.
pub(super) const MAX_ECHO: usize = 2048;
/// The most broken constraints that one error message tells, as AWS; a long list could break a million.
const MAX_TOLD: usize = 10;

/// Where a member stands in the request, as messages name it.
pub enum Path<'a> {
    /// A member of the request itself, by its name on the wire.
    Top(&'a str),
    /// A member of a member.
    Inner(&'a Path<'a>, &'a str),
    /// A member of the n-th item of a list; items count from 1.
    Item(&'a Path<'a>, usize, &'a str),
}

impl Path<'_> {
    /// The member's own name on the wire.
    pub(super) fn name(&self) -> &str {
        let (Self::Top(name) | Self::Inner(_, name) | Self::Item(_, _, name)) = self;
        name
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top(name) => f.write_str(&lower_camel(name)),
            Self::Inner(outer, name) => write!(f, "{outer}.{}", lower_camel(name)),
            Self::Item(list, n, name) => write!(f, "{list}.{n}.member.{}", lower_camel(name)),
        }
    }
}

/// The faults of a request, collected while it is read.
///
/// A wrong type is a `SerializationException` about the first one met. A broken constraint is noted, and all of them
/// together are one `ValidationException`: `2 validation errors detected: …; …`. What has a sentence of its own is told
/// after these.
#[derive(Default)]
pub struct Faults {
    wrong_type: Option<String>,
    constraints: Vec<String>,
    sentence: Option<Cow<'static, str>>,
}

impl Faults {
    /// A value of the wrong JSON type; the first one counts.
    pub fn wrong_type<T>(&mut self, message: impl Into<String>) -> Option<T> {
        self.wrong_type.get_or_insert_with(|| message.into());
        None
    }

    /// A list or a map where `wanted` was, or a scalar of another type.
    pub(super) fn cannot_be<T>(&mut self, wanted: &str, json: &Json<'_>) -> Option<T> {
        match json {
            Json::List(_) | Json::Map(_) => self.not_a_scalar(json),
            other => self.wrong_type(format!("{} can not be converted to {wanted}", kind(other))),
        }
    }

    /// Something that is no `wanted`: a list or a map.
    pub(super) fn not_a<T>(&mut self, wanted: &str, json: &Json<'_>) -> Option<T> {
        match json {
            Json::List(_) | Json::Map(_) => self.not_a_scalar(json),
            _ => self.wrong_type(format!("Expected {wanted} or null")),
        }
    }

    fn not_a_scalar<T>(&mut self, json: &Json<'_>) -> Option<T> {
        self.wrong_type(match json {
            Json::List(_) => "Start of list found where not expected",
            _ => "Start of structure or map found where not expected.",
        })
    }

    /// A broken constraint. `value` is what the caller sent, or `None` for a value that must not be repeated.
    pub fn constraint<T>(&mut self, value: Option<&str>, path: &Path<'_>, rule: impl fmt::Display) -> Option<T> {
        let shown = value.map(|v| format!(" '{}'", echo(v))).unwrap_or_default();
        self.tell(format_args!("Value{shown} at '{path}' failed to satisfy constraint: Member must {rule}"))
    }

    /// A member that must be there and is not.
    pub fn missing<T: Member>(&mut self, path: &Path<'_>) -> Option<T> {
        self.tell(format_args!("{}", null::<T>(path)))
    }

    /// A value that AWS refuses in a sentence of its own; the first one counts.
    pub(super) fn invalid<T>(&mut self, sentence: impl Into<Cow<'static, str>>) -> Option<T> {
        self.sentence.get_or_insert_with(|| sentence.into());
        None
    }

    fn tell<T>(&mut self, fault: fmt::Arguments<'_>) -> Option<T> {
        if self.constraints.len() < MAX_TOLD {
            self.constraints.push(fault.to_string());
        }
        None
    }

    /// Takes a wrong type over from the faults of a list's items; whether there is one.
    pub(super) fn take_wrong_type(&mut self, of_items: &mut Self) -> bool {
        let Some(message) = of_items.wrong_type.take() else { return false };
        self.wrong_type.get_or_insert(message);
        true
    }

    /// The rules that were broken, each once: what a list says of its items. `None` if none was.
    pub(super) fn rules(&self) -> Option<String> {
        let rule = |fault: &String| fault.split_once("constraint: ").map(|(_, rule)| rule.to_owned());
        let rules: BTreeSet<String> = self.constraints.iter().filter_map(rule).collect();
        (!rules.is_empty()).then(|| format!("satisfy constraint: [{}]", Vec::from_iter(rules).join(", ")))
    }

    pub(super) fn into_error(self) -> Option<KmsError> {
        if let Some(message) = self.wrong_type {
            return Some(KmsError::new(Code::SerializationException, message));
        }
        let count = self.constraints.len();
        let plural = if count == 1 { "" } else { "s" };
        match count {
            0 => self.sentence.map(KmsError::invalid),
            _ => Some(KmsError::invalid(format!(
                "{count} validation error{plural} detected: {}",
                self.constraints.join("; ")
            ))),
        }
    }
}

/// The message for one member that is missing.
pub fn missing<T: Member>(path: &str) -> String {
    format!("1 validation error detected: {}", null::<T>(path))
}

fn null<T: Member>(path: impl fmt::Display) -> String {
    let null = if T::IS_SENSITIVE { "" } else { " null" };
    format!("Value{null} at '{path}' failed to satisfy constraint: Member must not be null")
}

/// A bounded piece of a refused value.
pub(super) fn echo(value: &str) -> &str {
    let end = value.char_indices().nth(MAX_ECHO).map_or(value.len(), |(i, _)| i);
    &value[..end]
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
