//! Environment variables that set fields: `STRONGROOM__SECTION__FIELD` overrides the file.

use std::collections::HashMap;

use config::Environment;

const PREFIX: &str = "STRONGROOM";
const SEPARATOR: &str = "__";

/// Variables that set fields, with their values, which may be secrets.
pub(super) type Variables = HashMap<String, String>;

/// The variables that are set.
///
/// # Errors
/// If the value of one is not UTF-8; the text names it.
pub(super) fn variables() -> Result<Variables, String> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = named.filter(|(name, _)| name.starts_with(&format!("{PREFIX}{SEPARATOR}")));
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("{name}: the value is no text")),
    })
    .collect()
}

/// Variables whose names are nearly those of a field, and that nothing reads.
pub fn unread() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unread: Vec<_> = names.filter(|name| is_nearly_a_field(name)).collect();
    unread.sort_unstable();
    unread
}

fn is_nearly_a_field(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| !rest.starts_with(SEPARATOR)) else { return false };
    let field = rest.trim_start_matches('_');
    field.contains(SEPARATOR) || FIELDS.contains(&field.to_ascii_lowercase().as_str())
}

/// Fields at the top level that are not tables.
const FIELDS: [&str; 5] = ["account", "partition", "regions", "listen", "plain_http"];

/// The variables as a source of fields.
pub(super) fn source(variables: Variables) -> Environment {
    Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR).source(Some(variables))
}

/// Puts the name of a variable before `error`, which `parse` gives with all variables, if that variable causes it.
pub(super) fn blame<T>(variables: &Variables, error: String, parse: impl Fn(Variables) -> Result<T, String>) -> String {
    let chosen = |keep: &dyn Fn(&str) -> bool| {
        variables.iter().filter(|(name, _)| keep(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let file_is_right = parse(HashMap::new()).is_ok();
    let mut names: Vec<_> = variables.keys().collect();
    names.sort_unstable();
    for name in names {
        if file_is_right {
            if let Err(error) = parse(chosen(&|other| other == name)) {
                return format!("{name}: {error}");
            }
        } else if parse(chosen(&|other| other != name)).is_ok() {
            return format!("{name}: {error}");
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_a_field_is_told_from_what_others_read() {
        for near in ["STRONGROOM_ACCOUNT", "STRONGROOM_HSM__SESSIONS", "STRONGROOM_listen"] {
            assert!(is_nearly_a_field(near), "{near}");
        }
        for other in
            ["STRONGROOM__ACCOUNT", "STRONGROOM__HSM__SESSIONS", "STRONGROOM_CONFIG", "STRONGROOM_PORT", "HSM__PIN"]
        {
            assert!(!is_nearly_a_field(other), "{other}");
        }
    }
}
