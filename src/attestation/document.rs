//! The bytes of an attestation document: a COSE_Sign1 (RFC 9052 section 4.2) whose payload is a map of CBOR.
//!
//! Reading believes nothing: it says what a document claims, with the bounds of AWS's specification ("Nitro Enclaves
//! attestation process", sections 2.2 and 3.2). Nothing nests deeper than the specification does, so nothing recurses, and
//! every length is checked before anything is kept.

use std::collections::BTreeMap;

use minicbor::{Decoder, bytes::ByteSlice, data::Type, decode::Error};

use super::Refusal;
use crate::clock::Timestamp;

/// The protected header `{1: -35}`, algorithm ES384, in the one way that CBOR's preferred serialization writes it.
const ES384: &[u8] = &[0xa1, 0x01, 0x38, 0x22];
/// The tag of a COSE_Sign1, which may be left out.
const COSE_SIGN1: u64 = 18;
/// Length of a signature with P-384: r and s, one after the other.
const SIGNATURE_BYTES: usize = 96;

const MAX_PAYLOAD_BYTES: usize = 16_384;
const MAX_MEMBERS: u64 = 9;
const MAX_REGISTERS: u8 = 32;
const MAX_BUNDLE: u64 = 8;
const MAX_MODULE_ID_BYTES: usize = 1024;
const MAX_CERTIFICATE_BYTES: usize = 1024;
const MAX_PUBLIC_KEY_BYTES: usize = 1024;
const MAX_USER_DATA_BYTES: usize = 512;

/// Length of a register, which is a SHA-384.
const REGISTER_BYTES: usize = 48;

/// A payload and the signature over it.
pub(super) struct SignedDocument<'a> {
    pub(super) payload: &'a [u8],
    pub(super) signature: &'a [u8; SIGNATURE_BYTES],
}

impl<'a> SignedDocument<'a> {
    /// Reads a COSE_Sign1, with its tag or without. Nothing may be unprotected.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut cbor = Decoder::new(bytes);
        if cbor.datatype()? == Type::Tag && cbor.tag()?.as_u64() != COSE_SIGN1 {
            return Err(Refusal::Malformed);
        }
        check(cbor.array()? == Some(4))?;
        if cbor.bytes()? != ES384 {
            return Err(Refusal::Algorithm);
        }
        check(cbor.map()? == Some(0))?;
        let payload = bytes_of(&mut cbor, 1, MAX_PAYLOAD_BYTES)?;
        let signature = cbor.bytes()?.try_into().map_err(|_| Refusal::Malformed)?;
        check(cbor.position() == bytes.len())?;
        Ok(Self { payload, signature })
    }

    /// The bytes that are signed: Sig_structure of RFC 9052 section 4.4. Nothing is added by us.
    pub(super) fn signed_bytes(&self) -> Result<Vec<u8>, Refusal> {
        let [header, added, payload] = [ES384, &[], self.payload].map(<&ByteSlice>::from);
        minicbor::to_vec(("Signature1", header, added, payload)).map_err(|_| Refusal::Malformed)
    }
}

/// The measurements of a recipient, by the platform that made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measurements {
    /// `pcrs`: the registers of an enclave.
    Enclave(Registers),
    /// `nitrotpm_pcrs`: the registers of a NitroTPM.
    NitroTpm(Registers),
}

/// Registers by number.
pub type Registers = BTreeMap<u8, [u8; REGISTER_BYTES]>;

/// The claims of a document.
pub(super) struct Claims<'a> {
    pub(super) module_id: &'a str,
    pub(super) timestamp: Timestamp,
    pub(super) measurements: Measurements,
    pub(super) certificate: &'a [u8],
    pub(super) bundle: Vec<&'a [u8]>,
    pub(super) public_key: Option<&'a [u8]>,
}

impl<'a> Claims<'a> {
    /// Reads a payload: each member at most once, none that is unknown, none missing that must be there.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, Refusal> {
        let mut cbor = Decoder::new(payload);
        let mut found = PartialClaims::default();
        let told = cbor.map()?;
        each(&mut cbor, told, MAX_MEMBERS, |cbor| found.member(cbor))?;
        check(cbor.position() == payload.len())?;
        found.claims().ok_or(Refusal::Malformed)
    }
}

/// The members that were read by now.
#[derive(Default)]
struct PartialClaims<'a> {
    module_id: Option<&'a str>,
    digest: Option<()>,
    timestamp: Option<Timestamp>,
    measurements: Option<Measurements>,
    certificate: Option<&'a [u8]>,
    bundle: Option<Vec<&'a [u8]>>,
    public_key: Option<Option<&'a [u8]>>,
    user_data: Option<Option<&'a [u8]>>,
    nonce: Option<Option<&'a [u8]>>,
}

