//! The threads that hear the instances: one accepts, one for each connection reads.

use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::thread;

use super::state::Shared;
use crate::wire::Report;

pub fn accept(shared: &Arc<Shared>, listener: &UnixListener) {
    for stream in listener.incoming() {
        if shared.look(|state| state.is_closed()) {
            return;
        }
        let (Ok(stream), shared) = (stream, Arc::clone(shared)) else { continue };
        let heard = thread::Builder::new().name("faults-hear".to_owned()).spawn(move || hear(&shared, stream));
        if let Err(error) = heard {
            eprintln!("no thread for an instance of the module for faults: {error}");
        }
    }
}

/// Until the instance is gone. One that only complains, a forked child, never says hello.
fn hear(shared: &Shared, stream: UnixStream) {
    let Ok(reader) = stream.try_clone() else { return };
    let (mut stream, mut id) = (Some(stream), 0);
    for line in BufReader::new(reader).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Report::Hello { pid }) => id = stream.take().map_or(0, |stream| shared.welcome(pid, stream)),
            Ok(report) => shared.note(id, report),
            Err(error) => eprintln!("an instance of the module for faults said `{line}`: {error}"),
        }
    }
    shared.farewell(id);
}
