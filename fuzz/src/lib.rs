//! One file for each parser that reads what an unproved caller sends. Its `check` takes any bytes and panics if what must be
//! true of every input is not: libFuzzer looks for such bytes, and the tests of the service run it with each corpus.

pub mod attestation;
pub mod envelope;
pub mod policy;
pub mod request;
pub mod signature;
