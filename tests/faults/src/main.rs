//! The console: an operator rehearses an outage. `strongroom-faults DIR` listens in the directory in which the module lies,
//! reads commands from the standard input and prints what callers do wrong.

use std::io::{self, BufRead};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use strongroom_faults::console;
use strongroom_faults::control::Controller;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: strongroom-faults DIR\n\n{}", console::HELP);
        return ExitCode::FAILURE;
    };
    match Controller::new(Path::new(&dir)) {
        Ok(control) => converse(&Arc::new(control)),
        Err(error) => {
            eprintln!("{}: {error}", Path::new(&dir).display());
            ExitCode::FAILURE
        }
    }
}

/// Until the input ends; then everything is as without the console.
fn converse(control: &Arc<Controller>) -> ExitCode {
    println!("listening; `help` says what can be said");
    watch(Arc::clone(control));
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match console::obey(control, &line) {
            console::Reply::Text(text) => println!("{text}"),
            console::Reply::Quit => break,
        }
    }
    control.calm();
    ExitCode::SUCCESS
}

/// Prints each complaint when it is new.
fn watch(control: Arc<Controller>) {
    thread::spawn(move || {
        let mut printed = 0;
        loop {
            let complaints = control.complaints();
            complaints.iter().skip(printed).for_each(|complaint| println!("complaint: {complaint}"));
            printed = complaints.len();
            thread::sleep(Duration::from_millis(500));
        }
    });
}
