//! Leases: while somebody holds one, the object behind its handle is not destroyed.

use std::sync::Arc;

use crossbeam_channel::Sender;
use cryptoki::object::ObjectHandle;

use crate::hsm::engine::calls::proof::Believed;
use crate::hsm::engine::state::login_session::Door;
use crate::hsm::error::HsmError;
use crate::key::material::MaterialId;

use super::errand::Errand;

/// What a handle is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::hsm) struct HandleId {
    pub(in crate::hsm) material: MaterialId,
    pub(in crate::hsm) half: Half,
}

/// The half of a key pair; a symmetric key has only the secret one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::hsm) enum Half {
    Secret,
    Public,
}

/// The right to use a handle for as long as one holds this.
pub(in crate::hsm) struct Lease {
    pub(in crate::hsm) handle: ObjectHandle,
    /// Where its object is.
    pub(in crate::hsm) door: Arc<Door>,
    /// What the HSM has answered under it.
    pub(in crate::hsm) believed: Believed,
    /// Where the object's end is told; `None` for a token object, which stays.
    pub(super) anchor: Option<Sender<Errand>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(anchor) = &self.anchor {
            // An anchor that is gone has closed its session, and the object went with it.
            let _ = anchor.send(Errand::Destroy { handle: self.handle, epoch: self.door.epoch });
        }
    }
}

pub(in crate::hsm) type LeaseResult = Result<Arc<Lease>, HsmError>;
