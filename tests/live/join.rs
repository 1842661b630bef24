//! Two HSMs, each in a token directory of its own that only its worker processes know: `hsm init`, `hsm join`, `hsm
//! retry-pin`, and a service of both or of either.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use strongroom::dev::SOFTHSM2_MODULE;

use crate::{
    server::{Credentials, Server, credentials, exports, within},
    wire::{Connection, Request},
};

/// Exit status when the HSM refuses a PIN.
const PIN_REFUSED: i32 = 78;

const POLICY: &str = r#"{"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}"#;

/// A deployment with the HSMs `a` and `b`, which have no wrapping key. Both tokens have the same label.
struct Deployment {
    server: Server,
}

impl Deployment {
    fn new() -> Self {
        let server = Server::new();
        for name in ["a", "b"] {
            make_token(&server.root().join(name));
        }
        let new = Self { server };
        new.configure("a", &["a"]);
        new.configure("b", &["b"]);
        new.configure("both", &["a", "b"]);
        new
    }

    fn file(&self, name: &str) -> PathBuf {
        self.server.root().join(name)
    }

    /// The same, where both have one wrapping key.
    fn joined() -> Self {
        let new = Self::new();
        new.printed("both", &["hsm", "init"]);
        assert!(new.join(&new.file("a/so-pin")).status.success());
        new
    }

    /// What the log has said of an HSM, a line each.
    fn said_of(&self, hsm: &str) -> Vec<String> {
        let log = self.server.stderr();
        let of_it = log.lines().filter(|line| line.contains(&format!("\"hsm\":\"{hsm}\"")));
        of_it.map(str::to_owned).collect()
    }

    fn has_been_well(&self, hsm: &str, times: usize) -> bool {
        self.said_of(hsm).iter().filter(|line| line.contains("the HSM is well")).count() == times
    }

    fn configure(&self, name: &str, hsms: &[&str]) {
        let root = self.server.root().display();
        let mut text = format!(
            "account = \"000000000000\"\nlisten = \"127.0.0.1:0\"\nstore.path = \"{root}/store\"\n\
             audit.path = \"{root}/audit\"\n"
        );
        for (number, hsm) in hsms.iter().enumerate() {
            text += if number == 0 { "[hsm]\n" } else { "[[hsm.further]]\n" };
            text += &format!(
                "name = \"{hsm}\"\nmodule = \"{SOFTHSM2_MODULE}\"\ntoken = \"pkcs11:token=rack\"\n\
                 pin = {{ file = \"{root}/{hsm}/pin\" }}\n\
                 environment = {{ SOFTHSM2_CONF = \"{root}/{hsm}/softhsm2.conf\" }}\n"
            );
        }
        fs::write(self.file(&format!("{name}.toml")), text).unwrap();
    }

    /// A verb on the configuration of that name.
    fn verb(&self, config: &str, arguments: &[&str]) -> Output {
        let config = self.file(&format!("{config}.toml"));
        self.server.run(&[arguments, &["--config", config.to_str().unwrap()]].concat())
    }

    fn printed(&self, config: &str, arguments: &[&str]) -> String {
        let output = self.verb(config, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        text(&output.stdout)
    }

    fn refused(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.verb("both", arguments);
        (output.status.code(), text(&output.stderr))
    }

    fn join(&self, so_pin: &Path) -> Output {
        self.verb("both", &["hsm", "join", "--member", "b", "--so-pin-file", so_pin.to_str().unwrap()])
    }

    /// Files of a token: two for each object.
    fn files(&self, hsm: &str) -> usize {
        let token = fs::read_dir(self.file(hsm).join("tokens")).unwrap().next().unwrap().unwrap().path();
        fs::read_dir(token).unwrap().filter(|entry| is_object(&entry.as_ref().unwrap().path())).count()
    }

    fn administrator(&self) -> Credentials {
        fs::write(self.file("all.json"), POLICY).unwrap();
        self.printed("both", &["principal", "create", "--name", "admin"]);
        let policy = self.file("all.json");
        self.printed("both", &["principal", "attach-policy", "--name", "admin", "--policy", policy.to_str().unwrap()]);
        credentials(&exports(&self.printed("both", &["access-key", "create", "--principal", "admin"])))
    }

    fn serve(mut self, config: &str) -> Self {
        let file = self.file(&format!("{config}.toml"));
        self.server = self.server.with_arguments(["serve".into(), "--config".into(), file.into_os_string()]);
        self.server.start();
        self
    }
}

fn is_object(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "object") && !path.ends_with("token.object")
}

