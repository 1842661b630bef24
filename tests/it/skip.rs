//! Tests that the HSM of this run has not got what it takes for: they pass, and are counted as skipped by `scripts/test`.

use std::io::Write;

use strongroom::hsm::{Profile, TrialOutcome};

/// Whether the HSM lacks one of these, as its probe found out. The test is to end then.
pub fn lacks(profile: &Profile, features: &[&str]) -> bool {
    let missing = features.iter().find(|name| profile.outcome(name) != Some(&TrialOutcome::Ok));
    if let Some(name) = missing {
        let why = profile.outcome(name).map_or("not tried".to_owned(), TrialOutcome::to_string);
        skip(&format!("{name}: {why}"));
    }
    missing.is_some()
}

/// Says that this test is skipped, and why.
pub fn skip(why: &str) {
    say("skipped", why);
}

/// Says what of this test is skipped, and why; the rest is done.
pub fn skip_in_part(why: &str) {
    say("skipped in part", why);
}

/// Past the harness, which shows nothing of a test that passes.
fn say(what: &str, why: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "{what}: {}: {why}", thread.name().unwrap_or_default());
}
