//! Who calls: the thread, and whether the process is still the one that loaded the module.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static ID: Cell<u64> = const { Cell::new(0) };
}

static FORKED: AtomicBool = AtomicBool::new(false);

/// The kernel's number of this thread, asked for once per thread.
pub fn id() -> u64 {
    ID.with(|id| {
        if id.get() == 0 {
            // SAFETY: gettid has no arguments and cannot fail.
            id.set(unsafe { libc::gettid() }.unsigned_abs().into());
        }
        id.get()
    })
}

/// Asking for the pid in each call would cost a system call; a child notes once that it is one.
pub fn watch_forks() {
    extern "C" fn in_the_child() {
        FORKED.store(true, Ordering::Relaxed);
        ID.with(|id| id.set(0));
    }
    // SAFETY: the function lives as long as the library, which is never unloaded, and does only what a child may do.
    unsafe { libc::pthread_atfork(None, None, Some(in_the_child)) };
}

/// Whether this process is a child of the one that loaded the module.
pub fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Microseconds on the monotonic clock, which all processes share.
pub fn micros() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours, and the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000
}
