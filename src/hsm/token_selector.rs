//! Which token is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which token is meant, by what is written on it. Slot numbers change when tokens come and go, so a slot alone does not
/// say which token is meant: it only narrows the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSelector {
    /// Label, as it was given when the token was initialised.
    pub label: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Manufacturer.
    pub manufacturer: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Slot number, only beside one of the others.
    pub slot_id: Option<u64>,
}

impl TokenSelector {
    /// The token with this label.
    pub fn labelled(label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..Self::default() }
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, serial, manufacturer, model, slot_id } = self;
        let texts = [("label", label), ("serial", serial), ("manufacturer", manufacturer), ("model", model)];
        let said = texts.into_iter().filter_map(|(name, text)| text.as_ref().map(|text| format!("{name} `{text}`")));
        let said: Vec<_> = said.chain(slot_id.map(|id| format!("slot {id}"))).collect();
        f.write_str(&said.join(", "))
    }
}
