//! Against a server of a few lines that answers what each test wants, and keeps what it was sent.

use std::{collections::VecDeque, io::Read, sync::Mutex};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::testing::{ManualClock, lines, work_of};

/// A request as it came.
#[derive(Debug)]
struct Received {
    head: String,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What to answer: a whole response; an empty one closes the connection without a word.
type Answers = VecDeque<String>;

#[derive(Clone, Default)]
struct Server {
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<Answers>>,
    /// Bodies that are larger get a 413.
    largest: Arc<Mutex<Option<usize>>>,
    /// Bodies with this text in them get a 400.
    bad: &'static str,
}

impl Server {
    /// Gives these answers, one after the other, and then 200s.
    async fn start<const N: usize>(answers: [&str; N]) -> Server {
        Server::with(answers, None).await
    }

    async fn with<const N: usize>(answers: [&str; N], largest: Option<usize>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let answers = Arc::new(Mutex::new(answers.map(str::to_owned).into_iter().collect()));
        let address = listener.local_addr().unwrap().to_string();
        let largest = Arc::new(Mutex::new(largest));
        let server = Server { address, answers, largest, bad: "bad message", ..Server::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).await.ok()? == 0 {
                    return None;
                }
            }
            let mut received = Received { head, body: Vec::new() };
            let length = received.header("content-length")?.parse().ok()?;
            received.body.resize(length, 0);
            stream.read_exact(&mut received.body).await.ok()?;
            let is_bad = String::from_utf8_lossy(&received.body).contains(self.bad);
            self.received.lock().unwrap().push(received);
            let mut answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned();
            if self.largest.lock().unwrap().is_some_and(|largest| length > largest) {
                answer = reply("413 Too Large", "");
            } else if is_bad {
                answer = reply("400 Bad", "no such mapping");
            } else if let Some(scripted) = self.answers.lock().unwrap().pop_front() {
                answer = scripted;
            }
            if answer.is_empty() {
                return None;
            }
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
    }

    fn endpoint(&self, body: &str) -> Box<dyn NetworkEndpoint> {
        opened(&format!("url = \"http://{}/in?key=hunter2\"\n{body}", self.address))
    }

    fn texts(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|received| received.text().to_owned()).collect()
    }
}

