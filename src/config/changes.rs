//! Two configurations held against each other, and what a service that runs takes up of another one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Config, Limits};

impl Config {
    /// This one with what `read` has for a service that runs: the log's filter, the limits but that of connections, and
    /// where the certificate is, where there was one.
    #[must_use]
    pub fn taking_up(&self, read: &Self) -> Self {
        let limits = Limits { connections: self.limits.connections, ..read.limits.clone() };
        let tls = self.tls.as_ref().and(read.tls.clone().or_else(|| self.tls.clone()));
        Self { log: read.log.clone(), limits, tls, ..self.clone() }
    }

    /// The fields, as the file names them, that the other has otherwise.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.fields(), other.fields());
        let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
        let mut different: Vec<_> = names.filter(|name| ours.get(*name) != theirs.get(*name)).cloned().collect();
        // Of these, the fields show no values.
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

/// Fields of tables by their whole names, two levels deep, which is as deep as the file goes.
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
