//! The floor of HTTP: axum behind the same accept loop and the same hyper settings as Strongroom's, that reads a body
//! and answers as many bytes as the path says.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Request, Response, Uri, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service as _;

use crate::Outcome;

const ANSWER: &[u8] = &[b'x'; 16 * 1024];

/// The echo server in a process of its own.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn start() -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg("echo").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        Ok(Self { address: line.trim().parse()?, child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the process does.
pub fn serve() -> Outcome<()> {
    let runtime = strongroom::server::runtime().map_err(|error| error.text)?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        let app = Router::new().fallback(answer);
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(converse(stream, app.clone()));
        }
    })
}

async fn converse(stream: TcpStream, app: Router) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| app.clone().call(request.map(Body::new)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_buf_size(32 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    // The load generator hangs up when it has measured enough.
    let _ = connection.await;
}

async fn answer(uri: Uri, _body: Bytes) -> Response<Body> {
    let length = uri.path().trim_start_matches('/').parse().unwrap_or(0);
    let mut response = Response::new(Body::from(ANSWER.get(..length).unwrap_or_default()));
    let json = HeaderValue::from_static("application/x-amz-json-1.1");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
