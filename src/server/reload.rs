//! The reload at SIGHUP: the audit trail is opened anew, the configuration and the certificate are read again, and the fields that
//! may change while the service runs take effect. A value that is not valid leaves the old one in effect, and the log says why.
//!
//! A connection is served under the configuration that was in effect when it was accepted.

use std::sync::Arc;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::{
    ExitError, ServiceManager, certificate::ServerCertificate, connections::ConnectionHandler, handlers::Handlers,
};
use crate::{
    config::{Config, TlsConfig},
    kms::Kms,
};

/// The signal to reload, SIGHUP.
pub struct ReloadSignal(Signal);

impl ReloadSignal {
    /// Listens from now on; what comes before the service serves is heeded then. Before, the signal ends the program.
    ///
    /// # Errors
    /// If the signal cannot be listened for.
    pub fn listen() -> Result<Self, ExitError> {
        signal(SignalKind::hangup()).map(Self).map_err(ExitError::new)
    }
}

/// The program's part in a reload.
pub struct ReloadSource {
    /// What asks for one.
    pub signal: ReloadSignal,
    /// Reads the configuration again.
    pub read: Box<dyn Fn() -> Result<Config, ExitError> + Send>,
    /// Sets the filter of the log.
    pub set_log_filter: SetLogFilter,
}

/// Sets the filter of the log, or says what is wrong with it.
pub type SetLogFilter = Box<dyn Fn(&str) -> Result<(), String> + Send>;

/// Reloads the service, and keeps what is in effect.
pub(super) struct Reloader {
    pub(super) kms: Arc<Kms>,
    pub(super) manager: Arc<ServiceManager>,
    pub(super) source: ReloadSource,
    /// The configuration that is in effect.
    pub(super) config: Config,
    /// The certificate that is in effect.
    pub(super) certificate: Option<ServerCertificate>,
    pub(super) handlers: Handlers,
    /// The handler of connections that are accepted from now on.
    pub(super) current: watch::Sender<Arc<ConnectionHandler>>,
}

impl Reloader {
    /// Reloads at each signal.
    pub(super) async fn run(mut self) {
        while self.source.signal.0.recv().await.is_some() {
            // It reads files, and disks may be slow.
            let reloaded = tokio::task::spawn_blocking(move || {
                self.reload();
                self
            });
            match reloaded.await {
                Ok(reloader) => self = reloader,
                Err(error) => return tracing::error!(%error, "a reload has failed, and there will be no more"),
            }
        }
    }

    fn reload(&mut self) {
        self.manager.reloading();
        match self.kms.reopen_trail() {
            Ok(()) => tracing::info!("the audit trail is open anew"),
            Err(error) => tracing::error!(%error, "the audit trail cannot be opened anew; it goes on in the old file"),
        }
        let read = (self.source.read)().unwrap_or_else(|ExitError { text, .. }| {
            tracing::error!(reason = text, "the configuration cannot be read again; the old one stays in effect");
            self.config.clone()
        });
        self.apply(&read);
        self.manager.ready();
    }

    fn apply(&mut self, read: &Config) {
        let mut next = self.config.with_changes_of(read);
        if let Some(tls) = &next.tls {
            match self.renewed(tls) {
                Ok(certificate) => self.use_certificate(tls, certificate),
                Err(reason) => {
                    tracing::error!(reason, "the certificate is not renewed; the old one stays in use");
                    next.tls.clone_from(&self.config.tls);
                }
            }
        }
        if let Err(reason) = self.set_log_filter(&next) {
            tracing::error!(reason, "the log goes on as it was");
            next.log.clone_from(&self.config.log);
        }
        self.current.send_replace(Arc::new(self.handlers.handler(&next, self.certificate.as_ref())));
        let changed = self.config.differences(&next).join(", ");
        let changed = if changed.is_empty() { "nothing" } else { &changed };
        tracing::info!(changed, certificate = self.validity(), "reloaded");
        let waiting = next.differences(read).join(", ");
        if !waiting.is_empty() {
            tracing::warn!(fields = waiting, "these fields have changed, and take effect at the next start");
        }
        self.config = next;
    }

    /// The certificate in the files of `tls`, if it is valid now: clients would not connect with another.
    fn renewed(&self, tls: &TlsConfig) -> Result<ServerCertificate, String> {
        let certificate = ServerCertificate::read(tls)?;
        match certificate.validity.fault(self.kms.now()) {
            Some(fault) => Err(format!("tls.certificate: {}: it {fault}", tls.certificate.display())),
            None => Ok(certificate),
        }
    }

    fn use_certificate(&mut self, tls: &TlsConfig, certificate: ServerCertificate) {
        self.kms.note_certificate(&tls.certificate, certificate.validity);
        self.certificate = Some(certificate);
    }

    fn set_log_filter(&self, next: &Config) -> Result<(), String> {
        match next.log.filter == self.config.log.filter {
            true => Ok(()),
            false => (self.source.set_log_filter)(&next.log.filter),
        }
    }

    /// How long the certificate is valid, for the log.
    fn validity(&self) -> String {
        let until = self.certificate.as_ref().map(|certificate| format!("valid until {}", certificate.validity.until));
        until.unwrap_or_else(|| "none".to_owned())
    }
}
