//! The figures of an HSM, for people and for programs.

use serde::Serialize;

use crate::bench::{
    curve::{Curve, Load, Step},
    plot::{self, Chart},
    table,
};

/// The figures of an HSM.
#[derive(Serialize)]
pub struct Report {
    pub(super) hsm: String,
    pub(super) bytes: u16,
    /// Calls under way while the number of sessions grew.
    pub(super) saturating_calls: usize,
    pub(super) operations: Vec<Measured>,
    /// Operations that were asked for, or all, and that the HSM cannot do.
    pub(super) unsupported: Vec<String>,
    /// The number of sessions in the configuration.
    pub(super) configured_sessions: usize,
    /// The number beyond which nothing is gained.
    pub(super) sessions: usize,
}

/// The figures of one operation.
#[derive(Serialize)]
pub(super) struct Measured {
    pub(super) operation: String,
    pub(super) by_sessions: Curve,
    pub(super) by_calls: Curve,
}

impl Report {
    /// For people: tables, and what to do.
    pub fn table(&self) -> String {
        let each = self.operations.iter().map(|Measured { operation, by_sessions, by_calls }| {
            let saturated = format!("{operation}, {} calls under way", self.saturating_calls);
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
            saturating_calls: 64,
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
