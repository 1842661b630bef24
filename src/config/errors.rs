//! Texts of configuration errors. They name the field and what belongs there, and never repeat the value: it may be a PIN in the
//! wrong form.

use std::collections::BTreeMap;

use config::ConfigError;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

use crate::hsm::PinSource;

/// The error, in words for an operator.
pub(crate) fn explain(error: &ConfigError) -> String {
    let named = |text: String, key: &Option<String>, origin: &Option<String>| {
        let key = key.iter().map(|key| format!(" for key `{key}`"));
        let origin = origin.iter().map(|origin| format!(" in {origin}"));
        key.chain(origin).fold(text, |text, more| text + &more)
    };
    match error {
        ConfigError::Type { origin, expected, key, .. } => {
            named(format!("invalid type, expected {expected}"), key, origin)
        }
        ConfigError::At { error, origin, key } => named(explain(error), key, origin),
        ConfigError::Message(text) => without_value(text),
        ConfigError::FileParse { cause, .. } => without_excerpt(&cause.to_string()),
        other => other.to_string(),
    }
}

/// serde says `invalid type: string "1234", expected a map`, and likewise of a value or a length.
fn without_value(text: &str) -> String {
    match (text.split_once(": "), text.rsplit_once(", expected ")) {
        (Some((what, _)), Some((_, expected))) if what.starts_with("invalid ") => {
            format!("{what}, expected {expected}")
        }
        _ => text.to_owned(),
    }
}

/// The parser of TOML shows the line that it cannot read, behind its number and a bar.
fn without_excerpt(text: &str) -> String {
    let is_excerpt = |line: &&str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    text.lines().filter(|line| !is_excerpt(line)).collect::<Vec<_>>().join(": ")
}

const NO_PIN: &str = "where the PIN comes from must be one of { credential = NAME }, { file = PATH }, { fd = NUMBER } and \
                      { environment = NAME }; the PIN itself is not accepted";

/// Reads the source of a PIN. A value that may be the PIN itself is refused, for an error about a missing source would repeat it.
pub(super) fn pin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PinSource, D::Error> {
    let source = PinSource::deserialize(deserializer).ok().filter(is_a_source);
    source.ok_or_else(|| D::Error::custom(NO_PIN))
}

/// As [`pin`], for a field that is there.
pub(super) fn optional_pin<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PinSource>, D::Error> {
    pin(deserializer).map(Some)
}

fn is_a_source(source: &PinSource) -> bool {
    let is_name = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    match source {
        PinSource::File(path) => path.components().nth(1).is_some(),
        PinSource::Fd(_) => true,
        PinSource::Credential(name) => is_name(name),
        PinSource::Environment(name) => {
            is_name(name) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }
    }
}

/// True if this can be a path, and is not the text of a key or certificate.
pub(super) fn is_path(path: &std::path::Path) -> bool {
    let text = path.to_string_lossy();
    !text.contains("-----BEGIN") && !text.contains('\n')
}

/// Variables of a module's environment without their values, which may be passwords.
pub(super) fn names<S: Serializer>(environment: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(environment.keys().map(|name| (name, "not shown")))
}

/// As [`names`], for a field that is there.
pub(super) fn optional_names<S: Serializer>(
    environment: &Option<BTreeMap<String, String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    names(environment.as_ref().unwrap_or(&BTreeMap::new()), serializer)
}
