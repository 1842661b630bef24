//! Orders: what crosses the shared memory, from the service to a thread of the worker process, and the replies. Both ends are
//! this very program, so the format has no versions.

use std::borrow::Cow;

use postcard::experimental::serialized_size;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::hsm::engine::command::{AnyAnswer, AnyCommand, Half};
use crate::hsm::engine::leases::LeaseNumber;
use crate::hsm::error::HsmError;
use crate::hsm::memory::Moment;
use crate::key::material::Material;

/// What a thread of the worker process is to do.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) struct Order<'a> {
    /// When nobody waits for it any more.
    pub(in crate::hsm) deadline: Moment,
    pub(in crate::hsm) work: Work<'a>,
}

/// One piece of work.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) enum Work<'a> {
    /// A command, with the lease of the handle that it needs.
    Perform { lease: Option<LeaseNumber>, command: AnyCommand<'a> },
    /// For the anchor: nobody holds these leases any more; and then this.
    Anchor { released: Vec<LeaseNumber>, work: AnchorWork<'a> },
}

/// Work of the anchor.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) enum AnchorWork<'a> {
    /// Nothing more.
    Nothing,
    /// Have this half of this material in the HSM, and lease its handle under this number.
    Load { lease: LeaseNumber, half: Half, material: Cow<'a, Material> },
    /// The token forgot the login of epoch `seen`; log in, unless it has been done since.
    LogIn { seen: u64 },
}

/// The outcome of an order.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) struct Reply {
    /// When the calls to the HSM began.
    pub(in crate::hsm) began: Moment,
    /// When they had ended.
    pub(in crate::hsm) ended: Moment,
    /// The epoch of the login by then. Leases of an earlier one mean nothing any more.
    pub(in crate::hsm) epoch: u64,
    pub(in crate::hsm) result: Result<Answer, HsmError>,
}

/// The answer to an order that was carried out.
#[derive(Serialize, Deserialize)]
pub(in crate::hsm) enum Answer {
    /// To a command.
    Command(AnyAnswer),
    /// To work of the anchor.
    Done,
}

/// The bytes of an order or a reply, which may hold a plaintext.
pub(in crate::hsm) fn encode(message: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, postcard::Error> {
    // In one buffer from the start: one that grows leaves copies behind.
    let mut bytes = Zeroizing::new(vec![0; serialized_size(message)?]);
    postcard::to_slice(message, &mut bytes)?;
    Ok(bytes)
}

/// The order or the reply that these bytes are.
pub(in crate::hsm) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, postcard::Error> {
    postcard::from_bytes(bytes)
}
