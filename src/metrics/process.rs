//! Metrics of this process, under the names that Prometheus's own clients use. A value that the system does not give stays as it
//! was. The worker processes of HSMs are not included.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use super::show;

/// The metrics of the process.
#[derive(Default)]
pub(super) struct Process {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
    start_time: Gauge<f64, AtomicU64>,
}

impl Process {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let process = Self::default();
        registry.register_with_unit("process_cpu", "Time on the processors", Unit::Seconds, process.cpu.clone());
        let help = "Memory that is resident";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, process.resident.clone());
        registry.register("process_open_fds", "File descriptors that are open", process.open_fds.clone());
        registry.register("process_max_fds", "File descriptors that may be open", process.max_fds.clone());
        registry.register("process_threads", "Threads", process.threads.clone());
        let help = "When the process began, in seconds since 1970";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, process.start_time.clone());
        process
    }

    pub(super) fn take(&self, began: f64) {
        self.start_time.set(began);
        show(&self.max_fds, getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            // The one that the directory is read by is gone afterwards.
            show(&self.open_fds, (descriptors.count() as u64).saturating_sub(1));
        }
        if let Some(Stat { ticks, threads, pages }) = stat() {
            let seconds = ticks as f64 / clock_ticks_per_second() as f64;
            self.cpu.inner().store(seconds.to_bits(), Ordering::Relaxed);
            show(&self.threads, threads);
            show(&self.resident, pages * page_size() as u64);
        }
    }
}

/// Of proc_pid_stat(5).
struct Stat {
    ticks: u64,
    threads: u64,
    pages: u64,
}

fn stat() -> Option<Stat> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may be anything. After it comes the third field.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat { ticks: field(14)? + field(15)?, threads: field(20)?, pages: field(24)? })
}
