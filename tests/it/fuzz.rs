//! Every fuzz target with its corpus, so that what a fuzzer has found stays mended; `scripts/fuzz` looks for more.

use std::{fs, path::Path};

#[path = "../../fuzz/src/lib.rs"]
mod targets;

fn holds(target: &str, check: fn(&[u8])) {
    let corpus = fs::read_dir(Path::new("fuzz/corpus").join(target)).unwrap();
    let files: Vec<_> = corpus.map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{target} has no corpus");
    for file in files {
        println!("{}", file.display());
        check(&fs::read(file).unwrap());
    }
}

#[test]
fn attestation() {
    holds("attestation", targets::attestation::check);
}

#[test]
fn envelope() {
    holds("envelope", targets::envelope::check);
}

#[test]
fn policy() {
    holds("policy", targets::policy::check);
}

#[test]
fn request() {
    holds("request", targets::request::check);
}

#[test]
fn signature() {
    holds("signature", targets::signature::check);
}
