//! Measures how much a deployment does, and how fast: `strongroom bench` drives a server that runs, `strongroom hsm bench` an HSM
//! alone.
//!
//! ```text
//! server/     AWS clients: signed requests over connections that are kept     → strongroom bench
//! hsm/        commands of `hsm::command`, by one and by several sessions      → strongroom hsm bench
//! load        callers, each of which asks again as soon as it is answered
//! latencies   the time that each call took, and percentiles of it
//! curve       figures by load, and the knee
//! table, plot what people see; progress is what they see meanwhile
//! ```
//!
//! The load is a closed one: so many calls are under way, never more. Latencies are of calls that succeeded; there is no time
//! between an answer and the next call, so throughput × mean latency is the number of callers.

mod curve;
pub mod hsm;
mod latencies;
mod load;
mod plot;
mod progress;
pub mod server;
mod table;

pub use self::{
    curve::Figures,
    load::{Caller, Tally, run},
    plot::PlotFile,
};
