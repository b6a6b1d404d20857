//! Against a server of a few lines that says what each test wants.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::Barrier,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// What is over before a test gets bored, and not before a server on a busy machine has said what it has to say.
const SHORT: Duration = Duration::from_millis(1500);
const LONG: Duration = Duration::from_secs(20);

fn client(timeout: Duration, ca_file: Option<&Path>) -> HttpClient {
    let ca_file = ca_file.map(Path::to_owned);
    HttpClient::new(&HttpSettings { connect_timeout: timeout, timeout, ca_file }).unwrap()
}

fn get(uri: &str) -> Request<Full<Bytes>> {
    Request::get(uri).body(Full::default()).unwrap()
}

/// Reads requests without a body and answers each with the next of `answers`; an empty one hangs. Then it closes.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answers: &[&str]) {
    let mut request = Vec::new();
    for answer in answers {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => return,
            }
        }
        if answer.is_empty() {
            std::future::pending::<()>().await;
        }
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

/// A server that answers every connection in the same way.
async fn server(answers: &'static [&'static str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, answers));
        }
    });
    address
}

#[tokio::test]
async fn an_answer_is_given_as_it_came_over_a_connection_that_is_kept() {
    let address = server(&[
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-sentry-rate-limits: a\r\n\r\nok",
        "HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n",
    ])
    .await;
    let client = client(LONG, None);
    let reply = client.send(get(&format!("http://{address}/"))).await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::OK, &b"ok"[..]));
    assert_eq!(reply.headers["x-sentry-rate-limits"], "a");
    let reply = client.send(get(&format!("http://{address}/"))).await.unwrap();
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "the second answer of the same connection");
}

#[tokio::test]
async fn requests_that_are_sent_at_once_go_over_the_connections_of_those_before() {
    const AT_ONCE: usize = 16;
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let opened = Arc::new(AtomicUsize::new(0));
    let accepted = opened.clone();
    tokio::spawn(async move {
        // None is answered before all are there, so that each has a connection for itself.
        let all_are_there = Arc::new(Barrier::new(AT_ONCE));
        while let Ok((mut stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::SeqCst);
            let all_are_there = all_are_there.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    request.push(byte);
                    if request.ends_with(b"\r\n\r\n") {
                        all_are_there.wait().await;
                        let _ = stream.write_all(ANSWER.as_bytes()).await;
                    }
                }
            });
        }
    });
    let client = client(LONG, None);
    let deadline = Instant::now() + LONG;
    // A connection is given back a moment after its answer, so the first rounds may open a few more.
    loop {
        let before = opened.load(Ordering::SeqCst);
        let mut sending = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (client, request) = (client.clone(), get(&format!("http://{address}/")));
            sending.spawn(async move { client.send(request).await.unwrap().status });
        }
        assert_eq!(sending.join_all().await, [StatusCode::OK; AT_ONCE]);
        if opened.load(Ordering::SeqCst) == before {
            break;
        }
        assert!(Instant::now() < deadline, "{before} connections, and still more are opened");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let address =
        server(&["HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"]).await;
    let reply = client(LONG, None).send(get(&format!("http://{address}/"))).await.unwrap();
    assert_eq!(reply.status, StatusCode::FOUND);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        answer(&mut stream, &["HTTP/1.1 200 OK\r\n\r\n"]).await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let reply = client(LONG, None).send(get(&format!("http://{address}/"))).await.unwrap();
    assert_eq!(reply.body.len(), ANSWER_BYTES);
}

#[tokio::test]
async fn the_status_counts_even_if_the_body_breaks_off_or_never_ends() {
    const HALF: &str = "HTTP/1.1 202 Accepted\r\ncontent-length: 10\r\n\r\nhalf";
    let breaks = server(&[HALF]).await;
    let reply = client(LONG, None).send(get(&format!("http://{breaks}/"))).await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::ACCEPTED, &b"half"[..]));

    let never_ends = server(&[HALF, ""]).await;
    let reply = client(SHORT, None).send(get(&format!("http://{never_ends}/"))).await.unwrap();
    assert_eq!((reply.status, &reply.body[..]), (StatusCode::ACCEPTED, &b"half"[..]));

    let garbles = server(&["HTTP/1.1 400 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\nbad\r\n"]).await;
    let reply = client(LONG, None).send(get(&format!("http://{garbles}/"))).await.unwrap();
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_the_server_but_without_a_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let error = client(LONG, None).send(get(&format!("http://me:hunter2@{nobody}/"))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach {nobody}: connection refused"));

    let hangs = server(&[""]).await;
    let error = client(SHORT, None).send(get(&format!("http://{hangs}/"))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no answer from {hangs} within {SHORT:?}"));

    let closes = server(&[]).await;
    let error = client(LONG, None).send(get(&format!("http://{closes}/"))).await.unwrap_err();
    assert!(matches!(error, HttpError::Interrupted { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("no answer from {closes}: conn")), "{error}");

    let babbles = server(&["hello\r\n\r\n"]).await;
    let error = client(LONG, None).send(get(&format!("http://{babbles}/"))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no answer from {babbles}: invalid HTTP version parsed"));

    let error = client(LONG, None).send(get("http://host.invalid/")).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot reach host.invalid:80: "), "{error}");
}

#[tokio::test]
async fn a_server_is_trusted_when_its_authority_is_in_ca_file() {
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca_file, issued.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream, &["HTTP/1.1 204 No Content\r\n\r\n"]).await;
            }
        }
    });
    let uri = format!("https://localhost:{port}/");
    let reply = client(LONG, Some(&ca_file)).send(get(&uri)).await.unwrap();
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let error = client(LONG, None).send(get(&uri)).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("cannot reach localhost:{port}: its certificate is signed by")),
        "{error}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let error = client(LONG, None).send(get(&format!("https://{plain}/"))).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot reach {plain}: it does not speak TLS")), "{error}");
}

#[test]
fn a_ca_file_that_cannot_be_used_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    std::fs::write(&empty, "nothing\n").unwrap();
    for path in [missing, empty] {
        let ca_file = Some(path.clone());
        let settings = HttpSettings { connect_timeout: LONG, timeout: LONG, ca_file };
        let error = HttpClient::new(&settings).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot use ca_file `{}`: ", path.display())), "{error}");
    }
}
