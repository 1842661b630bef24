//! What SIGHUP does: the audit trail is opened anew, the configuration and the certificate are read again, and what may change
//! while the service runs takes effect. What cannot be taken up leaves everything as it was, and the log says why.
//!
//! A connection is treated as was in effect when it came.

use std::sync::Arc;

use tokio::{signal::unix::Signal, sync::watch};

use super::{Failure, Premises, certificate::Presented, connections::Connections, supervisor::Supervisor};
use crate::{
    config::{Config, Tls},
    kms::Kms,
};

/// What a reload takes from outside the service.
pub struct Source {
    /// Reads the configuration again.
    pub read: Box<dyn Fn() -> Result<Config, Failure> + Send>,
    /// Changes what the log tells.
    pub filter_log: FilterLog,
}

/// Has the log tell what this filter lets through, or says what is wrong with the filter.
pub type FilterLog = Box<dyn Fn(&str) -> Result<(), String> + Send>;

/// What reloads act on.
pub(super) struct Reloads {
    pub(super) kms: Arc<Kms>,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) source: Source,
    /// What is in effect.
    pub(super) config: Config,
    pub(super) presented: Option<Presented>,
    pub(super) premises: Premises,
    /// How connections are treated that come from now on.
    pub(super) current: watch::Sender<Arc<Connections>>,
}

impl Reloads {
    /// Reloads at each of these signals.
    pub(super) async fn at_each(mut self, mut signals: Signal) {
        while signals.recv().await.is_some() {
            // Files and disks take their time.
            let reloaded = tokio::task::spawn_blocking(move || {
                self.reload();
                self
            });
            match reloaded.await {
                Ok(reloads) => self = reloads,
                Err(error) => return tracing::error!(%error, "a reload has failed, and there will be no more"),
            }
        }
    }

    fn reload(&mut self) {
        self.supervisor.reloading();
        match self.kms.reopen_trail() {
            Ok(()) => tracing::info!("the audit trail is open anew"),
            Err(error) => tracing::error!(%error, "the audit trail cannot be opened anew; it goes on in the old file"),
        }
        let read = (self.source.read)().unwrap_or_else(|Failure { text, .. }| {
            tracing::error!(reason = text, "the configuration cannot be read again; the old one stays in effect");
            self.config.clone()
        });
        self.take_up(&read);
        self.supervisor.ready();
    }

    fn take_up(&mut self, read: &Config) {
        let mut next = self.config.taking_up(read);
        if let Some(tls) = &next.tls {
            match self.renewed(tls) {
                Ok(presented) => self.present(tls, presented),
                Err(reason) => {
                    tracing::error!(reason, "the certificate is not renewed; the old one stays in use");
                    next.tls.clone_from(&self.config.tls);
                }
            }
        }
        if let Err(reason) = self.filter_log(&next) {
            tracing::error!(reason, "the log goes on as it was");
            next.log.clone_from(&self.config.log);
        }
        self.current.send_replace(Arc::new(self.premises.treating(&next, self.presented.as_ref())));
        let changed = self.config.differences(&next).join(", ");
        let changed = if changed.is_empty() { "nothing" } else { &changed };
        tracing::info!(changed, certificate = self.certificate(), "reloaded");
        let waiting = next.differences(read).join(", ");
        if !waiting.is_empty() {
            tracing::warn!(fields = waiting, "these fields have changed, and take effect at the next start");
        }
        self.config = next;
    }

    /// The certificate, if clients can do no worse with it than with none.
    fn renewed(&self, tls: &Tls) -> Result<Presented, String> {
        let presented = Presented::read(tls)?;
        match presented.validity.fault(self.kms.now()) {
            Some(fault) => Err(format!("tls.certificate: {}: it {fault}", tls.certificate.display())),
            None => Ok(presented),
        }
    }

    fn present(&mut self, tls: &Tls, presented: Presented) {
        self.kms.note_certificate(&tls.certificate, presented.validity);
        self.presented = Some(presented);
    }

    fn filter_log(&self, next: &Config) -> Result<(), String> {
        match next.log.filter == self.config.log.filter {
            true => Ok(()),
            false => (self.source.filter_log)(&next.log.filter),
        }
    }

    fn certificate(&self) -> String {
        let until = self.presented.as_ref().map(|presented| format!("valid until {}", presented.validity.until));
        until.unwrap_or_else(|| "none".to_owned())
    }
}
