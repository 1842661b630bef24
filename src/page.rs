//! Pages of a list: `Limit`, `Marker`, `NextMarker`, `Truncated`.
//!
//! A marker is opaque to callers: base64 of the list it belongs to and the last item that was sent. It is bound to the
//! list and its filter and does not expire.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::error::{Code, KmsError};

/// The page that the caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// The most items to answer.
    pub limit: usize,
    /// The marker of the page before.
    pub marker: Option<String>,
}

/// One page of items.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next_marker: Option<String>,
}

impl PageRequest {
    /// The item after which this page begins; `None` for the first page.
    ///
    /// # Errors
    /// `InvalidMarkerException` for a marker that `list` did not give out.
    pub fn after(&self, list: &str) -> Result<Option<String>, KmsError> {
        let Some(marker) = &self.marker else { return Ok(None) };
        URL_SAFE_NO_PAD
            .decode(marker)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.strip_prefix(list)?.strip_prefix('\n').map(str::to_owned))
            .map(Some)
            .ok_or_else(invalid_marker)
    }

    /// Cuts a page from `items`, which begin after [`Self::after`] and go on at least one item past the page.
    pub fn cut<T>(&self, list: &str, items: impl Iterator<Item = T>, name: impl Fn(&T) -> String) -> Page<T> {
        let mut items: Vec<T> = items.take(self.limit.saturating_add(1)).collect();
        let truncated = items.len() > self.limit;
        items.truncate(self.limit);
        let last = items.last().filter(|_| truncated).map(name);
        Page { items, next_marker: last.map(|last| URL_SAFE_NO_PAD.encode(format!("{list}\n{last}"))) }
    }
}

/// The answer to a marker that was not given out.
pub fn invalid_marker() -> KmsError {
    KmsError::bare(Code::InvalidMarkerException)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: usize, marker: Option<String>) -> Result<Page<u8>, KmsError> {
        let request = PageRequest { limit, marker };
        let after: Option<u8> = request.after("numbers")?.and_then(|text| text.parse().ok());
        Ok(request.cut("numbers", (1..=5).filter(|n| Some(*n) > after), u8::to_string))
    }

    #[test]
    fn pages_follow_each_other() {
        let first = page(2, None).expect("a page");
        assert_eq!(first.items, [1, 2]);
        let second = page(2, first.next_marker).expect("a page");
        assert_eq!(second.items, [3, 4]);
        assert_eq!(page(2, second.next_marker).expect("a page"), Page { items: vec![5], next_marker: None });
        assert_eq!(page(5, None).expect("a page").next_marker, None);
    }

    #[test]
    fn a_marker_belongs_to_its_list() {
        let foreign = URL_SAFE_NO_PAD.encode("letters\na");
        for marker in [foreign, "!".into(), "".into(), URL_SAFE_NO_PAD.encode("numbers")] {
            let refused = page(2, Some(marker)).expect_err("refused");
            assert_eq!(refused.code, Code::InvalidMarkerException);
        }
    }
}
