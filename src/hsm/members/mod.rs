//! The members of a key store: each HSM, whether calls may go to it, and what brings it back.

mod backend;
mod member;
mod past_counts;
mod recovery;
mod supervisor;

pub use member::Standing;

pub use backend::Backend;
pub(super) use member::Member;
pub(super) use recovery::is_strike;
