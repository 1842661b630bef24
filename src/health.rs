//! The operator's door: `/healthz` (the process runs), `/readyz` (it can do its work), `/metrics` (Prometheus).
//!
//! `/metrics` and `/readyz` need no signature and hold nothing of any caller. A proxy belongs in front if the names of
//! operations and their rates are nobody's business.

use std::{sync::Arc, time::Duration};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::time::timeout;

use crate::kms::Kms;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long a scrape waits to learn whether the service is ready.
const PATIENCE: Duration = Duration::from_secs(1);

const HEALTH: &str = "/healthz";
const READINESS: &str = "/readyz";
const METRICS: &str = "/metrics";

/// True if this is one of the operator's paths.
pub fn answers(path: &str) -> bool {
    [HEALTH, READINESS, METRICS].contains(&path)
}

/// The door.
pub fn router(kms: Arc<Kms>) -> Router {
    Router::new()
        .route(HEALTH, get(|| async { "ok\n" }))
        .route(READINESS, get(ready))
        .route(METRICS, get(metrics))
        .with_state(kms)
}

async fn ready(State(kms): State<Arc<Kms>>) -> impl IntoResponse {
    match kms.readiness().await {
        Ok(known) if known.is_empty() => (StatusCode::OK, "ready\n".to_owned()),
        Ok(known) => (StatusCode::OK, format!("ready, but {}\n", known.join("; "))),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")),
    }
}

async fn metrics(State(kms): State<Arc<Kms>>) -> impl IntoResponse {
    // Numbers do not wait for an HSM that hangs.
    let ready = matches!(timeout(PATIENCE, kms.readiness()).await, Ok(Ok(_)));
    kms.observe_readiness(ready);
    ([("content-type", OPEN_METRICS)], kms.metrics_text())
}
