//! The body of a request, within what it may take of memory and time.
//!
//! Up to 16 KiB are read of anybody. A longer body is read if the head names an access key that is enabled, and if there is
//! room for it in the budget of all bodies, of which a network has a quarter at most; the buffer grows with what comes. Bytes
//! and room are given back together, when the members are read.

use std::ops::Deref;

use axum::body::{Bytes, HttpBody};
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{Api, Arrival, budget::Memory, signature};
use crate::{
    error::{Code, KmsError},
    failure,
};

/// A body of up to so many bytes, which nearly every call has, is read of anybody and waits for nothing. A longer one is
/// read of who names an access key, when there is memory for it.
const SMALL: usize = 16 * 1024;

/// A body that was taken in; what it takes up of the budget is given back with it.
pub(super) struct Payload {
    bytes: Zeroizing<Vec<u8>>,
    _memory: Option<Memory>,
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The whole body.
///
/// # Errors
/// If it is too long, or does not come in time, or nothing vouches for it; what is left of it is unread then.
pub(super) async fn read<B>(api: &Api, arrival: Arrival, head: &Parts, body: B) -> Result<Payload, KmsError>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let announced = body.size_hint();
    let longest = announced.upper().map_or(usize::MAX, |upper| usize::try_from(upper).unwrap_or(usize::MAX));
    if announced.exact().is_some() && longest > api.limits.body_bytes {
        return Err(too_long(api));
    }
    let mut growing = Growing::new(longest.min(api.limits.body_bytes));
    if announced.exact().is_some_and(|_| longest > SMALL) {
        growing.memory = Some(memory(api, arrival, head, growing.longest).await?);
    }
    let collected = timeout(api.limits.body_timeout, growing.collect(api, arrival, head, body)).await;
    collected.unwrap_or_else(|_| {
        Err(KmsError::new(Code::RequestTimeoutException, "The request body did not arrive in time."))
    })?;
    Ok(growing.whole())
}

fn too_long(api: &Api) -> KmsError {
    let text = format!("The request body is longer than {} bytes.", api.limits.body_bytes);
    KmsError::new(Code::RequestEntityTooLargeException, text)
}

/// Memory for a large body, if the head says truly that somebody known sends it.
async fn memory(api: &Api, arrival: Arrival, head: &Parts, bytes: usize) -> Result<Memory, KmsError> {
    signature::vouch(api.calls.kms(), head)?;
    api.budget.take(arrival.peer.unwrap_or_default().network(), bytes).await.ok_or_else(failure::throttled)
}

/// A body that comes. Its buffer grows with it, and is wiped whenever it is left.
struct Growing {
    bytes: Zeroizing<Vec<u8>>,
    longest: usize,
    /// For a large one.
    memory: Option<Memory>,
}

impl Growing {
    fn new(longest: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(longest.min(SMALL))), longest, memory: None }
    }

    async fn collect<B>(&mut self, api: &Api, arrival: Arrival, head: &Parts, mut body: B) -> Result<(), KmsError>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| KmsError::bare(Code::SerializationException))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = self.bytes.len().saturating_add(data.len());
            if length > self.longest {
                return Err(too_long(api));
            }
            if length > SMALL && self.memory.is_none() {
                self.memory = Some(memory(api, arrival, head, self.longest).await?);
            }
            self.make_room_for(length);
            self.bytes.extend_from_slice(&data);
        }
        Ok(())
    }

    /// The buffer does not grow by itself, which would leave copies behind.
    fn make_room_for(&mut self, length: usize) {
        if length > self.bytes.capacity() {
            let mut longer = Zeroizing::new(Vec::with_capacity(length.saturating_mul(2).min(self.longest)));
            longer.extend_from_slice(&self.bytes);
            self.bytes = longer;
        }
    }

    fn whole(self) -> Payload {
        Payload { bytes: self.bytes, _memory: self.memory }
    }
}
