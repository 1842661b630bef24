//! What this process logs.

use std::{io, sync::OnceLock};

use parking_lot::Mutex;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Whether the log of this process, at its most talkative, has this text.
pub fn logged(text: &str) -> bool {
    LOG.lock().windows(text.len()).any(|window| window == text.as_bytes())
}

/// All that anybody logs in this process, kept for [`logged`].
pub(super) fn listen() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
        log.with_writer(|| LogWriter).init();
    });
}

struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
