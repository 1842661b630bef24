//! The first steps of Decrypt and ReEncrypt: from a ciphertext and the request's members about it to a key that may open it.

use std::sync::Arc;

use crate::{
    access::Usable,
    attestation::Measurements,
    envelope::Envelope,
    error::{Code, KmsError},
    key::{algorithm::Algorithm, context::EncryptionContext, grant::GrantOperation, spec::EncryptionAlgorithm},
    kms::{cx::Cx, encryption::Opened},
    policy::RequestFacts,
    request::{KeyText, missing},
};

/// A ciphertext as the caller hands it over.
pub struct Source {
    /// The key, if named; an asymmetric ciphertext names none itself.
    pub key: Option<String>,
    /// The ciphertext; only a dry run that ignores it goes without.
    pub blob: Option<Vec<u8>>,
    /// The context it was encrypted with.
    pub context: Arc<EncryptionContext>,
    /// The algorithm it was encrypted with.
    pub algorithm: EncryptionAlgorithm,
}

/// A ciphertext and a key that the caller may use to open it.
pub struct Openable {
    /// The key.
    pub key: Usable,
    content: Content,
}

enum Content {
    Envelope(Envelope, Arc<EncryptionContext>),
    Rsa(Vec<u8>),
    /// Of a dry run that looks at permissions only.
    Ignored,
}

impl Source {
    /// Refuses combinations of members that no key could make right.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn check(&self, key_member: &str) -> Result<(), KmsError> {
        let missing = |member| Err(KmsError::invalid(missing::<KeyText>(member)));
        let asymmetric = self.algorithm != EncryptionAlgorithm::SymmetricDefault;
        match (&self.key, &self.blob) {
            (None, None) => missing(key_member),
            (None, Some(_)) if asymmetric => missing(key_member),
            _ => refuse_context(self.algorithm, &self.context),
        }
    }

    /// The key, authorized for `wanted` and usable by `operation`.
    ///
    /// The caller's right to the key is settled before anything is said of the ciphertext, but for one that is no
    /// ciphertext of ours at all.
    ///
    /// # Errors
    /// `InvalidCiphertextException`, `InvalidGrantTokenException`, `IncorrectKeyException` and all that resolving, authorizing
    /// and using give.
    pub async fn openable(
        self,
        cx: &Cx<'_>,
        operation: &str,
        wanted: GrantOperation,
        recipient: Option<Measurements>,
        tokens: &[String],
    ) -> Result<Openable, KmsError> {
        let envelope = self.envelope();
        let resolved = match (&self.key, &envelope) {
            (Some(text), _) => cx.resolve(wanted.action(), text)?,
            (None, Some(envelope)) => cx.resolve_named(envelope.header.key).ok_or_else(no_such_key)?,
            (None, None) => return Err(invalid_ciphertext()),
        };
        let facts = Arc::new(RequestFacts { recipient, ..RequestFacts::of_encryption(&self.context, self.algorithm) });
        let authorized = cx.authorize_resolved_use(wanted, resolved, &facts, tokens).await;
        let authorized = authorized.map_err(|refused| match (&self.key, refused.code) {
            (None, Code::AccessDeniedException) => refused.with_message(NO_SUCH_KEY),
            _ => refused,
        })?;
        if envelope.as_ref().is_some_and(|envelope| envelope.header.key != authorized.key().id()) {
            let text = "The key ID in the request does not identify a CMK that can perform this operation.";
            return Err(KmsError::new(Code::IncorrectKeyException, text));
        }
        authorized.demand_usage(operation, EncryptionAlgorithm::USAGE)?;
        // What no symmetric key could have made is no ciphertext, also where an RSA key was named.
        let content = match (self.algorithm, envelope, self.blob) {
            (_, _, None) => Content::Ignored,
            (EncryptionAlgorithm::SymmetricDefault, Some(envelope), _) => Content::Envelope(envelope, self.context),
            (EncryptionAlgorithm::SymmetricDefault, None, _) => return Err(invalid_ciphertext()),
            (_, _, Some(blob)) => Content::Rsa(blob),
        };
        Ok(Openable { key: authorized.usable(operation, self.algorithm)?, content })
    }

    fn envelope(&self) -> Option<Envelope> {
        let symmetric = self.algorithm == EncryptionAlgorithm::SymmetricDefault;
        self.blob.as_ref().filter(|_| symmetric).and_then(|blob| Envelope::decode(blob))
    }
}

impl Openable {
    /// Opens it in the HSM.
    ///
    /// # Errors
    /// `InvalidCiphertextException`; else as the HSM answers.
    pub async fn open(self, cx: &Cx<'_>) -> Result<(Usable, Opened), KmsError> {
        let opened = match self.content {
            Content::Envelope(envelope, context) => cx.open(&self.key, &context, envelope).await?,
            Content::Rsa(ciphertext) => cx.decrypt_rsa(&self.key, ciphertext).await?,
            Content::Ignored => return Err(invalid_ciphertext()),
        };
        Ok((self.key, opened))
    }
}

/// An encryption context is authenticated data, which RSAES-OAEP has no place for.
///
/// # Errors
/// `ValidationException` for a context with an asymmetric algorithm.
pub fn refuse_context(algorithm: EncryptionAlgorithm, context: &EncryptionContext) -> Result<(), KmsError> {
    if algorithm == EncryptionAlgorithm::SymmetricDefault || context.is_empty() {
        return Ok(());
    }
    let text = "EncryptionContext is not supported when encrypting/decrypting with asymmetric CMKs.";
    Err(KmsError::invalid(text))
}

fn invalid_ciphertext() -> KmsError {
    KmsError::bare(Code::InvalidCiphertextException)
}

/// The answer where a blob names a key and the caller does not: whether the key exists is not told.
const NO_SUCH_KEY: &str = "The ciphertext refers to a customer master key that does not exist, does not exist in this \
                           region, or you are not allowed to access.";

fn no_such_key() -> KmsError {
    KmsError::new(Code::AccessDeniedException, NO_SUCH_KEY)
}
