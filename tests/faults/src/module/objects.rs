//! The objects that the caller has handles of, and the calls that make and destroy them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cryptoki_sys::*;

use super::call::Call;
use super::events::Standing;
use super::sessions::Session;
use super::shards::{Shards, lock};
use super::{Module, real};
use crate::function::Function;

pub struct Object {
    pub handle: CK_OBJECT_HANDLE,
    pub real: CK_OBJECT_HANDLE,
    pub slot: CK_SLOT_ID,
    pub about: About,
    /// The session in which it was made, for a session object.
    owner: Option<CK_SESSION_HANDLE>,
}

/// What the real module says about an object when it is first seen.
#[derive(Default)]
pub struct About {
    pub token: bool,
    pub private: bool,
    pub class: Option<CK_OBJECT_CLASS>,
    pub id: Vec<u8>,
    pub sensitive: Option<bool>,
    pub extractable: Option<bool>,
}

#[derive(Default)]
pub struct Objects {
    by_handle: Shards<Object>,
    by_real: Mutex<HashMap<(CK_SLOT_ID, CK_OBJECT_HANDLE), CK_OBJECT_HANDLE>>,
    last: AtomicU64,
    /// Handles up to this one that are not known are from before an event, or destroyed.
    floor: AtomicU64,
}

impl Objects {
    pub fn get(&self, handle: CK_OBJECT_HANDLE) -> Option<Arc<Object>> {
        self.by_handle.get(handle)
    }

    /// The real handle; for one that is void an invalid handle, so that the real module says how it calls that.
    pub fn real(&self, handle: CK_OBJECT_HANDLE, world: &Standing) -> CK_OBJECT_HANDLE {
        let Some(object) = self.get(handle) else { return CK_INVALID_HANDLE };
        let is_hidden = world.state().is_some_and(|state| object.is_hidden(&state.hidden));
        if is_hidden { CK_INVALID_HANDLE } else { object.real }
    }

    /// Whether the handle is from before a logout or a reboot.
    pub fn is_from_before(&self, handle: CK_OBJECT_HANDLE) -> bool {
        handle != 0 && handle <= self.floor.load(Ordering::Relaxed) && self.get(handle).is_none()
    }

    /// The object of a real handle that has been seen before.
    pub fn known(&self, slot: CK_SLOT_ID, real: CK_OBJECT_HANDLE) -> Option<Arc<Object>> {
        let handle = lock(&self.by_real).get(&(slot, real)).copied()?;
        self.get(handle)
    }

    pub fn add(
        &self,
        slot: CK_SLOT_ID,
        real: CK_OBJECT_HANDLE,
        about: About,
        owner: Option<CK_SESSION_HANDLE>,
    ) -> Arc<Object> {
        let handle = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let object = Arc::new(Object { handle, real, slot, about, owner });
        self.by_handle.insert(handle, Arc::clone(&object));
        lock(&self.by_real).insert((slot, real), handle);
        object
    }

    fn forget(&self, handle: CK_OBJECT_HANDLE) -> Option<Arc<Object>> {
        let object = self.by_handle.remove(handle)?;
        let mut by_real = lock(&self.by_real);
        if by_real.get(&(object.slot, object.real)) == Some(&handle) {
            by_real.remove(&(object.slot, object.real));
        }
        Some(object)
    }

    /// The session objects of a session that is gone.
    pub fn forget_owned(&self, session: &Session) {
        let owned = std::mem::take(&mut *lock(&session.owned));
        owned.into_iter().for_each(|handle| drop(self.forget(handle)));
    }

    /// The handles of these objects are void from now on.
    pub fn end_epoch(&self, ends: impl Fn(&Object) -> bool) {
        self.floor.store(self.last.load(Ordering::Relaxed), Ordering::Relaxed);
        self.by_handle.retain(|object| !ends(object));
        lock(&self.by_real).retain(|_, handle| self.by_handle.get(*handle).is_some());
    }
}

impl Object {
    pub fn is_hidden(&self, hidden: &[Option<Vec<u8>>]) -> bool {
        let is_meant = |id: &Option<Vec<u8>>| id.as_ref().is_none_or(|id| *id == self.about.id);
        self.about.token && hidden.iter().any(is_meant)
    }
}