/// A token called `rack` in a directory of its own, with the PIN `user-pin`.
pub fn make_token(directory: &Path) {
    let tokens = directory.join("tokens");
    fs::create_dir_all(&tokens).unwrap();
    let conf = directory.join("softhsm2.conf");
    fs::write(&conf, format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display())).unwrap();
    fs::write(directory.join("pin"), "user-pin").unwrap();
    fs::write(directory.join("so-pin"), "officer-pin").unwrap();
    let mut tool = Command::new("softhsm2-util");
    tool.args(["--init-token", "--free", "--label", "rack", "--pin", "user-pin", "--so-pin", "officer-pin"]);
    assert!(tool.env("SOFTHSM2_CONF", conf).stdout(Stdio::null()).status().unwrap().success());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn done(server: &Server, administrator: &Credentials, operation: &str, body: &Value) -> Value {
    let request = Request::signed(server.address(), administrator, operation, body);
    let answer = Connection::open(server.address()).send(&request.bytes()).answer();
    assert_eq!(answer.status, 200, "{operation}: {}", text(&answer.body));
    answer.json()
}

#[test]
fn what_was_made_with_one_hsm_is_opened_with_the_other() {
    let deployment = Deployment::new();
    let made = deployment.printed("both", &["hsm", "init"]);
    assert!(made.starts_with("wrapping key made") && made.contains("hsm join"), "{made}");
    let joined = text(&deployment.join(&deployment.file("a/so-pin")).stdout);
    assert!(joined.contains("SHA-256") && joined.contains("`b` has the wrapping key of `a`"), "{joined}");
    let again = deployment.join(&deployment.file("a/so-pin"));
    assert_eq!(text(&again.stdout), "`b` has joined already.\n");
    assert_eq!((deployment.files("a"), deployment.files("b")), (1, 1));
    let id = |name| deployment.printed("both", &["hsm", "init", "--member", name]);
    assert_eq!(id("a"), id("b"));

    let administrator = deployment.administrator();
    let mut deployment = deployment;
    let mut sealed: Vec<Value> = Vec::new();
    for alone in ["a", "b", "a"] {
        deployment = deployment.serve(alone);
        for ciphertext in &sealed {
            let opened = done(&deployment.server, &administrator, "Decrypt", ciphertext);
            assert_eq!(opened["Plaintext"], "eA==");
        }
        let key = done(&deployment.server, &administrator, "CreateKey", &json!({}));
        let body = json!({"KeyId": key["KeyMetadata"]["KeyId"], "Plaintext": "eA=="});
        let ciphertext = done(&deployment.server, &administrator, "Encrypt", &body);
        sealed.push(json!({"CiphertextBlob": ciphertext["CiphertextBlob"]}));
        assert_eq!(deployment.server.stop().code(), Some(0));
    }
}

#[test]
fn a_service_that_runs_takes_the_new_hsm_into_use() {
    let deployment = Deployment::new();
    deployment.printed("both", &["hsm", "init"]);
    let deployment = deployment.serve("both");
    let is_well = |hsm: &str| deployment.has_been_well(hsm, 1);
    assert!(within(Duration::from_secs(10), || is_well("a")) && !is_well("b"), "{}", deployment.server.stderr());
    assert!(deployment.join(&deployment.file("a/so-pin")).status.success());
    assert!(within(Duration::from_secs(10), || is_well("b")), "{}", deployment.server.stderr());
}

#[test]
fn an_hsm_with_a_wrapping_key_of_its_own_is_named_while_the_other_does_the_work() {
    let deployment = Deployment::new();
    for alone in ["a", "b"] {
        assert!(deployment.printed(alone, &["hsm", "init"]).starts_with("wrapping key made"));
    }
    deployment.administrator();
    let deployment = deployment.serve("both");
    let says = || deployment.server.get("/readyz");
    let names_one = || {
        let (status, text) = says();
        let which =
            ["ready, but the HSM `a`: ", "ready, but the HSM `b`: "].iter().any(|begin| text.starts_with(begin));
        status == 200
            && which
            && text.contains("it does not have the wrapping key that the keys in the store are wrapped under")
    };
    assert!(within(Duration::from_secs(10), names_one), "{:?}", says());
    // Whichever it is, no key is made for it any more.
    let refused = ["a", "b"].map(|name| deployment.refused(&["hsm", "init", "--member", name]));
    assert_eq!(refused.iter().filter(|(code, text)| *code == Some(1) && text.contains("does not have")).count(), 1);
}

