//! The differences of two configurations, and the fields of a new one that a running service can apply.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Config, LimitsConfig};

impl Config {
    /// This configuration with the fields of `read` that a running service can apply: the filter of the log, all limits except that
    /// of connections, and the paths of the certificate, if there was one.
    #[must_use]
    pub fn with_changes_of(&self, read: &Self) -> Self {
        let limits = LimitsConfig { connections: self.limits.connections, ..read.limits.clone() };
        let tls = self.tls.as_ref().and(read.tls.clone().or_else(|| self.tls.clone()));
        Self { log: read.log.clone(), limits, tls, ..self.clone() }
    }

    /// The fields in which the other configuration differs, as the file names them.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let ours = self.fields();
        let theirs = other.fields();
        let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
        let mut different: Vec<_> = names.filter(|name| ours.get(*name) != theirs.get(*name)).cloned().collect();
        // The values of this field are not serialized.
        if self.hsm.environment != other.hsm.environment {
            different.push("hsm.environment".to_owned());
        }
        different.sort_unstable();
        different.dedup();
        different
    }

    fn fields(&self) -> BTreeMap<String, Value> {
        let mut fields = BTreeMap::new();
        gather("", serde_json::to_value(self).unwrap_or_default(), &mut fields);
        fields
    }
}

/// Collects fields by their full names, two levels deep, which is as deep as the file goes.
fn gather(table: &str, value: Value, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) if !table.contains('.') => {
            for (name, value) in members {
                gather(&if table.is_empty() { name } else { format!("{table}.{name}") }, value, fields);
            }
        }
        value => {
            fields.insert(table.to_owned(), value);
        }
    }
}
