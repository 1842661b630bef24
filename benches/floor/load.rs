//! The load: connections that each send one request, read the answer, and send it again.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{Outcome, cpu};

/// Before anything is counted: caches get warm.
const WARM_UP: Duration = Duration::from_millis(200);
/// The longest list is of a thousand keys.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

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
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(Connection::open(plan.address).await?);
    }
    connections = together(connections, &plan.request, WARM_UP).await?.0;
    let (cpu, began) = (cpu::of(plan.pid)?, Instant::now());
    let (connections, mut latencies) = together(connections, &plan.request, plan.time).await?;
    let (took, cpu) = (began.elapsed(), cpu::of(plan.pid)?.saturating_sub(cpu));
    latencies.sort_unstable();
    let at = |quantile: f64| {
        let index = (latencies.len() as f64 * quantile) as usize;
        latencies.get(index.min(latencies.len() - 1)).map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let requests = latencies.len() as u64;
    let figures = Figures {
        requests,
        per_second: requests as f64 / took.as_secs_f64(),
        p50_us: at(0.5),
        p99_us: at(0.99),
        cpu_us: cpu.as_secs_f64() * 1e6 / requests as f64,
    };
    Ok(Measured { figures, last_body: connections.first().map(Connection::body).unwrap_or_default() })
}

/// All connections at once, for `time`; answers them, and how long each request took.
async fn together(
    connections: Vec<Connection>,
    request: &Arc<[u8]>,
    time: Duration,
) -> Outcome<(Vec<Connection>, Vec<Duration>)> {
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let request = Arc::clone(request);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut now = Instant::now();
            while now < until {
                connection.ask(&request).await.map_err(|error| error.to_string())?;
                let then = std::mem::replace(&mut now, Instant::now());
                latencies.push(now - then);
            }
            Ok::<_, String>((connection, latencies))
        });
    }
    let (mut connections, mut latencies) = (Vec::new(), Vec::new());
    while let Some(done) = tasks.join_next().await {
        let (connection, mut its) = done??;
        connections.push(connection);
        latencies.append(&mut its);
    }
    Ok((connections, latencies))
}

/// A connection, with the answer it read last.
pub struct Connection {
    stream: TcpStream,
    buffer: Box<[u8]>,
    body: std::ops::Range<usize>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; MAX_ANSWER_BYTES].into(), body: 0..0 })
    }

    /// Sends a request and reads the whole answer, which must be 200.
    pub async fn ask(&mut self, request: &[u8]) -> Outcome<()> {
        self.stream.write_all(request).await?;
        let (mut filled, mut whole) = (0, None);
        while whole.is_none_or(|whole| filled < whole) {
            let read = self.stream.read(self.buffer.get_mut(filled..).unwrap_or_default()).await?;
            if read == 0 {
                return Err("the server hung up".into());
            }
            filled += read;
            if whole.is_none() {
                whole = self.read_head(filled)?;
            }
        }
        Ok(())
    }

    pub fn body(&self) -> Vec<u8> {
        self.buffer.get(self.body.clone()).unwrap_or_default().to_vec()
    }

    /// Where the answer ends, once its head is there.
    fn read_head(&mut self, filled: usize) -> Outcome<Option<usize>> {
        let answer = self.buffer.get(..filled).unwrap_or_default();
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(answer.get(..end).unwrap_or_default())?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(String::from_utf8_lossy(answer).into_owned().into());
        }
        let is_length = |name: &str| name.eq_ignore_ascii_case("content-length");
        let lengths = head.lines().filter_map(|line| line.split_once(": ").filter(|(name, _)| is_length(name)));
        let length = lengths.map(|(_, length)| length).next();
        self.body = end + 4..end + 4 + length.ok_or("no content-length")?.parse::<usize>()?;
        Ok(Some(self.body.end))
    }
}
