//! `strongroom bench`: a server under the load of more and more connections.

mod caller;
mod client;
mod connection;
mod endpoint;
mod keys;
mod report;
mod request;
mod workload;

use std::{sync::Arc, time::Duration};

pub use self::{caller::ServerCaller, connection::Connection, endpoint::Endpoint, report::Report, request::Sender};
use self::{client::Client, keys::Keys, report::Measured};
use super::{
    curve::{Curve, Figures, Load, Step},
    load,
    progress::Progress,
};
use crate::{
    cli::bench::{BenchArgs, BenchOperation},
    server::ExitError,
};

/// Before anything is counted: caches get warm, and connections are accepted.
const WARM_UP: Duration = Duration::from_millis(200);

/// Measures the server that the arguments name. Keys that are made for it are scheduled for deletion also if it fails or is
/// interrupted.
///
/// # Errors
/// If it cannot be called, or the first call of an operation fails.
pub async fn measure(arguments: &BenchArgs) -> Result<Report, ExitError> {
    let client = Client::of(arguments).map_err(ExitError::new)?;
    let mut keys = Keys::named(&client, arguments.key.as_deref()).await.map_err(ExitError::new)?;
    let measured = tokio::select! {
        measured = every_operation(&client, arguments, &mut keys) => measured,
        _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
    };
    let (operations, scheduled_for_deletion) = match (measured, keys.schedule_deletion(&client).await) {
        (Ok(operations), Ok(scheduled)) => (operations, scheduled),
        (Err(one), Err(other)) => return Err(ExitError::new(format!("{one}; {other}"))),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => return Err(ExitError::new(error)),
    };
    let (endpoint, region, bytes) = (client.url, client.region, arguments.bytes);
    Ok(Report { endpoint, region, bytes, operations, scheduled_for_deletion })
}

async fn every_operation(client: &Client, arguments: &BenchArgs, keys: &mut Keys) -> Result<Vec<Measured>, String> {
    let mut progress = Progress::of(arguments.operations.len() * arguments.connections.len());
    let mut measured = Vec::new();
    for operation in &arguments.operations {
        measured.push(one_operation(client, arguments, *operation, keys, &mut progress).await?);
    }
    Ok(measured)
}

async fn one_operation(
    client: &Client,
    arguments: &BenchArgs,
    operation: BenchOperation,
    keys: &mut Keys,
    progress: &mut Progress,
) -> Result<Measured, String> {
    let key = keys.key_for(client, operation).await?;
    let name = operation.name();
    let body = workload::body(client, operation, key.as_deref(), arguments.bytes).await?;
    // What is refused from the beginning is not worth a load.
    client.ask(&name, &body).await?;
    let mut steps = Vec::new();
    for connections in arguments.connections.iter().map(|number| usize::from(*number)) {
        progress.begin(&format!("{name}, {}", Load::Connections.counted(connections)));
        let request = client.sign(&name, &body).into();
        let figures = step(&client.endpoint, &request, connections, arguments.output.seconds).await?;
        steps.push(Step { load: connections, figures });
    }
    let key = key.map(|key| key.id.clone());
    Ok(Measured { operation: name, key, curve: Curve { load: Load::Connections, steps } })
}

/// One request over so many connections, for this time.
async fn step(endpoint: &Endpoint, request: &Arc<[u8]>, connections: usize, time: Duration) -> Result<Figures, String> {
    let callers = ServerCaller::several(connections, endpoint, request);
    let (callers, _) = load::run(callers, WARM_UP).await.map_err(|error| error.to_string())?;
    let (_, tally) = load::run(callers, time).await.map_err(|error| error.to_string())?;
    Ok(Figures::from(&tally))
}
