//! A client that does what no SDK would: every byte and every pause is the test's.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use strongroom::clock::{Clock, SystemClock};

use crate::server::{Credentials, REGION, Server};

/// How long an answer may take. Far more than any should.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request, to be changed and sent.
#[derive(Clone)]
pub struct Request {
    pub version: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A signed request of an operation.
    pub fn signed(address: SocketAddr, credentials: &Credentials, operation: &str, body: &Value) -> Self {
        Self::signed_bytes(address, credentials, operation, body.to_string().into_bytes())
    }

    /// A signed request with any body.
    pub fn signed_bytes(address: SocketAddr, credentials: &Credentials, operation: &str, body: Vec<u8>) -> Self {
        let date = SystemClock.now().basic_iso8601();
        let target = format!("TrentService.{operation}");
        let content_type = "application/x-amz-json-1.1";
        let names = "content-type;host;x-amz-date;x-amz-target";
        let canonical = format!(
            "POST\n/\n\ncontent-type:{content_type}\nhost:{address}\nx-amz-date:{date}\nx-amz-target:{target}\n\n{names}\n{}",
            hex(&Sha256::digest(&body))
        );
        let scope = format!("{}/{REGION}/kms/aws4_request", &date[..8]);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let start = format!("AWS4{}", credentials.secret).into_bytes();
        let key = scope.split('/').fold(start, |key, part| hmac(&key, part));
        let signature = hex(&hmac(&key, &to_sign));
        let id = &credentials.id;
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        let headers = [
            ("Host", address.to_string()),
            ("Content-Type", content_type.to_owned()),
            ("X-Amz-Date", date),
            ("X-Amz-Target", target),
            ("Authorization", authorization),
        ];
        Self { version: "HTTP/1.1", headers: headers.map(|(name, value)| (name.to_owned(), value)).into(), body }
    }

    /// A header more.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Over HTTP/1.0.
    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// The head as written, without the length of the body.
    pub fn head(&self) -> String {
        let mut head = format!("POST / {}\r\n", self.version);
        self.headers.iter().for_each(|(name, value)| write!(head, "{name}: {value}\r\n").unwrap());
        head + "\r\n"
    }

    /// The whole request.
    pub fn bytes(&self) -> Vec<u8> {
        let request = self.clone().with("Content-Length", self.body.len());
        [request.head().as_bytes(), &self.body].concat()
    }

    /// The whole request, its body in chunks of `size`.
    pub fn chunked_bytes(&self, size: usize) -> Vec<u8> {
        let mut bytes = self.clone().with("Transfer-Encoding", "chunked").head().into_bytes();
        bytes.extend(chunks(&self.body, size));
        bytes
    }
}

/// A body in chunks.
pub fn chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(size) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The exception's name.
    pub fn exception(&self) -> String {
        self.json()["__type"].as_str().unwrap().to_owned()
    }

    /// The request id.
    pub fn request_id(&self) -> &str {
        &self.headers["x-amzn-requestid"]
    }
}

/// Anything that bytes go through.
pub trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// A connection.
pub struct Connection<S: Stream = TcpStream>(pub BufReader<S>);

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
    }

    /// Connects, if somebody listens.
    pub fn try_open(address: SocketAddr) -> Option<Self> {
        TcpStream::connect_timeout(&address, PATIENCE).ok().map(Self::over)
    }

    /// Connects from an address of this host.
    pub fn open_from(source: IpAddr, address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((source, 0).into()).unwrap();
            socket.connect(address).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// How long until the server closes the connection; what it says before is not looked at.
    pub fn closed_after(mut self) -> Duration {
        let began = Instant::now();
        match self.0.read_to_end(&mut Vec::new()) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the server did not close the connection: {error}"),
        }
        began.elapsed()
    }
}

impl<S: Stream> Connection<S> {
    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.get_mut().write_all(bytes).unwrap();
        self.0.get_mut().flush().unwrap();
        self
    }

    /// Sends bytes to somebody who may have closed already; whether it worked.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.0.get_mut().write_all(bytes).is_ok()
    }

    /// Reads an answer.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// Reads an answer; `None` if the connection was closed instead.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).unwrap_or_else(|| panic!("{status}")).parse().unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            let before = headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            assert_eq!(before, None, "{name} is there twice");
        }
        let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).ok()?;
        Some(Answer { status, headers, body })
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// Whether the server has nothing more to say and closes.
    pub fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

impl Server {
    /// A request of the administrator.
    pub fn request(&self, operation: &str, body: &Value) -> Request {
        Request::signed(self.address(), &self.administrator(), operation, body)
    }

    /// A call of the administrator on a connection of its own.
    pub fn call(&self, operation: &str, body: &Value) -> Answer {
        Connection::open(self.address()).send(&self.request(operation, body).bytes()).answer()
    }

    /// What the operator's door says.
    pub fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address());
        let answer = Connection::open(self.address()).send(request.as_bytes()).answer();
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    /// A call that succeeds; its result.
    pub fn done(&self, operation: &str, body: &Value) -> Value {
        let answer = self.call(operation, body);
        assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// A new key's id.
    pub fn new_key(&self) -> String {
        self.done("CreateKey", &serde_json::json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
