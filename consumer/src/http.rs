//! Owns the HTTP answers for probes and Prometheus. Sees `health` and `metrics`, and nothing of the pipeline.

use crate::health::Health;
use crate::metrics::Metrics;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;

/// What the answers are made of.
#[derive(Clone, Debug)]
pub struct Sources {
    /// For `/live` and `/ready`.
    pub health: Arc<Health>,
    /// For `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// Opens the listener, so that a taken address is told at the start.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, sources: Sources) -> std::io::Result<()> {
    axum::serve(listener, router(sources)).await
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(sources)
}

async fn live(State(sources): State<Sources>) -> Response {
    verdict("live", &sources.health.not_alive(Instant::now()))
}

async fn ready(State(sources): State<Sources>) -> Response {
    verdict("ready", &sources.health.not_ready(Instant::now()))
}

fn verdict(question: &str, reasons: &[String]) -> Response {
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ question: reasons.is_empty(), "reasons": reasons })),
    )
        .into_response()
}

async fn metrics(State(sources): State<Sources>) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let ready = sources.health.not_ready(Instant::now()).is_empty();
    (headers, sources.metrics.render(ready)).into_response()
}
