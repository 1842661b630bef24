//! `strongroom hsm bench`: an HSM alone, and the pool of sessions that suits it.
//!
//! 1. Each operation with more and more sessions, and always more calls under way than sessions: where does it stop to gain?
//! 2. With the number that suits them all, each with more and more calls under way: how long do they take?
//!
//! The calls go the way of the service's: over the queue, to a worker process.

mod pool;
mod workload;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;

use self::workload::Workload;
use super::{
    curve::{Curve, Figures, Load, Step},
    load::{self, Caller},
    plot::{self, Chart},
    progress::Progress,
    table,
};
use crate::{
    cli::bench::{HsmBenchArgs, HsmOperation},
    hsm::{Hsm, HsmError, Launch, Settings},
    server::{ExitError, HSM_START, HSM_STOP},
};

/// Calls under way while sessions are counted: some wait for every session, also for the most of them.
const CALLS: usize = 64;
/// The steps of calls under way with the number of sessions that was found.
const CALL_STEPS: [usize; 7] = [1, 2, 4, 8, 16, 32, CALLS];
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

/// The figures of an HSM.
#[derive(Serialize)]
pub struct Report {
    hsm: String,
    bytes: u16,
    operations: Vec<Measured>,
    /// Operations that were asked for, or all, and that the HSM cannot do.
    unsupported: Vec<String>,
    /// The number of sessions in the configuration.
    configured_sessions: usize,
    /// The number beyond which nothing is gained.
    sessions: usize,
}

/// The figures of one operation.
#[derive(Serialize)]
struct Measured {
    operation: String,
    by_sessions: Curve,
    by_calls: Curve,
}

/// Measures an HSM. Nothing is left in it: its keys are wrapped.
///
/// # Errors
/// If it cannot be opened, does none of the operations, or it is interrupted.
pub async fn measure(target: &Target, arguments: &HsmBenchArgs) -> Result<Report, ExitError> {
    let (works, unsupported) = workloads(target, arguments).await?;
    let mut progress = Progress::of(works.len() * (arguments.sessions.len() + CALL_STEPS.len()));
    let by_sessions = every_number_of_sessions(target, arguments, &works, &mut progress).await?;
    let sessions = pool::sessions(by_sessions.iter()).ok_or_else(|| ExitError::new(NOTHING))?;
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
        operations: measured.collect(),
        unsupported,
        configured_sessions: target.settings.sessions,
        sessions,
    })
}

const NOTHING: &str = "this HSM does none of these operations";

type Works = Vec<(HsmOperation, Arc<Workload>)>;

/// The commands for the operations that it can do, and the names of the others.
async fn workloads(target: &Target, arguments: &HsmBenchArgs) -> Result<(Works, Vec<String>), ExitError> {
    target
        .with_sessions(1, async |hsm| {
            let (mut works, mut unsupported) = (Vec::new(), Vec::new());
            for operation in operations(arguments) {
                let deadline = Instant::now() + HSM_START;
                match Workload::of(operation, hsm, arguments.bytes, deadline).await? {
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

/// The curve of each operation by sessions. Numbers that the token does not allow are left out.
async fn every_number_of_sessions(
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
                let figures = step(target, hsm, work, CALLS, arguments.output.seconds).await?;
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
        let queue = self.settings.queue.max(CALLS);
        let settings = Settings { sessions, queue, ..self.settings.clone() };
        let hsm = Hsm::open(vec![settings], Some(self.launch.clone()));
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
}

impl Report {
    /// For people: tables, and what to do.
    pub fn table(&self) -> String {
        let each = self.operations.iter().map(|Measured { operation, by_sessions, by_calls }| {
            let saturated = format!("{operation}, {CALLS} calls under way");
            table::of(&saturated, by_sessions) + "\n" + &table::of(&self.with_pool(operation), by_calls)
        });
        let tables = each.collect::<Vec<_>>().join("\n");
        let unsupported = match self.unsupported.as_slice() {
            [] => String::new(),
            names => format!("\nThis HSM cannot do: {}\n", names.join(", ")),
        };
        format!("{tables}{unsupported}\n{}\n", self.advice())
    }

    /// A sentence that a person can act on, with a line for each operation.
    fn advice(&self) -> String {
        let Self { hsm, sessions, configured_sessions, .. } = self;
        let set = match sessions == configured_sessions {
            true => format!("Leave `sessions = {sessions}` under [hsm]"),
            false => format!("Set `sessions = {sessions}` under [hsm], where it is {configured_sessions} now"),
        };
        let knees = self.operations.iter().filter_map(|measured| {
            let Step { load, figures } = measured.by_calls.knee()?;
            let (rate, p99) = (table::rate(figures.per_second), table::time(figures.p99_us));
            let calls = Load::Calls.counted(*load);
            Some(format!("  {rate} {} per second at a p99 of {p99}, {calls} under way", measured.operation))
        });
        let knees = knees.collect::<Vec<_>>().join(",\n");
        format!("{set}: with more `{hsm}` gains nothing, and with these it does, one kind at a time,\n{knees}.")
    }

    fn with_pool(&self, operation: &str) -> String {
        format!("{operation}, {}", Load::Sessions.counted(self.sessions))
    }

    /// A picture: throughput of each operation by sessions, and its latency by calls under way.
    pub fn plot(&self) -> String {
        let Self { hsm, bytes, .. } = self;
        let charts = self.operations.iter().flat_map(|Measured { operation, by_sessions, by_calls }| {
            [Chart::throughput(operation, by_sessions), Chart::latency(&self.with_pool(operation), by_calls)]
        });
        plot::svg(&format!("strongroom hsm bench: `{hsm}`, {bytes} bytes"), &charts.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::curve::tests::curve;

    #[test]
    fn the_advice_names_the_setting_and_what_it_gives() {
        let measured = || Measured {
            operation: "rsa-sign".to_owned(),
            by_sessions: curve(Load::Sessions, &[(1, 2_253), (2, 4_439)]),
            by_calls: curve(Load::Calls, &[(1, 2_000), (2, 4_300), (4, 4_400)]),
        };
        let report = |configured_sessions| Report {
            hsm: "first".to_owned(),
            bytes: 32,
            operations: vec![measured()],
            unsupported: vec!["hmac".to_owned()],
            configured_sessions,
            sessions: 2,
        };
        let gives = "with more `first` gains nothing, and with these it does, one kind at a time,\n  4,300 rsa-sign per second \
                     at a p99 of 2.00 ms, 2 calls under way.";
        assert_eq!(report(4).advice(), format!("Set `sessions = 2` under [hsm], where it is 4 now: {gives}"));
        assert_eq!(report(2).advice(), format!("Leave `sessions = 2` under [hsm]: {gives}"));
        assert!(report(2).table().contains("cannot do: hmac") && report(2).plot().ends_with("</svg>\n"));
    }
}