fn reply(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn settings(body: &str) -> Result<Box<dyn EndpointSettings>, String> {
    let kind = super::super::registry::KINDS.iter().find(|kind| kind.name == "http").unwrap();
    kind.read_body(body)
}

fn opened(body: &str) -> Box<dyn NetworkEndpoint> {
    let context = EndpointContext {
        name: "test".to_owned(),
        clock: Arc::new(ManualClock::default()),
        counters: Arc::default(),
        open_files: 2,
    };
    match settings(body).unwrap().open(context).unwrap() {
        Opened::Network(endpoint) => endpoint,
        _ => panic!("it is a network endpoint"),
    }
}

fn error(answer: &Answer) -> &str {
    match &answer.then {
        Then::Retry { error, .. } => error,
        other => panic!("not a failure: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_carries_the_messages_and_what_the_configuration_says() {
    let server = Server::start([]).await;
    let mut endpoint = server.endpoint(
        "method = \"PUT\"\nheaders = { X-Scope = \"web\" }\nauth = { user = \"me\", password = \"sesame\" }",
    );
    let lines = lines(3);
    assert_eq!(endpoint.deliver(&work_of(&lines)).await, Answer::delivered(3));
    let received = server.received.lock().unwrap();
    let request = &received[0];
    assert_eq!(request.text(), lines.concat());
    assert!(request.head.starts_with("PUT /in?key=hunter2 HTTP/1.1\r\n"), "{}", request.head);
    for (name, value) in [
        ("host", server.address.as_str()),
        ("content-type", "application/x-ndjson"),
        ("x-scope", "web"),
        ("authorization", "Basic bWU6c2VzYW1l"),
        ("user-agent", USER_AGENT),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(request.header("content-encoding"), None);
}

#[tokio::test]
async fn a_compressed_body_says_so_and_unpacks_to_the_messages() {
    let server = Server::start([]).await;
    let lines = lines(100);
    let bearer = "auth = { bearer = \"sesame\" }";
    server.endpoint(&format!("{bearer}\ncompress = \"gzip\"")).deliver(&work_of(&lines)).await;
    server.endpoint("compress = \"zstd\"\nformat = \"array\"").deliver(&work_of(&lines)).await;
    let received = server.received.lock().unwrap();
    assert_eq!(received[0].header("content-encoding"), Some("gzip"));
    assert_eq!(received[0].header("authorization"), Some("Bearer sesame"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&received[0].body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, lines.concat());
    assert_eq!(received[1].header("content-encoding"), Some("zstd"));
    assert_eq!(received[1].header("content-type"), Some("application/json"));
    let array = zstd::stream::decode_all(&received[1].body[..]).unwrap();
    assert_eq!(serde_json::from_slice::<Vec<serde_json::Value>>(&array).unwrap().len(), 100);
}

#[tokio::test]
async fn batches_go_out_in_order_and_the_first_that_fails_is_where_the_next_delivery_begins() {
    let ok = reply("204 No Content", "");
    let server = Server::start([&ok, &reply("503 Busy", "come back later")]).await;
    let mut endpoint = server.endpoint("batch = { messages = 2 }");
    let lines = lines(5);
    let answer = endpoint.deliver(&work_of(&lines)).await;
    assert_eq!(answer.settled, 2);
    let expected = format!("http://{}/… answers 503 Service Unavailable: come back later", server.address);
    assert_eq!(error(&answer), expected);
    assert_eq!(endpoint.deliver(&work_of(&lines[2..])).await, Answer::delivered(3));
    let batch = |range: std::ops::Range<usize>| lines[range].concat();
    assert_eq!(server.texts(), [batch(0..2), batch(2..4), batch(2..4), batch(4..5)]);
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let busy = "HTTP/1.1 429 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start([busy]).await;
    let answer = server.endpoint("").deliver(&work_of(&lines(1))).await;
    assert!(
        matches!(&answer.then, Then::Retry { after: Some(wait), .. } if *wait == Duration::from_secs(7)),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_body_that_is_too_large_is_halved_until_it_fits_and_that_is_remembered_for_a_while() {
    let lines = lines(1024);
    let length = lines[0].len();
    let server = Server::with([], Some(length * 160)).await;
    let mut endpoint = server.endpoint("");
    let sizes = || server.texts().iter().map(|text| text.len() / length).collect::<Vec<usize>>();
    assert_eq!(endpoint.deliver(&work_of(&lines)).await, Answer::delivered(1024));
    assert_eq!(sizes()[..4], [1024, 512, 256, 128]);
    assert!(sizes()[3..].iter().all(|size| *size == 128), "{:?}", sizes());
    assert_eq!(server.texts()[3..].concat(), lines.concat());

    let requests = sizes().len();
    *server.largest.lock().unwrap() = None;
    for _ in 0..8 {
        endpoint.deliver(&work_of(&lines)).await;
    }
    assert_eq!(sizes()[requests], 128, "the next delivery begins with what fits");
    assert!(*sizes().last().unwrap() >= 512, "and the server is asked again: {:?}", sizes());
}

#[tokio::test]
async fn a_moment_in_which_everything_is_too_large_is_not_paid_for_ever_after() {
    let lines = lines(64);
    let server = Server::with([], Some(0)).await;
    let mut endpoint = server.endpoint("");
    assert_eq!(endpoint.deliver(&work_of(&lines[..2])).await.refused.total(), 2);
    *server.largest.lock().unwrap() = None;
    let requests = server.texts().len();
    assert_eq!(endpoint.deliver(&work_of(&lines)).await, Answer::delivered(64));
    assert!(server.texts().len() - requests <= 2, "many travel together again");
}

#[tokio::test]
async fn one_bad_message_costs_no_good_one() {
    let mut lines = lines(1000);
    lines[700] = lines[700].replace("message 0700", "bad message");
    let server = Server::start([]).await;
    let answer = server.endpoint("").deliver(&work_of(&lines)).await;
    assert_eq!((answer.settled, &answer.then), (1000, &Then::Done));
    assert_eq!(answer.refused.iter().collect::<Vec<_>>(), [("http-400", 1)]);
    lines.remove(700);
    let taken: String = server.texts().into_iter().filter(|text| !text.contains("bad message")).collect();
    assert_eq!(taken, lines.concat(), "in order");
    assert!(server.texts().len() < 25, "{}", server.texts().len());
}

#[tokio::test]
async fn a_body_of_bad_messages_costs_no_request_for_each() {
    let lines: Vec<String> = lines(1000).iter().map(|line| line.replace("message", "bad message")).collect();
    let server = Server::start([]).await;
    let answer = server.endpoint("").deliver(&work_of(&lines)).await;
    assert_eq!((answer.settled, answer.refused.total(), answer.then), (1000, 1000, Then::Done));
    assert!(server.texts().len() < 100, "{}", server.texts().len());
}

#[tokio::test]
async fn the_path_of_a_webhook_is_not_shown_and_not_repeated() {
    let says = "no webhook T0AB/hunter2hunter2hunter2 at /services/T0AB/hunter2hunter2hunter2";
    let server = Server::start([&reply("404 Gone", says)]).await;
    let url = format!("url = \"http://{}/services/T0AB/hunter2hunter2hunter2\"", server.address);
    let answer = opened(&url).deliver(&work_of(&lines(1))).await;
    let expected = format!(
        "http://{}/… answers 404 Not Found: no webhook T0AB/(not shown) at (not shown); look at `url`",
        server.address
    );
    assert_eq!(error(&answer), expected);
}

#[tokio::test]
async fn a_message_that_is_too_large_by_itself_is_refused_and_the_others_arrive() {
    let mut lines = lines(6);
    lines[3] = format!(
        "{{\"type\":\"t\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"payload\":\"{}\"}}\n",
        "x".repeat(2000)
    );
    let server = Server::with([], Some(1000)).await;
    let answer = server.endpoint("").deliver(&work_of(&lines)).await;
    assert_eq!((answer.settled, answer.then), (6, Then::Done));
    assert_eq!(answer.refused.iter().collect::<Vec<_>>(), [(verdict::TOO_LARGE, 1)]);
    let arrived: String = server.texts().into_iter().filter(|text| text.len() <= 1000).collect();
    lines.remove(3);
    assert_eq!(arrived, lines.concat());
}

#[tokio::test]
async fn what_the_server_never_takes_is_refused_by_reason_and_the_next_batch_goes_on() {
    let server = Server::start([&reply("415 Bad", "no"), &reply("499 Odd", "")]).await;
    let answer = server.endpoint("batch = { messages = 2 }").deliver(&work_of(&lines(5))).await;
    assert_eq!((answer.settled, &answer.then), (5, &Then::Done));
    assert_eq!(answer.refused.iter().collect::<Vec<_>>(), [("http-415", 2), ("http-4xx", 2)]);
}

#[tokio::test]
async fn wrong_credentials_or_addresses_hold_the_messages_and_say_what_to_look_at() {
    for (status, hint) in [
        ("401 Unauthorized", "look at `auth` and `headers`"),
        ("403 Forbidden", "look at `auth` and `headers`"),
        ("404 Not Found", "look at `url`"),
        ("302 Found", "redirects are not followed: put the right address into `url`"),
    ] {
        let server = Server::start([&reply(status, "sesame and hunter2 are wrong")]).await;
        let answer = server.endpoint("headers = { X-Key = \"sesame\" }").deliver(&work_of(&lines(2))).await;
        let expected = format!(
            "http://{}/… answers {status}: (not shown) and (not shown) are wrong; {hint}",
            server.address
        );
        assert_eq!((answer.settled, error(&answer)), (0, expected.as_str()));
        assert_eq!(server.texts().len(), 1, "nothing is followed, nothing repeated");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_or_an_answer_that_does_not_come_is_tried_again() {
    let hangs = "HTTP/1.1 200 OK\r\n";
    let server = Server::start(["", hangs]).await;
    let mut endpoint = server.endpoint("timeout = \"1500ms\"");
    let work = work_of(&lines(2));
    let answer = endpoint.deliver(&work).await;
    assert!(error(&answer).starts_with(&format!("no answer from {}: ", server.address)), "{answer:?}");
    let answer = endpoint.deliver(&work).await;
    assert_eq!(error(&answer), format!("no answer from {} within 1.5s", server.address));
    assert_eq!(endpoint.deliver(&work).await, Answer::delivered(2));
}

#[tokio::test]
async fn messages_are_delivered_once_the_server_says_so_even_if_its_answer_never_ends() {
    let endless = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let server = Server::start([endless]).await;
    let answer = server.endpoint("timeout = \"1500ms\"").deliver(&work_of(&lines(2))).await;
    assert_eq!(answer, Answer::delivered(2));
}

#[test]
fn keys_that_do_not_go_together_are_found_before_anything_is_sent() {
    for (body, problem) in [
        ("auth = { user = 'a' }", "either { user, password } or { bearer }"),
        ("auth = { user = 'a', password = 'b', bearer = 'c' }", "either { user, password } or { bearer }"),
        ("auth = { user = 'a:b', password = 'c' }", "cannot have a colon"),
        ("auth = { bearer = 'a' }\nheaders = { authorization = 'b' }", "`Authorization` among the headers"),
        ("batch = { messages = 0 }", "at least one message"),
        ("url = 'https://me:hunter2@a/'", "belong into `auth`"),
    ] {
        let url = if body.starts_with("url") { "" } else { "url = 'http://a/'" };
        let said = settings(&format!("{url}\n{body}")).unwrap_err();
        assert!(said.contains(problem) && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_preview_shows_the_body_and_no_secret() {
    let settings = settings(
        "url = 'https://a.example/in?token=hunter2'\nformat = 'text'\ntemplate = '{payload}'\ncompress = 'gzip'",
    )
    .unwrap();
    let work = work_of(&lines(1));
    let preview = settings.preview(&work.messages().next().unwrap());
    assert_eq!(
        preview,
        Preview::Sends {
            to: "POST https://a.example/… (shown before gzip)".to_owned(),
            bytes: b"message 0000\n".to_vec()
        }
    );
    assert!(!format!("{settings:?}").contains("sesame"));
}
