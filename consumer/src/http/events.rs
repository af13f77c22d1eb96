//! Owns `/status/events`: the state as server-sent events, one a second. However many watch, it is written once, and
//! while nobody watches it is not.

use crate::status::{LOOK, Status};
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// So many may watch at once: each costs a connection.
const SEATS: usize = 32;

/// Where events are written and read.
#[derive(Clone, Debug)]
pub(super) struct Events {
    newest: watch::Sender<Bytes>,
    seats: Arc<Semaphore>,
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            newest: watch::Sender::new(Bytes::new()),
            seats: Arc::new(Semaphore::new(SEATS)),
        }
    }

    /// Writes an event whenever one is due and somebody watches.
    pub(super) async fn write(self, status: Arc<Status>) {
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if self.newest.receiver_count() > 0 {
                self.newest.send_replace(event(&status.live(Instant::now())));
            }
        }
    }

    /// The answer to one who wants to watch. It never ends by itself; who reads slowly misses events, and gets the newest.
    pub(super) fn watched(&self) -> Response {
        let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
            let headers = [(header::RETRY_AFTER, "5")];
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                headers,
                "too many watch already\n",
            )
                .into_response();
        };
        // A proxy that gathers answers would gather for ever.
        let headers = [(header::CONTENT_TYPE, "text/event-stream"), (ACCEL, "no")];
        // How long a browser waits before it connects again, in milliseconds.
        let begin = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"retry: 2000\n\n"))]);
        let events = stream::unfold((self.newest.subscribe(), seat), next);
        (headers, Body::from_stream(begin.chain(events))).into_response()
    }
}

const ACCEL: header::HeaderName = header::HeaderName::from_static("x-accel-buffering");

type Watcher = (watch::Receiver<Bytes>, OwnedSemaphorePermit);

async fn next((mut newest, seat): Watcher) -> Option<(Result<Bytes, Infallible>, Watcher)> {
    newest.changed().await.ok()?;
    let event = newest.borrow_and_update().clone();
    Some((Ok(event), (newest, seat)))
}

/// JSON has no newline outside of its texts, and escapes it within.
fn event(json: &[u8]) -> Bytes {
    [b"data: ", json, b"\n\n"].concat().into()
}
