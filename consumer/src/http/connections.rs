//! Owns the connections: so many at once, and none that asks nothing for long, so that whoever connects takes neither the
//! file descriptors nor the memory that events need.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// So many at once; the next ones wait.
const MOST: usize = 256;

/// Whoever connects must have asked after so long, the first time and again.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// After a failure to accept (no file descriptor is left), the next attempt waits so long.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Serves until the process ends.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let seats = Arc::new(Semaphore::new(MOST));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(ASK_WITHIN);
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "http: could not accept a connection");
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A client that goes in the middle is none of our business.
            drop(connection.await);
            drop(seat);
        });
    }
}
