//! A chart as SVG elements.

use std::fmt::{self, Write};

use super::{CHART, Chart, Line, Quantity, scale::Scale};
use crate::bench::table::{rate, time};

/// The edges of the area of the lines, in pixels from the chart's own.
const LEFT: f64 = 74.0;
const RIGHT: f64 = CHART.0 - 18.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = CHART.1 - 48.0;

/// The line of the names of lines, and the room for one of them.
const LEGEND: (f64, f64) = (54.0, 76.0);

const GRID: &str = "#e4e4e4";
const QUIET: &str = "#555";

/// The elements of a chart.
pub(super) fn chart(chart: &Chart) -> String {
    let axes = Axes::of(chart);
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = write_head(&mut out, chart)
        .and_then(|()| axes.write(&mut out, chart))
        .and_then(|()| axes.write_knee(&mut out, chart))
        .and_then(|()| chart.lines.iter().try_for_each(|line| axes.write_line(&mut out, chart, line)))
        .and_then(|()| write_legend(&mut out, &chart.lines));
    out
}

/// Text that is not read as markup.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn write_head(out: &mut String, chart: &Chart) -> fmt::Result {
    let (title, note) = (escaped(&chart.title), escaped(&chart.note));
    writeln!(out, "<text x=\"{LEFT}\" y=\"16\" font-size=\"14\" font-weight=\"600\">{title}</text>")?;
    writeln!(out, "<text x=\"{LEFT}\" y=\"35\" fill=\"{QUIET}\">{note}</text>")
}

struct Axes {
    x: Scale,
    y: Scale,
}

impl Axes {
    fn of(chart: &Chart) -> Self {
        let first = chart.lines.iter().take(1).flat_map(|line| &line.points);
        let loads: Vec<usize> = first.map(|(load, _)| *load).collect();
        let values: Vec<f64> = chart.lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value).collect();
        let y = match chart.y {
            Quantity::PerSecond => Scale::from_zero(&values),
            Quantity::Latency => Scale::logarithmic(&values),
        };
        Self { x: Scale::of_loads(&loads), y }
    }

    fn x(&self, load: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * self.x.at(load)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * self.y.at(value)
    }

    fn write(&self, out: &mut String, chart: &Chart) -> fmt::Result {
        for &tick in &self.y.ticks {
            let (y, text) = (self.y(tick), tick_text(chart.y, tick));
            writeln!(out, "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"{GRID}\"/>")?;
            let (x, y) = (LEFT - 8.0, y + 4.0);
            writeln!(out, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"{QUIET}\">{text}</text>")?;
        }
        for &tick in &self.x.ticks {
            let (x, y) = (self.x(tick), BOTTOM + 18.0);
            writeln!(out, "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"{GRID}\"/>")?;
            writeln!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"{QUIET}\">{tick}</text>")?;
        }
        writeln!(out, "<path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" fill=\"none\" stroke=\"#000\"/>")?;
        let (middle, below, height) = ((LEFT + RIGHT) / 2.0, BOTTOM + 38.0, (TOP + BOTTOM) / 2.0);
        writeln!(out, "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", chart.load.name())?;
        let unit = match chart.y {
            Quantity::PerSecond => "per second",
            Quantity::Latency => "latency",
        };
        writeln!(out, "<text transform=\"translate(16,{height}) rotate(-90)\" text-anchor=\"middle\">{unit}</text>")
    }

    fn write_knee(&self, out: &mut String, chart: &Chart) -> fmt::Result {
        let Some(knee) = chart.knee else { return Ok(()) };
        let x = self.x(knee as f64);
        writeln!(out, "<path d=\"M{x:.1} {TOP}V{BOTTOM}\" stroke=\"#000\" stroke-dasharray=\"5 4\"/>")?;
        let (y, to_the_left) = (BOTTOM - 8.0, x > RIGHT - 40.0);
        let (x, anchor) = if to_the_left { (x - 5.0, "end") } else { (x + 5.0, "start") };
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">knee</text>")
    }

    fn write_line(&self, out: &mut String, chart: &Chart, line: &Line) -> fmt::Result {
        let Line { name, colour, points } = line;
        let places: Vec<(f64, f64)> =
            points.iter().map(|(load, value)| (self.x(*load as f64), self.y(*value))).collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        )?;
        for ((x, y), (load, value)) in places.iter().zip(points) {
            let text = match chart.y {
                Quantity::PerSecond => format!("{}: {}/s", chart.load.counted(*load), rate(*value)),
                Quantity::Latency => format!("{}: {name} {}", chart.load.counted(*load), time(*value)),
            };
            writeln!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"><title>{text}</title></circle>"
            )?;
        }
        Ok(())
    }
}

/// The names of the lines, if there are several, above them.
fn write_legend(out: &mut String, lines: &[Line]) -> fmt::Result {
    if lines.len() < 2 {
        return Ok(());
    }
    let (y, width) = LEGEND;
    for (place, Line { name, colour, .. }) in lines.iter().enumerate() {
        let x = LEFT + width * place as f64;
        let (to, text, middle) = (x + 20.0, x + 25.0, y - 4.0);
        writeln!(out, "<path d=\"M{x} {middle}H{to}\" stroke=\"{colour}\" stroke-width=\"2\"/>")?;
        writeln!(out, "<text x=\"{text}\" y=\"{y}\">{name}</text>")?;
    }
    Ok(())
}

/// A value of an axis, short.
fn tick_text(quantity: Quantity, tick: f64) -> String {
    if quantity == Quantity::PerSecond {
        return if tick == 0.0 { "0".to_owned() } else { rate(tick) };
    }
    let (value, unit) = match tick {
        us if us < 999.0 => (us, "µs"),
        us if us < 999e3 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    // Powers of ten are not exact.
    format!("{} {unit}", (value * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short_and_markup_is_text() {
        let latencies = [0.5, 200.0, 1_000.000_1, 50_000.0, 2e6].map(|us| tick_text(Quantity::Latency, us));
        assert_eq!(latencies, ["0.5 µs", "200 µs", "1 ms", "50 ms", "2 s"]);
        assert_eq!([0.0, 10_000.0].map(|rate| tick_text(Quantity::PerSecond, rate)), ["0", "10,000"]);
        assert_eq!(escaped("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
    }
}