#[test]
fn a_wrong_pin_of_the_security_officer_changes_nothing_until_it_is_retried() {
    let deployment = Deployment::new();
    deployment.printed("both", &["hsm", "init"]);
    let wrong = deployment.file("b/pin");
    for code in ["CKR_PIN_INCORRECT", "retry-pin"] {
        let refused = deployment.join(&wrong);
        assert_eq!(refused.status.code(), Some(PIN_REFUSED));
        assert!(text(&refused.stderr).contains(code), "{}", text(&refused.stderr));
        assert_eq!((deployment.files("a"), deployment.files("b")), (1, 0));
    }
    let said = deployment.printed("both", &["hsm", "retry-pin"]);
    assert!(said.contains("`a`: the refused PIN is forgotten") && said.contains("`b`: no PIN was refused"), "{said}");
    assert_eq!(deployment.printed("both", &["hsm", "retry-pin", "--member", "a"]), "`a`: no PIN was refused\n");
    assert!(text(&deployment.join(&wrong).stderr).contains("CKR_PIN_INCORRECT"));
}

#[test]
fn what_cannot_be_joined_is_said_to_be_so() {
    let deployment = Deployment::new();
    let made = deployment.printed("both", &["hsm", "init", "--sole"]);
    assert!(made.contains("cannot leave this HSM"), "{made}");
    let refused = deployment.join(&deployment.file("a/so-pin"));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("can never leave it"), "{}", text(&refused.stderr));

    // A second key of the same label would split the deployment.
    let (code, said) = deployment.refused(&["hsm", "init", "--member", "b"]);
    assert!(code == Some(1) && said.contains("bring it to `b` with `strongroom hsm join`"), "{said}");
    let (code, said) = deployment.refused(&["hsm", "probe", "--member", "c"]);
    assert!(code == Some(1) && said.contains("no HSM is called `c`; there are a, b"), "{said}");
    let join = ["hsm", "join", "--member", "b", "--from", "b", "--so-pin-file", "/nowhere"];
    assert!(deployment.refused(&join).1.contains("from another HSM"));
    assert_eq!((deployment.files("a"), deployment.files("b")), (1, 0));
    assert!(deployment.printed("both", &["hsm", "probe", "--member", "b"]).contains("SoftHSM"));
}

#[test]
fn an_access_key_is_made_by_one_hsm_and_the_other_has_nothing_to_say() {
    let deployment = Deployment::joined();
    deployment.administrator();
    for _ in 0..6 {
        // It fails if anything is said beside the access key.
        deployment.printed("both", &["access-key", "create", "--principal", "admin"]);
    }
}

#[test]
fn an_hsm_that_is_away_is_told_of_in_a_line_for_each_turn() {
    let deployment = Deployment::joined().serve("both");
    assert!(within(Duration::from_secs(10), || ["a", "b"].iter().all(|hsm| deployment.has_been_well(hsm, 1))));
    let (tokens, away) = (deployment.file("b/tokens"), deployment.file("b/away"));
    fs::rename(&tokens, &away).unwrap();
    let before = deployment.said_of("b").len();
    deployment.server.kill_worker();
    let has_tried = || {
        let metrics = deployment.server.get("/metrics").1;
        let restarts = metrics.lines().find_map(|line| line.strip_prefix("strongroom_hsm_restarts_total{hsm=\"b\"} "));
        restarts.is_some_and(|count| count.parse::<u64>().unwrap() >= 4)
    };
    assert!(within(Duration::from_secs(10), has_tried), "{}", deployment.server.stderr());
    let told = deployment.said_of("b").split_off(before);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0].contains("no calls go to the HSM") && told[0].contains("its worker process has ended"),
        "{told:#?}"
    );
    assert!(told[1].contains("the HSM cannot be opened") && told[1].contains("CKR_"), "{told:#?}");
    fs::rename(&away, &tokens).unwrap();
    assert!(within(Duration::from_secs(10), || deployment.has_been_well("b", 2)), "{}", deployment.server.stderr());
    assert_eq!(deployment.said_of("b").len(), before + 3);
}
