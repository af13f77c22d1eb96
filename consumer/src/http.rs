//! Owns the HTTP answers: probes, Prometheus, the state as JSON, the status page. Sees `health`, `metrics` and `status`,
//! and nothing of the pipeline.

mod guard; // headers, and the names that the page answers to
mod connections; // so many at once
mod events; // the state as server-sent events
mod page; // the files of the status page

use self::events::Events;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::status::Status;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware;
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
    /// For the page, `/status` and its events.
    pub status: Arc<Status>,
    /// Further names that these answer to, in small letters.
    pub names: Arc<[String]>,
}

/// Opens the listener, so that a taken address is told at the start.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, sources: Sources) {
    let events = Events::new();
    tokio::spawn(events.clone().write(Arc::clone(&sources.status)));
    connections::serve(listener, router(sources, events)).await;
}

fn router(sources: Sources, events: Events) -> Router {
    // Probes and Prometheus may come by any name: they tell no configuration and no payload.
    let for_machines = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics));
    let for_people = page::routes()
        .route("/status", get(status))
        .route("/status/events", get(move || async move { events.watched() }))
        .route_layer(middleware::from_fn_with_state(
            sources.clone(),
            guard::by_our_names,
        ));
    for_machines
        .merge(for_people)
        .layer(middleware::from_fn(guard::with_headers))
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

async fn status(State(sources): State<Sources>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, sources.status.whole(Instant::now())).into_response()
}
