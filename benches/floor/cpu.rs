//! CPU time of a process, as the kernel counts it.

use std::{fs, time::Duration};

use crate::Outcome;

/// `USER_HZ`: the unit of times in `/proc`, the same on every Linux that we run on.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process and its worker processes have used, in user mode and in the kernel; all their threads, also
/// those that have ended.
pub fn of(pid: u32) -> Outcome<Duration> {
    let mut all = of_one(pid)?;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            all += of_one(child.parse()?)?;
        }
    }
    Ok(all)
}

fn of_one(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may have spaces. Fields 14 and 15 of proc(5) are the 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(')').ok_or("no name in /proc/PID/stat")?;
    let ticks: Vec<u32> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(TICK * ticks.iter().sum())
}
