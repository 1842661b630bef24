//! The layers of the crate (see `src/lib.rs`), held to what the sources import. There is no list of exceptions.

mod rooms;

use std::{collections::BTreeSet, fs, path::Path};

const LAYERS: [(&str, &[&str]); 6] = [
    ("root", &["config", "dev", "server", "bench", "main", "lib"]),
    ("doors", &["api", "health", "cli"]),
    ("service", &SERVICE),
    ("machines", &["store", "hsm", "audit", "metrics"]),
    ("decisions", &["policy", "access", "sigv4", "attestation"]),
    (
        "words",
        &[
            "error",
            "arn",
            "action",
            "principal",
            "identity",
            "client",
            "secret",
            "clock",
            "page",
            "envelope",
            "key",
            "fair_queue",
            "aws_names",
        ],
    ),
];

/// The service's modules in their order: each imports what is to its right, and nothing to its left.
const SERVICE: [&str; 8] = ["call", "operations", "request", "tasks", "kms", "authn", "invocations", "failure"];

/// A crate or name, and the only places of the sources where it may be.
const HOMES: &[(&str, &[&str])] = &[
    ("cryptoki::", &["hsm/"]),
    ("cryptoki_sys::", &["hsm/"]),
    ("libloading::", &["hsm/"]),
    ("sqlx::", &["store/"]),
    ("axum::", &["api/", "health.rs", "cli/", "server/"]),
    ("http::", &["api/", "health.rs", "server/"]),
    // A call goes one road, whatever its door: only there an operation gets its view of the service.
    ("Cx::new(", &["call/"]),
    ("hyper::", &["server/"]),
    ("hyper_util::", &["server/"]),
    ("rustls::", &["server/", "bench/"]),
    ("webpki::", &["attestation/"]),
    ("x509_cert::", &["attestation/", "server/"]),
    ("minicbor::", &["attestation/"]),
    ("clap::", &["cli/", "main.rs"]),
    ("SystemTime", &["clock.rs"]),
    ("unsafe ", &["hsm/engine/calls/raw.rs", "hsm/memory/shared_memory.rs"]),
];

/// A source file: where it is under `src/`, and its text without comments.
struct Source {
    path: String,
    code: String,
}

impl Source {
    /// The top-level module that it belongs to.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Top-level modules of the crate that it names, by `crate::` or, in the program, by `strongroom::`.
    fn imports(&self) -> BTreeSet<String> {
        let root = if self.path == "main.rs" { "strongroom::" } else { "crate::" };
        let after = |prefix: &str| self.code.split(prefix).skip(1).map(str::to_owned).collect::<Vec<_>>();
        let mut imports: BTreeSet<String> = after(root).iter().flat_map(|rest| first_names(rest)).collect();
        // In a file at the top, `super` is the crate's root; in its inner modules it is the file.
        if !self.path.contains('/') {
            imports.extend(after("\nuse super::").iter().flat_map(|rest| first_names(rest)));
        }
        imports
    }
}

/// The names that follow `crate::`: one, or the first of each path of a group.
fn first_names(rest: &str) -> Vec<String> {
    let Some(group) = rest.strip_prefix('{') else { return name(rest).into_iter().collect() };
    let (mut depth, mut begins, mut names) = (0, true, Vec::new());
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            c if begins && !c.is_whitespace() => {
                names.extend(name(&group[i..]));
                begins = false;
            }
            _ => {}
        }
    }
    names
}

fn name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    // A macro or a type at the root is no module.
    (end > 0 && text[end..].starts_with(|c: char| !c.is_alphanumeric() && c != '!')).then(|| text[..end].to_owned())
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    gather(Path::new("src"), &mut found);
    assert!(found.len() > 80, "the sources are elsewhere");
    found
}

fn gather(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, found);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().map(without_comment).collect::<Vec<_>>().join("\n");
            found.push(Source { path: path.strip_prefix("src").unwrap().to_str().unwrap().to_owned(), code });
        }
    }
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// How far right a module is.
fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|(_, modules)| modules.contains(&module));
    found.unwrap_or_else(|| panic!("the module `{module}` has no layer"))
}

/// How far right a module of the service is.
fn place(module: &str) -> usize {
    SERVICE.iter().position(|name| *name == module).unwrap()
}

