//! `strongroom hsm bench`: an HSM alone, and the pool of sessions that suits it.
//!
//! 1. Each operation with more and more sessions, and always more calls under way than sessions: where does it stop to gain?
//! 2. With the number that suits them all, each with more and more calls under way: how long do they take?
//!
//! The calls go the way of the service's: over the queue, to a worker process.

mod pool;
mod report;
mod workload;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use self::report::Report;
use self::{report::Measured, workload::Workload};
use super::{
    curve::{Curve, Figures, Load, Step},
    load::{self, Caller},
    progress::Progress,
};
use crate::{
    cli::bench::{HsmBenchArgs, HsmOperation},
    hsm::{Hsm, HsmError, Launch, Settings},
    key::material::{Keeping, Material},
    server::{ExitError, HSM_START, HSM_STOP},
};

/// The steps of calls under way with the number of sessions that was found.
const CALL_STEPS: [usize; 7] = [1, 2, 4, 8, 16, 32, MOST_CALLS];
const MOST_CALLS: usize = 64;
/// Twice the most sessions that may be asked for.
const MOST_WAITING: usize = 1024;
/// Before anything is counted: keys get into the HSM.
const WARM_UP: Duration = Duration::from_millis(100);

/// The HSM that is measured.
pub struct Target {
    /// Its settings; of `sessions` several numbers are tried.
    pub settings: Settings,
    /// The command that starts its worker process.
    pub launch: Launch,
    /// How long a call may take.
    pub deadline: Duration,
}

/// Measures an HSM. The keys that are made for it are destroyed also if it fails or is interrupted.
///
/// # Errors
/// If it cannot be opened, does none of the operations, or it is interrupted.
pub async fn measure(target: &Target, arguments: &HsmBenchArgs) -> Result<Report, ExitError> {
    let mut made = Vec::new();
    let measured = every_operation(target, arguments, &mut made).await;
    match (measured, target.destroy(made).await) {
        (Ok(report), Ok(())) => Ok(report),
        (Err(one), Err(other)) => Err(ExitError { text: format!("{}; {}", one.text, other.text), ..one }),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
    }
}

async fn every_operation(
    target: &Target,
    arguments: &HsmBenchArgs,
    made: &mut Vec<Arc<Material>>,
) -> Result<Report, ExitError> {
    let (works, unsupported) = workloads(target, arguments, made).await?;
    let mut progress = Progress::of(works.len() * (arguments.sessions.len() + CALL_STEPS.len()));
    let by_sessions = by_sessions(target, arguments, &works, &mut progress).await?;
    let sessions = pool::sessions(by_sessions.iter()).ok_or_else(|| ExitError::new(TOO_MANY))?;
    let by_calls = by_calls(target, arguments, &works, sessions, &mut progress).await?;
    let curves = by_sessions.into_iter().zip(by_calls);
    let measured = works.iter().zip(curves).map(|((operation, _), (by_sessions, by_calls))| Measured {
        operation: operation.name(),
        by_sessions,
        by_calls,
    });
    Ok(Report {
        hsm: target.settings.name.clone(),
        bytes: arguments.bytes,
        saturating_calls: saturating_calls(arguments),
        operations: measured.collect(),
        unsupported,
        configured_sessions: target.settings.sessions,
        sessions,
    })
}

const TOO_MANY: &str = "the token allows fewer sessions than the least of these numbers";
const NOTHING: &str = "this HSM does none of these operations";

type Works = Vec<(HsmOperation, Arc<Workload>)>;

/// The commands for the operations that it can do, and the names of the others.
async fn workloads(
    target: &Target,
    arguments: &HsmBenchArgs,
    made: &mut Vec<Arc<Material>>,
) -> Result<(Works, Vec<String>), ExitError> {
    target
        .with_sessions(1, async |hsm| {
            let (mut works, mut unsupported) = (Vec::new(), Vec::new());
            for operation in operations(arguments) {
                let deadline = Instant::now() + HSM_START;
                match Workload::of(operation, hsm, arguments.bytes, deadline, made).await? {
                    Some(work) => works.push((operation, Arc::new(work))),
                    None => unsupported.push(operation.name()),
                }
            }
            if works.is_empty() { Err(ExitError::new(NOTHING)) } else { Ok((works, unsupported)) }
        })
        .await
}

fn operations(arguments: &HsmBenchArgs) -> Vec<HsmOperation> {
    match arguments.operations.as_slice() {
        [] => HsmOperation::all().to_vec(),
        some => some.to_vec(),
    }
}

/// Calls under way while the number of sessions grows: another waits for each session, also for the most of them.
fn saturating_calls(arguments: &HsmBenchArgs) -> usize {
    let sessions = arguments.sessions.iter().max().map_or(0, |most| usize::from(*most));
    MOST_CALLS.max(2 * sessions)
}

