//! The PKCS#11 functions that we call ourselves, because `cryptoki` makes two C calls of each: the first asks for a length
//! that we know. One call is faster everywhere and the only way that works on NSS. And those that tell of slots and tokens,
//! because `cryptoki` refuses an answer of which it cannot read all.
//!
//! A [`Session`] is not `Sync`, so whoever holds a reference to one is on the only thread that uses it. Every C call here
//! relies on that: PKCS#11 allows one call at a time in a session.

#![allow(unsafe_code, reason = "the C calls of PKCS#11; every block says why it is sound")]

use std::ffi::CStr;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, Rv, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BYTE, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM, CK_MECHANISM_TYPE, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_TOKEN_INFO, CK_TRUE, CK_ULONG, CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD,
};
use zeroize::Zeroizing;

use crate::key::material::WrapMechanism;
use crate::secret::SecretBytes;

use crate::hsm::error::{HsmError, Kind};

/// The longest output any of our calls can have; a module that says more is not believed.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// The longest signature that there is: of ML-DSA-87, 4,627 bytes.
const MAX_SIGNATURE_BYTES: usize = 8 * 1024;

/// Handles asked for at once, and the most that a search of ours can have found.
const FOUND_AT_ONCE: usize = 16;
const MAX_FOUND: usize = 100_000;

/// The most slots with a token that we look at.
const MAX_SLOTS: usize = 4096;

type Begin = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV;
type Finish = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut CK_BYTE, CK_ULONG, *mut CK_BYTE, *mut CK_ULONG) -> CK_RV;

/// C_Initialize, with the operating system's locks, and with a text for a module that takes one.
pub(in crate::hsm) fn initialize(pkcs11: &Pkcs11, reserved: Option<&CStr>) -> Result<(), Error> {
    let flags = CInitializeFlags::OS_LOCKING_OK;
    pkcs11.initialize(match reserved {
        None => CInitializeArgs::new(flags),
        // SAFETY: a text that ends with a zero byte is what modules which read pReserved expect there, and it outlives the
        // call. Other modules refuse whatever is there (PKCS#11 section 5.4.1); that this one is none of them is what the
        // operator says who gives the text.
        Some(text) => unsafe { CInitializeArgs::new_with_reserved(flags, NonNull::from(text).cast()) },
    })
}

/// The function list of a loaded module.
#[derive(Clone)]
pub(in crate::hsm) struct Functions {
    list: CK_FUNCTION_LIST,
    /// The functions live as long as the library is loaded.
    _library: Arc<cryptoki_sys::Pkcs11>,
    /// A hash of the random bytes that came last.
    last_random: Arc<AtomicU64>,
    random_state: RandomState,
}

impl Functions {
    /// Takes the function list out of the module at `path`, which `cryptoki` has loaded already.
    pub(in crate::hsm) fn load(path: &Path) -> Result<Self, HsmError> {
        let refused = |text: &'static str| HsmError::misconfigured("C_GetFunctionList", text);
        // SAFETY: loading runs the library's constructors. The operator named this file as the PKCS#11 module, and
        // `cryptoki` has run them before us.
        let library = unsafe { cryptoki_sys::Pkcs11::new(path) }.map_err(|_| refused("the module does not load"))?;
        let get = library.C_GetFunctionList.as_ref().map_err(|_| refused("the module has no C_GetFunctionList"))?;
        let mut list = ptr::null_mut();
        // SAFETY: the function writes one pointer to the place we give it.
        check("C_GetFunctionList", unsafe { get(&mut list) })?;
        if list.is_null() {
            return Err(refused("the module gave no function list"));
        }
        // SAFETY: PKCS#11 section 5.4: on CKR_OK the pointer is to the library's own, constant function list, whose
        // layout is the same in every version from 2.0 to 3.2. It is copied; the library stays loaded beside the copy.
        let list = unsafe { *list };
        Ok(Self { list, _library: Arc::new(library), last_random: Arc::default(), random_state: RandomState::new() })
    }

    /// C_GetInfo.
    pub(in crate::hsm) fn info(&self) -> Result<CK_INFO, HsmError> {
        let call = present("C_GetInfo", self.list.C_GetInfo)?;
        let mut info = CK_INFO::default();
        // SAFETY: the function fills the place that we give it, of numbers and bytes only: any are valid.
        check("C_GetInfo", unsafe { call(&mut info) }).map(|()| info)
    }

