//! The server: its URL, and the way to it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where systems keep the certificates that they trust: Debian, Red Hat, SUSE.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// The address of a server, and its TLS if it has one.
#[derive(Clone)]
pub struct Endpoint {
    /// The value of `Host`: the name, and the port if the URL has one.
    pub host: String,
    /// Name and port.
    address: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Endpoint {
    /// The server of a URL: `http://` or `https://`, a name or an address, a port if it is not the usual one, and no path.
    ///
    /// # Errors
    /// If it is none, or the trusted certificates of one with TLS cannot be read.
    pub fn parse(url: &str, ca_bundle: Option<&Path>) -> Result<Self, String> {
        let (scheme, host) = url.split_once("://").ok_or_else(|| format!("{url} is no URL"))?;
        let host = host.trim_end_matches('/');
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(format!("{url}: it must begin with http:// or https://")),
        };
        let (name, port) = name_and_port(host);
        if name.is_empty()
            || host.contains(['/', '?', '#', '@'])
            || port.is_some_and(|port| port.parse::<u16>().is_err())
        {
            return Err(format!("{url}: it must have a name and may have a port, and nothing more"));
        }
        let address = if port.is_some() { host.to_owned() } else { format!("{host}:{usual}") };
        let tls = if scheme == "https" { Some((connector(ca_bundle)?, server_name(name)?)) } else { None };
        Ok(Self { host: host.to_owned(), address, tls })
    }

    /// A connection to it.
    ///
    /// # Errors
    /// If there is nobody, or its certificate is not trusted.
    pub async fn connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => Ok(Stream::Plain(stream)),
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await?;
                Ok(Stream::Tls(Box::new(stream)))
            }
        }
    }
}

/// `kms.example:8200` is `kms.example` and `8200`; `[::1]` is itself.
fn name_and_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(name.clone()).map_err(|error| format!("{name}: {error}"))
}

fn connector(ca_bundle: Option<&Path>) -> Result<TlsConnector, String> {
    let system = || SYSTEM_BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
    let path = ca_bundle.map(Path::to_owned).or_else(system).ok_or("name the trusted certificates by --ca-bundle")?;
    let failed = |why: String| format!("{}: {why}", path.display());
    let pem = fs::read(&path).map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if added == 0 {
        return Err(failed("it has no certificate".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| failed(error.to_string()))?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A connection, plain or by TLS.
pub enum Stream {
    /// By TCP alone.
    Plain(TcpStream),
    /// By TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_scheme_a_name_and_perhaps_a_port() {
        let parsed = |url: &str| Endpoint::parse(url, None).map(|endpoint| (endpoint.host, endpoint.address)).ok();
        let both = |host: &str, address: &str| Some((host.to_owned(), address.to_owned()));
        assert_eq!(parsed("http://127.0.0.1:8200"), both("127.0.0.1:8200", "127.0.0.1:8200"));
        assert_eq!(parsed("http://kms.example/"), both("kms.example", "kms.example:80"));
        assert_eq!(parsed("http://[::1]"), both("[::1]", "[::1]:80"));
        assert_eq!(parsed("http://[::1]:8200"), both("[::1]:8200", "[::1]:8200"));
        for wrong in ["127.0.0.1:8200", "ftp://kms", "http://", "http://kms/path", "http://a@kms", "http://kms:port"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
