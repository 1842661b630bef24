//! What an operator does from the first day on, in its order: installs the program and the example configuration, makes wrapping
//! key, principal and access key, serves as a service manager has it served, and while clients call without a pause, rotates the
//! trail, renews the certificate and reloads. No call fails, and each has its record.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::{Signal, geteuid};
use rustls::{pki_types::CertificateDer, version::TLS13};
use serde_json::{Value, json};

use crate::{
    server::{Credentials, Server, credentials, exports, within},
    supervision::Manager,
    tls::{connect, connect_trusting},
    wire::{Answer, Request},
};

const SOON: Duration = Duration::from_secs(10);
const CLIENTS: usize = 3;
/// Who the service runs as, where this test may choose.
const NOBODY: u32 = 65534;
const PIN: &str = "operators-pin";
const POLICY: &str =
    r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}"#;

/// A machine, as far as a deployment sees one.
struct Machine {
    server: Server,
    certificates: Vec<CertificateDer<'static>>,
}

impl Machine {
    /// As the example unit and configuration have it, below a directory.
    fn installed() -> Self {
        let mut machine = Self { server: Server::new(), certificates: Vec::new() };
        for directory in ["bin", "etc", "etc/tokens", "lib", "log", "credentials"] {
            fs::create_dir(machine.file(directory)).unwrap();
        }
        let program = machine.file("bin/strongroom");
        succeeds(Command::new("install").args(["-m", "0755", env!("CARGO_BIN_EXE_strongroom")]).arg(&program));
        machine.make_token();
        fs::write(machine.file("credentials/hsm-pin"), PIN).unwrap();
        fs::write(machine.file("etc/policy.json"), POLICY).unwrap();
        machine.put_certificate();
        fs::write(machine.file("etc/strongroom.toml"), machine.configuration()).unwrap();
        machine.give_to_service();
        let prelude = machine.unit_rules(&program);
        let Self { server, certificates } = machine;
        let (config, credentials) = (server.root().join("etc/strongroom.toml"), server.root().join("credentials"));
        let server = server
            .with_arguments(["serve".into(), "--config".into(), config.into_os_string()])
            .with("CREDENTIALS_DIRECTORY", credentials.display())
            .with_prelude(&prelude);
        Self { server, certificates }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.server.root().join(name)
    }

    /// The example, with this machine's places.
    fn configuration(&self) -> String {
        let root = self.server.root().display().to_string();
        let mut text = fs::read_to_string("deploy/strongroom.toml").unwrap();
        for (theirs, ours) in [
            ("/etc/strongroom", format!("{root}/etc")),
            ("/var/lib/strongroom", format!("{root}/lib")),
            ("/var/log/strongroom", format!("{root}/log")),
            ("0.0.0.0:8200", "127.0.0.1:0".to_owned()),
            ("\"eu-onprem-1\"", "\"us-east-1\"".to_owned()),
            ("#   environment = { SOFTHSM2_CONF", "environment = { SOFTHSM2_CONF".to_owned()),
        ] {
            assert!(text.contains(theirs), "the example has no {theirs} any more");
            text = text.replace(theirs, &ours);
        }
        text
    }

    fn make_token(&self) {
        let conf = self.file("etc/softhsm2.conf");
        fs::write(&conf, format!("directories.tokendir = {}\n", self.file("etc/tokens").display())).unwrap();
        let arguments = ["--init-token", "--free", "--label", "strongroom", "--so-pin", "officer-pin", "--pin", PIN];
        succeeds(Command::new("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", conf));
    }

