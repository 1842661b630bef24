//! Where this module lies, and the real one behind it.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cryptoki_sys::{CK_FUNCTION_LIST_3_0, CKR_OK, Pkcs11};

use super::{C_GetFunctionList, forward, interface};

pub struct Place {
    pub dir: PathBuf,
    pub real: PathBuf,
}

impl Place {
    /// The directory of this file, or of `STRONGROOM_FAULTS_DIR`; the module named there or by `STRONGROOM_FAULTS_REAL`.
    pub fn find() -> Result<Self, String> {
        let own = own_file().ok_or("where it lies is not known")?;
        stay_loaded(own);
        let beside = || Path::new(OsStr::from_bytes(own.to_bytes())).parent().map(Path::to_owned);
        let dir = named_by("STRONGROOM_FAULTS_DIR").or_else(beside).ok_or("it lies in no directory")?;
        let real = match named_by("STRONGROOM_FAULTS_REAL") {
            Some(real) => real,
            None => std::fs::read_to_string(dir.join("real"))
                .map_err(|error| format!("no file `real`: {error}"))?
                .trim_end()
                .into(),
        };
        Ok(Self { dir, real })
    }
}

fn named_by(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The file from which this very code was loaded.
fn own_file() -> Option<&'static CStr> {
    let own = C_GetFunctionList as *const ();
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is of a function of this library; dladdr writes one Dl_info, for which all zeros are valid.
    let info = unsafe { (libc::dladdr(own.cast(), info.as_mut_ptr()) != 0).then(|| info.assume_init()) }?;
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr answered, so this is the loader's own C string, which stays as long as the library is loaded.
    Some(unsafe { CStr::from_ptr(info.dli_fname) })
}

/// A caller may unload the module; the thread that listens to the controller would go on in code that is gone.
fn stay_loaded(own: &CStr) {
    // SAFETY: the path is a C string of the loader's; nothing is loaded that is not loaded already.
    unsafe { libc::dlopen(own.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
}

/// A symbol that is missing is to be missed now, not in the middle of an operation. What fails here fails below, with a text.
fn bind_now(path: &Path) -> Result<(), String> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: the path is a C string; loading runs the library's constructors, as the operator wants who has named it.
    unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    Ok(())
}

/// Loads the real module and takes its functions, those of 3.0 too if it has them.
pub fn real(path: &Path) -> Result<(Pkcs11, CK_FUNCTION_LIST_3_0, interface::Interfaces), String> {
    bind_now(path)?;
    // SAFETY: loading runs the library's constructors; the operator has named a PKCS#11 module. Its names stay local to it.
    let library = unsafe { Pkcs11::new(path) }.map_err(|error| format!("`{}`: {error}", path.display()))?;
    let (list, interfaces) = match interface::of(&library) {
        Some(list) => (list, interface::Interfaces::with_3_0()),
        None => (function_list(&library)?, interface::Interfaces::only_2_40()),
    };
    Ok((library, list, interfaces))
}

fn function_list(library: &Pkcs11) -> Result<CK_FUNCTION_LIST_3_0, String> {
    let get = library.C_GetFunctionList.as_ref().map_err(|error| error.to_string())?;
    let mut list = std::ptr::null_mut();
    // SAFETY: the function writes one pointer to the place we give it.
    let rv = unsafe { get(&mut list) };
    if rv != CKR_OK || list.is_null() {
        return Err(format!("the real C_GetFunctionList answered {rv:#x}"));
    }
    // SAFETY: on CKR_OK the pointer is to the library's own, constant function list. It is copied; the library stays loaded.
    Ok(forward::widen(unsafe { &*list }))
}
