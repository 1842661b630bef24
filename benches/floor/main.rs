//! How near Strongroom is to the floor: (a bare HTTP server with the same bytes) + (the raw PKCS#11 calls).
//!
//! One run measures all three, each in a process of its own, so that its CPU time is its own and the load generator's is
//! nobody's. Nothing is asserted about time; that every answer was 200, and one of them right, is.
//!
//! `cargo bench --bench floor -- [--quick] [--seconds S] [--only OPERATION] [--connections N] [--json]`; what the columns
//! mean: `docs/performance.md`.

mod client;
mod cpu;
mod echo;
mod load;
mod raw;
mod report;
mod strongroom;

use std::{error::Error, time::Duration};

use client::{Prepared, Workload};
use report::{Cell, Report};

/// Anything that goes wrong ends the run.
type Outcome<T> = Result<T, Box<dyn Error>>;

const CONNECTIONS: [usize; 3] = [1, 8, 64];

/// What was asked for on the command line.
struct Arguments {
    json: bool,
    /// The operations whose names have this in them.
    only: String,
    connections: Vec<usize>,
    /// How long each cell is measured.
    cell: Duration,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo"] => echo::serve(),
        ["raw", seconds, calls] => {
            raw::measure(Duration::from_secs_f64(seconds.parse()?), &serde_json::from_str::<Vec<_>>(calls)?)
        }
        words => measure(&read(words)?),
    }
}

fn read(words: &[&str]) -> Outcome<Arguments> {
    let mut arguments = Arguments {
        json: false,
        only: String::new(),
        connections: CONNECTIONS.to_vec(),
        cell: Duration::from_millis(1500),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        match *word {
            "--quick" => arguments.cell = Duration::from_millis(300),
            "--json" => arguments.json = true,
            "--seconds" => arguments.cell = Duration::from_secs_f64(value()?.parse()?),
            "--only" => arguments.only = (*value()?).to_owned(),
            "--connections" => arguments.connections = vec![value()?.parse()?],
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => return Err(format!("unknown argument {other}").into()),
        }
    }
    Ok(arguments)
}

fn measure(arguments: &Arguments) -> Outcome<()> {
    let workloads: Vec<_> = Workload::ALL.into_iter().filter(|it| it.name().contains(&arguments.only)).collect();
    let raw = raw::in_a_process(arguments.cell, &workloads.iter().map(|it| it.calls()).collect::<Vec<_>>())?;
    let echo = echo::Server::start()?;
    let strongroom = strongroom::Server::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cells = runtime.block_on(async {
        let client = client::Client::new(&strongroom).await?;
        let mut cells = Vec::new();
        for workload in workloads {
            for &connections in &arguments.connections {
                let prepared = client.prepare(workload).await?;
                cells.push(compare(arguments, &client, &prepared, &echo, &strongroom, connections).await?);
                if !arguments.json {
                    eprint!(".");
                }
            }
        }
        Outcome::Ok(cells)
    })?;
    if !arguments.json {
        eprintln!();
    }
    let report = Report { raw, cells };
    if arguments.json {
        println!("{}", report.json())
    } else {
        print!("{}", report.table())
    }
    Ok(())
}

/// The same bytes to both servers, one after the other, so that both meet the machine in the same mood.
async fn compare(
    arguments: &Arguments,
    client: &client::Client,
    prepared: &Prepared,
    echo: &echo::Server,
    strongroom: &strongroom::Server,
    connections: usize,
) -> Outcome<Cell> {
    let run = |address, pid, request: &Prepared| {
        load::run(load::Plan { address, pid, request: request.bytes.clone().into(), connections, time: arguments.cell })
    };
    let of_strongroom = run(strongroom.address, strongroom.pid(), prepared).await?;
    client.check(prepared, &of_strongroom.last_body).await?;
    let of_echo = run(echo.address, echo.pid(), &prepared.for_echo(of_strongroom.last_body.len())).await?;
    Ok(Cell { workload: prepared.workload, connections, echo: of_echo.figures, strongroom: of_strongroom.figures })
}
