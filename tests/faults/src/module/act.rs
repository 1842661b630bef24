//! What a rule does to a call.

use std::sync::Arc;
use std::time::Duration;

use cryptoki_sys::{CK_RV, CKR_BUFFER_TOO_SMALL, CKR_OK};

use super::call::Call;
use super::pipeline::Instead;
use super::plan::Installed;
use super::{Module, spoil};
use crate::function::Step;
use crate::rule::{Action, Crash, Delay, Lie, When};
use crate::wire::Report;

/// The faults before the real call, in the order of the rules; the first that answers ends it.
pub fn before(module: &Module, call: &Call, acting: &[Arc<Installed>]) -> Option<Instead> {
    let mut instead = None;
    for installed in acting.iter().filter(|installed| when(installed) == When::Before) {
        module.link.report(&Report::Hit(installed.id));
        instead = instead.or(one_before(module, call, installed));
    }
    instead
}

fn one_before(module: &Module, call: &Call, installed: &Installed) -> Option<Instead> {
    match installed.rule.action {
        Action::Answer(code) => Some(Instead { code, stays_active: false }),
        Action::LeaveActive(code) => leave_active(call, code),
        Action::Length(Lie::TooSmall) => Some(too_small(call)),
        _ => {
            suffer(module, call, installed);
            None
        }
    }
}

/// The faults after it.
pub fn after(module: &Module, call: &Call, acting: &[Arc<Installed>], code: CK_RV) -> CK_RV {
    let mut code = code;
    for installed in acting.iter().filter(|installed| when(installed) == When::After) {
        module.link.report(&Report::Hit(installed.id));
        code = one_after(module, call, installed, code);
    }
    code
}

fn one_after(module: &Module, call: &Call, installed: &Installed, code: CK_RV) -> CK_RV {
    match installed.rule.action {
        Action::Answer(other) => return other,
        _ if code == CKR_OK => spoil::output(call, installed),
        _ => {}
    }
    suffer(module, call, installed);
    code
}

/// Some faults have a time of their own, whatever the rule says.
fn when(installed: &Installed) -> When {
    match installed.rule.action {
        Action::LeaveActive(_) | Action::Length(Lie::TooSmall) => When::Before,
        Action::FlipBit
        | Action::Swap
        | Action::Length(_)
        | Action::Tell(_)
        | Action::ConstantRandom(_)
        | Action::RepeatRandom => When::After,
        _ => installed.rule.when,
    }
}

/// What takes time or the process, before or after the call.
fn suffer(module: &Module, call: &Call, installed: &Installed) {
    match installed.rule.action {
        Action::Delay(delay) => std::thread::sleep(duration(delay, installed)),
        Action::Hang => module.plan.hang(installed, call.releases),
        Action::HangForEver => loop {
            std::thread::park();
        },
        Action::Stop => {
            module.link.report(&Report::Stopped(installed.id));
            module.plan.hang(installed, call.releases);
        }
        Action::Crash(crash) => die(module, crash),
        _ => {}
    }
}

fn duration(delay: Delay, installed: &Installed) -> Duration {
    let micros = match delay {
        Delay::Fixed { micros } => micros as f64,
        Delay::Uniform { from_micros, to_micros } => {
            let width = to_micros.saturating_sub(from_micros) as f64;
            from_micros as f64 + width * installed.dice(1)
        }
        Delay::LogNormal { median_micros, sigma } => {
            median_micros as f64 * (sigma * normal(installed.dice(1), installed.dice(2))).exp()
        }
    };
    // Nobody waits for longer than an hour; a wide distribution has such values.
    Duration::from_micros(micros.clamp(0.0, 3.6e9) as u64)
}

/// Box and Muller's way from two numbers between 0 and 1 to a normal one.
fn normal(one: f64, two: f64) -> f64 {
    (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * two).cos()
}

/// An Init goes on for real, and the call after it fails; a work function fails at once.
fn leave_active(call: &Call, code: CK_RV) -> Option<Instead> {
    if matches!(call.function.step(), Some((_, Step::Init))) {
        let session = call.known.as_ref()?;
        session.fail_next.store(code, std::sync::atomic::Ordering::Relaxed);
        return None;
    }
    Some(Instead { code, stays_active: true })
}

fn too_small(call: &Call) -> Instead {
    spoil::ask_for_more(call);
    Instead { code: CKR_BUFFER_TOO_SMALL, stays_active: true }
}

/// The trace goes out first. A crash is a real one: no destructors, no answer.
fn die(module: &Module, crash: Crash) {
    module.trace.flush(&module.dir);
    module.link.report(&Report::Last(module.trace.entries(0)));
    match crash {
        // SAFETY: none of these comes back, and that the process dies is the order. A handler that the caller has for
        // SIGSEGV is taken away, since it could go on.
        Crash::Segv => unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::raise(libc::SIGSEGV);
        },
        Crash::Abort => std::process::abort(),
        // SAFETY: as above.
        Crash::Exit(status) => unsafe { libc::_exit(status) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_numbers_are_around_zero() {
        assert!(normal(0.0, 0.3).abs() < 1e-9);
        assert!(normal(0.5, 0.0) > 1.0 && normal(0.5, 0.5) < -1.0);
    }
}