    /// C_GetSlotList. The first call has the module look for tokens (PKCS#11 section 5.5.1); how many it says there are is not
    /// believed.
    pub(in crate::hsm) fn slots_with_token(&self) -> Result<Vec<Slot>, HsmError> {
        let call = present("C_GetSlotList", self.list.C_GetSlotList)?;
        let mut slots = vec![0; MAX_SLOTS];
        let mut count = 0;
        // SAFETY: where no place is given for slots, the module writes their number only.
        check("C_GetSlotList", unsafe { call(CK_TRUE, ptr::null_mut(), &mut count) })?;
        count = ulong(slots.len())?;
        // SAFETY: `slots` has `count` places and outlives the call.
        check("C_GetSlotList", unsafe { call(CK_TRUE, slots.as_mut_ptr(), &mut count) })?;
        slots.truncate(written("C_GetSlotList", count, slots.len())?);
        Ok(slots.into_iter().map(Slot::try_from).collect::<Result<_, _>>()?)
    }

    /// C_GetTokenInfo.
    pub(in crate::hsm) fn token_info(&self, slot: Slot) -> Result<CK_TOKEN_INFO, HsmError> {
        let call = present("C_GetTokenInfo", self.list.C_GetTokenInfo)?;
        let mut info = CK_TOKEN_INFO::default();
        // SAFETY: as for `info`.
        check("C_GetTokenInfo", unsafe { call(slot.id(), &mut info) }).map(|()| info)
    }

    /// True if these random bytes are those that came last, which of 16 or more never happens by chance: a generator that
    /// repeats itself is broken (as the continuous test of FIPS 140-2, section 4.9.2). Keyed, so it says nothing of them.
    pub(in crate::hsm) fn has_just_come(&self, bytes: &[u8]) -> bool {
        let hash = self.random_state.hash_one(bytes);
        bytes.len() >= 16 && self.last_random.swap(hash, Ordering::Relaxed) == hash
    }

    /// C_EncryptInit and one C_Encrypt; `out_len` is the length the output will have at most.
    pub(in crate::hsm) fn encrypt_once(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        input: &[u8],
        out_len: usize,
    ) -> Result<Vec<u8>, HsmError> {
        begin("C_EncryptInit", self.list.C_EncryptInit, session, mechanism, key)?;
        let mut output = vec![0; out_len];
        let written = finish("C_Encrypt", self.list.C_Encrypt, session, input, &mut output)?;
        output.truncate(written);
        Ok(output)
    }

    /// C_DecryptInit and one C_Decrypt. The output is a secret from its first byte on, also when the call fails.
    pub(in crate::hsm) fn decrypt_once(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        input: &[u8],
        out_len: usize,
    ) -> Result<SecretBytes, HsmError> {
        begin("C_DecryptInit", self.list.C_DecryptInit, session, mechanism, key)?;
        let mut output = Zeroizing::new(vec![0; out_len]);
        let written = finish("C_Decrypt", self.list.C_Decrypt, session, input, &mut output)?;
        output.truncate(written);
        Ok(SecretBytes::from(std::mem::take(&mut *output)))
    }

    /// C_SignInit and one C_Sign: a signature, or a MAC.
    pub(in crate::hsm) fn sign_once(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        input: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        begin("C_SignInit", self.list.C_SignInit, session, mechanism, key)?;
        let mut output = vec![0; MAX_SIGNATURE_BYTES];
        let written = finish("C_Sign", self.list.C_Sign, session, input, &mut output)?;
        output.truncate(written);
        Ok(output)
    }

    /// C_VerifyInit and one C_Verify; a signature that is another's is `Ambiguous`, until it is refused twice (`dispatch/blame.rs`).
    pub(in crate::hsm) fn verify_once(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        input: &[u8],
        signature: &[u8],
    ) -> Result<(), HsmError> {
        begin("C_VerifyInit", self.list.C_VerifyInit, session, mechanism, key)?;
        let call = present("C_Verify", self.list.C_Verify)?;
        let input_len = ulong(input.len())?;
        let signature_len = ulong(signature.len())?;
        let input = input.as_ptr().cast_mut();
        let signature = signature.as_ptr().cast_mut();
        // SAFETY: both are only read by the function (PKCS#11 section 5.15.2), their pointers are not const in C; they
        // outlive the call.
        check("C_Verify", unsafe { call(session.handle(), input, input_len, signature, signature_len) })
    }

