//! Connections that ask nothing, and a limit of open files: neither takes from the HSM and the database what they need.

use std::{
    fs,
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::{Value, json};

use crate::{
    server::{Server, within},
    wire::Connection,
};

/// More than any test takes: who leaves before has been made to.
const PATIENCE_MS: u64 = 120_000;
const IDLE: usize = 5_000;
const AT_ONCE: Duration = Duration::from_secs(1);

fn server() -> Server {
    Server::new().with("STRONGROOM__LIMITS__HEADER_TIMEOUT_MS", PATIENCE_MS)
}

/// Connections that say nothing.
fn crowd(server: &Server, size: usize) -> Vec<TcpStream> {
    (0..size).map(|_| TcpStream::connect(server.address()).unwrap()).collect()
}

/// A client with a connection of its own.
struct Client<'a> {
    server: &'a Server,
    connection: Connection,
    slowest: Duration,
}

impl<'a> Client<'a> {
    fn of(server: &'a Server) -> Self {
        Self { server, connection: Connection::open(server.address()), slowest: Duration::ZERO }
    }

    fn done(&mut self, operation: &str, body: &Value) -> Value {
        let began = Instant::now();
        let answer = self.connection.send(&self.server.request(operation, body).bytes()).answer();
        self.slowest = self.slowest.max(began.elapsed());
        assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    fn new_key(&mut self) -> String {
        self.done("CreateKey", &json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
    }

    fn seal(&mut self, key: &str) -> Value {
        self.done("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}))["CiphertextBlob"].clone()
    }

    fn assert_opens(&mut self, blob: &Value) {
        assert_eq!(self.done("Decrypt", &json!({"CiphertextBlob": blob}))["Plaintext"], "eA==");
    }
}

/// How many files a process has open; `None` if that is not for us to see, which takes root.
fn files_of(pid: u32) -> Option<usize> {
    fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count)
}

/// The worker process of the server's HSM.
fn worker_of(server: &Server) -> Option<u32> {
    let threads = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let children = threads.flatten().map(|thread| fs::read_to_string(thread.path().join("children")));
    children.flatten().find_map(|pids| pids.split_whitespace().next()?.parse().ok())
}

fn assert_has_few_files(worker: u32) {
    if let Some(files) = files_of(worker) {
        println!("the worker process has {files} files open");
        assert!(files < 32, "the worker process has {files} files open");
    }
}

#[test]
fn five_thousand_idle_connections_disturb_nobody() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    assert!(maximum.is_none_or(|limit| limit > IDLE as u64 + 1000), "the hard limit of open files is {maximum:?}");
    let mut server = server();
    server.start();
    let mut client = Client::of(&server);
    let key = client.new_key();
    let began = Instant::now();
    let idle = crowd(&server, IDLE);
    println!("{IDLE} connections opened in {:?}", began.elapsed());
    let pid = server.pid();
    assert!(within(Duration::from_secs(20), || files_of(pid).is_none_or(|files| files > IDLE)), "not all are let in");

    client.slowest = Duration::ZERO;
    for _ in 0..50 {
        let blob = client.seal(&key);
        client.assert_opens(&blob);
    }
    client.new_key();
    let mut newcomer = Client::of(&server);
    newcomer.seal(&key);
    println!("beside them, the slowest call took {:?}, and that of a newcomer {:?}", client.slowest, newcomer.slowest);
    assert!(client.slowest < AT_ONCE && newcomer.slowest < AT_ONCE);
    assert!(files_of(pid).is_none_or(|files| files > IDLE), "somebody was made to leave");
    assert_has_few_files(worker_of(&server).expect("a worker process"));
    drop(idle);
}

#[test]
fn a_crowd_at_the_limit_of_open_files_takes_nothing_from_the_hsm_and_the_database() {
    let mut server = server().with_files(128);
    server.start();
    let told = || server.stderr().matches("fewer connections than limits.connections says").count();
    assert!(within(AT_ONCE, || told() == 1), "{}", server.stderr());
    let mut client = Client::of(&server);
    let key = client.new_key();
    let before = client.seal(&key);

    let idle = crowd(&server, 300);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let key = client.new_key();
        let blob = client.seal(&key);
        client.assert_opens(&blob);
        client.assert_opens(&before);
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "at the limit, {:?} files were open, and the slowest call took {:?}",
        files_of(server.pid()),
        client.slowest
    );

    // With all connections taken there is still what a new worker process needs.
    let first = worker_of(&server).expect("a worker process");
    kill_process(Pid::from_raw(first.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
    let decrypt = server.request("Decrypt", &json!({"CiphertextBlob": before})).bytes();
    let serves = || client.connection.send(&decrypt).answer().status == 200;
    assert!(within(Duration::from_secs(20), serves), "no worker process came in place of the first");
    let second = worker_of(&server).expect("a worker process");
    assert_ne!(first, second);
    assert_has_few_files(second);

    let mut newcomer = Client::of(&server);
    newcomer.assert_opens(&before);
    println!("a newcomer behind the crowd was served after {:?}", newcomer.slowest);
    assert!(newcomer.slowest < Duration::from_secs(15), "{:?}", newcomer.slowest);
    drop(idle);
    let mut after = Client::of(&server);
    after.assert_opens(&before);
    let key = after.new_key();
    let blob = after.seal(&key);
    after.assert_opens(&blob);
}

#[test]
fn at_the_limit_a_newcomer_is_let_in_for_the_one_that_was_idle_longest() {
    let mut server = server().with("STRONGROOM__LIMITS__CONNECTIONS", 8);
    server.start();
    let key = server.new_key();
    let idle = crowd(&server, 24);
    let mut newcomer = Client::of(&server);
    let began = Instant::now();
    newcomer.seal(&key);
    println!("a newcomer was served after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    drop(idle);
}
