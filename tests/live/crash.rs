//! Kill -9 under load, again and again: what was acknowledged is there at the next start, and nothing half-made is.
//!
//! Kills come only after the ready line. SoftHSM2 2.6.1 rewrites its token object in place while it logs in and loses
//! the whole token when killed just then, which is its own fault and not what is tested here; it is counted apart.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_sdk_kms::{
    Client,
    operation::RequestId,
    primitives::Blob,
    types::{GrantOperation, KeyState},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    sdk,
    server::{ACCOUNT, REGION, Server},
};

const KILLS: usize = 100;
const WORKER_KILLS: usize = 20;
const CLIENTS: usize = 6;
/// How many of the older things are looked at again after each kill; all of them are at the end.
const SAMPLE: usize = 8;
/// A start after a kill.
const START: Duration = Duration::from_secs(30);
/// Of this many keys one is scheduled for deletion, one is rotated, one is granted, and of one the grant is revoked.
const DOOMED: usize = 5;

/// With `STRONGROOM_ALL=1` ten times as many.
fn times(kills: usize) -> usize {
    if std::env::var_os("STRONGROOM_ALL").is_some() { 10 * kills } else { kills }
}

/// What was acknowledged.
#[derive(Default)]
struct Ledger {
    keys: Vec<String>,
    aliases: Vec<(String, String)>,
    ciphertexts: Vec<Ciphertext>,
    doomed: Vec<String>,
    rotated: Vec<String>,
    granted: Vec<Granted>,
    revoked: Vec<Granted>,
    requests: Vec<String>,
}

#[derive(Clone)]
struct Granted {
    key: String,
    grant: String,
    token: String,
}

#[derive(Clone)]
struct Ciphertext {
    key: String,
    plaintext: String,
    blob: Blob,
}

