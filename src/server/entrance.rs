//! Where connections come in: the listener and its TLS.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::{Failure, certificate::Presented};
use crate::{config::Config, kms::Kms};

/// Connections that wait to be accepted. Beyond, the system drops them, and their clients try again a second later: with
/// the usual 128 a crowd that comes at once, as after a restart, takes half a minute to come in.
const BACKLOG: u32 = 4096;

/// Where connections come in.
pub struct Entrance {
    pub(super) listener: TcpListener,
    address: SocketAddr,
    pub(super) presented: Option<Presented>,
}

impl Entrance {
    /// Binds the address that the configuration names, and reads the certificate if it names one. One that is not valid now is
    /// used all the same, for another can be put in its place; `kms` is told of its dates.
    ///
    /// # Errors
    /// If the address is taken or not ours, or TLS cannot be set up.
    pub async fn open(config: &Config, kms: &Kms) -> Result<Self, Failure> {
        let presented = config.tls.as_ref().map(Presented::read).transpose().map_err(Failure::new)?;
        if let Some((tls, presented)) = config.tls.as_ref().zip(presented.as_ref()) {
            kms.note_certificate(&tls.certificate, presented.validity);
            if let Some(fault) = presented.validity.fault(kms.now()) {
                let file = tls.certificate.display();
                tracing::error!(%file, "the certificate {fault}: clients that look at it will not connect");
            }
        }
        let failed = |error| Failure::new(format!("{}: {error}", config.listen));
        let listener = listen(config.listen).map_err(failed)?;
        Ok(Self { address: listener.local_addr().map_err(failed)?, listener, presented })
    }

    /// What clients call it.
    pub fn url(&self) -> String {
        let scheme = if self.presented.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As TcpListener::bind does: what connections of the last start left behind does not keep the address.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
