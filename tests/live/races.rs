//! Somebody's waiting calls against a change that takes her right to make them away: once that is acknowledged, nothing of hers is
//! done any more.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    imports::external_key,
    server::{ACCOUNT, Credentials, Server, credentials, exports, within},
    wire::{Connection, Request},
};

/// With `STRONGROOM_ALL=1` fifty times as many.
const TRIALS: usize = 20;
const CONNECTIONS: usize = 8;
const SOON: Duration = Duration::from_secs(20);

fn trials() -> usize {
    if std::env::var_os("STRONGROOM_ALL").is_some() { 50 * TRIALS } else { TRIALS }
}

/// A server and a principal who may do nothing but what a test gives her.
struct Setting {
    server: Server,
    hers: Credentials,
    arn: String,
}

impl Setting {
    fn new(policy: Option<Value>) -> Self {
        let server = Server::started();
        server.printed(&["principal", "create", "--name", "eve"]);
        if let Some(policy) = policy {
            let file = server.root().join("policy.json");
            fs::write(&file, json!({"Version": "2012-10-17", "Statement": [policy]}).to_string()).unwrap();
            let file = file.to_str().unwrap();
            server.printed(&["principal", "attach-policy", "--name", "eve", "--policy", file]);
        }
        let hers = credentials(&exports(&server.printed(&["access-key", "create", "--principal", "eve"])));
        let setting = Self { server, hers, arn: format!("arn:aws:iam::{ACCOUNT}:user/eve") };
        let known = || setting.hers("ListKeys", &json!({})) != "UnrecognizedClientException";
        assert!(within(SOON, known), "her access key is not known");
        setting
    }

    /// What becomes of a call of hers.
    fn hers(&self, operation: &str, body: &Value) -> String {
        let request = Request::signed(self.server.address(), &self.hers, operation, body);
        outcome(&mut Connection::open(self.server.address()), &request)
    }

