//! The envelope in which a recipient gets a plaintext: ContentInfo with EnvelopedData (RFC 5652 section 6) in DER, one
//! KeyTransRecipientInfo with RSAES-OAEP, SHA-256 and MGF1 with SHA-256 (RFC 4055), content in AES-256-CBC (RFC 3565).

use aes::Aes256;
use cbc::cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use der::{
    Encode, Sequence,
    asn1::{Any, ObjectIdentifier, OctetString, SetOfVec},
};
use pkcs1::RsaOaepParamsRef;
use sha2::{Digest, Sha256};
use spki::{AlgorithmIdentifier, AlgorithmIdentifierOwned, SubjectPublicKeyInfoRef};

use crate::secret::SecretBytes;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENVELOPED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.3");
const RSAES_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");

/// The version of EnvelopedData and KeyTransRecipientInfo where the recipient is named by a subjectKeyIdentifier.
const VERSION: u8 = 2;
const KEY_BYTES: usize = 32;
const IV_BYTES: usize = 16;

/// A key for one content, and the IV that it is used with.
pub struct ContentKey {
    key: SecretBytes,
    iv: [u8; IV_BYTES],
}

impl ContentKey {
    /// How many random bytes make one.
    pub const RANDOM_BYTES: usize = KEY_BYTES + IV_BYTES;

    /// One made of random bytes; `None` if they are not as many as they must be.
    pub fn from_random(bytes: &SecretBytes) -> Option<Self> {
        let (key, iv) = bytes.expose().split_at_checked(KEY_BYTES)?;
        Some(Self { key: SecretBytes::from(key.to_vec()), iv: iv.try_into().ok()? })
    }

    /// The key itself, to be encrypted for the recipient.
    pub fn key(&self) -> &SecretBytes {
        &self.key
    }

    /// Encrypts `plaintext` and with it consumes the key: no two contents have the same.
    fn encrypt(self, plaintext: &SecretBytes) -> Option<(Vec<u8>, [u8; IV_BYTES])> {
        let cipher = cbc::Encryptor::<Aes256>::new_from_slices(self.key.expose(), &self.iv).ok()?;
        Some((cipher.encrypt_padded_vec::<Pkcs7>(plaintext.expose()), self.iv))
    }
}

/// The envelope of `plaintext` for who has the private half of `public_key`, under which `encrypted_key` is the content key.
/// `None` if it does not encode.
pub(super) fn envelope(
    public_key: &[u8],
    encrypted_key: Vec<u8>,
    content_key: ContentKey,
    plaintext: &SecretBytes,
) -> Option<Vec<u8>> {
    let (ciphertext, iv) = content_key.encrypt(plaintext)?;
    enveloped(public_key, encrypted_key, iv, ciphertext).and_then(|content| content.to_der()).ok()
}

fn enveloped(
    public_key: &[u8],
    encrypted_key: Vec<u8>,
    iv: [u8; IV_BYTES],
    ciphertext: Vec<u8>,
) -> der::Result<ContentInfo> {
    let recipient = KeyTransRecipientInfo {
        version: VERSION,
        subject_key_identifier: key_identifier(public_key)?,
        key_encryption_algorithm: AlgorithmIdentifier {
            oid: RSAES_OAEP,
            parameters: Some(Any::encode_from(&RsaOaepParamsRef::new::<Sha256>())?),
        },
        encrypted_key: OctetString::new(encrypted_key)?,
    };
    let content = EnvelopedData {
        version: VERSION,
        recipient_infos: SetOfVec::from_iter([recipient])?,
        encrypted_content_info: EncryptedContentInfo {
            content_type: DATA,
            content_encryption_algorithm: AlgorithmIdentifier {
                oid: AES_256_CBC,
                parameters: Some(Any::encode_from(&OctetString::new(iv)?)?),
            },
            encrypted_content: OctetString::new(ciphertext)?,
        },
    };
    Ok(ContentInfo { content_type: ENVELOPED_DATA, content })
}

/// The first 160 bits of the SHA-256 of the key's BIT STRING (RFC 7093 section 2).
fn key_identifier(public_key: &[u8]) -> der::Result<OctetString> {
    let spki = <SubjectPublicKeyInfoRef<'_> as der::Decode>::from_der(public_key)?;
    let digest = Sha256::digest(spki.subject_public_key.raw_bytes());
    OctetString::new(digest.into_iter().take(20).collect::<Vec<_>>())
}

#[derive(Sequence)]
struct ContentInfo {
    content_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: EnvelopedData,
}

#[derive(Sequence)]
struct EnvelopedData {
    version: u8,
    recipient_infos: SetOfVec<KeyTransRecipientInfo>,
    encrypted_content_info: EncryptedContentInfo,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence, der::ValueOrd)]
struct KeyTransRecipientInfo {
    version: u8,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    subject_key_identifier: OctetString,
    key_encryption_algorithm: AlgorithmIdentifierOwned,
    encrypted_key: OctetString,
}

#[derive(Sequence)]
struct EncryptedContentInfo {
    content_type: ObjectIdentifier,
    content_encryption_algorithm: AlgorithmIdentifierOwned,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    encrypted_content: OctetString,
}