#[test]
fn imports_point_right_and_machines_and_doors_do_not_know_each_other() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let from = source.module();
        for to in source.imports().iter().filter(|to| *to != from) {
            let (here, there) = (layer(from), layer(to));
            let sideways = here == there && matches!(LAYERS[here].0, "machines" | "doors");
            let back = here == there && LAYERS[here].0 == "service" && place(to) < place(from);
            if there < here || sideways || back {
                wrong.push(format!("{} imports {to}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn doors_go_through_the_service() {
    for source in sources().iter().filter(|source| LAYERS[layer(source.module())].0 == "doors") {
        let imports = source.imports();
        let machines = ["store", "hsm"].into_iter().find(|module| imports.contains(*module));
        assert_eq!(machines, None, "{} goes past the service", source.path);
    }
}

#[test]
fn every_crate_has_its_home() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, homes) in HOMES {
            let at_home = homes.iter().any(|home| source.path.starts_with(home));
            if !at_home && uses(&source.code, name) {
                wrong.push(format!("{} uses {}", source.path, name.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether `code` has `name`, and not as the end of a longer one.
fn uses(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '"' | '`');
    code.match_indices(name).any(|(at, _)| !code[..at].ends_with(is_word))
}

#[test]
fn words_and_decisions_are_pure() {
    for source in sources() {
        if matches!(LAYERS[layer(source.module())].0, "words" | "decisions") {
            for impure in
                ["async fn", ".await", "tokio::", "std::fs", "std::net", "std::thread", "std::env", "tracing::"]
            {
                assert!(!uses(&source.code, impure), "{} uses {impure}", source.path);
            }
        }
    }
}

#[test]
fn decisions_do_not_ask_the_time() {
    for source in sources().iter().filter(|source| LAYERS[layer(source.module())].0 == "decisions") {
        let asks = ["Clock", "Instant"].into_iter().find(|name| uses(&source.code, name));
        assert_eq!(asks, None, "{}", source.path);
    }
}

#[test]
fn the_map_in_the_crate_names_every_module() {
    let lib = fs::read_to_string("src/lib.rs").unwrap();
    let declared = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in declared {
        layer(module);
        let row = format!("[`{module}`]");
        assert!(lib.lines().any(|line| line.starts_with("//! |") && line.contains(&row)), "{module} is not on the map");
    }
}

#[test]
fn the_parser_of_imports_reads_groups_and_paths() {
    let code = "use crate::{a::{b, c}, d, e_f::g};\nlet x = crate::h::i(); crate::word!{}";
    let source = Source { path: "x/y.rs".to_owned(), code: code.to_owned() };
    assert_eq!(Vec::from_iter(source.imports()), ["a", "d", "e_f", "h"]);
}

/// The source without its unit tests.
fn without_tests(source: &Source) -> &str {
    source.code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// Whether a field of a log line is written as Rust writes values for programmers: `?value`, or `name = ?value`.
fn has_debug_field(call: &str) -> bool {
    let mut letters = call.char_indices().filter(|(_, letter)| *letter == '?');
    letters.any(|(at, _)| {
        let (before, after) = (call[..at].trim_end(), &call[at + 1..]);
        before.ends_with(['(', ',', '=']) && after.starts_with(|letter: char| letter.is_alphabetic() || letter == '&')
    })
}

#[test]
fn nothing_is_told_in_the_words_of_the_language() {
    assert!(has_debug_field("(hsm, ?kind, \"x\")") && has_debug_field("(cause = ?error.cause())"));
    assert!(!has_debug_field("(error = f()?, \"why?\")"));
    // There the form is what is wanted: a TOML string, the name of a code.
    let wanted = ["dev.rs", "hsm/error.rs"];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.path.ends_with("tests.rs")) {
        let code = without_tests(source);
        let calls = code.split("tracing::").skip(1).filter_map(|rest| rest.split(';').next());
        wrong.extend(calls.filter(|call| has_debug_field(call)).map(|call| format!("{}: {call}", source.path)));
        if code.contains(":?}") && !wanted.contains(&source.path.as_str()) {
            wrong.push(format!("{}: a text with `:?`", source.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
