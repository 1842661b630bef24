//! Charts of throughput and latency by load, as one SVG that needs nothing else.
//!
//! The load is on a logarithmic axis, for it doubles from step to step, and so is latency, which differs by powers of ten.
//! Throughput begins at zero.

mod draw;
mod file;
mod scale;

pub use self::file::PlotFile;

use super::{
    curve::{Curve, Figures, Load},
    table::{rate, time},
};

/// Width and height of a chart, in pixels.
const CHART: (f64, f64) = (460.0, 345.0);
/// Charts beside each other.
const COLUMNS: usize = 2;
/// Room for the title of the picture.
const HEAD: f64 = 44.0;

/// Lines over a load.
pub struct Chart {
    title: String,
    load: Load,
    y: Quantity,
    lines: Vec<Line>,
    /// The load at the knee.
    knee: Option<usize>,
    /// The figures at the knee, in words.
    note: String,
}

/// The quantity that a chart shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantity {
    PerSecond,
    /// In microseconds.
    Latency,
}

struct Line {
    name: &'static str,
    /// Colours that are told apart by people who do not see all colours (Okabe and Ito).
    colour: &'static str,
    points: Vec<(usize, f64)>,
}

impl Chart {
    /// The throughput by load.
    pub fn throughput(title: &str, curve: &Curve) -> Self {
        let lines = vec![line("throughput", "#0072b2", curve, |figures| figures.per_second)];
        Self::of(format!("{title}: throughput"), Quantity::PerSecond, curve, lines)
    }

    /// Percentiles of the latency by load.
    pub fn latency(title: &str, curve: &Curve) -> Self {
        let lines = vec![
            line("p99.9", "#d55e00", curve, |figures| figures.p999_us),
            line("p99", "#e69f00", curve, |figures| figures.p99_us),
            line("p90", "#009e73", curve, |figures| figures.p90_us),
            line("p50", "#0072b2", curve, |figures| figures.p50_us),
        ];
        Self::of(format!("{title}: latency"), Quantity::Latency, curve, lines)
    }

    fn of(title: String, y: Quantity, curve: &Curve, lines: Vec<Line>) -> Self {
        let load = curve.load;
        let knee = curve.knee();
        let note = knee.map_or_else(
            || "no call succeeded".to_owned(),
            |step| {
                let Figures { per_second, p99_us, .. } = step.figures;
                format!("knee: {}, {}/s, p99 {}", load.counted(step.load), rate(per_second), time(p99_us))
            },
        );
        Self { title, load, y, lines, knee: knee.map(|step| step.load), note }
    }
}

/// A line of one figure. Where no call succeeded, there is no point.
fn line(name: &'static str, colour: &'static str, curve: &Curve, figure: impl Fn(&Figures) -> f64) -> Line {
    let with_calls = curve.steps.iter().filter(|step| step.figures.requests > 0);
    let mut points: Vec<_> = with_calls.map(|step| (step.load, figure(&step.figures))).collect();
    points.sort_by_key(|(load, _)| *load);
    Line { name, colour, points }
}

/// The charts as a picture, two beside each other.
pub fn svg(title: &str, charts: &[Chart]) -> String {
    let columns = charts.len().clamp(1, COLUMNS);
    let (width, height) = (CHART.0 * columns as f64, HEAD + CHART.1 * charts.len().div_ceil(COLUMNS) as f64);
    let title = draw::escaped(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"16\" font-weight=\"600\">{title}</text>\n"
    );
    for (place, chart) in charts.iter().enumerate() {
        let (x, y) = (CHART.0 * (place % COLUMNS) as f64, HEAD + CHART.1 * (place / COLUMNS) as f64);
        svg += &format!("<g transform=\"translate({x},{y})\">\n{}</g>\n", draw::chart(chart));
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::curve::tests::curve;

    fn picture(points: &[(usize, u64)]) -> String {
        let curve = curve(Load::Connections, points);
        svg("A & B", &[Chart::throughput("Sign", &curve), Chart::latency("Sign", &curve)])
    }

    /// The names of elements that are not closed.
    fn open_elements(svg: &str) -> Vec<&str> {
        let mut open = Vec::new();
        for tag in svg.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name)),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap_or_default()),
            }
        }
        open
    }

    #[test]
    fn a_picture_has_axes_with_units_a_legend_and_the_knee() {
        let svg = picture(&[(1, 100), (8, 900), (64, 950)]);
        assert_eq!(open_elements(&svg), Vec::<&str>::new());
        let said = [
            "A &amp; B",
            "Sign: throughput",
            "Sign: latency",
            "connections",
            "per second",
            "p99.9",
            "knee: 8 connections, 900/s, \
             p99 8.00 ms",
            ">64<",
            ">10 ms<",
        ];
        said.iter().for_each(|text| assert!(svg.contains(text), "{text}: {svg}"));
        assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("href"));
    }

    #[test]
    fn one_load_and_no_call_at_all_can_be_drawn() {
        for points in [&[(4, 100)][..], &[(1, 0), (2, 0)], &[]] {
            let svg = picture(points);
            assert!(open_elements(&svg).is_empty() && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert!(picture(&[(1, 0)]).contains("no call succeeded"));
    }
}
