//! Wildcards: `*` stands for any run of characters, `?` for any one.
//!
//! Work is bounded by pattern length times text length: on a mismatch only the latest `*` takes one character more,
//! because an earlier one could gain nothing.

use crate::action::Action;

/// True if `pattern` matches all of `text`, letter case counting.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    matches_by(pattern.as_bytes(), text.as_bytes(), |a, b| a == b)
}

/// True if `pattern` matches all of `text`, whatever the letter case.
fn matches_any_case(pattern: &str, text: &str) -> bool {
    matches_by(pattern.as_bytes(), text.as_bytes(), |a, b| a.eq_ignore_ascii_case(b))
}

fn matches_by(pattern: &[u8], text: &[u8], same: impl Fn(&u8, &u8) -> bool) -> bool {
    let mut p = 0;
    let mut t = 0;
    let mut latest_star = None;
    while let Some(letter) = text.get(t) {
        match pattern.get(p) {
            // The last star takes what is left.
            Some(b'*') if p + 1 == pattern.len() => return true,
            Some(b'*') => {
                p += 1;
                latest_star = Some((p, t));
            }
            Some(wanted) if *wanted == b'?' || same(wanted, letter) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after_star, taken)) = &mut latest_star else { return false };
                *taken += 1;
                (p, t) = (*after_star, *taken);
            }
        }
    }
    pattern.iter().skip(p).all(|left| *left == b'*')
}

/// A set of actions. Patterns are matched when a policy is parsed; a decision tests one bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Actions(u64);

const _: () = assert!(Action::ALL.len() <= u64::BITS as usize, "every action has its bit");

impl Actions {
    /// The actions that `pattern` stands for: `*`, or a service, a colon and a name, each with wildcards if wanted.
    ///
    /// Actions of other services and names we do not know stand for nothing, as in AWS; `None` if it is no pattern.
    pub(super) fn of(pattern: &str) -> Option<Self> {
        let (service, name) = if pattern == "*" { ("*", "*") } else { pattern.split_once(':')? };
        if service.is_empty() || name.is_empty() {
            return None;
        }
        let ours = matches_any_case(service, "kms");
        let named = Action::ALL.iter().filter(|action| ours && matches_any_case(name, action.as_str()));
        Some(named.fold(Self::default(), |all, action| all.with(Self::only(*action))))
    }

    fn only(action: Action) -> Self {
        Self(1 << action as u32)
    }

    /// Either set's actions.
    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Every action but these.
    pub(super) fn complement(self) -> Self {
        Self(!self.0)
    }

    /// True if `action` is one of them.
    pub(super) fn contains(self, action: Action) -> bool {
        self.0 & Self::only(action).0 != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("?", "", false),
            ("*", "anything", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*c", "ac", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("**a**", "bab", true),
            ("*ab", "aab", true),
            ("a*b*c", "axbxbxc", true),
            ("abc", "ABC", false),
            ("abc", "abcd", false),
            ("arn:aws:kms:*:111122223333:key/*", "arn:aws:kms:eu-1:111122223333:key/k", true),
            ("arn:aws:kms:*:111122223333:key/*", "arn:aws:kms:eu-1:111122223334:key/k", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn hostile_patterns_cost_no_more_than_their_length_times_the_text() {
        let text = "a".repeat(2048);
        let stars = "a*".repeat(8192) + "b";
        assert!(!matches(&stars, &text));
        assert!(!matches(&("*".to_owned() + &"a".repeat(1024) + "b"), &text));
    }

    #[test]
    fn action_patterns() {
        use Action::*;
        let cases: [(&str, &[Action], &[Action]); 7] = [
            ("*", &[Encrypt, CreateKey], &[]),
            ("kms:*", &[Encrypt, CreateKey], &[]),
            ("KMS:eNCRYPT", &[Encrypt], &[ReEncryptFrom, Decrypt]),
            ("kms:ReEncrypt*", &[ReEncryptFrom, ReEncryptTo], &[Encrypt]),
            ("kms:?ign", &[Sign], &[Verify]),
            ("s3:*", &[], &[Encrypt, ListKeys]),
            ("kms:NotYetInvented", &[], &[Encrypt]),
        ];
        for (pattern, inside, outside) in cases {
            let actions = Actions::of(pattern).expect("a pattern");
            assert!(inside.iter().all(|action| actions.contains(*action)), "{pattern}");
            assert!(!outside.iter().any(|action| actions.contains(*action)), "{pattern}");
        }
        for bad in ["", "kms", "Encrypt", "kms:", ":Encrypt"] {
            assert_eq!(Actions::of(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_two_patterns_stand_for_is_in_both_together() {
        let of = |pattern| Actions::of(pattern).expect("a pattern");
        assert_eq!(of("kms:*").with(of("kms:Encrypt")), of("kms:*"));
    }

    /// The definition itself, exponential and plain.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            ([b'*', rest @ ..], _) if by_definition(rest, text) => true,
            ([b'*', ..], [_, tail @ ..]) => by_definition(pattern, tail),
            ([b'?', rest @ ..], [_, tail @ ..]) => by_definition(rest, tail),
            ([wanted, rest @ ..], [letter, tail @ ..]) => wanted == letter && by_definition(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), by_definition(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
