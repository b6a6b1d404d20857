//! The API's connections: how many there are, and how long each may dawdle.
//!
//! The API shares its thread with network endpoints, so a client that opens connections and leaves them, sends its
//! request a byte a minute, or never reads an answer must cost next to nothing, and must keep nobody else out. So a
//! connection has a time to live, whatever it does, and none has a right to its place: when all places are taken, the
//! oldest connection makes room. An answer takes less than a millisecond; what is oldest is there to wait.
//!
//! The exception is an answer that goes on: a [`Stream`] lives as long as its client reads it. How many of these there are
//! is not decided here; each has a bound of its own (the tap's subscribers).

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::Router;
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

/// What connections may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections served at the same time.
    connections: usize,
    /// So old must a connection be to make room for a new one. Until then more wait in the kernel's queue.
    spared: Duration,
    /// A request's head must be complete so long after the connection was made, or after the answer before it.
    head: Duration,
    /// After this a connection is closed behind the answer that is on its way.
    lifetime: Duration,
    /// So long may that answer take; then the connection is closed all the same.
    farewell: Duration,
}

const LIMITS: Limits = Limits {
    connections: 64,
    spared: Duration::from_millis(50),
    head: Duration::from_secs(10),
    lifetime: Duration::from_secs(60),
    farewell: Duration::from_secs(5),
};

/// The largest request head; what is longer is answered with 431.
const HEAD_BYTES: usize = 16 * 1024;

/// How long to wait when the process has no file descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Whether a connection's answer goes on and on, and when its client last took something of it. Every request carries its
/// connection's as an extension.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    moved: Arc<Mutex<Option<Instant>>>,
}