impl About {
    /// Asks the real module. What it does not say is as for an object without it.
    pub fn of(module: &Module, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Self {
        let (mut flags, mut class, mut id) = ([2_u8; 4], u64::MAX, [0_u8; 256]);
        let one =
            |type_, place: *mut u8, len: usize| CK_ATTRIBUTE { type_, pValue: place.cast(), ulValueLen: len as u64 };
        let flag = flags.as_mut_ptr();
        let mut template = [
            one(CKA_CLASS, (&raw mut class).cast(), 8),
            one(CKA_TOKEN, flag, 1),
            one(CKA_PRIVATE, flag.wrapping_add(1), 1),
            one(CKA_ID, id.as_mut_ptr(), id.len()),
            one(CKA_SENSITIVE, flag.wrapping_add(2), 1),
            one(CKA_EXTRACTABLE, flag.wrapping_add(3), 1),
        ];
        // An attribute that this class does not have is an error, and the others are filled all the same.
        let _ = real!(module.C_GetAttributeValue(session, object, template.as_mut_ptr(), template.len() as u64));
        let id_len = usize::try_from(template[3].ulValueLen).unwrap_or(usize::MAX);
        let said = |at: usize| (flags[at] != 2).then_some(flags[at] == 1);
        Self {
            token: said(0).unwrap_or(false),
            private: said(1).unwrap_or(false),
            class: (class != u64::MAX).then_some(class),
            id: id.get(..id_len).unwrap_or_default().to_vec(),
            sensitive: said(2),
            extractable: said(3),
        }
    }

    /// A key whose value is a secret.
    pub fn is_secret(&self) -> bool {
        matches!(self.class, Some(CKO_SECRET_KEY | CKO_PRIVATE_KEY))
    }
}

/// Gives the caller a virtual handle for an object that it has made.
fn made(module: &Module, call: &Call, code: CK_RV, new: CK_OBJECT_HANDLE_PTR) -> CK_RV {
    let (CKR_OK, Some(session), false) = (code, &call.known, new.is_null()) else { return code };
    // SAFETY: the real module has written the handle to the caller's place.
    let real = unsafe { *new };
    let about = About::of(module, session.real, real);
    module.check_made(call.function, &about);
    let owner = (!about.token).then_some(session.handle);
    let object = module.objects.add(session.slot, real, about, owner);
    if owner.is_some() {
        lock(&session.owned).insert(object.handle);
    }
    // SAFETY: as above.
    unsafe { *new = object.handle };
    code
}

pub fn create_object(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    new: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    made(module, call, real!(module.C_CreateObject(session, template, count, new)), new)
}

pub fn copy_object(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    new: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    made(module, call, real!(module.C_CopyObject(session, object, template, count, new)), new)
}

pub fn destroy_object(module: &Module, call: &Call, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    if let Some(known) = &call.known {
        module.check_unused(call.function, known, call.objects.used());
    }
    let code = real!(module.C_DestroyObject(session, object));
    if code == CKR_OK
        && let Some(object) = module.objects.forget(call.objects.virtuals[0])
        && let Some(owner) = object.owner.and_then(|owner| module.sessions.get(owner))
    {
        lock(&owner.owned).remove(&object.handle);
    }
    code
}

pub fn generate_key(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    new: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    made(module, call, real!(module.C_GenerateKey(session, mechanism, template, count, new)), new)
}

#[expect(clippy::too_many_arguments, reason = "the arguments are PKCS#11's")]
pub fn generate_key_pair(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public: CK_ATTRIBUTE_PTR,
    public_count: CK_ULONG,
    private: CK_ATTRIBUTE_PTR,
    private_count: CK_ULONG,
    new_public: CK_OBJECT_HANDLE_PTR,
    new_private: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    let code = real!(module.C_GenerateKeyPair(
        session,
        mechanism,
        public,
        public_count,
        private,
        private_count,
        new_public,
        new_private
    ));
    made(module, call, code, new_public);
    made(module, call, code, new_private)
}

#[expect(clippy::too_many_arguments, reason = "the arguments are PKCS#11's")]
pub fn unwrap_key(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    unwrapping: CK_OBJECT_HANDLE,
    wrapped: CK_BYTE_PTR,
    wrapped_len: CK_ULONG,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    new: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    let code = real!(module.C_UnwrapKey(session, mechanism, unwrapping, wrapped, wrapped_len, template, count, new));
    made(module, call, code, new)
}

#[expect(clippy::too_many_arguments, reason = "the arguments are PKCS#11's")]
pub fn derive_key(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    base: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    new: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    made(module, call, real!(module.C_DeriveKey(session, mechanism, base, template, count, new)), new)
}

/// What a derived secret may be is for its user: some are made to be read.
pub fn is_checked(function: Function) -> bool {
    function.creates() && function != Function::C_DeriveKey
}
