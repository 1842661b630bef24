//! Makes the handler of connections that one configuration asks for.

use std::{sync::Arc, time::Duration};

use super::{
    certificate::ServerCertificate,
    connections::{ConnectionCounts, ConnectionHandler, ConnectionLimit},
    file_descriptors,
    http::HeaderCase,
};
use crate::{
    api::{Api, BodyLimits},
    call::Calls,
    config::Config,
    health,
    kms::Kms,
};

/// The parts that the handlers of all configurations share.
pub(super) struct Handlers {
    pub(super) calls: Arc<Calls>,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    counts: Arc<ConnectionCounts>,
    header_case: HeaderCase,
}

impl Handlers {
    pub(super) async fn new(config: &Config, kms: &Arc<Kms>) -> Self {
        let limit = file_descriptors::connection_limit(config.limits.connections, config.clusters.len());
        Self {
            calls: Arc::new(Calls::new(Arc::clone(kms))),
            connection_limit: ConnectionLimit::new(limit),
            counts: Arc::new(ConnectionCounts::new(Arc::clone(kms))),
            header_case: HeaderCase::learn().await,
        }
    }

    /// The handler of connections for this configuration and certificate.
    pub(super) fn handler(&self, config: &Config, certificate: Option<&ServerCertificate>) -> ConnectionHandler {
        let limits = config.limits.clone();
        let api_limits = BodyLimits {
            body_bytes: limits.body_bytes,
            all_bodies_bytes: limits.all_bodies_bytes,
            body_timeout: Duration::from_millis(limits.body_timeout_ms),
        };
        ConnectionHandler {
            api: Api::new(Arc::clone(&self.calls), api_limits, &config.allowed_origins),
            operators: health::router(Arc::clone(self.calls.kms())),
            tls: certificate.map(|certificate| certificate.acceptor.clone()),
            limits,
            connection_limit: Arc::clone(&self.connection_limit),
            counts: Arc::clone(&self.counts),
            header_case: self.header_case.clone(),
        }
    }
}
