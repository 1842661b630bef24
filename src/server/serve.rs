//! Serves until the program is asked to end, and then lets pending calls finish.

use std::sync::Arc;

use tokio::{sync::watch, time::timeout};

use super::{
    DRAIN_TIME, HSM_STOP, Listener, Service, ServiceManager, ShutdownSignal, connections,
    handlers::Handlers,
    reload::{ReloadSource, Reloader},
};
use crate::{config::Config, tasks};

/// Serves until `shutdown`, then lets pending calls finish, also those whose clients are gone. At SIGHUP the configuration is read
/// again from `source`.
pub async fn serve(
    config: Config,
    service: Service,
    listener: Listener,
    source: ReloadSource,
    manager: Arc<ServiceManager>,
    shutdown: ShutdownSignal,
) {
    tracing::info!(url = listener.url(), version = env!("CARGO_PKG_VERSION"), "serving");
    let Listener { listener, certificate, .. } = listener;
    let kms = Arc::clone(&service.kms);
    let handlers = Handlers::new(&config, &kms).await;
    let connection_limit = Arc::clone(&handlers.connection_limit);
    let under_way = handlers.calls.under_way();
    let (current, receiver) = watch::channel(Arc::new(handlers.handler(&config, certificate.as_ref())));
    let reloader = Reloader {
        kms: Arc::clone(&kms),
        manager: Arc::clone(&manager),
        source,
        config,
        certificate,
        handlers,
        current,
    };
    tokio::spawn(reloader.run());
    tokio::select! {
        () = connections::accept(receiver, listener, shutdown) => {}
        () = manager.report(&kms) => {}
    }
    tracing::info!("stopping");
    manager.stopping();
    let drained = async {
        connection_limit.close_all().await;
        under_way.end().await;
    };
    if timeout(DRAIN_TIME, drained).await.is_err() {
        tracing::warn!("some requests were still under way when the time to stop was over");
    }
    stop(&service).await;
}

/// Stops background work, and then the HSMs, which it may still need.
async fn stop(service: &Service) {
    tasks::stop(&service.kms).await;
    service.hsm.stop();
    let closed = service.kms.close_key_stores(HSM_STOP).await;
    if !service.hsm.stopped(HSM_STOP).await || !closed {
        tracing::warn!("a call to the HSM had not come back when the time to stop was over");
    }
}
