//! A curve as a table for people.

use std::fmt::Write;

use super::curve::{Curve, Figures, Step};
use crate::cli::table::figures;

/// A table with a line for each load, the knee marked, and the errors under it.
pub(super) fn of(title: &str, curve: &Curve) -> String {
    let load = curve.load.name().to_uppercase();
    let knee = curve.knee().map(|step| step.load);
    let row = |step: &Step| {
        let Figures { per_second, p50_us, p90_us, p99_us, p999_us, .. } = step.figures;
        let mark = if Some(step.load) == knee { "knee" } else { "" };
        let times = [p50_us, p90_us, p99_us, p999_us].map(time);
        let [p50, p90, p99, p999] = times;
        let (failed, rate) = (step.figures.failed().to_string(), rate(per_second));
        [step.load.to_string(), rate, p50, p90, p99, p999, failed, mark.to_owned()]
    };
    let header = [&load, "PER SECOND", "P50", "P90", "P99", "P99.9", "ERRORS", ""];
    let mut text = format!("{title}\n{}", figures(header, curve.steps.iter().map(row).collect()));
    for step in &curve.steps {
        for (name, count) in &step.figures.errors {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{}: {count} × {name}", curve.load.counted(step.load));
        }
    }
    text
}

/// A throughput, with its thousands set apart.
pub(super) fn rate(per_second: f64) -> String {
    let digits = format!("{:.0}", per_second);
    if per_second < 10.0 {
        return format!("{per_second:.1}");
    }
    let first = digits.len() % 3;
    let groups = (first > 0).then_some((0, first)).into_iter();
    let groups = groups.chain((first..digits.len()).step_by(3).map(|at| (at, at + 3)));
    groups.filter_map(|(from, to)| digits.get(from..to)).collect::<Vec<_>>().join(",")
}

/// A time in the unit that suits it, with three digits.
pub(super) fn time(us: f64) -> String {
    let (value, unit) = match us {
        us if us < 1e3 => (us, "µs"),
        us if us < 1e6 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::curve::{Load, tests::curve};

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!(
            [0.5, 9.96, 12.4, 999.0, 1000.0, 134_696.2].map(rate),
            ["0.5", "10.0", "12", "999", "1,000", "134,696"]
        );
        let times = [7.25, 64.04, 439.0, 1_734.0, 17_000.0, 2_000_000.0].map(time);
        assert_eq!(times, ["7.25 µs", "64.0 µs", "439 µs", "1.73 ms", "17.0 ms", "2.00 s"]);
    }

    #[test]
    fn the_table_marks_the_knee_and_counts_errors_by_name() {
        let mut curve = curve(Load::Connections, &[(1, 100), (8, 2000)]);
        curve.steps[1].figures.errors.insert("ThrottlingException".to_owned(), 3);
        let text = of("Encrypt", &curve);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>().join(" "),
            "CONNECTIONS PER SECOND P50 P90 P99 P99.9 ERRORS"
        );
        assert!(lines[3].contains("2,000") && lines[3].contains("8.00 ms") && lines[3].ends_with("3  knee"), "{text}");
        assert_eq!(lines[4], "8 connections: 3 × ThrottlingException");
    }
}
