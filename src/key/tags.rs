//! Tags of a key (AWS KMS: TagResource).

use serde::{Deserialize, Serialize};

use crate::error::{Code, KmsError};

/// The most tags that one key can have.
pub const MAX_TAGS: usize = 50;

/// One tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// 1 to 128 characters.
    pub tag_key: String,
    /// 0 to 256 characters.
    pub tag_value: String,
}

/// The tags of one key: no key twice, none reserved, at most fifty. An overwritten tag keeps its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(Vec<Tag>);

impl Tags {
    /// The tags, oldest first.
    pub fn as_slice(&self) -> &[Tag] {
        &self.0
    }

    /// These tags with `new` ones added or overwritten.
    ///
    /// # Errors
    /// `TagException` if `new` names a key twice, a key is reserved, a character is not one of a tag's, or there would be too
    /// many.
    pub fn with(&self, new: &[Tag]) -> Result<Self, KmsError> {
        let refused = |message| Err(KmsError::new(Code::TagException, message));
        if !new.iter().all(|tag| is_plain(&tag.tag_key) && is_plain(&tag.tag_value)) {
            return refused("Invalid tag");
        }
        if new.iter().any(|tag| is_reserved(&tag.tag_key)) {
            return refused("Tags beginning with aws: are reserved");
        }
        if new.iter().enumerate().any(|(i, tag)| new[..i].iter().any(|earlier| earlier.tag_key == tag.tag_key)) {
            return refused("Duplicate tag keys");
        }
        let mut tags = self.0.clone();
        for tag in new {
            match tags.iter_mut().find(|old| old.tag_key == tag.tag_key) {
                Some(old) => old.tag_value.clone_from(&tag.tag_value),
                None => tags.push(tag.clone()),
            }
        }
        if tags.len() > MAX_TAGS { refused("Too many tags") } else { Ok(Self(tags)) }
    }

    /// These tags without the ones named; a name that is not there is no error, whatever its characters are.
    ///
    /// # Errors
    /// `TagException` if a name is reserved.
    pub fn without(&self, keys: &[String]) -> Result<Self, KmsError> {
        if keys.iter().any(|key| is_reserved(key)) {
            return Err(KmsError::new(Code::TagException, "Tags beginning with aws: are reserved"));
        }
        Ok(Self(self.0.iter().filter(|tag| !keys.contains(&tag.tag_key)).cloned().collect()))
    }
}

/// True if it has characters of tags only, which the model says nothing of (AWS KMS: "Tagging keys").
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c))
}

fn is_reserved(key: &str) -> bool {
    key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { tag_key: key.into(), tag_value: value.into() }
    }

    fn refusal(tags: &[Tag]) -> String {
        Tags::default().with(tags).expect_err("refused").to_string()
    }

    #[test]
    fn an_overwritten_tag_keeps_its_place() {
        let tags = Tags::default().with(&[tag("a", "1"), tag("b", "2")]).expect("fine");
        let tags = tags.with(&[tag("c", "3"), tag("a", "4")]).expect("fine");
        assert_eq!(tags.as_slice(), [tag("a", "4"), tag("b", "2"), tag("c", "3")]);
        assert_eq!(tags.without(&["b".into(), "x".into()]).expect("fine").as_slice(), [tag("a", "4"), tag("c", "3")]);
    }

    #[test]
    fn tags_have_letters_of_all_scripts_digits_white_space_and_some_signs() {
        let text = "aZ 09_.:/=+-@ \u{e9}\u{df}\u{444}\u{6f22}\u{663}\u{a0}";
        assert!(Tags::default().with(&[tag(text, text)]).is_ok());
    }

    #[test]
    fn refusals_are_awss() {
        assert_eq!(refusal(&[tag("a", ""), tag("a", "")]), "TagException: Duplicate tag keys");
        assert_eq!(refusal(&[tag("AwS:x", "")]), "TagException: Tags beginning with aws: are reserved");
        for strange in ["a&b", "a,b", "{a}", "a\0", "a*", "\u{1f511}", "a\\b", "(a)"] {
            assert_eq!(refusal(&[tag(strange, "")]), "TagException: Invalid tag");
            assert_eq!(refusal(&[tag("a", strange)]), "TagException: Invalid tag");
        }
        let many: Vec<_> = (0..51).map(|n| tag(&n.to_string(), "")).collect();
        assert_eq!(refusal(&many), "TagException: Too many tags");
    }
}
