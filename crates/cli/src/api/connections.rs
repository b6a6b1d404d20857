//! The API's connections: how many there are, and how long each may dawdle.
//!
//! The API shares its thread with network endpoints, so a client that opens connections and leaves them, or sends its
//! request a byte a minute, must cost next to nothing.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// Connections served at the same time; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;

/// A request's head must be complete so long after the connection was made, or after the answer before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest request head; what is longer is answered with 431.
const HEAD_BYTES: usize = 16 * 1024;

/// How long to wait when the process has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves connections, for ever.
pub async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // Never closed, so there is always a place sooner or later.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    serve(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        // A client's doing (gone, too slow, no HTTP): of interest only to who looks for it.
        tracing::debug!(%error, "an API connection ended");
    }
}
