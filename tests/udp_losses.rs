//! UDP loses silently; the router does not: what the kernel dropped is in the ledger.

use crate::support::{Router, messages, receivers, senders};

#[test]
fn what_the_kernel_drops_while_the_router_stands_still_is_shown() {
    const SENT: u64 = 2_000;
    let router = Router::start(
        r#"
[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"
receive_buffer = "16KiB"

[endpoints.all]
kind = "file"
path = "all.jsonl"

[[routes]]
to = ["all"]
"#,
    );
    let socket = senders::udp_socket(router.address("udp"));
    router.signal("STOP");
    router.wait_until_stopped();
    for message in messages::numbered("udp", SENT as usize, 400) {
        socket.send(message.as_bytes()).expect("send a datagram");
    }
    router.signal("CONT");
    let total = |ledger: &crate::support::Ledger| {
        ledger.received("udp") + crate::support::ledger::number(&ledger.input("udp")["kernel_drops"])
    };
    let ledger = router.wait("received + kernel_drops = sent", |ledger| total(ledger) == SENT);
    assert!(ledger.received("udp") > 0 && ledger.received("udp") < SENT, "{ledger:?}");
    let received = ledger.received("udp");
    router.wait_until_delivered(received);
    let stopped = router.stop();
    let arrived = messages::numbers(receivers::lines(&stopped.path("all.jsonl")));
    assert_eq!(arrived.len() as u64, received);
    assert!(arrived.is_sorted());
}
