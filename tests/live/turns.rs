//! One principal has far more changes made than the store can write. Another, who wants few, waits for their turn and no longer.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    server::{ACCOUNT, Credentials, Server, credentials, exports, within},
    wire::{Connection, Request},
};

const CONNECTIONS: usize = 1200;
/// With `STRONGROOM_ALL=1` twenty times as many.
const CALLS: usize = 5;
const SOON: Duration = Duration::from_secs(60);
/// How long nine in ten changes of somebody who wants few may take at most, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the flood's clients wait when they are refused, as SDKs do. Else it would be a flood of refusals.
const BACK_OFF: Duration = Duration::from_secs(1);
/// What a call of the flood may come to: it is done, or one too many, or the machine is so busy that the store was not read in time.
const EXPECTED: [&str; 3] = ["", "ThrottlingException", "ServiceUnavailableException"];

/// What became of the flood's calls, by exception; "" is done.
type Outcomes = Arc<Mutex<BTreeMap<String, usize>>>;

/// A principal who may do everything, and an access key of theirs.
fn principal(server: &Server, name: &str) -> Credentials {
    server.printed(&["principal", "create", "--name", name]);
    let policy = server.root().join("all.json");
    let all = json!({"Effect": "Allow", "Action": "kms:*", "Resource": "*"});
    fs::write(&policy, json!({"Version": "2012-10-17", "Statement": [all]}).to_string()).unwrap();
    server.printed(&["principal", "attach-policy", "--name", name, "--policy", policy.to_str().unwrap()]);
    let made = credentials(&exports(&server.printed(&["access-key", "create", "--principal", name])));
    let list = || Request::signed(server.address(), &made, "ListKeys", &json!({})).bytes();
    assert!(within(SOON, || Connection::open(server.address()).send(&list()).answer().status == 200));
    made
}

/// One connection of the flood: policy after policy.
async fn put_policies(address: SocketAddr, hers: Credentials, key: String, over: Arc<AtomicBool>, outcomes: Outcomes) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let root = json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:root")});
        let (sid, action) = (format!("n{n}x{}", stream.local_addr().unwrap().port()), "kms:*");
        let all = json!({"Sid": sid, "Effect": "Allow", "Principal": root, "Action": action, "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [all]}).to_string();
        let request = Request::signed(address, &hers, "PutKeyPolicy", &json!({"KeyId": key, "Policy": policy}));
        stream.write_all(&request.bytes()).await.unwrap();
        let outcome = answer(&mut stream).await;
        if !outcome.is_empty() {
            tokio::time::sleep(BACK_OFF).await;
        }
        *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
    }
}

/// The exception of an answer, or "".
async fn answer(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let said = serde_json::from_str::<serde_json::Value>(body).unwrap_or_default();
                return said["__type"].as_str().unwrap_or_default().to_owned();
            }
        }
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "closed");
    }
}

#[test]
fn one_principal_that_floods_the_store_does_not_keep_another_from_it() {
    let calls = if std::env::var_os("STRONGROOM_ALL").is_some() { 20 * CALLS } else { CALLS };
    let server = Server::started();
    let (hers, key) = (principal(&server, "flood"), server.new_key());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (over, outcomes) = (Arc::new(AtomicBool::new(false)), Outcomes::default());
    let mut flood = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, hers, key) = (server.address(), hers.clone(), key.clone());
        flood.spawn_on(put_policies(address, hers, key, Arc::clone(&over), Arc::clone(&outcomes)), runtime.handle());
    }
    let refused = || outcomes.lock().unwrap().contains_key("ThrottlingException");
    assert!(within(SOON, refused), "the flood has no bound");
    let mut waits: Vec<_> = (0..calls)
        .flat_map(|n| {
            let timed = |operation, body| {
                let began = Instant::now();
                let done = server.done(operation, &body);
                (done, began.elapsed())
            };
            let (made, creating) = timed("CreateKey", json!({}));
            let alias = json!({"AliasName": format!("alias/{n}"), "TargetKeyId": made["KeyMetadata"]["KeyId"]});
            [creating, timed("CreateAlias", alias).1]
        })
        .collect();
    over.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        while let Some(ended) = flood.join_next().await {
            ended.unwrap()
        }
    });
    waits.sort();
    let part = |hundredths: usize| waits[(waits.len() - 1) * hundredths / 100];
    let outcomes = outcomes.lock().unwrap();
    println!(
        "{} changes beside {CONNECTIONS} connections of another principal: {:.1?} (p50), {:.1?} (p99), all done; the flood: {outcomes:?}",
        waits.len(),
        part(50),
        part(99)
    );
    assert!(part(90) < PATIENCE, "{waits:?}");
    assert!(outcomes.keys().all(|said| EXPECTED.contains(&said.as_str())), "{outcomes:?}");
}
