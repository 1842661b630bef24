//! The figures of a server, for people and for programs.

use serde::Serialize;

use crate::bench::{
    curve::Curve,
    plot::{self, Chart},
    table,
};

/// The figures of a server.
#[derive(Serialize)]
pub struct Report {
    pub(super) endpoint: String,
    pub(super) region: String,
    pub(super) bytes: u16,
    pub(super) operations: Vec<Measured>,
    /// Keys that were made for this; their deletion is scheduled.
    pub(super) scheduled_for_deletion: Vec<String>,
}

/// The figures of one operation.
#[derive(Serialize)]
pub(super) struct Measured {
    pub(super) operation: String,
    pub(super) key: Option<String>,
    #[serde(flatten)]
    pub(super) curve: Curve,
}

impl Report {
    /// For people: a table for each operation.
    pub fn table(&self) -> String {
        let each = self
            .operations
            .iter()
            .map(|measured| table::of(&format!("{}, {} bytes", measured.operation, self.bytes), &measured.curve));
        let tables = each.collect::<Vec<_>>().join("\n");
        match self.scheduled_for_deletion.as_slice() {
            [] => tables,
            keys => format!("{tables}\nMade for this, and scheduled for deletion: {}\n", keys.join(", ")),
        }
    }

    /// A picture: throughput and latency of each operation by connections.
    pub fn plot(&self) -> String {
        let charts = self.operations.iter().flat_map(|measured| {
            [
                Chart::throughput(&measured.operation, &measured.curve),
                Chart::latency(&measured.operation, &measured.curve),
            ]
        });
        let title = format!("strongroom bench: {} bytes, {}", self.bytes, self.endpoint);
        plot::svg(&title, &charts.collect::<Vec<_>>())
    }
}
