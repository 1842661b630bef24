//! The interfaces of version 3: those that the real module has, with our functions in them.

use std::ffi::CStr;
use std::sync::OnceLock;

use cryptoki_sys::*;

use super::{Module, loaded};

const NAME: &CStr = c"PKCS 11";

pub struct Interfaces {
    has_3_0: bool,
    list: OnceLock<Handed>,
}

/// What callers get pointers to.
struct Handed(Vec<CK_INTERFACE>);

// SAFETY: the pointers are to statics that are not written again.
unsafe impl Send for Handed {}
// SAFETY: as above.
unsafe impl Sync for Handed {}

impl Interfaces {
    pub fn with_3_0() -> Self {
        Self { has_3_0: true, list: OnceLock::new() }
    }

    pub fn only_2_40() -> Self {
        Self { has_3_0: false, list: OnceLock::new() }
    }
}

/// The functions of a real module of version 3. Of one of 3.2 only those of 3.0 are passed on.
pub fn of(library: &Pkcs11) -> Option<CK_FUNCTION_LIST_3_0> {
    let get = library.C_GetInterface.as_ref().ok()?;
    let mut found = std::ptr::null_mut();
    // SAFETY: the name is a C string, no version is asked for, and the place for the pointer is ours.
    let code = unsafe { get(NAME.as_ptr().cast_mut().cast(), std::ptr::null_mut(), &mut found, 0) };
    if code != CKR_OK || found.is_null() {
        return None;
    }
    // SAFETY: on CKR_OK the pointer is to an interface of the library's, and its list begins with its version.
    let list = unsafe { (*found).pFunctionList };
    // SAFETY: as above.
    let version = unsafe { *list.cast::<CK_VERSION>() };
    // SAFETY: a list of version 3 begins with the functions of 3.0.
    (version.major >= 3).then(|| unsafe { *list.cast::<CK_FUNCTION_LIST_3_0>() })
}

impl Module {
    /// The newest first, as a caller that asks for no version gets the first.
    fn interfaces(&'static self) -> &'static [CK_INTERFACE] {
        let one = |list: *const ()| CK_INTERFACE {
            pInterfaceName: NAME.as_ptr().cast_mut().cast(),
            pFunctionList: list.cast_mut().cast(),
            flags: 0,
        };
        let all = || {
            let newest = self.interfaces.has_3_0.then(|| one((&raw const self.ours_3_0).cast()));
            Handed(newest.into_iter().chain([one((&raw const self.ours).cast())]).collect())
        };
        &self.interfaces.list.get_or_init(all).0
    }
}

/// # Safety
///
/// As PKCS#11 3.0 says: `count` is a place for a number, `list` null or a place for as many interfaces as that says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterfaceList(list: CK_INTERFACE_PTR, count: CK_ULONG_PTR) -> CK_RV {
    if count.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let interfaces = match loaded() {
        Ok(module) => module.interfaces(),
        Err(code) => return code,
    };
    // SAFETY: the caller gives a place for the number.
    let room = unsafe { std::ptr::replace(count, interfaces.len() as CK_ULONG) };
    if list.is_null() {
        return CKR_OK;
    }
    if room < interfaces.len() as CK_ULONG {
        return CKR_BUFFER_TOO_SMALL;
    }
    // SAFETY: the caller has room for so many.
    unsafe { std::ptr::copy_nonoverlapping(interfaces.as_ptr(), list, interfaces.len()) };
    CKR_OK
}

/// # Safety
///
/// As PKCS#11 3.0 says: `name` and `version` are null or what they are called, `found` is a place for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetInterface(
    name: CK_UTF8CHAR_PTR,
    version: CK_VERSION_PTR,
    found: CK_INTERFACE_PTR_PTR,
    flags: CK_FLAGS,
) -> CK_RV {
    if found.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let module = match loaded() {
        Ok(module) => module,
        Err(code) => return code,
    };
    // SAFETY: the caller gives a C string if it gives anything.
    let is_ours = name.is_null() || unsafe { CStr::from_ptr(name.cast()) } == NAME;
    // SAFETY: the same of the version.
    let version = (!version.is_null()).then(|| unsafe { *version });
    let fits = |one: &&CK_INTERFACE| version.is_none_or(|wanted| same(version_of(one), wanted));
    match module.interfaces().iter().find(fits).filter(|_| is_ours && flags == 0) {
        Some(one) => {
            // SAFETY: the caller gives a place for the pointer; what it points at stays.
            unsafe { *found = std::ptr::from_ref(one).cast_mut() };
            CKR_OK
        }
        None => CKR_FUNCTION_FAILED,
    }
}

fn version_of(interface: &CK_INTERFACE) -> CK_VERSION {
    // SAFETY: our lists begin with their version.
    unsafe { *interface.pFunctionList.cast::<CK_VERSION>() }
}

fn same(one: CK_VERSION, other: CK_VERSION) -> bool {
    (one.major, one.minor) == (other.major, other.minor)
}
