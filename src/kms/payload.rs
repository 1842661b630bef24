//! What a call brings, and what it takes up meanwhile.

use std::{any::Any, ops::Deref};

use crate::operations::Body;

/// The bytes of a request's body. What they take up of a door's memory is given back with them.
pub struct Payload {
    bytes: Body,
    _memory: Option<Box<dyn Any + Send + Sync>>,
}

impl Payload {
    /// The bytes, and what is dropped with them.
    pub fn new(bytes: Body, memory: Option<impl Any + Send + Sync>) -> Self {
        Self { bytes, _memory: memory.map(|memory| Box::new(memory) as _) }
    }
}

impl Deref for Payload {
    type Target = Body;

    fn deref(&self) -> &Body {
        &self.bytes
    }
}