    /// C_FindObjectsInit, C_FindObjects until there are no more, C_FindObjectsFinal. `cryptoki` does not tell when the last
    /// of them fails, and then the search stays open.
    pub(in crate::hsm) fn find(
        &self,
        session: &Session,
        template: &[Attribute],
    ) -> Result<Vec<ObjectHandle>, HsmError> {
        let begin = present("C_FindObjectsInit", self.list.C_FindObjectsInit)?;
        let mut attributes: Vec<CK_ATTRIBUTE> = template.iter().map(CK_ATTRIBUTE::from).collect();
        let count = ulong(attributes.len())?;
        // SAFETY: the attributes point into `template`, which outlives the call; PKCS#11 section 5.7.7 has the module copy
        // what it needs of them.
        check("C_FindObjectsInit", unsafe { begin(session.handle(), attributes.as_mut_ptr(), count) })?;
        let found = self.found(session);
        let end = present("C_FindObjectsFinal", self.list.C_FindObjectsFinal)?;
        // SAFETY: the session is open, as long as we hold it.
        let ended = check("C_FindObjectsFinal", unsafe { end(session.handle()) });
        found.and_then(|found| ended.map(|()| found))
    }

    fn found(&self, session: &Session) -> Result<Vec<ObjectHandle>, HsmError> {
        let next = present("C_FindObjects", self.list.C_FindObjects)?;
        let mut all = Vec::new();
        while all.len() < MAX_FOUND {
            let mut some = [0; FOUND_AT_ONCE];
            let mut count = 0;
            // SAFETY: `some` has as many places as is said, and both outlive the call.
            let rv = unsafe { next(session.handle(), some.as_mut_ptr(), ulong(some.len())?, &mut count) };
            check("C_FindObjects", rv)?;
            let some = some.get(..written("C_FindObjects", count, FOUND_AT_ONCE)?).unwrap_or_default();
            if some.is_empty() {
                return Ok(all);
            }
            // SAFETY: the handles are those that the module has just given us.
            all.extend(some.iter().map(|handle| unsafe { ObjectHandle::new_from_raw(*handle) }));
        }
        Err(HsmError::nonsense("C_FindObjects", "there is no end of objects"))
    }

    /// C_WrapKey. `cryptoki` does not know CKM_AES_KEY_WRAP_KWP.
    pub(in crate::hsm) fn wrap(
        &self,
        session: &Session,
        mechanism: WrapMechanism,
        wrapping: ObjectHandle,
        key: ObjectHandle,
    ) -> Result<Vec<u8>, HsmError> {
        let call = present("C_WrapKey", self.list.C_WrapKey)?;
        let mut mechanism = wrap_mechanism(mechanism);
        // The largest key we wrap is RSA-4096 as PKCS#8, about 2400 bytes.
        let mut output = vec![0; 8 * 1024];
        let mut len = ulong(output.len())?;
        // SAFETY: the mechanism has no parameter; `output` has `len` bytes and outlives the call.
        let rv = unsafe {
            call(session.handle(), &mut mechanism, wrapping.handle(), key.handle(), output.as_mut_ptr(), &mut len)
        };
        check("C_WrapKey", rv)?;
        output.truncate(written("C_WrapKey", len, output.len())?);
        Ok(output)
    }

