//! A PKCS#11 module that misbehaves on demand, in front of a real one.
//!
//! It is told by files in the directory in which it lies itself. So each test copies it to a directory of its own, loads the
//! copy, and cannot disturb another test of the same process; and a spawned server is told in the same way.
//!
//! | file | meaning |
//! |---|---|
//! | `real` | the path of the real module; read once, when this one is loaded |
//! | `hold-C_Encrypt` | while it is there, calls of C_Encrypt do not go on to the real module; so for each function in the table below |
//! | `calls` | written by the module: one line for each call of such a function when it comes in, with its session: `C_Encrypt 5` |
//!
//! Another function to intercept is another line in the table; another fault is another line in `Module::before`.

#![deny(clippy::undocumented_unsafe_blocks)]

use std::ffi::{CStr, OsStr};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use cryptoki_sys::{
    CK_ATTRIBUTE_PTR, CK_BYTE_PTR, CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR_PTR, CK_MECHANISM_PTR, CK_OBJECT_HANDLE,
    CK_OBJECT_HANDLE_PTR, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CK_ULONG_PTR, CKR_ARGUMENTS_BAD,
    CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR, CKR_OK, Pkcs11,
};

/// How often a call that is held looks whether it may go on.
const HOLD_PERIOD: Duration = Duration::from_millis(2);

static MODULE: OnceLock<Result<Module, String>> = OnceLock::new();

struct Module {
    /// Where this module lies, and the files that tell it what to do.
    dir: PathBuf,
    real: CK_FUNCTION_LIST,
    ours: CK_FUNCTION_LIST,
    /// The functions of `real` live as long as the library is loaded.
    _library: Pkcs11,
}

/// The one function that a PKCS#11 module must export. Its list is that of the real module with our functions put in.
///
/// # Safety
///
/// `list` is null or a place for one pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    match MODULE.get_or_init(Module::load) {
        Ok(module) => {
            // SAFETY: PKCS#11 section 5.4: the caller gives a place for one pointer. What it points at lives in a static
            // and is not written again; that the pointer is not const is C's way.
            unsafe { *list = (&raw const module.ours).cast_mut() };
            CKR_OK
        }
        Err(error) => {
            eprintln!("the module for faults: {error}");
            CKR_GENERAL_ERROR
        }
    }
}

impl Module {
    fn load() -> Result<Self, String> {
        let dir = own_directory().ok_or("where it lies is not known")?;
        let named = std::fs::read_to_string(dir.join("real")).map_err(|error| format!("no file `real`: {error}"))?;
        let (library, real) = load_real(Path::new(named.trim_end()))?;
        let mut ours = real;
        put_in(&mut ours);
        Ok(Self { dir, real, ours, _library: library })
    }

    /// What happens before a call goes on to the real module.
    fn before(&self, function: &str, session: CK_SESSION_HANDLE) {
        self.note(function, session);
        let held = self.dir.join(format!("hold-{function}"));
        while held.exists() {
            thread::sleep(HOLD_PERIOD);
        }
    }

    /// One line, one write: lines of several threads do not mix. A directory that is gone is a test that is over.
    fn note(&self, function: &str, session: CK_SESSION_HANDLE) {
        if let Ok(mut calls) = OpenOptions::new().create(true).append(true).open(self.dir.join("calls")) {
            let _ = calls.write_all(format!("{function} {session}\n").as_bytes());
        }
    }
}

fn load_real(path: &Path) -> Result<(Pkcs11, CK_FUNCTION_LIST), String> {
    // SAFETY: loading runs the library's constructors; the test has named a PKCS#11 module.
    let library = unsafe { Pkcs11::new(path) }.map_err(|error| format!("`{}`: {error}", path.display()))?;
    let get = library.C_GetFunctionList.as_ref().map_err(|error| error.to_string())?;
    let mut list = std::ptr::null_mut();
    // SAFETY: the function writes one pointer to the place we give it.
    let rv = unsafe { get(&mut list) };
    if rv != CKR_OK || list.is_null() {
        return Err(format!("the real C_GetFunctionList answered {rv:#x}"));
    }
    // SAFETY: on CKR_OK the pointer is to the library's own, constant function list. It is copied; the library stays loaded.
    let real = unsafe { *list };
    Ok((library, real))
}

/// The directory of the file from which this very code was loaded.
fn own_directory() -> Option<PathBuf> {
    let own = C_GetFunctionList as *const ();
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is of a function of this library; dladdr writes one Dl_info, for which all zeros are valid.
    let info = unsafe { (libc::dladdr(own.cast(), info.as_mut_ptr()) != 0).then(|| info.assume_init()) }?;
    if info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr answered, so this is the loader's own C string, which stays as long as the library is loaded.
    let file = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(Path::new(OsStr::from_bytes(file.to_bytes())).parent()?.to_owned())
}

/// Makes a function of ours for each function in the table, which does `Module::before` and goes on to the real one.
macro_rules! intercept {
    ($($function:ident($($argument:ident: $kind:ty),*);)+) => {
        $(
            #[allow(non_snake_case, clippy::too_many_arguments, reason = "the names and the arguments are PKCS#11's")]
            unsafe extern "C" fn $function(session: CK_SESSION_HANDLE, $($argument: $kind),*) -> CK_RV {
                let Some(Ok(module)) = MODULE.get() else { return CKR_GENERAL_ERROR };
                module.before(stringify!($function), session);
                match module.real.$function {
                    // SAFETY: the caller keeps PKCS#11's rules for these arguments; they go on as they came.
                    Some(real) => unsafe { real(session, $($argument),*) },
                    None => CKR_FUNCTION_NOT_SUPPORTED,
                }
            }
        )+

        fn put_in(list: &mut CK_FUNCTION_LIST) {
            $(list.$function = Some($function);)+
        }
    };
}

intercept! {
    C_CloseSession();
    C_EncryptInit(mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE);
    C_Encrypt(input: CK_BYTE_PTR, input_len: CK_ULONG, output: CK_BYTE_PTR, output_len: CK_ULONG_PTR);
    C_DecryptInit(mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE);
    C_Decrypt(input: CK_BYTE_PTR, input_len: CK_ULONG, output: CK_BYTE_PTR, output_len: CK_ULONG_PTR);
    C_UnwrapKey(
        mechanism: CK_MECHANISM_PTR,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: CK_BYTE_PTR,
        wrapped_len: CK_ULONG,
        template: CK_ATTRIBUTE_PTR,
        count: CK_ULONG,
        key: CK_OBJECT_HANDLE_PTR
    );
}