    /// A key policy that gives her these actions, or does not name her.
    fn policy(&self, sid: &str, actions: &[&str]) -> String {
        let root = format!("arn:aws:iam::{ACCOUNT}:root");
        let mut statements = vec![
            json!({"Sid": sid, "Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}),
        ];
        if !actions.is_empty() {
            statements
                .push(json!({"Effect": "Allow", "Principal": {"AWS": self.arn}, "Action": actions, "Resource": "*"}));
        }
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    }

    fn put_policy(&self, key: &str, sid: &str, actions: &[&str]) {
        self.server.done("PutKeyPolicy", &json!({"KeyId": key, "Policy": self.policy(sid, actions)}));
    }

    fn state(&self, key: &str) -> Value {
        self.server.done("DescribeKey", &json!({"KeyId": key}))["KeyMetadata"]["KeyState"].clone()
    }
}

fn outcome(connection: &mut Connection, request: &Request) -> String {
    let answer = connection.send(&request.bytes()).answer();
    if answer.status == 200 { "done".to_owned() } else { answer.exception() }
}

/// A flood of her calls on several connections, each of which sends its next call when the last one is answered.
struct Flood {
    /// What her calls ask for, by how many there were before; nothing, and she waits.
    call: Mutex<Option<Arc<Call>>>,
    over: AtomicBool,
    /// Calls answered, by connection.
    answered: [AtomicUsize; CONNECTIONS],
    /// Calls that were done.
    done: AtomicUsize,
}

type Call = dyn Fn(usize) -> (&'static str, Value) + Send + Sync;

impl Flood {
    /// Runs `meanwhile` beside a flood.
    fn beside(setting: &Setting, meanwhile: impl FnOnce(&Self)) {
        let flood = Self {
            call: Mutex::default(),
            over: AtomicBool::new(false),
            answered: Default::default(),
            done: AtomicUsize::new(0),
        };
        thread::scope(|scope| {
            for lane in 0..CONNECTIONS {
                let flood = &flood;
                scope.spawn(move || flood.run(setting, lane));
            }
            let end = End(&flood);
            meanwhile(&flood);
            drop(end);
        });
    }

    fn run(&self, setting: &Setting, lane: usize) {
        let address = setting.server.address();
        let mut connection = Connection::open(address);
        for n in 0.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let Some(call) = self.call.lock().unwrap().clone() else {
                thread::yield_now();
                continue;
            };
            let (operation, body) = call(CONNECTIONS * n + lane);
            let said = outcome(&mut connection, &Request::signed(address, &setting.hers, operation, &body));
            self.answered[lane].fetch_add(1, Ordering::SeqCst);
            self.done.fetch_add(usize::from(said == "done"), Ordering::SeqCst);
        }
    }

    /// From now on she asks for this.
    fn ask_for(&self, call: impl Fn(usize) -> (&'static str, Value) + Send + Sync + 'static) {
        *self.call.lock().unwrap() = Some(Arc::new(call));
    }

    /// Until some of her calls are done.
    fn is_at_work(&self) {
        let before = self.done.load(Ordering::SeqCst);
        assert!(within(SOON, || self.done.load(Ordering::SeqCst) > before + 2), "none of her calls is done");
    }

    /// Until every call that was waiting is answered, and another one of each connection.
    fn settles(&self) {
        let answered = || self.answered.each_ref().map(|count| count.load(Ordering::SeqCst));
        let before = answered();
        let settled = || answered().iter().zip(&before).all(|(now, before)| *now >= before + 2);
        assert!(within(SOON, settled), "her calls are not answered");
    }
}

/// Ends the flood, also when the test has failed.
struct End<'a>(&'a Flood);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// Tells how many trials there were, and asserts that none was undone.
fn assert_none_undone(what: &str, began: Instant, undone: usize) {
    println!("{what}: {undone} of {} undone, in {:.1?}", trials(), began.elapsed());
    assert_eq!(undone, 0, "{what}");
}

#[test]
fn a_policy_that_leaves_her_out_stays() {
    let setting = Setting::new(None);
    let key = setting.server.new_key();
    let policy = setting.policy("hers", &["kms:*"]);
    let put = json!({"KeyId": key, "Policy": policy});
    let (began, mut undone) = (Instant::now(), 0);
    setting.put_policy(&key, "before", &["kms:*"]);
    Flood::beside(&setting, |flood| {
        let hers = key.clone();
        // Each one is another change.
        flood.ask_for(move |n| {
            ("PutKeyPolicy", json!({"KeyId": hers, "Policy": policy.replace("hers", &format!("hers{n}"))}))
        });
        for _ in 0..trials() {
            setting.put_policy(&key, "before", &["kms:*"]);
            flood.is_at_work();
            setting.put_policy(&key, "without her", &[]);
            flood.settles();
            let stays = setting.server.done("GetKeyPolicy", &json!({"KeyId": key}))["Policy"]
                .as_str()
                .unwrap()
                .contains("without her");
            undone += usize::from(!stays || setting.hers("PutKeyPolicy", &put) != "AccessDeniedException");
        }
    });
    assert_none_undone("PutKeyPolicy against PutKeyPolicy", began, undone);
}

#[test]
fn a_grantee_whose_grants_are_revoked_makes_no_more() {
    let setting = Setting::new(None);
    let (began, mut undone) = (Instant::now(), 0);
    let terms = json!({"GranteePrincipal": setting.arn, "Operations": ["CreateGrant", "Encrypt"]});
    Flood::beside(&setting, |flood| {
        for _ in 0..trials() {
            let key = setting.server.new_key();
            let mut hers = terms.clone();
            hers["KeyId"] = key.clone().into();
            let grant = setting.server.done("CreateGrant", &hers)["GrantId"].clone();
            let another = format!("arn:aws:iam::{ACCOUNT}:user/mallory");
            let (asked, of) = (another.clone(), key.clone());
            flood.ask_for(move |n| {
                let name = format!("n{n}");
                let body = json!({"KeyId": of, "GranteePrincipal": asked, "Operations": ["Encrypt"], "Name": name});
                ("CreateGrant", body)
            });
            flood.is_at_work();
            setting.server.done("RevokeGrant", &json!({"KeyId": key, "GrantId": grant}));
            let at_once = grants(&setting, &key);
            flood.settles();
            let refused = setting
                .hers("CreateGrant", &json!({"KeyId": key, "GranteePrincipal": another, "Operations": ["Encrypt"]}));
            undone += usize::from(grants(&setting, &key) != at_once || refused != "AccessDeniedException");
        }
    });
    assert_none_undone("CreateGrant against RevokeGrant", began, undone);
}

/// How many grants a key has.
fn grants(setting: &Setting, key: &str) -> usize {
    let (mut count, mut asked) = (0, json!({"KeyId": key, "Limit": 100}));
    loop {
        let page = setting.server.done("ListGrants", &asked);
        count += page["Grants"].as_array().unwrap().len();
        if page["Truncated"] != true {
            return count;
        }
        asked["Marker"] = page["NextMarker"].clone();
    }
}

#[test]
fn an_alias_that_points_at_a_key_that_she_may_not_use_stays() {
    let aliases = format!("arn:aws:kms:us-east-1:{ACCOUNT}:alias/*");
    let setting = Setting::new(Some(json!({"Effect": "Allow", "Action": "kms:UpdateAlias", "Resource": aliases})));
    let (one, two, foreign) = (setting.server.new_key(), setting.server.new_key(), setting.server.new_key());
    for key in [&one, &two] {
        setting.put_policy(key, "hers", &["kms:UpdateAlias"]);
    }
    let point_at = |key: &str| json!({"AliasName": "alias/a", "TargetKeyId": key});
    setting.server.done("CreateAlias", &point_at(&one));
    let (began, mut undone) = (Instant::now(), 0);
    Flood::beside(&setting, |flood| {
        let calls = [point_at(&one), point_at(&two)];
        flood.ask_for(move |n| ("UpdateAlias", calls[n / CONNECTIONS % 2].clone()));
        for _ in 0..trials() {
            setting.server.done("UpdateAlias", &point_at(&one));
            flood.is_at_work();
            setting.server.done("UpdateAlias", &point_at(&foreign));
            flood.settles();
            let described = setting.server.done("DescribeKey", &json!({"KeyId": "alias/a"}));
            let refused = setting.hers("UpdateAlias", &point_at(&one));
            undone += usize::from(described["KeyMetadata"]["KeyId"] != *foreign || refused != "AccessDeniedException");
        }
    });
    assert_none_undone("UpdateAlias against UpdateAlias", began, undone);
}

/// She does one thing and the other in turns, until a policy takes both rights away: the key stays as it is then.
fn state_stays(setting: &Setting, key: &str, calls: [(&'static str, Value); 2]) -> usize {
    let actions = calls.each_ref().map(|(operation, _)| format!("kms:{operation}"));
    let actions = actions.each_ref().map(String::as_str);
    let mut undone = 0;
    let probe = calls[0].clone();
    setting.put_policy(key, "with her", &actions);
    Flood::beside(setting, |flood| {
        flood.ask_for(move |n| calls[(n + n / CONNECTIONS) % 2].clone());
        for _ in 0..trials() {
            setting.put_policy(key, "with her", &actions);
            flood.is_at_work();
            setting.put_policy(key, "without her", &[]);
            let at_once = setting.state(key);
            flood.settles();
            let refused = setting.hers(probe.0, &probe.1);
            undone += usize::from(setting.state(key) != at_once || refused != "AccessDeniedException");
        }
    });
    undone
}

#[test]
fn no_deletion_is_scheduled_once_the_right_to_is_taken_away() {
    let setting = Setting::new(None);
    let key = setting.server.new_key();
    let (began, body) = (Instant::now(), json!({"KeyId": key}));
    let undone =
        state_stays(&setting, &key, [("ScheduleKeyDeletion", body.clone()), ("CancelKeyDeletion", body.clone())]);
    assert_none_undone("ScheduleKeyDeletion against PutKeyPolicy", began, undone);
}

#[test]
fn no_material_is_imported_once_the_right_to_is_taken_away() {
    let setting = Setting::new(None);
    let (key, import) = external_key(&setting.server);
    let began = Instant::now();
    let delete = ("DeleteImportedKeyMaterial", json!({"KeyId": key}));
    let undone = state_stays(&setting, &key, [("ImportKeyMaterial", import), delete]);
    assert_none_undone("ImportKeyMaterial against PutKeyPolicy", began, undone);
}
