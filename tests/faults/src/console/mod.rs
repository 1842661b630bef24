//! What can be typed at the console, and what it does.

use std::fmt::Write;

use crate::code;
use crate::control::Controller;

mod parse;

pub use parse::{rule, world};

pub const HELP: &str = "\
rule FUNCTION|any [nth N] [once | times N] [session N] [slot N] [mechanism N] [chance P SEED]
     [window FROM_MS UNTIL_MS] [before | after] ACTION
     ACTION: answer CODE | delay MS | delay FROM_MS TO_MS | delay-around MEDIAN_MS SIGMA | hang | hang-for-ever | stop
             flip | swap | longer N | shorter N | too-small | random BYTE | repeat-random | leave-active CODE
             tell blanks|zeros|unpadded|garbage|flags | tell numbers N
             crash segv | crash abort | crash exit N
remove N | clear          one rule, all rules
release                   what hangs goes on
world EVENT
     EVENT: kill-sessions | log-out | reboot | failover MS | vanish [CODE] | return | cap N [CODE] | uncap
            lock-pin-after N | reset-pin | hide [HEX ID] | show | duplicates on|off | random BYTE|off | full on|off | calm
hits N | calls [N] | counts | complaints | instances | logins | sessions
help | quit
CODE is a name such as CKR_DEVICE_ERROR or a number such as 0x80000001.";

pub enum Reply {
    Text(String),
    Quit,
}

/// Does what a line says.
pub fn obey(control: &Controller, line: &str) -> Reply {
    let words: Vec<_> = line.split_whitespace().collect();
    if matches!(words[..], ["quit"]) {
        return Reply::Quit;
    }
    Reply::Text(
        tell(control, &words).or_else(|| ask(control, &words)).unwrap_or_else(|| format!("not understood: {line}")),
    )
}

/// A command that changes something.
fn tell(control: &Controller, words: &[&str]) -> Option<String> {
    match words {
        ["rule", rest @ ..] => return Some(format!("rule {}", control.rule(rule(rest)?))),
        ["world", rest @ ..] => control.world(world(rest)?),
        ["remove", id] => control.remove(id.parse().ok()?),
        ["clear"] => control.clear(),
        ["release"] => control.release(),
        _ => return None,
    }
    Some("done".to_owned())
}

/// A command that wants to know something.
fn ask(control: &Controller, words: &[&str]) -> Option<String> {
    Some(match words {
        [] => String::new(),
        ["help"] => HELP.to_owned(),
        ["hits", id] => control.hits(id.parse().ok()?).to_string(),
        ["calls"] => last_calls(control, 20),
        ["calls", count] => last_calls(control, count.parse().ok()?),
        ["counts"] => lines(control.counts().iter().map(|(function, count)| format!("{count:>9} {function}"))),
        ["complaints"] => lines(control.complaints().into_iter()),
        ["instances"] => lines(control.instances().iter().map(|pid| format!("process {pid}"))),
        ["logins"] => lines(control.logins().iter().map(|login| format!("PIN {}: {:?}", login.pin, login.outcomes))),
        ["sessions"] => {
            format!("{} sessions, {} active operations", control.open_sessions(), control.active_operations())
        }
        _ => return None,
    })
}

fn last_calls(control: &Controller, count: usize) -> String {
    let calls = control.calls();
    lines(calls[calls.len().saturating_sub(count)..].iter().map(|call| {
        let mut line = format!("{:>14} {:>7} {:<20} {:>5}", call.micros, call.pid, call.function, call.session);
        let _ = match call.outcome {
            Some(outcome) => write!(line, " {} in {} us", code::name(outcome.code), outcome.micros),
            None => write!(line, " has not come back"),
        };
        line
    }))
}

fn lines(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join("\n")
}
