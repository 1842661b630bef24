//! An HSM whose calls do not come back: the caller is answered in time, the service goes on, a stop ends.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use strongroom::dev::SOFTHSM2_MODULE;
use strongroom_faults::control::{Controller, built, install};
use strongroom_faults::rule::Rule;

use crate::{server::Server, server::within, wire::Answer};

const DEADLINE: Duration = Duration::from_millis(400);
/// What the answer may take beyond the deadline: HTTP, on a machine that does other things too.
const GRACE: Duration = Duration::from_millis(400);

/// With a module that can be told to hold calls.
pub fn with_faults(server: Server) -> (Server, Controller) {
    let dir = server.root().join("faults");
    fs::create_dir(&dir).unwrap();
    let module = install(&dir, &built(), Path::new(SOFTHSM2_MODULE)).unwrap();
    let control = Controller::new(&dir).unwrap();
    (server.with_argument("--module").with_argument(module), control)
}

/// A development server whose module can be told to hold calls, with two sessions.
struct Held {
    server: Server,
    control: Controller,
}

impl Held {
    fn started() -> Self {
        let (server, control) = with_faults(Server::new());
        let server = server.with("STRONGROOM__HSM__DEADLINE_MS", DEADLINE.as_millis());
        let mut server = server.with("STRONGROOM__HSM__SESSIONS", 2);
        server.start();
        Self { server, control }
    }

    fn hold(&self, function: &str) {
        self.control.rule(Rule::on(function).hang());
    }

    /// Nothing is held any more.
    fn release(&self) {
        self.control.clear();
    }

    fn encrypt(&self, key: &str) -> Answer {
        self.server.call("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}))
    }

    /// An answer that blames nobody's data, and comes in time.
    fn times_out(&self, operation: &str, body: &serde_json::Value) {
        let began = Instant::now();
        let answer = self.server.call(operation, body);
        assert_eq!((answer.status, answer.exception()), (500, "DependencyTimeoutException".to_owned()), "{operation}");
        assert!(began.elapsed() < DEADLINE + GRACE, "{operation} was answered after {:?}", began.elapsed());
    }
}

#[test]
fn a_call_that_hangs_is_answered_in_time_and_its_thread_replaced() {
    let held = Held::started();
    let key = held.server.new_key();
    let sealed = held.server.done("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}));
    let decrypt = json!({"CiphertextBlob": sealed["CiphertextBlob"]});

    held.hold("C_Encrypt");
    // As often as there are sessions: each stuck one has a successor.
    for _ in 0..2 {
        held.times_out("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}));
    }
    // Only C_Encrypt hangs: what needs it not is served meanwhile.
    assert_eq!(held.server.done("Decrypt", &decrypt)["Plaintext"], "eA==");
    held.release();
    assert!(within(Duration::from_secs(5), || held.encrypt(&key).status == 200));

    held.hold("C_Decrypt");
    held.times_out("Decrypt", &decrypt);
    held.release();
    assert!(within(Duration::from_secs(5), || held.server.call("Decrypt", &decrypt).status == 200));
}

#[test]
fn a_stop_ends_while_a_call_hangs() {
    let mut held = Held::started();
    let key = held.server.new_key();
    held.hold("C_Encrypt");
    held.times_out("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}));
    assert_eq!(held.server.stop().code(), Some(0));
}

#[test]
fn a_verb_waits_for_an_hsm_that_is_slow_to_open() {
    let held = Held::started();
    // Longer than a start waits for the first word of its HSM.
    held.control.rule(Rule::on("C_Login").before().delay_ms(3_300));
    let made = held.server.printed(&["access-key", "create", "--principal", "administrator"]);
    assert!(made.contains("AWS_SECRET_ACCESS_KEY="), "{made}");
}
