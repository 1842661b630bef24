//! What is printed.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json};

use crate::{client::Workload, load::Figures, raw};

/// One operation at one number of connections.
pub struct Cell {
    pub workload: Workload,
    pub connections: usize,
    pub echo: Figures,
    pub strongroom: Figures,
}

pub struct Report {
    pub raw: Vec<raw::Figures>,
    pub cells: Vec<Cell>,
}

/// Strongroom to the floor.
#[derive(Serialize)]
struct Ratio {
    cpu: f64,
    /// Of median latencies; at more connections than one, latency is mostly waiting in line.
    #[serde(skip_serializing_if = "Option::is_none")]
    wall: Option<f64>,
}

impl Report {
    /// The number of sessions that gets most done.
    fn best_raw(&self, workload: Workload) -> Option<&raw::Figures> {
        let of_it = self.raw.iter().filter(|figures| figures.calls == workload.calls());
        of_it.max_by(|a, b| a.per_second.total_cmp(&b.per_second))
    }

    fn ratio(&self, cell: &Cell) -> Option<Ratio> {
        let raw = self.best_raw(cell.workload)?;
        let wall = cell.strongroom.p50_us / (cell.echo.p50_us + raw.p50_us);
        let cpu = cell.strongroom.cpu_us / (cell.echo.cpu_us + raw.cpu_us);
        Some(Ratio { cpu, wall: (cell.connections == 1).then_some(wall) })
    }

    pub fn json(&self) -> Value {
        let cells = self.cells.iter().map(|cell| {
            json!({
                "operation": cell.workload.name(),
                "connections": cell.connections,
                "echo": cell.echo,
                "raw": self.best_raw(cell.workload),
                "strongroom": cell.strongroom,
                "ratio": self.ratio(cell),
            })
        });
        json!({ "raw": self.raw, "cells": cells.collect::<Vec<_>>() })
    }

    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_raw(&mut out).and_then(|()| self.write_cells(&mut out));
        out
    }

    fn write_raw(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\nraw PKCS#11 calls, calls/s (CPU us) by sessions")?;
        for figures in &self.raw {
            if figures.sessions == 1 {
                write!(out, "\n{:<18}", format!("{:?}", figures.calls))?;
            }
            write!(out, "  {} x {:>7.0} ({:>6.1})", figures.sessions, figures.per_second, figures.cpu_us)?;
        }
        writeln!(out)
    }

    fn write_cells(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "\n{:<24} {:>5} | {:>7} {:>7} {:>7} {:>6} | {:>7} {:>6} | {:>7} {:>7} {:>7} {:>6} | {:>5} {:>5}",
            "operation",
            "conns",
            "echo/s",
            "p50",
            "p99",
            "CPU",
            "raw/s",
            "CPU",
            "ours/s",
            "p50",
            "p99",
            "CPU",
            "CPU",
            "wall"
        )?;
        for cell in &self.cells {
            let (raw_per_second, raw_cpu) =
                self.best_raw(cell.workload).map_or((0.0, 0.0), |raw| (raw.per_second, raw.cpu_us));
            write!(out, "{:<24} {:>5} | ", cell.workload.name(), cell.connections)?;
            write_figures(out, &cell.echo)?;
            write!(out, " | {raw_per_second:>7.0} {raw_cpu:>6.1} | ")?;
            write_figures(out, &cell.strongroom)?;
            let ratio = self.ratio(cell);
            let wall = ratio.as_ref().and_then(|ratio| ratio.wall).map_or(String::new(), |wall| format!("{wall:.2}"));
            writeln!(out, " | {:>5.2} {wall:>5}", ratio.map_or(f64::NAN, |ratio| ratio.cpu))?;
        }
        writeln!(
            out,
            "\ntimes in us; CPU is of the server with its worker process, per request; the last two columns are ours/(echo + raw)"
        )
    }
}

fn write_figures(out: &mut String, figures: &Figures) -> std::fmt::Result {
    let Figures { per_second, p50_us, p99_us, cpu_us, .. } = figures;
    write!(out, "{per_second:>7.0} {p50_us:>7.0} {p99_us:>7.0} {cpu_us:>6.1}")
}
