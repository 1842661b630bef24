//! A spawned `strongroom` on a directory of its own: start, end in either way, start again.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_strongroom");
const READY: &str = "strongroom is ready on ";
const NOT_READY: &str = "strongroom listens on ";
/// Two cores may be shared by many tests.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);
const VERB: Duration = Duration::from_secs(60);

/// The account of every development directory.
pub const ACCOUNT: &str = "000000000000";
/// The region that the printed lines name.
pub const REGION: &str = "us-east-1";

/// An access key.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub id: String,
    pub secret: String,
}

/// A server and its directory. Dropped, it is ended, and its directory is gone.
pub struct Server {
    root: TempDir,
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
    /// What a shell does before it becomes the program.
    prelude: Option<String>,
    running: Option<Running>,
    /// The `export` lines of the last start that printed any.
    exports: BTreeMap<String, String>,
}

struct Running {
    child: Child,
    address: SocketAddr,
}

/// A program that ended before it was ready.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: String,
}

impl Server {
    /// A development server on a new directory, not started.
    pub fn new() -> Self {
        let root = TempDir::with_prefix("strongroom-live-").unwrap();
        let data = root.path().join("data");
        let arguments = ["dev", "--listen", "127.0.0.1:0", "--data"].map(OsString::from).into();
        let environment = BTreeMap::new();
        let mut server = Self { root, arguments, environment, prelude: None, running: None, exports: BTreeMap::new() };
        server.arguments.push(data.into());
        server
    }

    /// A development server, started.
    pub fn started() -> Self {
        let mut server = Self::new();
        server.start();
        server
    }

    /// A development server that tests share; the last of them ends it.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::started());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// With a variable in its environment.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.insert(name.to_owned(), value.to_string());
        self
    }

    /// With no more open files than this.
    pub fn with_files(self, most: u32) -> Self {
        self.with_prelude(&format!("ulimit -n {most}"))
    }

    /// Started by a shell that does this first.
    pub fn with_prelude(mut self, prelude: &str) -> Self {
        self.prelude = Some(prelude.to_owned());
        self
    }

    /// A variable that it was given.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// With these arguments in place of all.
    pub fn with_arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// With one more argument.
    pub fn with_argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Starts it, and waits for the ready line.
    pub fn start(&mut self) {
        if let Err(ended) = self.try_start() {
            panic!("the server did not start: {}\n{}", ended.status, ended.stderr);
        }
    }

    /// Starts it; answers how it ended if it does so before the ready line.
    pub fn try_start(&mut self) -> Result<(), Ended> {
        assert!(self.running.is_none(), "it runs already");
        let logged = self.stderr().len();
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut child =
            self.command(&self.arguments).stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        match greeting(&mut child) {
            Some(lines) => {
                let address = address(lines.last().unwrap());
                self.running = Some(Running { child, address });
                let exports = exports(&lines.join("\n"));
                if !exports.is_empty() {
                    self.exports = exports;
                }
                Ok(())
            }
            None => {
                let status = wait(&mut child, STOP).unwrap_or_else(|| {
                    child.kill().unwrap();
                    child.wait().unwrap()
                });
                Err(Ended { status, stderr: self.stderr().split_off(logged) })
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// Process ids of its HSMs' worker processes.
    pub fn workers(&self) -> Vec<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.running().child.id());
        let threads = format!("/proc/{}/task", self.running().child.id());
        let of_threads = fs::read_dir(threads).unwrap().flatten().map(|task| task.path().join("children"));
        let lists = of_threads.chain([children.into()]).map(|list| fs::read_to_string(list).unwrap_or_default());
        let mut pids: Vec<u32> =
            lists.collect::<String>().split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// SIGKILL for a worker process.
    pub fn kill_worker(&self) {
        self.signal_workers(rustix::process::Signal::KILL);
    }

    /// A signal for the worker processes.
    pub fn signal_workers(&self, signal: rustix::process::Signal) {
        for pid in self.workers() {
            let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// A signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end that SIGTERM asked for. Whoever does not go within the time is killed, which is a failure.
    pub fn wait(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("it runs");
        wait(&mut running.child, STOP).unwrap_or_else(|| {
            running.child.kill().unwrap();
            running.child.wait().unwrap();
            panic!("the server did not stop within {STOP:?}")
        })
    }

    /// SIGTERM, and its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Runs a verb on the directory, beside the server, and gives what came out.
    pub fn verb(&self, arguments: &[&str]) -> Output {
        let data = self.data().into_os_string();
        let arguments = arguments.iter().map(OsString::from).chain(["--data".into(), data]).collect::<Vec<_>>();
        self.run(&arguments)
    }

    /// Runs a verb that succeeds, and gives what it printed.
    pub fn printed(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the program with these arguments, in this server's environment.
    pub fn run<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Output {
        let out = tempfile::tempfile().unwrap();
        let err = tempfile::tempfile().unwrap();
        let mut command = self.command(arguments);
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        let status = wait(&mut child, VERB).unwrap_or_else(|| {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the verb did not end within {VERB:?}")
        });
        Output { status, stdout: content(out), stderr: content(err) }
    }

    /// As little of the caller's environment as the program needs, and nothing of its settings.
    fn command<A: AsRef<std::ffi::OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = match &self.prelude {
            None => Command::new(PROGRAM),
            Some(prelude) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("{prelude} && exec \"$0\" \"$@\""), PROGRAM]);
                shell
            }
        };
        command.args(arguments).env_clear().envs(&self.environment).stdin(Stdio::null());
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.root.path()).env("TMPDIR", self.root.path());
        command
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// The endpoint URL that it printed.
    pub fn endpoint(&self) -> &str {
        &self.exports["AWS_ENDPOINT_URL_KMS"]
    }

    /// The administrator's access key, as printed.
    pub fn administrator(&self) -> Credentials {
        credentials(&self.exports)
    }

    /// A directory of the test's own, which the server's is in.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The development directory.
    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.root.path().join("stderr.log")
    }

    /// What every start so far logged.
    pub fn stderr(&self) -> String {
        fs::read(self.log()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The audit trail: every line is a record.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.data().join("audit.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log ends so:\n{}", tail(&self.stderr()));
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// The lines up to the ready line; `None` if the program ended, or took too long and was killed.
fn greeting(child: &mut Child) -> Option<Vec<String>> {
    let (sender, receiver) = mpsc::channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in out.lines() {
            // Read on when nobody listens any more, so that the program can go on printing.
            let Ok(line) = line else { break };
            let _ = sender.send(line);
        }
    });
    let deadline = Instant::now() + START;
    let mut lines = Vec::new();
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => lines.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                return None;
            }
        }
        if lines
            .last()
            .is_some_and(|line| [READY, NOT_READY].iter().any(|said| line.trim_start_matches("# ").starts_with(said)))
        {
            return Some(lines);
        }
    }
}

fn address(ready: &str) -> SocketAddr {
    let url = ready.split(' ').find(|word| word.starts_with("http")).expect(ready);
    url.rsplit('/').next().unwrap().parse().expect(ready)
}

/// The `export NAME=value` lines of a text.
pub fn exports(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The access key among exported lines.
pub fn credentials(exports: &BTreeMap<String, String>) -> Credentials {
    Credentials { id: exports["AWS_ACCESS_KEY_ID"].clone(), secret: exports["AWS_SECRET_ACCESS_KEY"].clone() }
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut status = None;
    within(limit, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status
}

fn content(mut file: File) -> Vec<u8> {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Asks again and again until it is so; whether it was in time.
pub fn within(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}
