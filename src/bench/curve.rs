//! Figures by load, and the knee: the load beyond which more of it gains next to nothing.

use std::{collections::BTreeMap, time::Duration};

use serde::{Serialize, Serializer};

use super::load::Tally;

/// The part of the best throughput that is enough: less than a tenth more is within what two runs differ by.
pub(super) const ENOUGH: f64 = 0.9;

/// What grows from step to step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Connections to a server, each with a request under way.
    Connections,
    /// Sessions with the HSM, while more calls wait than there are sessions.
    Sessions,
    /// Calls to the HSM that are under way.
    Calls,
}

impl Load {
    /// Its name, in the plural.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Sessions => "sessions",
            Self::Calls => "calls",
        }
    }

    /// So many of it: `1 call`, `8 calls`.
    pub fn counted(self, number: usize) -> String {
        let name = self.name();
        format!("{number} {}", if number == 1 { name.trim_end_matches('s') } else { name })
    }
}

/// The figures of one stretch of time.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Calls that succeeded.
    pub requests: u64,
    /// Calls that failed, by the name of the error.
    pub errors: BTreeMap<String, u64>,
    /// Calls that succeeded, per second.
    pub per_second: f64,
    /// The median of the latency of calls that succeeded, in microseconds.
    pub p50_us: f64,
    /// Its 90th percentile.
    pub p90_us: f64,
    /// Its 99th percentile.
    pub p99_us: f64,
    /// The latency within which 999 of 1,000 were done.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl From<&Tally> for Figures {
    fn from(Tally { latencies, errors, took }: &Tally) -> Self {
        let us = |time: Duration| (time.as_secs_f64() * 1e7).round() / 10.0;
        Self {
            requests: latencies.total(),
            errors: errors.clone(),
            per_second: (latencies.total() as f64 / took.as_secs_f64() * 10.0).round() / 10.0,
            p50_us: us(latencies.within(0.5)),
            p90_us: us(latencies.within(0.9)),
            p99_us: us(latencies.within(0.99)),
            p999_us: us(latencies.within(0.999)),
            max_us: us(latencies.longest()),
        }
    }
}

impl Figures {
    /// Calls that failed, whatever the error.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// The figures at one load.
#[derive(Debug, Clone)]
pub struct Step {
    pub load: usize,
    pub figures: Figures,
}

/// The figures at several loads, in the order in which they were measured.
#[derive(Debug, Clone)]
pub struct Curve {
    pub load: Load,
    pub steps: Vec<Step>,
}

impl Curve {
    /// The least load with nine tenths of the best throughput; none if no call succeeded.
    pub fn knee(&self) -> Option<&Step> {
        let enough = self.steps.iter().filter(|step| step.figures.requests > 0 && self.share(step) >= ENOUGH);
        enough.min_by_key(|step| step.load)
    }

    /// The throughput of a step as a part of the best.
    pub fn share(&self, step: &Step) -> f64 {
        let best = self.steps.iter().map(|step| step.figures.per_second).fold(0.0, f64::max);
        if best > 0.0 { step.figures.per_second / best } else { 0.0 }
    }
}

/// A step, with its load under the name that it has: `{"connections": 8, "requests": …}`.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    load: BTreeMap<&'static str, usize>,
    #[serde(flatten)]
    figures: &'a Figures,
}

impl<'a> Row<'a> {
    fn of(load: Load, step: &'a Step) -> Self {
        Self { load: BTreeMap::from([(load.name(), step.load)]), figures: &step.figures }
    }
}

impl Serialize for Curve {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            steps: Vec<Row<'a>>,
            knee: Option<Row<'a>>,
        }
        let row = |step| Row::of(self.load, step);
        Form { steps: self.steps.iter().map(row).collect(), knee: self.knee().map(row) }.serialize(serializer)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A curve with this throughput at each load, and a latency of 1 ms × load.
    pub(in crate::bench) fn curve(load: Load, points: &[(usize, u64)]) -> Curve {
        let step = |&(load, per_second)| {
            let mut tally = Tally { took: Duration::from_secs(1), ..Tally::default() };
            (0..per_second).for_each(|_| tally.latencies.note(Duration::from_millis(load as u64)));
            Step { load, figures: Figures::from(&tally) }
        };
        Curve { load, steps: points.iter().map(step).collect() }
    }

    fn knee(points: &[(usize, u64)]) -> Option<usize> {
        curve(Load::Connections, points).knee().map(|step| step.load)
    }

    #[test]
    fn the_knee_is_the_least_load_with_nine_tenths_of_the_best() {
        assert_eq!(knee(&[(1, 100), (2, 190), (4, 360), (8, 399), (16, 400)]), Some(4));
        assert_eq!(knee(&[(1, 100), (2, 200), (4, 400)]), Some(4), "it still grows");
        assert_eq!(knee(&[(1, 130), (2, 115), (4, 124)]), Some(1), "more is worse");
        assert_eq!(knee(&[(64, 400), (8, 390), (1, 100)]), Some(8), "whatever the order");
        assert_eq!((knee(&[(1, 0), (2, 0)]), knee(&[])), (None, None));
    }

    #[test]
    fn one_of_it_is_singular() {
        assert_eq!([1, 8].map(|number| Load::Sessions.counted(number)), ["1 session", "8 sessions"]);
    }

    #[test]
    fn json_has_the_load_by_its_name() {
        let json = serde_json::to_value(curve(Load::Sessions, &[(1, 10), (2, 20)])).expect("JSON");
        assert_eq!(json["steps"][0]["sessions"], 1);
        assert_eq!((&json["knee"]["sessions"], &json["knee"]["per_second"]), (&2.into(), &20.0.into()));
        assert_eq!(json["knee"]["p999_us"], 2000.0);
    }
}
