//! Members that are lists.

use serde_json::{Value, json};

use super::{
    Ciphertext, Faults, Member, Path, Text,
    faults::{MAX_ECHO, echo, missing},
    scalar::Blob,
    structure,
    word::DryRunModifier,
};
use crate::{error::KmsError, key::tags::Tag, request::Json};

/// TagList.
#[derive(Default)]
pub struct TagList(pub Vec<Tag>);

impl Member for TagList {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let Json::List(items) = json else { return faults.not_a("list", json) };
        // One fault does not hide the next: every tag is read.
        let tags: Vec<Option<Tag>> =
            items.iter().enumerate().map(|(n, item)| read_tag(item, path, n + 1, faults)).collect();
        tags.into_iter().collect::<Option<_>>().map(Self)
    }

    fn shown(&self) -> Option<Value> {
        Some(self.0.iter().map(|tag| json!({"TagKey": tag.tag_key, "TagValue": tag.tag_value})).collect())
    }
}

fn read_tag(json: &Json<'_>, list: &Path<'_>, n: usize, faults: &mut Faults) -> Option<Tag> {
    structure(json, faults)?;
    let tag_key = member_of_item::<Text<1, 128>>(json, list, n, "TagKey", faults);
    let tag_value = member_of_item::<Text<0, 256>>(json, list, n, "TagValue", faults);
    Some(Tag { tag_key: tag_key?.0, tag_value: tag_value?.0 })
}

fn member_of_item<T: Member>(json: &Json<'_>, list: &Path<'_>, n: usize, name: &str, faults: &mut Faults) -> Option<T> {
    let path = Path::Item(list, n, name);
    match json.member(name) {
        Some(value) => T::read(value, &path, faults),
        None => faults.missing(&path),
    }
}

/// TagKeyList.
pub struct TagKeys(pub Vec<String>);

impl Member for TagKeys {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let keys: Vec<Text<1, 128>> = list(json, 0, usize::MAX, path, faults)?;
        Some(Self(keys.into_iter().map(|Text(key)| key).collect()))
    }

    fn shown(&self) -> Option<Value> {
        Some(self.0.as_slice().into())
    }
}

/// DryRunModifiers.
#[derive(Default)]
pub struct DryRunModifiers(pub Vec<DryRunModifier>);

impl Member for DryRunModifiers {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        list(json, 0, 1, path, faults).map(Self)
    }

    fn shown(&self) -> Option<Value> {
        Some(self.0.iter().map(|modifier| modifier.as_str()).collect())
    }
}

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
            None => Err(KmsError::invalid(missing::<Ciphertext>(path))),
        }
    }
}

/// A list of scalars. What is wrong with its items is told of the list, as one fault.
pub(super) fn list<T: Member>(
    json: &Json<'_>,
    min: usize,
    max: usize,
    path: &Path<'_>,
    faults: &mut Faults,
) -> Option<Vec<T>> {
    let Json::List(items) = json else { return faults.not_a("list", json) };
    // Every item is read, whatever is wrong with another or with their number: a wrong type is told before all else.
    let mut of_items = Faults::default();
    let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, path, &mut of_items)).collect();
    if faults.take_wrong_type(&mut of_items) {
        return None;
    }
    if items.len() < min {
        return faults.constraint(None, path, format_args!("have length greater than or equal to {min}"));
    }
    if items.len() > max {
        return faults.constraint(None, path, format_args!("have length less than or equal to {max}"));
    }
    if let Some(rules) = of_items.rules() {
        return faults.constraint(Some(&echoed(items)), path, rules);
    }
    read.into_iter().collect()
}

/// A list of scalars as a message shows it, bounded like any value.
fn echoed(items: &[Json<'_>]) -> String {
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
