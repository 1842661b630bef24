//! The module itself. One copy of the file that is loaded has one [`Module`]; `pipeline.rs` is the way of a call through it.
//!
//! Handles of sessions and objects that the caller sees are virtual: they are ours, count up from 1 and are never used
//! again, so that an event can make them void and a use after that is seen. No lock is held while the real module is called.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_FUNCTION_LIST_3_0, CK_FUNCTION_LIST_PTR_PTR, CK_RV, CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR,
    CKR_OK, Pkcs11,
};

use crate::function::Function;

mod act;
mod call;
mod checks;
mod events;
mod find;
mod forward;
mod gate;
mod interface;
mod lifecycle;
mod link;
mod load;
mod login;
mod objects;
mod operations;
mod pins;
mod pipeline;
mod plan;
mod sessions;
mod shards;
mod spoil;
mod tales;
mod thread;
mod tokens;
mod trace;

pub use thread::micros;

static MODULE: OnceLock<Result<Module, String>> = OnceLock::new();

struct Module {
    /// Where this module lies, and the socket that tells it what to do.
    dir: PathBuf,
    /// The real functions. A version 2.40 module has none of those of 3.0.
    real: CK_FUNCTION_LIST_3_0,
    /// Ours for 2.40, and for 3.0.
    ours: CK_FUNCTION_LIST,
    ours_3_0: CK_FUNCTION_LIST_3_0,
    interfaces: interface::Interfaces,
    sessions: sessions::Sessions,
    objects: objects::Objects,
    login: login::Logins,
    plan: plan::Plan,
    world: events::Standing,
    checks: checks::Checks,
    trace: trace::Trace,
    counts: Vec<AtomicU64>,
    link: link::Link,
    /// The functions of `real` live as long as the library is loaded.
    _library: Pkcs11,
}

/// The real function of this name, called; or the code for one that the real module does not have.
macro_rules! real {
    ($module:ident.$function:ident($($argument:expr),* $(,)?)) => {
        match $module.real.$function {
            // SAFETY: handles have been translated; the other arguments are as the caller gave them, who keeps PKCS#11's
            // rules for them, or are places of ours.
            Some(function) => unsafe { function($($argument),*) },
            None => cryptoki_sys::CKR_FUNCTION_NOT_SUPPORTED,
        }
    };
}
use real;

/// The module of this copy, when it has been loaded.
fn module() -> Option<&'static Module> {
    MODULE.get()?.as_ref().ok()
}

/// Loads on the first call, and begins to listen to the controller.
fn loaded() -> Result<&'static Module, CK_RV> {
    let mut first = false;
    let module = MODULE.get_or_init(|| {
        first = true;
        Module::load()
    });
    match module {
        Ok(module) => {
            if first {
                link::begin(module);
            }
            Ok(module)
        }
        Err(error) => {
            eprintln!("the module for faults: {error}");
            Err(CKR_GENERAL_ERROR)
        }
    }
}

/// The one function that a PKCS#11 module must export.
///
/// # Safety
///
/// `list` is null or a place for one pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    match loaded() {
        Ok(module) => {
            // SAFETY: PKCS#11 section 5.4: the caller gives a place for one pointer. What it points at lives in a static
            // and is not written again; that the pointer is not const is C's way.
            unsafe { *list = (&raw const module.ours).cast_mut() };
            CKR_OK
        }
        Err(code) => code,
    }
}

impl Module {
    fn load() -> Result<Self, String> {
        let place = load::Place::find()?;
        let (library, real, interfaces) = load::real(&place.real)?;
        thread::watch_forks();
        Ok(Self {
            link: link::Link::new(&place.dir),
            dir: place.dir,
            ours: forward::list(real.version),
            ours_3_0: forward::list_3_0(),
            interfaces,
            real,
            sessions: sessions::Sessions::default(),
            objects: objects::Objects::default(),
            login: login::Logins::default(),
            plan: plan::Plan::default(),
            world: events::Standing::default(),
            checks: checks::Checks::default(),
            trace: trace::Trace::new(),
            counts: Function::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            _library: library,
        })
    }

    /// Tells the controller what the caller did wrong.
    fn complain(&self, text: String) {
        self.link.complain(text);
    }
}
