//! The HTTP interface for operators: health, metrics, and the pipeline with its ledger.
//!
//! | path | answer |
//! | --- | --- |
//! | `GET /healthz` | 200 as long as the process works; the body says whether an endpoint is in trouble |
//! | `GET /readyz` | 200 while the inputs take messages, 503 once the router stops |
//! | `GET /metrics` | the ledger in the Prometheus text format |
//! | `GET /api/v1/pipeline` | inputs, routes and endpoints, each with its side of the ledger, as JSON |
//! | `GET /api/v1/tap` | live messages as server-sent events, see `tap.rs` |
//! | `POST /api/v1/reload` | goes on with the changed configuration; answers with what that did, or what is wrong with it |
//! | `POST /api/v1/reopen` | opens files anew; answers when all are open, or says which are not |
//!
//! Requests run on the network endpoints' thread, so a handler reads counters and returns; it never blocks. What changes
//! something is an order (`orders.rs`) to the thread that owns the router. Who may ask is decided in `guard.rs`, how many
//! and for how long in `connections.rs`.

mod condition_text;
mod connections;
mod exposition;
mod guard;
mod health;
mod metrics;
mod observed;
pub mod orders;
pub mod pipeline;
pub mod reload;
pub mod reopen;
pub mod tap;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    process,
    sync::Arc,
};

use anyhow::{Context, anyhow};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use metlog_router::{
    config,
    inputs::sockets::{BoundSocket, Inherited},
    topology::Topology,
};
use serde_json::json;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::AbortHandle;

use self::guard::Guard;
pub use self::{
    health::{is_failing, is_in_trouble, lets_nobody_in},
    observed::{Observed, Plan},
    orders::{Order, Orders},
};
use crate::processes;

/// Every path that is answered.
const PATHS: [&str; 7] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/pipeline",
    "/api/v1/tap",
    "/api/v1/reopen",
    "/api/v1/reload",
];

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 128;

/// The API's socket: connections wait in it until they are served.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    socket: BoundSocket,
    address: SocketAddr,
    guard: Arc<Guard>,
}

/// The API's socket, with all that is needed to serve it: nothing can fail any more.
#[derive(Debug)]
pub struct Ready {
    listener: tokio::net::TcpListener,
    socket: BoundSocket,
    network: tokio::runtime::Handle,
    address: SocketAddr,
    guard: Arc<Guard>,
}

/// The API at work.
#[derive(Debug)]
pub struct Server {
    guard: Arc<Guard>,
    accepting: AbortHandle,
    /// What it accepts from, for a successor that has to be let in beside it.
    socket: BoundSocket,
}

impl Server {
    /// Requests must carry this token from now on.
    pub fn set_token(&self, settings: &config::Api) {
        self.guard.set_token(token(settings));
    }

    /// Takes no more connections. Requests that are there already are still answered.
    pub fn close(self) {
        self.accepting.abort();
    }
}

/// A socket that listens there; `shared`: beside another one that allows it.
fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What is said of an address that cannot be had, with the process that has it, where the system tells.
fn cannot_listen(listen: SocketAddr, error: io::Error) -> anyhow::Error {
    let advice = match (error.kind(), processes::listening_at(listen)) {
        (io::ErrorKind::AddrInUse, Some((number, _))) if number == process::id() => {
            "; this router itself has the port: give [api] another `listen`".to_owned()
        }
        (io::ErrorKind::AddrInUse, Some((number, name))) => {
            format!("; process {number} ({name}) has the port: stop it, or give [api] another `listen`")
        }
        (io::ErrorKind::AddrInUse, None) => {
            "; another router or program has the port: stop it, or give [api] another `listen`".to_owned()
        }
        _ => String::new(),
    };
    anyhow!("the API cannot listen on {listen}: {error}{advice}")
}

fn token(settings: &config::Api) -> Option<String> {
    settings.token.as_ref().map(|token| token.reveal().to_owned())
}

impl Bound {
    /// Takes the address. Done before the router starts, so that one that is taken stops nothing half-way. `beside` is the API
    /// before it, which shares its port with a wider or narrower address until it is closed.
    pub fn bind(settings: &config::Api, beside: Option<&Server>) -> anyhow::Result<Bound> {
        let listen = settings.listen;
        let before = Inherited::new(beside.map(|server| &server.socket).into_iter());
        let in_spite_of = |error| before.make_room(Type::STREAM, listen, error, || bound(listen, true));
        let socket =
            bound(listen, false).or_else(in_spite_of).map_err(|error| cannot_listen(listen, error))?;
        // Only the API before it was to be let in.
        socket.set_reuse_port(false).context("the API's socket")?;
        let listener: TcpListener = socket.try_clone().context("the API's socket")?.into();
        let address = listener.local_addr().context("the API's socket")?;
        let guard = Arc::new(Guard::new(token(settings), address.ip()));
        Ok(Bound { listener, socket: BoundSocket::new(socket, "api"), address, guard })
    }

    /// Where it listens, with the port that the operating system chose if it was left to it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes it ready to be served on this router's network.
    pub fn on(self, topology: &Topology) -> anyhow::Result<Ready> {
        let network = topology.network().clone();
        // A tokio socket belongs to the runtime in which it is made.
        let _inside = network.enter();
        let listener = tokio::net::TcpListener::from_std(self.listener).context("the API's socket")?;
        let Bound { socket, address, guard, .. } = self;
        Ok(Ready { listener, socket, network: network.clone(), address, guard })
    }
}

impl Ready {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until the router's network runtime stops, which is the last thing that a router does.
    /// What requests order goes to `orders`.
    pub fn serve(self, observed: Arc<Observed>, orders: Orders) -> Server {
        let router = router(observed, orders, self.guard.clone());
        let accepting = self.network.spawn(connections::accept(self.listener, router));
        Server { guard: self.guard, accepting: accepting.abort_handle(), socket: self.socket }
    }
}

fn router(observed: Arc<Observed>, orders: Orders, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/pipeline", get(pipeline))
        .route("/api/v1/tap", get(tap::tap))
        .route("/api/v1/reopen", post(reopen::reopen))
        .route("/api/v1/reload", post(reload::reload))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(guard.clone(), guard::admit))
        .layer(middleware::map_response(headers))
        .layer(axum::Extension(guard))
        .layer(axum::Extension(orders))
        .with_state(observed)
}

/// Indented and with a line break at its end: people look at it with nothing but curl.
async fn pipeline(State(observed): State<Arc<Observed>>) -> Response {
    match serde_json::to_string_pretty(&observed.pipeline()) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body + "\n").into_response(),
        Err(error) => {
            let body = json!({ "error": error.to_string() });
            (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
        }
    }
}

async fn unknown_path() -> Response {
    let body = json!({ "error": "there is nothing at this path", "paths": PATHS });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

async fn wrong_method() -> Response {
    let body = json!({ "error": "this path answers other methods: see the header Allow", "paths": PATHS });
    (StatusCode::METHOD_NOT_ALLOWED, Json(body)).into_response()
}

/// Answers are of this moment, and what they are is said by their type alone.
async fn headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
