//! The layout in which AWS answers policies, whatever the layout they came in.
//!
//! Tokens are copied one by one: member order and the text of strings and numbers stay as the caller wrote them.

use serde::de::IgnoredAny;

/// Lays a JSON text out as AWS does; `None` if it is not JSON.
pub fn pretty(text: &str) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut printer = Printer { out: String::with_capacity(text.len() * 2), open: Vec::new() };
    let mut rest = text.trim_start_matches(is_blank);
    while let Some(length) = token_length(rest) {
        let (token, after) = rest.split_at_checked(length)?;
        rest = after.trim_start_matches(is_blank);
        printer.put(token);
    }
    Some(printer.out)
}

struct Printer {
    out: String,
    /// Brackets open. Only objects indent what they hold; an array goes on in its line.
    open: Vec<char>,
}

impl Printer {
    fn put(&mut self, token: &str) {
        match token {
            "{" => self.open('{'),
            "[" => self.open('['),
            "}" | "]" => self.close(token),
            ":" => self.out.push_str(" : "),
            "," => {
                self.out.push(',');
                self.space();
            }
            _ => self.begin(token),
        }
    }

    fn open(&mut self, bracket: char) {
        self.begin(bracket.encode_utf8(&mut [0; 4]));
        self.open.push(bracket);
    }

    fn close(&mut self, bracket: &str) {
        let opened = self.open.pop();
        if opened == Some('{') && !self.out.ends_with('{') {
            self.new_line();
        } else {
            self.out.push(' ');
        }
        self.out.push_str(bracket);
    }

    /// A value or a member name: the first one of a bracket needs its space.
    fn begin(&mut self, token: &str) {
        if self.out.ends_with(['{', '[']) {
            self.space();
        }
        self.out.push_str(token);
    }

    fn space(&mut self) {
        match self.open.last() {
            Some('{') => self.new_line(),
            _ => self.out.push(' '),
        }
    }

    fn new_line(&mut self) {
        let depth = self.open.iter().filter(|bracket| **bracket == '{').count();
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Bytes of the token that `text` begins with; `None` at the end.
fn token_length(text: &str) -> Option<usize> {
    match text.chars().next()? {
        '"' => string_length(text),
        '{' | '}' | '[' | ']' | ':' | ',' => Some(1),
        _ => Some(text.find(|c| is_blank(c) || "{}[]:,\"".contains(c)).unwrap_or(text.len())),
    }
}

/// Bytes of the string that `text` begins with, its quotes included.
fn string_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|b| {
        let closes = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        closes
    })?;
    Some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        for (given, expected) in [
            ("{}", "{ }"),
            (" [ ] ", "[ ]"),
            ("[{}]", "[ { } ]"),
            (r#"{"b":1,"a":[]}"#, "{\n  \"b\" : 1,\n  \"a\" : [ ]\n}"),
            (
                r#"{"S":[{"a":"b"},{"c":["d","e"]}]}"#,
                "{\n  \"S\" : [ {\n    \"a\" : \"b\"\n  }, {\n    \"c\" : [ \"d\", \"e\" ]\n  } ]\n}",
            ),
            (r#"["a\\\"b{", "{ [ : ," ,true]"#, r#"[ "a\\\"b{", "{ [ : ,", true ]"#),
            ("\"{\"", "\"{\""),
        ] {
            assert_eq!(pretty(given).as_deref(), Some(expected));
            assert_eq!(pretty(expected).as_deref(), Some(expected), "what is pretty stays");
        }
        for bad in ["", "{", "{} {}", "{'a':1}", "[1,]", &"[".repeat(100_000)] {
            assert_eq!(pretty(bad), None);
        }
    }
}