/// What of a ledger is looked at.
struct Sight {
    keys: Vec<String>,
    aliases: Vec<(String, String)>,
    ciphertexts: Vec<Ciphertext>,
    rotated: Vec<String>,
    granted: Vec<Granted>,
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    survive(Server::new(), times(KILLS));
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_when_keys_are_objects_of_the_hsm() {
    survive(Server::new().with("STRONGROOM__HSM__KEEPING", "token"), times(KILLS / 10));
}

fn survive(mut server: Server, kills: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (began, mut tokens_lost, mut slowest_start) = (Instant::now(), 0, Duration::ZERO);
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let mut audit = AuditReader::default();
    server.start();
    let pristine = TokenFiles::read(&server.data().join("tokens"));
    let wrapped = !matches!(server.setting("STRONGROOM__HSM__KEEPING"), Some("token"));
    let mut seen = Mark::default();
    for round in 0..kills {
        runtime.block_on(load_until_killed(&mut server, Arc::clone(&ledger)));

        if TokenFiles::is_lost(&server.data().join("tokens")) {
            tokens_lost += 1;
            pristine.restore();
        }
        if wrapped {
            assert_eq!(TokenFiles::read(&server.data().join("tokens")).names(), pristine.names(), "left in the HSM");
        }
        let start = Instant::now();
        server.start();
        slowest_start = slowest_start.max(start.elapsed());
        let (sight, mark) = seen.newer(&ledger.lock().unwrap(), round);
        seen = mark;
        runtime.block_on(all_is_there(&server, &sight));
        runtime.block_on(nothing_is_half_made(&server, &ledger, false));
        audit.read(&server.data().join("audit.jsonl"));
        for request in &ledger.lock().unwrap().requests {
            assert!(audit.requests.contains(request), "no audit record of the acknowledged request {request}");
        }
    }
    let whole = Sight::whole(&ledger.lock().unwrap());
    runtime.block_on(all_is_there(&server, &whole));
    runtime.block_on(nothing_is_half_made(&server, &ledger, true));
    runtime.block_on(nothing_is_back(&server, &ledger));
    assert_eq!(server.stop().to_string(), "exit status: 0");
    println!(
        "{kills} kills: {} keys, {} aliases, {} ciphertexts, {} rotations, {} grants and {} audit records acknowledged, none lost; \
         {} torn audit lines; {tokens_lost} tokens lost by SoftHSM2; slowest start {slowest_start:.1?}; {:.1?} in all",
        whole.keys.len(),
        whole.aliases.len(),
        whole.ciphertexts.len(),
        whole.rotated.len(),
        whole.granted.len(),
        ledger.lock().unwrap().requests.len(),
        audit.torn,
        began.elapsed(),
    );
    assert_eq!(tokens_lost, 0, "SoftHSM2 lost its token, though it was killed only after the ready line");
    assert!(slowest_start < START, "a start took {slowest_start:?}");
    assert!(whole.keys.len() >= kills && whole.aliases.len() >= kills && whole.ciphertexts.len() >= kills);
}

/// The worker process is killed under load, which the server outlives.
#[test]
fn nothing_acknowledged_is_lost_by_kills_of_the_worker() {
    let (mut server, kills, mut tokens_lost) = (Server::started(), times(WORKER_KILLS), 0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let tokens = server.data().join("tokens");
    let pristine = TokenFiles::read(&tokens);
    for _ in 0..kills {
        runtime.block_on(async {
            let mut clients = begin_load(&server, &ledger);
            pause().await;
            server.kill_worker();
            // The clients try again, and go on when the worker is back.
            pause().await;
            clients.abort_all();
            end_load(clients).await;
        });
        if TokenFiles::is_lost(&tokens) {
            tokens_lost += 1;
            pristine.restore();
        }
        let ready = crate::server::within(Duration::from_secs(10), || {
            server.call("GenerateRandom", &json!({"NumberOfBytes": 1})).status == 200
        });
        assert!(ready, "the service did not come back");
    }
    assert_eq!(TokenFiles::read(&tokens).names(), pristine.names(), "left in the HSM");
    let whole = Sight::whole(&ledger.lock().unwrap());
    runtime.block_on(all_is_there(&server, &whole));
    runtime.block_on(nothing_is_half_made(&server, &ledger, true));
    runtime.block_on(nothing_is_back(&server, &ledger));
    assert_eq!(server.stop().to_string(), "exit status: 0");
    println!(
        "{kills} kills of the worker: {} keys, none lost; {tokens_lost} tokens lost by SoftHSM2",
        whole.keys.len()
    );
    assert_eq!(tokens_lost, 0, "SoftHSM2 lost its token, though its worker was killed only when the service was ready");
    assert!(whole.keys.len() >= kills);
}

/// Several clients create and encrypt until the server is killed, at a random moment.
async fn load_until_killed(server: &mut Server, ledger: Arc<Mutex<Ledger>>) {
    let clients = begin_load(server, &ledger);
    pause().await;
    server.kill();
    end_load(clients).await;
}

fn begin_load(server: &Server, ledger: &Arc<Mutex<Ledger>>) -> JoinSet<()> {
    let kms = sdk::client(server);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(load(kms.clone(), Arc::clone(ledger)));
    }
    clients
}

/// Until a random moment.
async fn pause() {
    let mut random = [0; 1];
    getrandom::fill(&mut random).unwrap();
    tokio::time::sleep(Duration::from_millis(60 + u64::from(random[0]))).await;
}

async fn end_load(mut clients: JoinSet<()>) {
    while let Some(ended) = tokio::time::timeout(Duration::from_secs(20), clients.join_next()).await.unwrap() {
        assert!(ended.is_ok() || ended.unwrap_err().is_cancelled());
    }
}

/// Ends with the first call that is not acknowledged.
async fn load(kms: Client, ledger: Arc<Mutex<Ledger>>) {
    for turn in 0.. {
        let Ok(created) = kms.create_key().send().await else { return };
        let id = created.key_metadata().unwrap().key_id().to_owned();
        ledger.lock().unwrap().acknowledge(created.request_id(), |ledger| ledger.keys.push(id.clone()));

        let name = format!("alias/{id}");
        let Ok(aliased) = kms.create_alias().alias_name(&name).target_key_id(&id).send().await else { return };
        let alias = (name.clone(), id.clone());
        ledger.lock().unwrap().acknowledge(aliased.request_id(), |ledger| ledger.aliases.push(alias));

        if turn % DOOMED == DOOMED - 1 {
            let Ok(doomed) = kms.schedule_key_deletion().key_id(&id).send().await else { return };
            ledger.lock().unwrap().acknowledge(doomed.request_id(), |ledger| ledger.doomed.push(id.clone()));
            continue;
        }
        let plaintext = format!("{id} {turn}");
        let encrypt =
            kms.encrypt().key_id(&name).plaintext(Blob::new(plaintext.as_str())).encryption_context("id", &id);
        let Ok(sealed) = encrypt.send().await else { return };
        let ciphertext = Ciphertext { key: id.clone(), plaintext, blob: sealed.ciphertext_blob().unwrap().clone() };
        ledger.lock().unwrap().acknowledge(sealed.request_id(), |ledger| ledger.ciphertexts.push(ciphertext));

        if turn % DOOMED == 0 {
            let Ok(rotated) = kms.rotate_key_on_demand().key_id(&id).send().await else { return };
            ledger.lock().unwrap().acknowledge(rotated.request_id(), |ledger| ledger.rotated.push(id.clone()));
        }
        if matches!(turn % DOOMED, 1 | 2) && grant(&kms, &ledger, id, turn % DOOMED == 2).await.is_none() {
            return;
        }
    }
}

/// Makes a grant, and perhaps revokes it.
async fn grant(kms: &Client, ledger: &Mutex<Ledger>, key: String, revokes: bool) -> Option<()> {
    let grantee = format!("arn:aws:iam::{ACCOUNT}:user/grantee");
    let create = kms.create_grant().key_id(&key).grantee_principal(grantee).operations(GrantOperation::Encrypt);
    let made = create.send().await.ok()?;
    let (request, grant, token) = (made.request_id(), made.grant_id().unwrap(), made.grant_token().unwrap());
    let granted = Granted { key, grant: grant.to_owned(), token: token.to_owned() };
    if !revokes {
        ledger.lock().unwrap().acknowledge(request, |ledger| ledger.granted.push(granted));
        return Some(());
    }
    let revoked = kms.revoke_grant().key_id(&granted.key).grant_id(grant).send().await.ok()?;
    ledger.lock().unwrap().acknowledge(revoked.request_id(), |ledger| ledger.revoked.push(granted));
    Some(())
}

impl Ledger {
    fn acknowledge(&mut self, request: Option<&str>, note: impl FnOnce(&mut Self)) {
        self.requests.push(request.unwrap().to_owned());
        note(self);
    }
}

/// How far a ledger has been looked at.
#[derive(Default, Clone, Copy)]
struct Mark {
    keys: usize,
    aliases: usize,
    ciphertexts: usize,
    rotated: usize,
    granted: usize,
}

impl Mark {
    /// What came since, and a few of those before.
    fn newer(self, ledger: &Ledger, round: usize) -> (Sight, Self) {
        fn pick<T: Clone>(all: &[T], from: usize, round: usize) -> Vec<T> {
            let old = all[..from].iter().skip(round % SAMPLE).step_by(from / SAMPLE + 1);
            old.chain(&all[from..]).cloned().collect()
        }
        let sight = Sight {
            keys: pick(&ledger.keys, self.keys, round),
            aliases: pick(&ledger.aliases, self.aliases, round),
            ciphertexts: pick(&ledger.ciphertexts, self.ciphertexts, round),
            rotated: pick(&ledger.rotated, self.rotated, round),
            granted: pick(&ledger.granted, self.granted, round),
        };
        let Ledger { keys, aliases, ciphertexts, rotated, granted, .. } = ledger;
        let (keys, aliases, ciphertexts) = (keys.len(), aliases.len(), ciphertexts.len());
        (sight, Self { keys, aliases, ciphertexts, rotated: rotated.len(), granted: granted.len() })
    }
}

impl Sight {
    fn whole(ledger: &Ledger) -> Self {
        let Ledger { keys, aliases, ciphertexts, rotated, granted, .. } = ledger;
        Self {
            keys: keys.clone(),
            aliases: aliases.clone(),
            ciphertexts: ciphertexts.clone(),
            rotated: rotated.clone(),
            granted: granted.clone(),
        }
    }
}

async fn all_is_there(server: &Server, sight: &Sight) {
    let kms = sdk::client(server);
    for id in &sight.keys {
        kms.describe_key().key_id(id).send().await.expect("an acknowledged key is described");
    }
    for (name, id) in &sight.aliases {
        let described = kms.describe_key().key_id(name).send().await.expect("an acknowledged alias resolves");
        assert_eq!(described.key_metadata().unwrap().key_id(), id);
    }
    for Ciphertext { key, plaintext, blob } in &sight.ciphertexts {
        let decrypt = kms.decrypt().ciphertext_blob(blob.clone()).encryption_context("id", key);
        let opened = decrypt.send().await.expect("an acknowledged ciphertext is decrypted");
        assert_eq!(opened.plaintext(), Some(&Blob::new(plaintext.as_str())));
        assert_eq!(opened.key_id(), Some(&*format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{key}")));
    }
    for id in &sight.rotated {
        let rotations = kms.list_key_rotations().key_id(id).send().await.expect("an acknowledged rotation is listed");
        assert_eq!(rotations.rotations().len(), 1, "{id}");
    }
    for Granted { key, grant, token } in &sight.granted {
        let listed = kms.list_grants().key_id(key).grant_id(grant).send().await.expect("the grants are listed");
        assert_eq!(listed.grants().len(), 1, "an acknowledged grant is not listed: {key} {grant}");
        let described = kms.describe_key().key_id(key).grant_tokens(token).send().await;
        described.expect("a token of an acknowledged grant is good");
    }
}

/// What is listed is whole, also what was never acknowledged: a key encrypts and decrypts, an alias has its key.
async fn nothing_is_half_made(server: &Server, ledger: &Mutex<Ledger>, thoroughly: bool) {
    let kms = sdk::client(server);
    let acknowledged: HashSet<String> = ledger.lock().unwrap().keys.iter().cloned().collect();
    let mut listed = HashSet::new();
    let mut keys = kms.list_keys().into_paginator().page_size(1000).items().send();
    while let Some(key) = keys.next().await {
        listed.insert(key.unwrap().key_id.unwrap());
    }
    assert!(acknowledged.is_subset(&listed), "an acknowledged key is not listed");
    // At the end also those that no acknowledged ciphertext has proved.
    let proved = match thoroughly {
        true => ledger.lock().unwrap().ciphertexts.iter().map(|ciphertext| ciphertext.key.clone()).collect(),
        false => acknowledged.clone(),
    };
    for id in listed.difference(&proved) {
        let described = kms.describe_key().key_id(id).send().await.unwrap();
        if described.key_metadata().unwrap().key_state() == Some(&KeyState::PendingDeletion) {
            continue;
        }
        let sealed = kms.encrypt().key_id(id).plaintext(Blob::new("x")).send().await.expect("a listed key encrypts");
        let opened = kms.decrypt().ciphertext_blob(sealed.ciphertext_blob.unwrap()).send().await.unwrap();
        assert_eq!(opened.plaintext, Some(Blob::new("x")));
    }
    let mut resolved = HashMap::new();
    let mut aliases = kms.list_aliases().into_paginator().page_size(100).items().send();
    while let Some(alias) = aliases.next().await {
        let alias = alias.unwrap();
        resolved.insert(alias.alias_name.unwrap(), alias.target_key_id.unwrap());
    }
    for (name, id) in &ledger.lock().unwrap().aliases {
        assert_eq!(resolved.get(name), Some(id), "an acknowledged alias is not listed");
    }
    assert!(resolved.values().all(|id| listed.contains(id)), "an alias without its key");
}

/// A key that was scheduled for deletion stays so, and a grant that was revoked is no more.
async fn nothing_is_back(server: &Server, ledger: &Mutex<Ledger>) {
    let kms = sdk::client(server);
    let doomed = ledger.lock().unwrap().doomed.clone();
    for id in &doomed {
        let described = kms.describe_key().key_id(id).send().await.unwrap();
        assert_eq!(described.key_metadata().unwrap().key_state(), Some(&KeyState::PendingDeletion), "{id}");
    }
    let revoked = ledger.lock().unwrap().revoked.clone();
    for Granted { key, grant, token } in &revoked {
        let listed = kms.list_grants().key_id(key).send().await.unwrap();
        assert!(listed.grants().is_empty(), "a revoked grant is back: {key} {grant}");
        assert!(kms.describe_key().key_id(key).grant_tokens(token).send().await.is_err(), "{key} {grant}");
    }
}

/// Follows the audit trail over kills.
#[derive(Default)]
struct AuditReader {
    offset: u64,
    requests: HashSet<String>,
    torn: usize,
}

impl AuditReader {
    /// Reads what came since. A line that is no record is one that a kill tore: of a call that was not acknowledged.
    fn read(&mut self, path: &Path) {
        let mut file = BufReader::new(fs::File::open(path).unwrap());
        file.seek(SeekFrom::Start(self.offset)).unwrap();
        let mut line = String::new();
        while file.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            self.offset += line.len() as u64;
            match serde_json::from_str::<Value>(&line) {
                // What an operator does is no request.
                Ok(record) => self.requests.extend(record["requestID"].as_str().map(str::to_owned)),
                Err(_) => self.torn += 1,
            }
            line.clear();
        }
    }
}

/// The files of SoftHSM2's token.
struct TokenFiles(Vec<(PathBuf, Vec<u8>)>);

impl TokenFiles {
    fn read(directory: &Path) -> Self {
        let mut files = Vec::new();
        let mut directories = vec![directory.to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => directories.push(entry.path()),
                    false => files.push((entry.path(), fs::read(entry.path()).unwrap())),
                }
            }
        }
        Self(files)
    }

    fn names(&self) -> BTreeSet<&PathBuf> {
        self.0.iter().map(|(path, _)| path).collect()
    }

    fn restore(&self) {
        self.0.iter().for_each(|(path, content)| fs::write(path, content).unwrap());
    }

    /// Whether the token's own object is empty, which SoftHSM2 never recovers from.
    fn is_lost(directory: &Path) -> bool {
        let mut objects = Self::read(directory).0.into_iter();
        let (_, content) = objects.find(|(path, _)| path.ends_with("token.object")).expect("a token");
        content.is_empty()
    }
}
