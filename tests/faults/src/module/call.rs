//! One call on its way: what the pipeline must know of its arguments.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use cryptoki_sys::{
    CK_ATTRIBUTE_PTR, CK_BYTE_PTR, CK_INFO_PTR, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID,
    CK_SLOT_INFO_PTR, CK_TOKEN_INFO_PTR, CK_ULONG, CK_ULONG_PTR,
};

use super::sessions::Session;
use crate::function::Function;

pub struct Call {
    pub function: Function,
    /// The virtual handle; none for functions without a session.
    pub session: Option<CK_SESSION_HANDLE>,
    /// The session of that handle, if the caller has such a one.
    pub known: Option<Arc<Session>>,
    pub slot: Option<CK_SLOT_ID>,
    pub mechanism: CK_MECHANISM_PTR,
    pub objects: Handles,
    pub templates: Templates,
    pub output: Output,
    pub real_session: CK_SESSION_HANDLE,
    /// The plan's count when the call came in.
    pub releases: u64,
}

/// The objects that a call uses: virtual handles, and the real ones when they have been looked up.
#[derive(Default)]
pub struct Handles {
    pub virtuals: [CK_OBJECT_HANDLE; 2],
    pub reals: [CK_OBJECT_HANDLE; 2],
    count: usize,
    given: Cell<usize>,
}

#[derive(Default)]
pub struct Templates {
    all: [Option<(CK_ATTRIBUTE_PTR, CK_ULONG)>; 2],
}

/// Where the call's output goes.
#[derive(Clone, Copy)]
pub enum Output {
    None,
    /// A buffer and the place of its length.
    Sized {
        at: CK_BYTE_PTR,
        len: CK_ULONG_PTR,
        room: CK_ULONG,
    },
    /// Random bytes, as many as the caller says.
    Random {
        at: CK_BYTE_PTR,
        len: CK_ULONG,
    },
    /// How many there are of something.
    Count(CK_ULONG_PTR),
    Library(CK_INFO_PTR),
    Slot(CK_SLOT_INFO_PTR),
    Token(CK_TOKEN_INFO_PTR),
}

impl Call {
    pub fn of(function: Function) -> Self {
        Self {
            function,
            session: None,
            known: None,
            slot: None,
            mechanism: ptr::null_mut(),
            objects: Handles::default(),
            templates: Templates::default(),
            output: Output::None,
            real_session: 0,
            releases: 0,
        }
    }

    /// The type of its mechanism or, when it has none, of the operation that it goes on with.
    pub fn mechanism_type(&self) -> Option<u64> {
        if !self.mechanism.is_null() {
            // SAFETY: PKCS#11: a mechanism that is not null points at one for the time of the call.
            return Some(unsafe { (*self.mechanism).mechanism });
        }
        let (operation, _) = self.function.step()?;
        self.known.as_ref()?.mechanism(operation)
    }

    /// A call that only asks for the length of its output.
    pub fn asks_for_length(&self) -> bool {
        matches!(self.output, Output::Sized { at, .. } if at.is_null())
    }
}

impl Handles {
    pub fn push(&mut self, handle: CK_OBJECT_HANDLE) {
        self.virtuals[self.count] = handle;
        self.count += 1;
    }

    pub fn used(&self) -> &[CK_OBJECT_HANDLE] {
        &self.virtuals[..self.count]
    }

    /// The real handles, in the order of the arguments.
    pub fn next_real(&self) -> CK_OBJECT_HANDLE {
        let at = self.given.replace(self.given.get() + 1);
        self.reals[at]
    }
}

impl Templates {
    /// A template comes before its count.
    pub fn push(&mut self, template: CK_ATTRIBUTE_PTR) {
        if let Some(free) = self.all.iter_mut().find(|one| one.is_none()) {
            *free = Some((template, 0));
        }
    }

    pub fn push_count(&mut self, count: CK_ULONG) {
        if let Some(last) = self.all.iter_mut().rev().flatten().next() {
            last.1 = count;
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_PTR, CK_ULONG)> {
        self.all.iter().flatten().copied().filter(|(template, _)| !template.is_null())
    }
}