    /// C_UnwrapKey.
    pub(in crate::hsm) fn unwrap(
        &self,
        session: &Session,
        mechanism: WrapMechanism,
        wrapping: ObjectHandle,
        blob: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, HsmError> {
        self.unwrap_with(session, wrap_mechanism(mechanism), wrapping, blob, template)
    }

    /// C_UnwrapKey by a mechanism with parameters.
    pub(in crate::hsm) fn unwrap_by(
        &self,
        session: &Session,
        mechanism: &Mechanism<'_>,
        unwrapping: ObjectHandle,
        blob: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, HsmError> {
        self.unwrap_with(session, CK_MECHANISM::from(mechanism), unwrapping, blob, template)
    }

    /// The parameters of the mechanism, if it has any, must outlive the call.
    fn unwrap_with(
        &self,
        session: &Session,
        mut mechanism: CK_MECHANISM,
        wrapping: ObjectHandle,
        blob: &[u8],
        template: &[Attribute],
    ) -> Result<ObjectHandle, HsmError> {
        let call = present("C_UnwrapKey", self.list.C_UnwrapKey)?;
        let mut attributes: Vec<CK_ATTRIBUTE> = template.iter().map(CK_ATTRIBUTE::from).collect();
        let blob_len = ulong(blob.len())?;
        let count = ulong(attributes.len())?;
        let mut handle = 0;
        // SAFETY: the mechanism has no parameter, or one that the caller of `unwrap_by` holds; `blob` is only read by the
        // function (PKCS#11 section 5.18.4), its pointer is not const in C; the attributes point into `template`, which
        // outlives the call.
        let rv = unsafe {
            call(
                session.handle(),
                &mut mechanism,
                wrapping.handle(),
                blob.as_ptr().cast_mut(),
                blob_len,
                attributes.as_mut_ptr(),
                count,
                &mut handle,
            )
        };
        check("C_UnwrapKey", rv)?;
        // SAFETY: "unsafe" of this constructor is about handles out of thin air; this one the module has just given us.
        Ok(unsafe { ObjectHandle::new_from_raw(handle) })
    }
}

fn begin(
    name: &'static str,
    call: Option<Begin>,
    session: &Session,
    mechanism: &Mechanism<'_>,
    key: ObjectHandle,
) -> Result<(), HsmError> {
    let call = present(name, call)?;
    let mut mechanism = CK_MECHANISM::from(mechanism);
    // SAFETY: the mechanism points at parameters that `Mechanism` borrows, so they outlive this call; a module that reads
    // the IV or the AAD later than this call reads buffers that the caller of `encrypt_once` still holds.
    check(name, unsafe { call(session.handle(), &mut mechanism, key.handle()) })
}

/// The second half: returns how many bytes of `output` were written. CKR_BUFFER_TOO_SMALL is an error like any other; it
/// leaves the operation open, and its kind makes the engine close the session.
fn finish(
    name: &'static str,
    call: Option<Finish>,
    session: &Session,
    input: &[u8],
    output: &mut [u8],
) -> Result<usize, HsmError> {
    let call = present(name, call)?;
    let input_len = ulong(input.len())?;
    let mut len = ulong(output.len())?;
    // SAFETY: `input` is only read by the function, its pointer is not const in C; `output` has `len` bytes; both outlive
    // the call.
    let rv = unsafe { call(session.handle(), input.as_ptr().cast_mut(), input_len, output.as_mut_ptr(), &mut len) };
    check(name, rv)?;
    written(name, len, output.len())
}

fn present<F>(name: &'static str, call: Option<F>) -> Result<F, HsmError> {
    call.ok_or_else(|| HsmError::new(Kind::Unsupported, name, "the module lacks the function"))
}

fn check(name: &'static str, rv: CK_RV) -> Result<(), HsmError> {
    match Rv::from(rv) {
        Rv::Ok => Ok(()),
        Rv::Error(error) => Err(HsmError::answered(name, error)),
    }
}

/// A length that the module wrote, if it can be true.
fn written(name: &'static str, len: CK_ULONG, room: usize) -> Result<usize, HsmError> {
    usize::try_from(len)
        .ok()
        .filter(|len| *len <= room)
        .ok_or_else(|| HsmError::answered(name, RvError::BufferTooSmall))
}

fn ulong(len: usize) -> Result<CK_ULONG, HsmError> {
    CK_ULONG::try_from(len)
        .ok()
        .filter(|_| len <= MAX_OUTPUT_BYTES)
        .ok_or_else(|| HsmError::new(Kind::Rejected, "call", "longer than any call takes"))
}

fn wrap_mechanism(mechanism: WrapMechanism) -> CK_MECHANISM {
    let mechanism: CK_MECHANISM_TYPE = match mechanism {
        WrapMechanism::AesKeyWrapKwp => CKM_AES_KEY_WRAP_KWP,
        WrapMechanism::AesKeyWrapPad => CKM_AES_KEY_WRAP_PAD,
    };
    CK_MECHANISM { mechanism, pParameter: ptr::null_mut(), ulParameterLen: 0 }
}

/// Ends the process at once, without exit handlers: a PKCS#11 module brings its own, which free what its threads, still
/// at work or hanging, are using. SoftHSM2 crashes so now and then.
pub fn end_process(code: u8) -> ! {
    // SAFETY: `_exit` takes any number and touches no memory of ours; std has no safe way to it.
    unsafe { libc::_exit(code.into()) }
}

/// A handle of nothing, for tests of what only passes handles on.
#[cfg(test)]
pub(in crate::hsm) fn handle_of_nothing(number: u64) -> ObjectHandle {
    // SAFETY: no C function is called with it.
    unsafe { ObjectHandle::new_from_raw(number) }
}
