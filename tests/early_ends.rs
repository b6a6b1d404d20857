//! A server that takes each connection and ends it again, as a port proxy does that has nobody behind it.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::support::{
    Router,
    ledger::{self, number},
    messages,
    router::METLOG,
    senders, wait,
};

const MESSAGES: usize = 500;

/// Ends connections as soon as it has taken them, until it is told to keep and read them.
struct Proxy {
    address: SocketAddr,
    ended: Arc<AtomicUsize>,
    has_somebody: Arc<AtomicBool>,
}

impl Proxy {
    fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let proxy = Proxy {
            address: listener.local_addr().expect("an address"),
            ended: Arc::default(),
            has_somebody: Arc::default(),
        };
        let (ended, has_somebody) = (proxy.ended.clone(), proxy.has_somebody.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                if has_somebody.load(Ordering::SeqCst) {
                    thread::spawn(move || stream.read_to_end(&mut Vec::new()));
                } else {
                    drop(stream);
                    ended.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        proxy
    }

    fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

fn check(endpoint: &str) {
    let proxy = Proxy::start();
    let router = Router::start(&format!(
        "[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n\n[endpoints.proxied]\n{endpoint}\naddress = \"{}\"\n\n[[routes]]\nto = [\"proxied\"]\n",
        proxy.address
    ));
    let counter = |number| {
        format!(
            "{{\"type\":\"counter\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"logger\":\"{number}\",\"payload\":\"1\",\"fields\":{{\"name\":\"n\",\"rate\":1}}}}"
        )
    };
    senders::tcp(router.address("tcp"), counter(0).as_bytes());
    router.wait("one is taken", |ledger| ledger.delivered("proxied") == 1);
    wait::until("its connection is ended", || (proxy.ended() == 1).then_some(()));
    let rest: Vec<String> = (1..MESSAGES).map(counter).collect();
    senders::tcp(router.address("tcp"), messages::text_of(&rest).as_bytes());

    // Three more connections are lost, and each of them took one message.
    let ledger = router.wait("three more are lost", |ledger| {
        ledger.endpoint("proxied")["noticed"]["connection-lost"].as_u64() >= Some(4)
    });
    let delivered = ledger.delivered("proxied") as usize;
    // Made before they are ended: another one may be under way, but not two.
    let made = proxy.ended() + 1;
    assert!(delivered <= made, "{delivered} messages over {made} connections");
    let failure = &ledger.endpoint("proxied")["failure"];
    assert!(number(&failure["attempts"]) >= 3, "{failure}");
    let health = ledger::ask(router.api(), "/healthz").expect("an answer");
    assert_eq!(health["status"], "degraded");
    assert!(number(&health["endpoints"][0]["noticed_last_minute"]["connection-lost"]) >= 4, "{health}");
    let status = Command::new(METLOG).args(["status", "--api", &router.api().to_string()]).output();
    let status = status.expect("run metlog");
    let said = String::from_utf8_lossy(&status.stdout);
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("what was under way may be lost: connection-lost "), "{said}");

    // Somebody comes: a connection stays open, and the others are delivered.
    proxy.has_somebody.store(true, Ordering::SeqCst);
    router.wait_until_delivered(MESSAGES as u64);
    let ledger = router.stop().ledger;
    assert_eq!(ledger.delivered("proxied"), MESSAGES as u64);
}

#[test]
fn syslog_over_tcp_loses_one_message_for_each_connection_that_is_ended_at_once() {
    check("kind = \"syslog\"\ntransport = \"tcp\"");
}

#[test]
fn statsd_over_tcp_loses_one_message_for_each_connection_that_is_ended_at_once() {
    check("kind = \"statsd\"\ntransport = \"tcp\"\nlinger = \"1ms\"");
}

#[test]
fn another_router_that_ends_each_connection_at_once_gets_one_message_over_each() {
    check("kind = \"metlog\"");
}
