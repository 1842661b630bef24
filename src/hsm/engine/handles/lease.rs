//! Leases: while somebody holds one, the object behind its handle is not destroyed.

use std::sync::Arc;

use crossbeam_channel::Sender;
use cryptoki::object::ObjectHandle;

use crate::hsm::engine::calls::proof::ProofSchedule;
use crate::hsm::engine::state::login_session::LoginLock;
use crate::hsm::error::HsmError;
use crate::key::material::MaterialId;

use super::anchor_request::AnchorRequest;

/// The key that a handle is of.
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
    pub(in crate::hsm) lock: Arc<LoginLock>,
    /// Counts the answers under it, some of which are proved.
    pub(in crate::hsm) believed: ProofSchedule,
    /// Where the object's end is told; `None` for a token object, which stays.
    pub(super) anchor: Option<Sender<AnchorRequest>>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(anchor) = &self.anchor {
            // An anchor that is gone has closed its session, and the object went with it.
            let _ = anchor.send(AnchorRequest::Destroy { handle: self.handle, epoch: self.lock.epoch });
        }
    }
}

pub(in crate::hsm) type LeaseResult = Result<Arc<Lease>, HsmError>;
