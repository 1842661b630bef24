//! The load of `strongroom bench`, and the CPU time that it costs a server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::Serialize;
use strongroom::bench::{
    self,
    server::{Connection, Endpoint, ServerCaller},
};

use crate::{Outcome, cpu};

/// Before anything is counted: caches get warm.
const WARM_UP: Duration = Duration::from_millis(200);

/// One cell of the table.
pub struct Plan {
    pub address: SocketAddr,
    /// The server, whose CPU time is counted.
    pub pid: u32,
    /// The request as it goes over the wire.
    pub request: Arc<[u8]>,
    pub connections: usize,
    pub time: Duration,
}

/// What was measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Figures {
    pub requests: u64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// CPU time of the server, per request.
    pub cpu_us: f64,
}

pub struct Measured {
    pub figures: Figures,
    /// The body of one of the answers.
    pub last_body: Vec<u8>,
}

/// Runs one cell. An answer other than 200 ends it with an error.
pub async fn run(plan: Plan) -> Outcome<Measured> {
    let callers = ServerCaller::several(plan.connections, &endpoint(plan.address)?, &plan.request);
    let (callers, warm_up) = bench::run(callers, WARM_UP).await?;
    let before = cpu::of(plan.pid)?;
    let (callers, tally) = bench::run(callers, plan.time).await?;
    let cpu = cpu::of(plan.pid)?.saturating_sub(before);
    if let Some(error) = warm_up.errors.keys().chain(tally.errors.keys()).next() {
        return Err(error.clone().into());
    }
    let bench::Figures { requests, per_second, p50_us, p99_us, .. } = bench::Figures::from(&tally);
    let figures = Figures { requests, per_second, p50_us, p99_us, cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64 };
    Ok(Measured { figures, last_body: callers.first().map(|caller| caller.last_body().to_vec()).unwrap_or_default() })
}

/// Asks once, and answers the body. An answer other than 200 is an error.
pub async fn ask(address: SocketAddr, request: &[u8]) -> Outcome<Vec<u8>> {
    let mut connection = Connection::to(&endpoint(address)?);
    match connection.ask(request).await? {
        200 => Ok(connection.body().to_vec()),
        _ => Err(String::from_utf8_lossy(connection.body()).into_owned().into()),
    }
}

fn endpoint(address: SocketAddr) -> Outcome<Endpoint> {
    Ok(Endpoint::parse(&format!("http://{address}"), None)?)
}