    /// A certificate and its key, which take the place of those that are there.
    fn put_certificate(&mut self) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.file("etc/tls.crt"), cert.pem()).unwrap();
        let key = self.file("etc/tls.key");
        fs::write(&key, signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        self.certificates.push(cert.der().clone());
    }

    /// Nothing of the machine is anybody else's business than the service's user's.
    fn give_to_service(&self) {
        if geteuid().is_root() {
            give(self.server.root());
        }
    }

    /// What the unit lets the service do, as far as another program than a service manager can see to it.
    fn unit_rules(&self, program: &Path) -> String {
        let unit = fs::read_to_string("deploy/strongroom.service").unwrap();
        for rule in
            ["NoNewPrivileges=yes", "CapabilityBoundingSet=\n", "LimitNOFILE=16384", "LimitCORE=0", "UMask=0077"]
        {
            assert!(unit.contains(rule), "the unit has no {rule} any more");
        }
        let user = match geteuid().is_root() {
            true => format!("--reuid={NOBODY} --regid={NOBODY} --clear-groups --bounding-set=-all --inh-caps=-all"),
            false => String::new(),
        };
        // A hard limit that is lower stays.
        format!(
            "umask 0077; ulimit -n 16384; ulimit -c 0; exec setpriv --no-new-privs {user} {} \"$@\"",
            program.display()
        )
    }

    /// A verb on the configuration.
    fn verb(&self, arguments: &[&str]) -> String {
        let config = self.file("etc/strongroom.toml").display().to_string();
        let output = self.server.run(&[arguments, &["--config", &config]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut connection = connect_trusting(self.server.address(), &self.certificates, &TLS13);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = connection.send(request.as_bytes()).answer();
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    fn call(&self, by: &Credentials, operation: &str, body: &Value) -> Answer {
        let mut connection = connect_trusting(self.server.address(), &self.certificates, &TLS13);
        connection.send(&Request::signed(self.server.address(), by, operation, body).bytes()).answer()
    }

    /// Calls without a pause until it is over, on connections of twenty calls each. Every call is answered 200.
    fn load(&self, by: &Credentials, key: &str, answered: &Mutex<HashSet<String>>, over: &AtomicBool) {
        let body = json!({"KeyId": key, "Plaintext": "eA=="});
        while !over.load(Ordering::Relaxed) {
            let mut connection = connect_trusting(self.server.address(), &self.certificates, &TLS13);
            for _ in 0..20 {
                let request = Request::signed(self.server.address(), by, "Encrypt", &body);
                let answer = connection.send(&request.bytes()).answer();
                assert_eq!(answer.status, 200, "{answer:?}");
                answered.lock().unwrap().insert(answer.request_id().to_owned());
            }
        }
    }

    fn log(&self) -> String {
        self.server.stderr()
    }
}

fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn from_the_installation_to_a_renewed_certificate_no_call_fails() {
    let mut machine = Machine::installed();
    assert!(machine.verb(&["config", "check"]).contains("\"credential\": \"hsm-pin\""));
    assert!(machine.verb(&["hsm", "init"]).contains("wrapping key made"));
    machine.verb(&["principal", "create", "--name", "app"]);
    let policy = machine.file("etc/policy.json").display().to_string();
    machine.verb(&["principal", "attach-policy", "--name", "app", "--policy", &policy]);

    let manager = Manager::of(&machine.server);
    let socket = machine.file("notify");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    machine.server = machine.server.with("NOTIFY_SOCKET", socket.display()).with("WATCHDOG_USEC", 30_000_000);
    machine.server.start();
    manager.hears_until("READY=1");
    assert!(within(SOON, || machine.get("/readyz").1.starts_with("ready, but no access key is enabled")));
    let app = credentials(&exports(&machine.verb(&["access-key", "create", "--principal", "app"])));
    assert!(within(SOON, || machine.get("/readyz") == (200, "ready\n".to_owned())));
    let made = machine.call(&app, "CreateKey", &json!({}));
    assert_eq!(made.status, 200, "{made:?}");
    let key = made.json()["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();

    let (answered, over) = (Mutex::default(), AtomicBool::new(false));
    // Clients trust the next certificate already, as operators have them do.
    let old = machine.certificates[0].clone();
    let (trail, away) =
        (machine.file("log/audit.jsonl"), ["1", "2"].map(|n| machine.file(&format!("log/audit.jsonl.{n}"))));
    let kept = ["etc/tls.crt", "etc/tls.key"].map(|name| fs::read(machine.file(name)).unwrap());
    machine.put_certificate();
    let renewed = ["etc/tls.crt", "etc/tls.key"].map(|name| fs::read(machine.file(name)).unwrap());
    let write = |pair: &[Vec<u8>; 2]| {
        fs::write(machine.file("etc/tls.crt"), &pair[0]).unwrap();
        fs::write(machine.file("etc/tls.key"), &pair[1]).unwrap();
    };
    write(&kept);
    thread::scope(|scope| {
        let load = || machine.load(&app, &key, &answered, &over);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(load)).collect();
        let goes_on = || {
            let so_far = answered.lock().unwrap().len();
            let more = within(SOON, || answered.lock().unwrap().len() > so_far + 20);
            assert!(
                more && clients.iter().all(|client| !client.is_finished()),
                "clients were stopped: {}",
                machine.log()
            );
        };
        goes_on();
        fs::rename(&trail, &away[0]).unwrap();
        assert!(within(SOON, || trail.exists()), "a rotation that nobody told of is not noticed");
        goes_on();
        write(&renewed);
        fs::rename(&trail, &away[1]).unwrap();
        machine.server.signal(Signal::HUP);
        manager.hears_until("RELOADING=1");
        manager.hears_until("READY=1");
        goes_on();
        over.store(true, Ordering::Relaxed);
    });
    let new = &machine.certificates[1];
    assert_eq!(
        connect(machine.server.address(), Some(new), &TLS13)
            .send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            .answer()
            .status,
        200
    );
    assert!(
        !connect(machine.server.address(), Some(&old), &TLS13).try_send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    );
    assert_eq!(machine.get("/readyz"), (200, "ready\n".to_owned()));
    assert!(machine.get("/metrics").1.contains("strongroom_certificate_days_left{file="));
    machine.server.terminate();
    manager.hears_until("STOPPING=1");
    assert_eq!(machine.server.wait().code(), Some(0));

    let [first, second] = away.map(|file| fs::read_to_string(file).unwrap());
    let third = fs::read_to_string(&trail).unwrap();
    assert!([&first, &second, &third].iter().all(|text| text.ends_with('\n')), "a file of the trail is empty or torn");
    let records = [first, second, third].concat();
    let mut recorded: Vec<String> = records
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect(line)["requestID"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    recorded.sort_unstable();
    for id in answered.into_inner().unwrap() {
        let first = recorded.partition_point(|known| *known < id);
        assert_eq!(recorded[first..].iter().take_while(|known| **known == id).count(), 1, "the record of {id}");
    }
}
