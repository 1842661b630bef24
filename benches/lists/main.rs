//! What a deployment of many keys costs: its start, its memory, its lists, using one key among them, and making another.
//!
//! The keys are copies of one, put into the database past the service while it is down, each with an alias. Nothing is asserted
//! about time; every answer must be 200, and the lists must have everything.
//!
//! `cargo bench --bench lists -- [KEYS…]`, by default with 100 and 100,000 keys; what the columns mean: `docs/performance.md`.

#[path = "../floor/cpu.rs"]
mod cpu;
mod deployment;
#[path = "../floor/load.rs"]
mod load;

use std::{
    error::Error,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use deployment::{Deployment, Server};
use load::Figures;

/// Anything that goes wrong ends the run.
type Outcome<T> = Result<T, Box<dyn Error>>;

const CONNECTIONS: [usize; 2] = [1, 8];
/// How long each cell is measured.
const CELL: Duration = Duration::from_millis(1000);

fn main() -> Outcome<()> {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if arguments.is_empty() { vec![100, 100_000] } else { arguments };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for keys in sizes {
            measure(keys).await?;
        }
        Ok(())
    })
}

async fn measure(keys: usize) -> Outcome<()> {
    let deployment = Deployment::of(keys).await?;
    let began = Instant::now();
    let server = deployment.start()?;
    println!("{keys} keys");
    println!("| start | {:.0} ms |", began.elapsed().as_secs_f64() * 1e3);
    let memory = server.memory_kib()?;
    let for_keys = memory.saturating_sub(deployment.memory_of_one_kib);
    println!("| resident memory | {} MiB, {} bytes a key |", memory / 1024, for_keys * 1024 / keys as u64);
    let began = Instant::now();
    let listed = every_key(&server).await?;
    println!("| every key, 1,000 at a time | {:.1} ms |", began.elapsed().as_secs_f64() * 1e3);
    if listed.len() != keys {
        return Err(format!("{} of {keys} keys are listed", listed.len()).into());
    }
    let middle = listed.get(keys / 2).ok_or("no keys")?;
    for (what, operation, request) in requests(&server, middle).await? {
        for connections in CONNECTIONS {
            let plan = load::Plan {
                address: server.address,
                pid: server.pid(),
                request: server.sign(operation, &request).into(),
                connections,
                time: CELL,
            };
            let load::Measured { figures, last_body } = load::run(plan).await?;
            let Figures { per_second, p50_us, p99_us, cpu_us, .. } = figures;
            if serde_json::from_slice::<Value>(&last_body)?.as_object().is_none_or(|answer| answer.is_empty()) {
                return Err(format!("{what}: an empty answer").into());
            }
            println!("| {what} | {connections} | {per_second:.0} | {p50_us:.0} | {p99_us:.0} | {cpu_us:.0} |");
        }
    }
    Ok(())
}

/// The requests that are measured, about a key in the middle of the list, which gets grants.
async fn requests(server: &Server, middle: &str) -> Outcome<Vec<(&'static str, &'static str, Value)>> {
    let aliases = ask(server, "ListAliases", &json!({"KeyId": middle})).await?;
    let alias = &aliases["Aliases"][0]["AliasName"];
    for number in 0..100 {
        let grant = json!({
            "KeyId": middle, "Name": format!("number-{number}"), "Operations": ["Encrypt"],
            "GranteePrincipal": "arn:aws:iam::000000000000:user/grantee",
        });
        ask(server, "CreateGrant", &grant).await?;
    }
    Ok(vec![
        ("ListKeys, 1,000", "ListKeys", json!({"Limit": 1000})),
        ("ListKeys, 100", "ListKeys", json!({"Limit": 100})),
        ("ListAliases, 100", "ListAliases", json!({"Limit": 100})),
        ("ListAliases of a key", "ListAliases", json!({"KeyId": middle})),
        ("DescribeKey by id", "DescribeKey", json!({"KeyId": middle})),
        ("DescribeKey by alias", "DescribeKey", json!({"KeyId": alias})),
        ("GetKeyLastUsage", "GetKeyLastUsage", json!({"KeyId": middle})),
        (
            "Encrypt 32 B",
            "Encrypt",
            json!({"KeyId": middle, "Plaintext": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}),
        ),
        ("ListGrants, 100", "ListGrants", json!({"KeyId": middle, "Limit": 100})),
        ("CreateKey", "CreateKey", json!({})),
    ])
}

async fn every_key(server: &Server) -> Outcome<Vec<String>> {
    let (mut all, mut request) = (Vec::new(), json!({"Limit": 1000}));
    loop {
        let page = ask(server, "ListKeys", &request).await?;
        let keys = page["Keys"].as_array().ok_or("no keys")?;
        all.extend(keys.iter().filter_map(|key| key["KeyId"].as_str().map(str::to_owned)));
        match &page["NextMarker"] {
            Value::Null => return Ok(all),
            marker => request["Marker"] = marker.clone(),
        }
    }
}

async fn ask(server: &Server, operation: &str, request: &Value) -> Outcome<Value> {
    Ok(serde_json::from_slice(&load::ask(server.address, &server.sign(operation, request)).await?)?)
}
