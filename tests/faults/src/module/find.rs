//! C_FindObjects: real handles become virtual ones; some are left out, some come twice.

use std::collections::VecDeque;
use std::sync::Arc;

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_OBJECT_HANDLE_PTR, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CK_ULONG_PTR, CKR_OK};

use super::call::Call;
use super::objects::{About, Object};
use super::sessions::Session;
use super::shards::lock;
use super::{Module, real};
use crate::function::Operation;

pub fn find_objects(
    module: &Module,
    call: &Call,
    session: CK_SESSION_HANDLE,
    found: CK_OBJECT_HANDLE_PTR,
    max: CK_ULONG,
    count: CK_ULONG_PTR,
) -> CK_RV {
    let Some(known) = call.known.as_ref().filter(|known| known.is_active(Operation::Find)) else {
        return real!(module.C_FindObjects(session, found, max, count));
    };
    if found.is_null() || count.is_null() || max == 0 {
        return real!(module.C_FindObjects(session, found, max, count));
    }
    match given(module, known, max as usize) {
        Ok(handles) => {
            // SAFETY: the caller gives places for `max` handles and for their count; there are at most so many.
            unsafe {
                std::ptr::copy_nonoverlapping(handles.as_ptr(), found, handles.len());
                *count = handles.len() as CK_ULONG;
            }
            CKR_OK
        }
        Err(code) => code,
    }
}

/// The next handles. None at all means that the search has come to its end, so an answer of which nothing is left is passed
/// over.
fn given(module: &Module, session: &Session, max: usize) -> Result<Vec<CK_OBJECT_HANDLE>, CK_RV> {
    loop {
        let waiting = take(&mut lock(&session.found), max);
        if !waiting.is_empty() {
            return Ok(waiting);
        }
        let reals = next(module, session.real, max)?;
        if reals.is_empty() {
            return Ok(Vec::new());
        }
        let handles: Vec<_> = reals.iter().flat_map(|real| shown(module, session, *real)).collect();
        lock(&session.found).extend(handles);
    }
}

fn take(found: &mut VecDeque<CK_OBJECT_HANDLE>, max: usize) -> Vec<CK_OBJECT_HANDLE> {
    let some = found.len().min(max);
    found.drain(..some).collect()
}

fn next(module: &Module, session: CK_SESSION_HANDLE, max: usize) -> Result<Vec<CK_OBJECT_HANDLE>, CK_RV> {
    let mut reals = vec![0; max.min(1024)];
    let mut count = 0;
    match real!(module.C_FindObjects(session, reals.as_mut_ptr(), reals.len() as CK_ULONG, &mut count)) {
        CKR_OK => {
            reals.truncate(count as usize);
            Ok(reals)
        }
        code => Err(code),
    }
}

/// The virtual handles with which an object is shown: none, one, or two.
fn shown(module: &Module, session: &Session, real: CK_OBJECT_HANDLE) -> Vec<CK_OBJECT_HANDLE> {
    let object = known(module, session, real);
    let state = module.world.state().unwrap_or_default();
    let is_private_to_others = object.about.private && module.login.is_out(session.slot);
    if object.is_hidden(&state.hidden) || is_private_to_others {
        return Vec::new();
    }
    let mut handles = vec![object.handle];
    if state.duplicates {
        handles.push(first_seen(module, session, real).handle);
    }
    handles
}

fn known(module: &Module, session: &Session, real: CK_OBJECT_HANDLE) -> Arc<Object> {
    module.objects.known(session.slot, real).unwrap_or_else(|| first_seen(module, session, real))
}

fn first_seen(module: &Module, session: &Session, real: CK_OBJECT_HANDLE) -> Arc<Object> {
    module.objects.add(session.slot, real, About::of(module, session.real, real), None)
}
