//! The server's certificate and its private key: both are read, compared with each other, and their dates looked at.
//!
//! An error names the file and what to do. No error repeats anything of a key's file.

use std::{fs, io, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio_rustls::TlsAcceptor;
use x509_cert::{Certificate, der::Decode};

use crate::{
    clock::{Timestamp, validity::Validity},
    config::TlsConfig,
};

/// The server's certificate with its private key, ready for TLS.
#[derive(Clone)]
pub(super) struct ServerCertificate {
    pub(super) acceptor: TlsAcceptor,
    /// The dates between which every certificate of the chain is valid.
    pub(super) validity: Validity,
}

impl ServerCertificate {
    /// Reads both files.
    ///
    /// # Errors
    /// The file that is wrong, and why, in words for an operator. A certificate that is not valid at this time is no error.
    pub(super) fn read(tls: &TlsConfig) -> Result<Self, String> {
        let chain = of_file("tls.certificate", &tls.certificate, read_chain)?;
        let validity = of_file("tls.certificate", &tls.certificate, |_| validity(&chain))?;
        let key = of_file("tls.key", &tls.key, read_key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certified = certify(tls, chain, key, &provider)?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("tls: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), validity })
    }
}

/// The certificate with its key, if the key is the certificate's.
fn certify(
    tls: &TlsConfig,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, String> {
    let key = provider.key_provider.load_private_key(key).map_err(|_| {
        let text =
            "it is of a kind that TLS is not spoken with here: RSA from 2048 bits, ECDSA on P-256 or P-384, or Ed25519";
        at("tls.key", &tls.key, text)
    })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            let text = format!("it is not the key of the certificate in {}", tls.certificate.display());
            Err(at("tls.key", &tls.key, &text))
        }
        Err(rustls::Error::InconsistentKeys(_)) | Ok(()) => Ok(certified),
        Err(error) => Err(at("tls.certificate", &tls.certificate, &error.to_string())),
    }
}

fn of_file<T>(field: &str, path: &Path, read: impl FnOnce(&Path) -> Result<T, String>) -> Result<T, String> {
    read(path).map_err(|why| at(field, path, &why))
}

fn at(field: &str, path: &Path, why: &str) -> String {
    format!("{field}: {}: {why}", path.display())
}

/// The text of an error of the system, without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = fs::read(path).map_err(|error| plain(&error))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Err(_) => Err(DAMAGED.to_owned()),
        Ok(_) if has(&bytes, "PRIVATE KEY-----") => {
            Err("it holds a private key and no certificate; are tls.certificate and tls.key exchanged?".to_owned())
        }
        Ok(_) => Err(no_pem(&bytes, "certificate", "openssl x509 -inform DER")),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = zeroize::Zeroizing::new(fs::read(path).map_err(|error| plain(&error))?);
    if has(&bytes, "ENCRYPTED") {
        return Err(
            "the key is encrypted, and there is nobody to ask for its password; `openssl pkey -in FILE -out FILE` \
                    decrypts it"
                .to_owned(),
        );
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(rustls::pki_types::pem::Error::NoItemsFound) if has(&bytes, "-----BEGIN CERTIFICATE") => {
            Err("it holds a certificate and no private key; are tls.certificate and tls.key exchanged?".to_owned())
        }
        Err(rustls::pki_types::pem::Error::NoItemsFound) => {
            Err(no_pem(&bytes, "private key", "openssl pkey -inform DER"))
        }
        Err(_) => Err(DAMAGED.to_owned()),
    }
}

const DAMAGED: &str = "what it holds is damaged: it is no whole PEM text";

/// The error of a file in which no PEM text was found.
fn no_pem(bytes: &[u8], what: &str, command: &str) -> String {
    match bytes {
        bytes if bytes.iter().all(u8::is_ascii_whitespace) => "it is empty".to_owned(),
        [0x30, 0x80..=0xff, ..] => {
            format!("it is in DER form, and PEM is read; `{command} -in FILE -out FILE` converts it")
        }
        _ => format!("it holds no {what} in PEM form"),
    }
}

fn has(bytes: &[u8], word: &str) -> bool {
    memchr::memmem::find(bytes, word.as_bytes()).is_some()
}

/// The dates between which all certificates of the chain are valid: clients look at each.
fn validity(chain: &[CertificateDer<'_>]) -> Result<Validity, String> {
    let all: Result<Vec<_>, _> = chain.iter().map(|der| Certificate::from_der(der)).collect();
    let all = all.map_err(|_| "it holds a certificate that cannot be read".to_owned())?;
    let dates = all.iter().map(|certificate| {
        let dates = certificate.tbs_certificate().validity();
        let [from, until] = [dates.not_before, dates.not_after].map(|time| time.to_unix_duration().as_millis());
        let [from, until] = [from, until].map(|ms| Timestamp::from_ms(i64::try_from(ms).unwrap_or(i64::MAX)));
        Validity { from, until }
    });
    dates.reduce(Validity::and).ok_or_else(|| "it is empty".to_owned())
}

#[cfg(test)]
mod tests;
