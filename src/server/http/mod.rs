//! HTTP/1.1 where hyper alone is not enough: stricter heads, a timeout of writes, and the case of header names.

mod head;
mod header_case;
mod validation;
mod write_timeout;

pub(super) use self::{
    head::{MAX_HEAD_BYTES, Rejection},
    header_case::HeaderCase,
    validation::ValidatedStream,
    write_timeout::WriteTimeout,
};
