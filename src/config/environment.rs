//! Fields that environment variables set: `STRONGROOM__SECTION__FIELD`, over what the file says.

use std::collections::HashMap;

use config::Environment;

const PREFIX: &str = "STRONGROOM";
const SEPARATOR: &str = "__";

/// Variables that set fields, with their values, which may be secrets.
pub(super) type Variables = HashMap<String, String>;

/// Those that are set.
///
/// # Errors
/// Which has a value that is no text.
pub(super) fn variables() -> Result<Variables, String> {
    let named = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = named.filter(|(name, _)| name.starts_with(&format!("{PREFIX}{SEPARATOR}")));
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(format!("{name}: the value is no text")),
    })
    .collect()
}

/// Variables that are named nearly so, and that nothing reads.
pub fn unread() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let is_near = |name: &String| name.starts_with(PREFIX) && !name.starts_with(&format!("{PREFIX}{SEPARATOR}"));
    let mut unread: Vec<_> = names.filter(is_near).filter(|name| name != "STRONGROOM_CONFIG").collect();
    unread.sort_unstable();
    unread
}

/// As a source of fields.
pub(super) fn source(variables: Variables) -> Environment {
    Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR).source(Some(variables))
}

/// `error`, which `parse` gives for all the variables, with the name of the one that is to blame, if one is.
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