impl<'a> PartialClaims<'a> {
    fn member(&mut self, cbor: &mut Decoder<'a>) -> Result<(), Refusal> {
        match cbor.str()? {
            "module_id" => once(&mut self.module_id, module_id(cbor)?),
            "digest" => once(&mut self.digest, check(cbor.str()? == "SHA384")?),
            "timestamp" => once(&mut self.timestamp, timestamp(cbor)?),
            "pcrs" => once(&mut self.measurements, Measurements::Enclave(registers(cbor)?)),
            "nitrotpm_pcrs" => once(&mut self.measurements, Measurements::NitroTpm(registers(cbor)?)),
            "certificate" => once(&mut self.certificate, certificate(cbor)?),
            "cabundle" => once(&mut self.bundle, bundle(cbor)?),
            "public_key" => once(&mut self.public_key, optional(cbor, 1, MAX_PUBLIC_KEY_BYTES)?),
            "user_data" => once(&mut self.user_data, optional(cbor, 0, MAX_USER_DATA_BYTES)?),
            "nonce" => once(&mut self.nonce, optional(cbor, 0, MAX_USER_DATA_BYTES)?),
            _ => Err(Refusal::Malformed),
        }
    }

    fn claims(self) -> Option<Claims<'a>> {
        self.digest?;
        Some(Claims {
            module_id: self.module_id?,
            timestamp: self.timestamp?,
            measurements: self.measurements?,
            certificate: self.certificate?,
            bundle: self.bundle?,
            public_key: self.public_key.flatten(),
        })
    }
}

/// Keeps a member that was not there yet.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Refusal> {
    check(place.replace(value).is_none())
}

fn module_id<'a>(cbor: &mut Decoder<'a>) -> Result<&'a str, Refusal> {
    let text = cbor.str()?;
    check((1..=MAX_MODULE_ID_BYTES).contains(&text.len()))?;
    Ok(text)
}

fn timestamp(cbor: &mut Decoder<'_>) -> Result<Timestamp, Refusal> {
    let ms = i64::try_from(cbor.u64()?).map_err(|_| Refusal::Malformed)?;
    check(ms > 0)?;
    Ok(Timestamp::from_ms(ms))
}

fn registers(cbor: &mut Decoder<'_>) -> Result<Registers, Refusal> {
    let told = cbor.map()?;
    let mut registers = Registers::new();
    each(cbor, told, MAX_REGISTERS.into(), |cbor| {
        let number = cbor.u8()?;
        check(number < MAX_REGISTERS)?;
        let value = cbor.bytes()?.try_into().map_err(|_| Refusal::Malformed)?;
        check(registers.insert(number, value).is_none())
    })?;
    check(!registers.is_empty())?;
    Ok(registers)
}

fn bundle<'a>(cbor: &mut Decoder<'a>) -> Result<Vec<&'a [u8]>, Refusal> {
    let told = cbor.array()?;
    let mut bundle = Vec::new();
    each(cbor, told, MAX_BUNDLE, |cbor| {
        bundle.push(certificate(cbor)?);
        Ok(())
    })?;
    check(!bundle.is_empty())?;
    Ok(bundle)
}

fn certificate<'a>(cbor: &mut Decoder<'a>) -> Result<&'a [u8], Refusal> {
    bytes_of(cbor, 1, MAX_CERTIFICATE_BYTES)
}

/// A member that may be absent; attesters write `null` for it as well.
fn optional<'a>(cbor: &mut Decoder<'a>, min: usize, max: usize) -> Result<Option<&'a [u8]>, Refusal> {
    match cbor.datatype()? {
        Type::Null => Ok(cbor.null().map(|()| None)?),
        _ => bytes_of(cbor, min, max).map(Some),
    }
}

fn bytes_of<'a>(cbor: &mut Decoder<'a>, min: usize, max: usize) -> Result<&'a [u8], Refusal> {
    let bytes = cbor.bytes()?;
    check((min..=max).contains(&bytes.len()))?;
    Ok(bytes)
}

/// Reads the entries of a map or list, of which there are as many as were `told`, or so many that a break follows them.
/// Nitro's own documents have come in both forms.
fn each<'a>(
    cbor: &mut Decoder<'a>,
    told: Option<u64>,
    max: u64,
    mut read: impl FnMut(&mut Decoder<'a>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut count = 0;
    while !is_over(cbor, told, count)? {
        check(count < max)?;
        read(cbor)?;
        count += 1;
    }
    Ok(())
}

fn is_over(cbor: &mut Decoder<'_>, told: Option<u64>, count: u64) -> Result<bool, Error> {
    match told {
        Some(length) => Ok(count == length),
        None if cbor.datatype()? == Type::Break => cbor.skip().map(|()| true),
        None => Ok(false),
    }
}

fn check(holds: bool) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::Malformed) }
}

/// Where in the bytes it was is of no use to a caller, who did not write them.
impl From<Error> for Refusal {
    fn from(_: Error) -> Self {
        Self::Malformed
    }
}
