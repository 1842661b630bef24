//! The connection to the controller. The controller listens; each instance connects, and tries again when there is none.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::shards::lock;
use super::{Module, events, thread};
use crate::wire::{Answer, Gauges, Order, Report, SOCKET, What};
use crate::world::World;

const RETRY: Duration = Duration::from_millis(200);
/// A controller that has accepted the connection and says nothing is not waited for any longer.
const FIRST_ORDER: Duration = Duration::from_secs(5);

pub struct Link {
    socket: PathBuf,
    out: Mutex<Option<UnixStream>>,
    /// What PINs are hashed with: the controller's, so that it can tell them apart over all instances.
    pub salt: AtomicU64,
}

impl Link {
    pub fn new(dir: &Path) -> Self {
        Self { socket: dir.join(SOCKET), out: Mutex::default(), salt: AtomicU64::new(thread::micros()) }
    }

    /// Tells the controller, if there is one.
    pub fn report(&self, report: &Report) {
        let mut out = lock(&self.out);
        if let Some(stream) = out.as_ref()
            && send(stream, report).is_err()
        {
            *out = None;
        }
    }

    /// A forked child has the parent's connection, which is not for it, and none of its threads: it opens one for a moment.
    pub fn complain(&self, text: String) {
        let complaint = Report::Complaint(text);
        if thread::is_forked() {
            let _ = UnixStream::connect(&self.socket).and_then(|stream| send(&stream, &complaint));
        } else {
            self.report(&complaint);
        }
    }

    fn connect(&self) -> Option<BufReader<UnixStream>> {
        let stream = UnixStream::connect(&self.socket).ok()?;
        send(&stream, &Report::Hello { pid: std::process::id() }).ok()?;
        let reader = BufReader::new(stream.try_clone().ok()?);
        *lock(&self.out) = Some(stream);
        Some(reader)
    }
}

/// Connects, so that what the controller has planned holds for the first call already; then goes on in a thread.
pub fn begin(module: &'static Module) {
    let first = module.link.connect();
    if let Some(mut stream) = first {
        let _ = stream.get_ref().set_read_timeout(Some(FIRST_ORDER));
        let begun = obey_one(module, &mut stream);
        let _ = stream.get_ref().set_read_timeout(None);
        spawn(move || go_on(module, begun.is_ok().then_some(stream)));
    } else {
        spawn(move || go_on(module, None));
    }
}

/// A thread that takes none of the program's signals.
fn spawn(work: impl FnOnce() + Send + 'static) {
    let quiet = move || {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the set is a place of ours, filled before it is used.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
        }
        work();
    };
    if let Err(error) = std::thread::Builder::new().name("faults".to_owned()).spawn(quiet) {
        eprintln!("the module for faults has no thread: {error}");
    }
}

fn go_on(module: &Module, first: Option<BufReader<UnixStream>>) {
    let mut stream = first;
    loop {
        if let Some(mut stream) = stream.take().or_else(|| module.link.connect()) {
            while obey_one(module, &mut stream).is_ok() {}
            be_left_alone(module);
        }
        std::thread::sleep(RETRY);
    }
}

/// Without a controller nothing hangs and nothing fails.
fn be_left_alone(module: &Module) {
    *lock(&module.link.out) = None;
    module.plan.clear();
    module.plan.release();
    events::befall(module, &World::Calm);
}

fn obey_one(module: &Module, stream: &mut BufReader<UnixStream>) -> io::Result<()> {
    let order = next_order(stream)?;
    let answer = obey(module, order.what);
    module.link.report(&Report::Done { number: order.number, answer });
    Ok(())
}

fn next_order(stream: &mut impl BufRead) -> io::Result<Order> {
    let mut line = String::new();
    if stream.by_ref().take(1 << 26).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

fn obey(module: &Module, what: What) -> Answer {
    match what {
        What::Begin { rules, world, salt } => {
            module.link.salt.store(salt, Ordering::Relaxed);
            module.plan.clear();
            world.iter().for_each(|event| events::befall(module, event));
            rules.into_iter().for_each(|(id, rule)| module.plan.install(id, rule));
        }
        What::Install(id, rule) => module.plan.install(id, rule),
        What::Remove(id) => module.plan.remove(id),
        What::Clear => module.plan.clear(),
        What::Release => module.plan.release(),
        What::World(event) => events::befall(module, &event),
        What::Calls { from } => return Answer::Calls(module.trace.entries(from)),
        What::Gauges => return Answer::Gauges(module.gauges()),
    }
    Answer::Nothing
}

/// One line, whole. A controller that is gone must not end a program that has no handler for SIGPIPE.
fn send(stream: &UnixStream, report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        // SAFETY: the socket is open while `stream` lives, and the bytes are ours.
        let sent = unsafe { libc::send(stream.as_raw_fd(), rest.as_ptr().cast(), rest.len(), libc::MSG_NOSIGNAL) };
        match usize::try_from(sent) {
            Ok(sent) => rest = &rest[sent..],
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

impl Module {
    fn gauges(&self) -> Gauges {
        let counted = crate::function::Function::ALL.iter().zip(&self.counts);
        let calls = counted.map(|(function, count)| (function.name().to_owned(), count.load(Ordering::Relaxed)));
        Gauges {
            sessions: self.sessions.open(),
            operations: self.sessions.active_operations(),
            raw_rsa: self.checks.raw_rsa(),
            calls: calls.filter(|(_, count)| *count > 0).collect(),
        }
    }
}
