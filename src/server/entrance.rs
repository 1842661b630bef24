//! Where connections come in: the listener and its TLS.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

use super::Failure;
use crate::config::{Config, Tls};

/// Connections that wait to be accepted. Beyond, the system drops them, and their clients try again a second later: with
/// the usual 128 a crowd that comes at once, as after a restart, takes half a minute to come in.
const BACKLOG: u32 = 4096;

/// Where connections come in.
pub struct Entrance {
    pub(super) listener: TcpListener,
    address: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Entrance {
    /// Binds the address that the configuration names, and reads the certificate if it names one.
    ///
    /// # Errors
    /// If the address is taken or not ours, or TLS cannot be set up.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let tls = config.tls.as_ref().map(acceptor).transpose()?;
        let failed = |error| Failure::new(format!("{}: {error}", config.listen));
        let listener = listen(config.listen).map_err(failed)?;
        Ok(Self { address: listener.local_addr().map_err(failed)?, listener, tls })
    }

    /// What clients call it.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
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

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, Failure> {
    let unreadable = |path: &Path, error| Failure::new(format!("tls: {}: {error}", path.display()));
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&tls.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unreadable(&tls.key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Failure::new)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| Failure::new(format!("tls: {error}")))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
