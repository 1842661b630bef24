//! Requests to the anchor: the thread whose session holds the login and every leased object.

use std::time::Instant;

use cryptoki::object::ObjectHandle;
use tokio::sync::oneshot;

use crate::hsm::error::HsmError;

/// A request to the anchor.
pub(in crate::hsm) enum AnchorRequest {
    /// Make the handle that is wanted next, if one still is, and put it into the cache.
    Make,
    /// Nobody holds this handle any more.
    Destroy { handle: ObjectHandle, epoch: u64 },
    /// The token forgot the login of epoch `seen`; log in, unless it has been done since.
    LogIn { seen: u64, deadline: Instant, done: oneshot::Sender<Result<(), HsmError>> },
    /// Close the sessions of ended logins that nobody uses any more.
    Tidy,
    /// All workers have ended.
    Stop,
}
