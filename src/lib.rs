//! Strongroom: a key management service that speaks the AWS KMS API and does every operation with a key inside a
//! PKCS#11 hardware security module.
//!
//! The crate is six layers; imports point down this list and never up (`tests/it/architecture.rs` holds them to it):
//!
//! | layer | modules |
//! |---|---|
//! | root: puts it together | [`config`] [`dev`] [`server`] [`bench`](mod@bench) |
//! | doors: one protocol each | [`api`] [`health`] [`cli`] |
//! | service: what a KMS does | [`call`] [`operations`] [`request`] [`tasks`] [`kms`] [`authn`] `failure` `invocations` |
//! | machines: owners of a resource | [`store`] [`hsm`] [`audit`] [`metrics`] |
//! | decisions: pure functions | [`policy`] [`access`] [`sigv4`] [`attestation`] |
//! | words: values and their rules | [`error`] [`arn`] [`action`] [`principal`] [`identity`] [`client`] [`secret`] [`clock`] [`page`] [`envelope`] [`key`] `aws_names` `fair_queue` |
//!
//! Follow one Encrypt: [`api`] reads the head, finds the operation in [`operations`] and hands the call to
//! [`call::Calls::perform`], which has [`authn`] prove the caller and [`request`] read the members; the operation resolves the key,
//! has [`access`] authorize it and asks the HSM through [`kms::cx::Cx`]; [`audit`] writes it down; then, and only then, the answer
//! leaves.

pub mod access;
pub mod action;
pub mod api;
pub mod arn;
pub mod attestation;
pub mod audit;
pub mod authn;
mod aws_names;
pub mod bench;
pub mod call;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod dev;
pub mod envelope;
pub mod error;
mod failure;
mod fair_queue;
pub mod health;
pub mod hsm;
pub mod identity;
mod invocations;
pub mod key;
pub mod kms;
pub mod metrics;
pub mod operations;
pub mod page;
pub mod policy;
pub mod principal;
pub mod request;
pub mod secret;
pub mod server;
pub mod sigv4;
pub mod store;
pub mod tasks;
