//! The listening socket, and the certificate of its TLS.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::{ExitError, certificate::ServerCertificate};
use crate::{config::Config, kms::Kms};

/// Connections that may wait to be accepted. The system drops more, and their clients try again a second later: with the usual
/// 128, many clients that connect at once, as after a restart, would need half a minute.
const BACKLOG: u32 = 4096;

/// The listening socket, bound and with its certificate read.
pub struct Listener {
    pub(super) listener: TcpListener,
    address: SocketAddr,
    pub(super) certificate: Option<ServerCertificate>,
}

impl Listener {
    /// Binds the address that the configuration names, and reads the certificate if it names one. A certificate that is not valid
    /// now is used all the same, for a reload can replace it; `kms` shows its dates in the metrics.
    ///
    /// # Errors
    /// If the address is taken or not ours, or TLS cannot be set up.
    pub async fn open(config: &Config, kms: &Kms) -> Result<Self, ExitError> {
        let certificate = config.tls.as_ref().map(ServerCertificate::read).transpose().map_err(ExitError::new)?;
        if let Some((tls, read)) = config.tls.as_ref().zip(certificate.as_ref()) {
            kms.note_certificate(&tls.certificate, read.validity);
            if let Some(fault) = read.validity.fault(kms.now()) {
                let file = tls.certificate.display();
                tracing::error!(%file, "the certificate {fault}: clients that look at it will not connect");
            }
        }
        let failed = |error| ExitError::new(format!("{}: {error}", config.listen));
        let listener = listen(config.listen).map_err(failed)?;
        Ok(Self { address: listener.local_addr().map_err(failed)?, listener, certificate })
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As TcpListener::bind does: connections of the last start in TIME_WAIT do not keep the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