impl Stream {
    /// Says that the answer goes on, and that there was room for more of it just now.
    pub fn moves(&self) {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last_moved(&self) -> Option<Instant> {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves connections, for ever.
pub async fn accept(listener: TcpListener, router: Router) {
    accept_within(LIMITS, listener, router).await;
}

async fn accept_within(limits: Limits, listener: TcpListener, router: Router) {
    let mut places = Places { limits, taken: VecDeque::new() };
    // It failed the last time, and that was said.
    let mut is_stalled = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if std::mem::take(&mut is_stalled) {
                    tracing::info!("the API accepts connections again");
                }
                places.make_room().await;
                let answer = Stream::default();
                let serving = tokio::spawn(serve(limits, stream, answer.clone(), router.clone()));
                places.taken.push_back(Place { since: Instant::now(), serving, answer });
            }
            Err(error) => {
                if !std::mem::replace(&mut is_stalled, true) {
                    tracing::warn!(%error, "the API cannot accept a connection; trying again");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections that are being served, oldest first.
struct Places {
    limits: Limits,
    taken: VecDeque<Place>,
}

struct Place {
    since: Instant,
    serving: JoinHandle<()>,
    answer: Stream,
}

impl Places {
    /// Returns when there is a place for one more.
    async fn make_room(&mut self) {
        // An answer that goes on takes no place: it would be the oldest soon, and is not there to wait.
        self.taken.retain(|place| !place.serving.is_finished() && place.answer.last_moved().is_none());
        while self.taken.len() >= self.limits.connections {
            let Some(mut oldest) = self.taken.pop_front() else { return };
            if timeout_at(oldest.since + self.limits.spared, &mut oldest.serving).await.is_err() {
                tracing::debug!("an API connection makes room for a new one");
                oldest.serving.abort();
                // Its socket is closed once its task has ended.
                let _ = oldest.serving.await;
            }
        }
    }
}

async fn serve(limits: Limits, stream: TcpStream, answer: Stream, router: Router) {
    let router = TowerToHyperService::new(router);
    let extension = answer.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(extension.clone());
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = loop {
        match timeout(limits.lifetime, connection.as_mut()).await {
            Ok(served) => break Ok(served),
            Err(_) if answer.last_moved().is_some_and(|moved| moved.elapsed() < limits.lifetime) => {}
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                break timeout(limits.farewell, connection).await;
            }
        }
    };
    // A client's doing (gone, too slow, no HTTP): of interest only to who looks for it.
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an API connection ended"),
        Err(_) => tracing::debug!("an API connection was closed: its client does not read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        Extension,
        body::{Body, Bytes},
        routing::get,
    };
    use hyper::body::Frame;
    use std::{
        convert::Infallible,
        io::ErrorKind,
        net::SocketAddr,
        pin::Pin,
        task::{Context, Poll},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::{Interval, interval},
    };

    /// How long a test waits for what must come.
    const DEADLINE: Duration = Duration::from_secs(20);

    const HOUR: Duration = Duration::from_secs(3600);

    /// Nothing but the number of connections is bounded.
    const PATIENT: Limits = Limits {
        connections: 64,
        spared: Duration::from_millis(1),
        head: HOUR,
        lifetime: HOUR,
        farewell: HOUR,
    };

    /// Serves a long page at `/` and a short one at `/healthz`.
    async fn start(limits: Limits) -> SocketAddr {
        let router = Router::new()
            .route("/", get(|| async { "x".repeat(1 << 20) }))
            .route(
                "/drops",
                get(|Extension(stream): Extension<Stream>| async { Body::new(Drops::new(stream, 1)) }),
            )
            .route(
                "/flood",
                get(|Extension(stream): Extension<Stream>| async { Body::new(Drops::new(stream, 1 << 20)) }),
            )
            .route("/healthz", get(|| async { "well" }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(accept_within(limits, listener, router));
        address
    }

    /// An answer without an end, some bytes at a time.
    struct Drops {
        stream: Stream,
        bytes: usize,
        tick: Interval,
    }

    impl Drops {
        fn new(stream: Stream, bytes: usize) -> Drops {
            stream.moves();
            Drops { stream, bytes, tick: interval(Duration::from_millis(5)) }
        }
    }

    impl hyper::body::Body for Drops {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.stream.moves();
            let bytes = self.bytes;
            self.tick.poll_tick(context).map(|_| Some(Ok(Frame::data(vec![b'x'; bytes].into()))))
        }
    }

    async fn ask_for_stream(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 100]).await.unwrap();
        stream
    }

    /// Asks for more than any socket holds, and reads nothing of it.
    async fn ask_and_never_read(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(64).as_bytes()).await.unwrap();
        stream
    }

    async fn ask_health(address: SocketAddr) -> String {
        let ask = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            stream.write_all(request).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        timeout(DEADLINE, ask).await.expect("the API answers")
    }

    /// Reads until the server closes the connection; the error is that it never does.
    async fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
        let mut received = Vec::new();
        match timeout(DEADLINE, stream.read_to_end(&mut received)).await.expect("the connection is closed") {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        received
    }

    #[tokio::test]
    async fn clients_that_never_read_keep_nobody_out() {
        let address = start(PATIENT).await;
        let mut clients = Vec::new();
        for _ in 0..PATIENT.connections {
            clients.push(ask_and_never_read(address).await);
        }
        for _ in 0..3 {
            assert!(ask_health(address).await.ends_with("well"));
        }
        read_to_end(clients.remove(0)).await;
    }

    #[tokio::test]
    async fn idle_clients_keep_nobody_out() {
        let address = start(PATIENT).await;
        let mut clients = Vec::new();
        for _ in 0..2 * PATIENT.connections {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(ask_health(address).await.ends_with("well"));
    }

    #[tokio::test]
    async fn a_burst_of_clients_is_served_whole() {
        let address = start(Limits { connections: 2, spared: DEADLINE, ..PATIENT }).await;
        let clients: Vec<_> = (0..40).map(|_| tokio::spawn(ask_health(address))).collect();
        for client in clients {
            assert!(client.await.unwrap().ends_with("well"));
        }
    }

    #[tokio::test]
    async fn a_connection_has_a_time_to_live_even_if_its_client_never_reads() {
        let short = Duration::from_millis(50);
        let address = start(Limits { lifetime: short, farewell: short, ..PATIENT }).await;
        let client = ask_and_never_read(address).await;
        sleep(short * 10).await;
        let received = read_to_end(client).await;
        assert!(received.len() < 64 << 20, "not everything that was asked for has come");
    }

    #[tokio::test]
    async fn an_answer_on_its_way_at_the_end_of_that_time_arrives_whole() {
        let short = Duration::from_millis(50);
        let address = start(Limits { lifetime: short, ..PATIENT }).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        sleep(short * 10).await;
        assert!(read_to_end(client).await.len() > 1 << 20);
    }

    #[tokio::test]
    async fn an_answer_that_goes_on_lives_as_long_as_its_client_reads() {
        let short = Duration::from_millis(50);
        let address = start(Limits { lifetime: short, farewell: short, ..PATIENT }).await;
        let mut client = ask_for_stream(address, "/drops").await;
        let begin = Instant::now();
        while begin.elapsed() < short * 10 {
            timeout(DEADLINE, client.read_exact(&mut [0; 1])).await.unwrap().expect("it goes on");
        }
    }

    #[tokio::test]
    async fn an_answer_that_goes_on_ends_when_its_client_does_not_read() {
        let short = Duration::from_millis(50);
        let address = start(Limits { lifetime: short, farewell: short, ..PATIENT }).await;
        let client = ask_for_stream(address, "/flood").await;
        sleep(short * 10).await;
        read_to_end(client).await;
    }

    #[tokio::test]
    async fn an_answer_that_goes_on_takes_nobodys_place_and_makes_no_room() {
        let address = start(Limits { connections: 1, ..PATIENT }).await;
        let mut client = ask_for_stream(address, "/drops").await;
        for _ in 0..3 {
            assert!(ask_health(address).await.ends_with("well"));
        }
        timeout(DEADLINE, client.read_exact(&mut [0; 100])).await.unwrap().expect("it goes on");
    }
}