/// The curve of each operation by sessions. Numbers that the token does not allow are left out.
async fn by_sessions(
    target: &Target,
    arguments: &HsmBenchArgs,
    works: &Works,
    progress: &mut Progress,
) -> Result<Vec<Curve>, ExitError> {
    let mut curves: Vec<_> = works.iter().map(|_| Curve { load: Load::Sessions, steps: Vec::new() }).collect();
    for sessions in arguments.sessions.iter().map(|number| usize::from(*number)) {
        let with_these = async |hsm: &Hsm| {
            if !allows(hsm, sessions) {
                return Ok(());
            }
            for ((operation, work), curve) in works.iter().zip(&mut curves) {
                progress.begin(&format!("{}, {}", operation.name(), Load::Sessions.counted(sessions)));
                let figures = step(target, hsm, work, saturating_calls(arguments), arguments.output.seconds).await?;
                curve.steps.push(Step { load: sessions, figures });
            }
            Ok(())
        };
        target.with_sessions(sessions, with_these).await?;
    }
    Ok(curves)
}

/// True if the token allows so many sessions, and one for the login beside them.
fn allows(hsm: &Hsm, sessions: usize) -> bool {
    let limit = hsm.profiles().iter().filter_map(|profile| profile.max_sessions).min();
    limit.is_none_or(|limit| (sessions as u64) < limit)
}

/// The curve of each operation by calls under way.
async fn by_calls(
    target: &Target,
    arguments: &HsmBenchArgs,
    works: &Works,
    sessions: usize,
    progress: &mut Progress,
) -> Result<Vec<Curve>, ExitError> {
    let measured = async |hsm: &Hsm| {
        let mut curves = Vec::new();
        for (operation, work) in works {
            let mut steps = Vec::new();
            for calls in CALL_STEPS {
                progress.begin(&format!("{}, {}", operation.name(), Load::Calls.counted(calls)));
                let figures = step(target, hsm, work, calls, arguments.output.seconds).await?;
                steps.push(Step { load: calls, figures });
            }
            curves.push(Curve { load: Load::Calls, steps });
        }
        Ok(curves)
    };
    target.with_sessions(sessions, measured).await
}

/// One command, so many times at once, for this time.
async fn step(
    target: &Target,
    hsm: &Hsm,
    work: &Arc<Workload>,
    calls: usize,
    time: Duration,
) -> Result<Figures, ExitError> {
    let caller = |_| HsmCaller { hsm: hsm.clone(), work: Arc::clone(work), deadline: target.deadline };
    let (callers, _) = load::run((0..calls).map(caller).collect(), WARM_UP).await.map_err(ExitError::new)?;
    let (_, tally) = load::run(callers, time).await.map_err(ExitError::new)?;
    Ok(Figures::from(&tally))
}

struct HsmCaller {
    hsm: Hsm,
    work: Arc<Workload>,
    deadline: Duration,
}

impl Caller for HsmCaller {
    async fn ask(&mut self) -> Result<(), String> {
        let done = self.work.perform(&self.hsm, Instant::now() + self.deadline).await;
        done.map_err(|HsmError { function, code, .. }| format!("{function}: {code}"))
    }
}

impl Target {
    /// Opens the HSM with so many sessions, does something with it, and closes it, whatever comes of it.
    async fn with_sessions<T>(
        &self,
        sessions: usize,
        act: impl AsyncFnOnce(&Hsm) -> Result<T, ExitError>,
    ) -> Result<T, ExitError> {
        // Every call that is under way has a place in it.
        let queue = self.settings.queue.max(MOST_WAITING);
        let settings = Settings { sessions, queue, ..self.settings.clone() };
        let hsm = Hsm::open(vec![settings], self.launch.clone());
        let act = async {
            hsm.opened(HSM_START).await?;
            act(&hsm).await
        };
        let done = tokio::select! {
            done = act => done,
            _ = tokio::signal::ctrl_c() => Err(ExitError::new("interrupted")),
        };
        hsm.stop();
        hsm.stopped(HSM_STOP).await;
        done
    }

    /// Destroys keys. Of those that are wrapped, nothing is left when the sessions are closed.
    async fn destroy(&self, keys: Vec<Arc<Material>>) -> Result<(), ExitError> {
        let are_objects = |key: &Arc<Material>| matches!(key.keeping, Keeping::Token { .. });
        let objects: Vec<_> = keys.into_iter().filter(are_objects).collect();
        if objects.is_empty() {
            return Ok(());
        }
        let destroy = async |hsm: &Hsm| {
            for key in &objects {
                hsm.destroy(key, Instant::now() + HSM_START).await?;
            }
            Ok(())
        };
        self.with_sessions(1, destroy).await
    }
}
