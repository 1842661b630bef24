//! The rooms of `hsm`, held to an order: a room imports what is below it, never what is above. So there is no circle.

use super::{Source, sources, without_tests};

/// The rooms from the top down: a folder, or a file that is in none of them. The first has all the other files.
const ROOMS: [&str; 22] = [
    "hsm",
    "hsm::members",
    "hsm::dispatch",
    "hsm::process",
    "hsm::engine",
    "hsm::engine::setup",
    "hsm::engine::lanes",
    "hsm::engine::order",
    "hsm::engine::command",
    "hsm::engine::leases",
    "hsm::engine::state",
    "hsm::engine::probe",
    "hsm::engine::token",
    "hsm::engine::calls",
    "hsm::engine::profile",
    "hsm::memory",
    "hsm::settings",
    "hsm::token_selector",
    "hsm::pin",
    "hsm::ledger",
    "hsm::counts",
    "hsm::error",
];

#[test]
fn a_room_imports_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path.starts_with("hsm/")) {
        let module = module_path(&source.path);
        for path in paths(without_tests(source)).iter().map(|path| from_the_crate(&module, path)) {
            if room(&path).is_some_and(|there| there < room(&module).unwrap()) {
                wrong.push(format!("{} imports {path}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_is_there() {
    let modules: Vec<_> = sources().iter().map(|Source { path, .. }| module_path(path)).collect();
    for (i, name) in ROOMS.iter().enumerate() {
        assert!(modules.iter().any(|module| room(module) == Some(i)), "{name} is no room any more");
    }
}

/// The innermost room that a path leads into.
fn room(path: &str) -> Option<usize> {
    let leads_into =
        |name: &&str| path.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    ROOMS.iter().enumerate().filter(|(_, name)| leads_into(name)).max_by_key(|(_, name)| name.len()).map(|(i, _)| i)
}

/// `hsm/engine/mod.rs` is `hsm::engine`.
fn module_path(file: &str) -> String {
    file.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

/// A path as it begins at the crate's root.
fn from_the_crate(module: &str, path: &str) -> String {
    if let Some(path) = path.strip_prefix("crate::") {
        return path.to_owned();
    }
    let (mut module, mut path) = (module, path);
    while let Some(rest) = path.strip_prefix("super::") {
        module = module.rsplit_once("::").map_or("", |(parent, _)| parent);
        path = rest;
    }
    format!("{module}::{path}")
}

fn is_of_a_path(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | ':')
}

/// Every path of the code that begins with `crate` or `super`.
fn paths(code: &str) -> Vec<String> {
    let roots = ["crate::", "super::"].into_iter().flat_map(|root| code.match_indices(root));
    let begins = roots.map(|(at, _)| at).filter(|at| !code[..*at].ends_with(is_of_a_path));
    // `pub(in crate::hsm)` imports nothing.
    let begins = begins.filter(|at| !code[..*at].ends_with("(in "));
    begins.flat_map(|at| expand(&code[at..])).collect()
}

/// The path that a text begins with, or those of a group: `a::{b, c::{d, e}}` are `a::b`, `a::c::d` and `a::c::e`.
fn expand(text: &str) -> Vec<String> {
    let (path, rest) = text.split_at(text.find(|letter| !is_of_a_path(letter)).unwrap_or(text.len()));
    match rest.strip_prefix('{') {
        None => vec![path.to_owned()],
        Some(group) => {
            members(group).iter().flat_map(|member| expand(member)).map(|end| format!("{path}{end}")).collect()
        }
    }
}

/// The members of a group that has been opened.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut members) = (0, vec![String::new()]);
    for letter in group.chars() {
        match letter {
            '}' if depth == 0 => break,
            ',' if depth == 0 => members.push(String::new()),
            _ => {
                depth += i32::from(letter == '{') - i32::from(letter == '}');
                members.last_mut().unwrap().push(letter);
            }
        }
    }
    members.into_iter().map(|member| member.trim().to_owned()).collect()
}

#[test]
fn groups_and_parents_are_understood() {
    let code = "use crate::hsm::{engine::{calls::raw, state::*}, error};\nuse super::super::pin::PinSource;";
    let found: Vec<_> = paths(code).iter().map(|path| from_the_crate("hsm::engine::lanes", path)).collect();
    assert_eq!(found, ["hsm::engine::calls::raw", "hsm::engine::state::", "hsm::error", "hsm::pin::PinSource"]);
    assert_eq!([room(&found[0]), room("hsm::token_uri"), room("store")], [Some(13), Some(0), None]);
}
