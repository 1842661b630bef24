//! The progress bar: a line on the terminal that is written over and over, and is gone afterwards.

use std::{
    io::{IsTerminal, Write, stderr},
    time::Instant,
};

/// Characters of the bar.
const WIDTH: usize = 24;

/// The line. Where standard error is no terminal, there is none.
pub struct Progress {
    steps: usize,
    done: usize,
    began: Instant,
    is_shown: bool,
}

impl Progress {
    /// Nothing is done of so many steps, which take about the same time each.
    pub fn of(steps: usize) -> Self {
        Self { steps, done: 0, began: Instant::now(), is_shown: stderr().is_terminal() }
    }

    /// Another step begins: what it is.
    pub fn begin(&mut self, what: &str) {
        if self.is_shown {
            let line = line(self.done, self.steps, self.began.elapsed().as_secs_f64(), what);
            let _ = write!(stderr(), "\r\x1b[K{line}").and_then(|()| stderr().flush());
        }
        self.done += 1;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: usize, steps: usize, seconds: f64, what: &str) -> String {
    let steps = steps.max(1);
    let full = (WIDTH * done / steps).min(WIDTH);
    let bar = "#".repeat(full) + &".".repeat(WIDTH - full);
    let left = match done {
        0 => String::new(),
        _ => format!(", {:.0} s left", seconds / done as f64 * steps.saturating_sub(done) as f64),
    };
    format!("[{bar}] {:>3} %  {what}{left}", 100 * done / steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is_and_how_long_it_takes() {
        assert_eq!(line(0, 4, 0.1, "Sign"), format!("[{}]   0 %  Sign", ".".repeat(24)));
        assert_eq!(line(1, 4, 2.0, "Sign"), format!("[{}{}]  25 %  Sign, 6 s left", "#".repeat(6), ".".repeat(18)));
        assert_eq!(line(5, 4, 9.0, "x").matches('#').count(), 24, "more steps than were said");
    }
}
