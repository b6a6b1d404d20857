"""The core in plain Python: what it promises is in `metlog._core`."""

from __future__ import annotations

import _thread
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from receivers import LineReceiver, UdpReceiver, wait_for

from metlog import _exit, _lines, _plain_core, _sending
from metlog._core import Destination
from metlog._lines import Lines
from metlog._plain_core import PlainCore
from metlog._sending import Backoff, Path, UnreachableError
from metlog._transports import LARGEST_DATAGRAM, shortened


def nowhere() -> int:
    """Return a port of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def adds_up(stats) -> bool:
    return stats["accepted"] == stats["sent"] + sum(stats["dropped"].values()) + stats["queued"]


def to_tcp(port: int, **further) -> PlainCore:
    return PlainCore(Destination("tcp", (("127.0.0.1", port),), **further))


def to_udp(port: int, **further) -> PlainCore:
    return PlainCore(Destination("udp", (("127.0.0.1", port),), **further))


def test_nothing_is_started_before_the_first_message():
    before = _thread._count()
    core = to_tcp(nowhere())
    assert core.flush(0)
    counts = {"accepted": 0, "sent": 0, "queued": 0, "truncated": 0, "filtered": 0}
    assert core.stats() == {**counts, "dropped": {}, "src": None}
    assert _thread._count() == before


def test_messages_are_numbered_as_they_are_queued(udp):
    core = to_udp(udp.port)
    for text in (b"{}", b'{"a": 1}', b'"text"'):
        assert core.submit(text)
    first, second, third = udp.message(), udp.message(), udp.message()
    source = first["metlog_src"]
    assert (first, second) == (
        {"metlog_seq": 1, "metlog_src": source},
        {"a": 1, "metlog_seq": 2, "metlog_src": source},
    )
    assert third == "text"


def test_two_cores_have_sources_of_their_own(udp):
    to_udp(udp.port).submit(b"{}")
    first = udp.message()
    to_udp(udp.port).submit(b"{}")
    assert udp.message()["metlog_src"] != first["metlog_src"]


def test_a_full_queue_drops_counts_and_never_waits(tcp):
    core = to_tcp(nowhere(), queue_bytes=10_000)
    message = json.dumps({"payload": "x" * 900}).encode()
    begin = time.monotonic()
    answers = [core.submit(message) for _ in range(1000)]
    # A thousand calls, while nobody listens: far from the time that one attempt to connect may take.
    assert time.monotonic() - begin < 5
    stats = core.stats()
    assert adds_up(stats)
    # A message that tells of the drops may be among them.
    assert answers.count(True) <= stats["queued"] <= answers.count(True) + 1 < 12
    assert stats["dropped"] == {"queue-full": answers.count(False)}
    core.close(0)


def test_a_loss_is_a_gap_in_the_numbers(tmp_path):
    path = str(tmp_path / "socket")
    core = PlainCore(Destination("unix", path=path, queue_bytes=1000))
    answers = [core.submit(b'{"payload": "%d"}' % number) for number in range(50)]
    receiver = LineReceiver(path)
    assert core.flush(30)
    core.submit(b'{"payload": "last"}')
    wait_for(lambda: any(message.get("payload") == "last" for message in receiver.messages()), "the last message")
    numbers = [message["metlog_seq"] for message in receiver.messages() if message.get("type") != "metlog.dropped"]
    kept = [number for number, answer in enumerate(answers, 1) if answer]
    assert numbers[: len(kept)] == kept
    receiver.close()


def test_drops_are_told_in_a_message(monkeypatch, tmp_path):
    monkeypatch.setattr(_plain_core, "REPORT_EVERY", 0.0)
    path = str(tmp_path / "socket")
    core = PlainCore(Destination("unix", path=path, queue_bytes=500))
    answers = [core.submit(b'{"logger": "shop"}') for _ in range(20)]
    assert not all(answers)
    receiver = LineReceiver(path)

    def reports():
        return [message for message in receiver.messages() if message.get("type") == "metlog.dropped"]

    wait_for(lambda: sum(int(report["payload"]) for report in reports()) == answers.count(False), "the last report")
    assert {(report["logger"], report["severity"], report["fields"]["reason"]) for report in reports()} == {
        ("shop", 4, "queue-full")
    }
    assert core.flush(30)
    assert adds_up(core.stats())
    receiver.close()


def test_a_message_too_large_for_a_datagram_loses_the_end_of_its_payload(udp):
    core = to_udp(udp.port, seq=False)
    message = {"type": "x", "payload": "é\n" * 50_000, "fields": {"a": 1}}
    text = json.dumps(message).encode()
    core.submit(text)
    datagram = udp.text()
    cut = json.loads(datagram)
    assert len(datagram) <= LARGEST_DATAGRAM
    assert len(datagram) > LARGEST_DATAGRAM - 20
    assert cut["payload"].endswith(f" [truncated from {len(text)} bytes]")
    assert cut["fields"] == {"a": 1}
    assert core.flush(30)
    assert core.stats()["truncated"] == 1


def test_what_cannot_be_cut_is_dropped_and_what_follows_is_sent(udp):
    core = to_udp(udp.port, seq=False)
    for text in (json.dumps({"fields": "x" * 70_000}), json.dumps(["x" * 70_000]), '{"n": 1}'):
        core.submit(text.encode())
    # The report of what was dropped comes before or behind it, as fast as the thread is.
    while (message := udp.message()).get("type") == "metlog.dropped":
        pass
    assert message == {"n": 1}
    assert core.flush(30)
    assert core.stats()["dropped"] == {"too-large": 2}
    assert not core.submit(b"x" * 2_000_000)
    assert adds_up(core.stats())


def test_a_router_that_comes_later_gets_what_waited(tmp_path):
    path = str(tmp_path / "socket")
    core = PlainCore(Destination("unix", path=path))
    for number in range(300):
        core.submit(b'{"n": %d}' % number)
    assert not core.flush(0.05)
    receiver = LineReceiver(path)
    assert core.flush(30)
    wait_for(lambda: len(receiver.lines) == 300)
    receiver.close()


def test_a_broken_connection_is_replaced_by_another(tcp):
    core = to_tcp(tcp.port)
    core.submit(b'{"n": 1}')
    wait_for(lambda: tcp.connections and tcp.lines)
    tcp.connections[0].shutdown(socket.SHUT_RDWR)
    tcp.connections[0].close()
    # The core notices before it writes: this one is not lost.
    core.submit(b'{"n": 2}')
    wait_for(lambda: len(tcp.lines) == 2)
    assert len(tcp.connections) == 2
    assert core.flush(30)
    assert core.stats()["sent"] == 2


def test_an_unreachable_router_delays_the_end_no_longer_than_asked():
    core = to_tcp(nowhere())
    core.submit(b"{}")
    begin = time.monotonic()
    assert not core.close(0.2)
    assert time.monotonic() - begin < 5
    assert core.stats()["dropped"] == {"shutdown": 1}
    assert adds_up(core.stats())


def test_what_comes_after_the_end_is_dropped(udp):
    core = to_udp(udp.port)
    core.submit(b"{}")
    assert core.close(30)
    assert core.close(30)
    assert not core.submit(b"{}")
    stats = core.stats()
    assert (stats["sent"], stats["dropped"]) == (1, {"closed": 1})
    assert adds_up(stats)


def test_a_core_that_nobody_has_any_more_sends_what_it_has_and_ends(udp):
    threads = _thread._count()
    core = to_udp(udp.port)
    core.submit(b"{}")
    del core
    gc.collect()
    assert udp.message()["metlog_seq"] == 1
    wait_for(lambda: _thread._count() <= threads, "the end of the thread")


def test_threads_lose_nothing(tcp):
    core = to_tcp(tcp.port)

    def work():
        for _ in range(500):
            assert core.submit(b"{}")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert core.flush(30)
    wait_for(lambda: len(tcp.lines) == 4000)
    assert [message["metlog_seq"] for message in tcp.messages()] == list(range(1, 4001))
    assert core.stats()["sent"] == 4000


def test_a_first_message_waits_for_no_lock_of_threading(udp):
    """A finaliser that logs may have interrupted the code that starts threads, in the same thread or in another."""
    other, own = to_udp(udp.port), to_udp(udp.port)
    held, done = threading.Event(), threading.Event()

    def first_message():
        held.wait()
        other.submit(b"{}")
        done.set()

    threading.Thread(target=first_message).start()
    with threading._active_limbo_lock:
        held.set()
        assert done.wait(30)
        other.submit(b"{}")
        own.submit(b"{}")
    assert other.flush(30) and own.flush(30)
    assert [udp.message()["metlog_seq"] for _ in range(3)].count(1) == 2


def test_a_name_without_an_address_is_not_looked_up_for_every_message(udp, monkeypatch):
    looked_up = []

    def look_up(host, port, *further):
        looked_up.append(host)
        if host == "nowhere.example":
            raise socket.gaierror(socket.EAI_NONAME, "it is not known")
        return found(host, port, *further)

    found = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(_sending, "FAILURE_HOLDS", 1000.0)
    core = PlainCore(Destination("udp", (("nowhere.example", 9), ("127.0.0.1", udp.port))))
    for _ in range(50):
        core.submit(b"{}")
    assert core.flush(30)
    assert core.stats()["sent"] == 50
    assert looked_up.count("nowhere.example") == 1


def test_a_line_that_was_cut_is_finished_where_it_was_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(_lines, "PATIENCE", 0.0)
    messages = [b'{"n": %d, "payload": "%s"}' % (number, b"x" * 5000) for number in range(1000)]
    got = bytearray()
    cuts = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        lines = Lines(Path(str(tmp_path / "socket")), socket.SOCK_STREAM)
        sent, connection = 0, None
        while sent < len(messages):
            try:
                sent += lines.send(messages[sent : sent + 256]).sent
            except UnreachableError as slow:
                sent += slow.settled.sent
                # Asked again soon, however often.
                assert slow.delay <= 0.05
                cuts += 1
                connection = connection or listener.accept()[0]
                # As many bytes as cut the next line elsewhere.
                got += connection.recv(70_001)
        lines.close()
        while piece := connection.recv(65_536):
            got += piece
        connection.close()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert cuts > 10
    assert bytes(got) == b"".join(message + b"\n" for message in messages)


def test_a_receiver_that_never_ends_to_talk_is_not_listened_to_for_ever():
    class Talker:
        heard = 0

        def recv(self, size):
            self.heard += size
            return b"x" * size

    talker = Talker()
    assert _lines._ending(talker) is None
    assert talker.heard <= 1024 * 1024


def test_a_signal_handler_may_send_while_its_own_thread_does(udp):
    core = to_udp(udp.port, queue_bytes=2000)
    before = signal.signal(signal.SIGALRM, lambda number, frame: core.submit(b"{}"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for _ in range(3000):
            core.submit(b"{}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert core.flush(30)


def test_waits_grow_and_differ_and_begin_anew():
    backoff = Backoff()
    delays = [backoff.failed() for _ in range(20)]
    assert all(0.01 <= delay <= 5.0 for delay in delays)
    assert min(delays[9:]) >= 2.5
    backoff.succeeded()
    assert backoff.failed() <= 0.02


@pytest.mark.parametrize(
    "message", [b"not json", b"[1]", b'{"payload": 7}', b'{"payload": "x", "fields": "%s"}' % (b"y" * 900)]
)
def test_only_a_payload_is_cut(message):
    assert shortened(message, 100) is None


class TestFork:
    def test_a_child_begins_anew(self, udp):
        core = to_udp(udp.port)
        core.submit(b"{}")
        parent = udp.message()
        child = os.fork()
        if child == 0:
            ok = core.stats()["accepted"] == 0
            core.submit(b'{"child": 1}')
            ok = ok and core.flush(30) and core.stats()["sent"] == 1
            os._exit(0 if ok else 1)
        assert os.waitpid(child, 0)[1] == 0
        message = udp.message()
        assert (message["child"], message["metlog_seq"]) == (1, 1)
        assert message["metlog_src"] != parent["metlog_src"]
        assert core.stats()["accepted"] == 1

    def test_a_child_keeps_nothing_of_its_parents_queue(self, tmp_path):
        core = PlainCore(Destination("unix", path=str(tmp_path / "nobody")))
        core.submit(b'{"from": "parent"}')
        line = core._line()
        child = os.fork()
        if child == 0:
            core.submit(b'{"from": "child"}')
            os._exit(len(line._queue) + len(core._lines) - 1 + len(core._finalizers) - 1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(line._queue) == 1

    def test_a_child_does_not_send_what_waited_in_its_parent(self, tmp_path):
        path = str(tmp_path / "socket")
        core = PlainCore(Destination("unix", path=path))
        core.submit(b'{"from": "parent"}')
        child = os.fork()
        if child == 0:
            core.submit(b'{"from": "child"}')
            os._exit(0 if core.flush(30) else 1)
        receiver = LineReceiver(path)
        assert os.waitpid(child, 0)[1] == 0
        assert core.flush(30)
        wait_for(lambda: len(receiver.lines) == 2)
        assert sorted(message["from"] for message in receiver.messages()) == ["child", "parent"]
        receiver.close()

    def test_no_child_waits_for_a_lock_that_a_thread_of_its_parent_held(self, udp):
        """As many forks as a test may take, while threads hold and release the lock all the time."""
        core = to_udp(udp.port, queue_bytes=100_000)
        stop = threading.Event()

        def busy():
            while not stop.is_set():
                core.submit(b"{}")

        threads = [threading.Thread(target=busy, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(100):
                child = os.fork()
                if child == 0:
                    core.submit(b"{}")
                    core.stats()
                    os._exit(0)
                wait_for(lambda child=child: os.waitpid(child, os.WNOHANG)[0] == child, "the end of a child")
        finally:
            stop.set()
        for thread in threads:
            thread.join()


SCRIPT = """
import os, sys
os.environ["METLOG_NATIVE"] = "0"
from metlog.client import MetlogClient
from metlog.senders import TcpSender, UdpSender
client = MetlogClient(UdpSender("127.0.0.1", int(sys.argv[1])), "tests")
def send():
    for number in range(100):
        client.metlog("x", payload=str(number))
"""


class TestExit:
    def run(self, udp: UdpReceiver, code: str, status: int = 0) -> None:
        command = [sys.executable, "-c", SCRIPT + code, str(udp.port)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == status, run.stderr
        assert [udp.message()["payload"] for _ in range(100)] == [str(number) for number in range(100)]

    @pytest.mark.parametrize(
        ("end", "status"),
        [("", 0), ("sys.exit(3)", 3), ("raise ValueError", 1)],
        ids=["end", "exit", "exception"],
    )
    def test_what_waits_is_sent_at_an_orderly_end(self, udp, end, status):
        self.run(udp, f"send()\n{end}", status)

    @pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
    def test_what_waits_in_a_child_of_multiprocessing_is_sent_at_its_end(self, udp, method, tmp_path):
        script = tmp_path / "work.py"
        body = (
            "import multiprocessing\n"
            "if __name__ == '__main__':\n"
            f"    child = multiprocessing.get_context('{method}').Process(target=send)\n"
            "    child.start(); child.join(); sys.exit(child.exitcode)\n"
        )
        script.write_text(SCRIPT + body)
        run = subprocess.run([sys.executable, str(script), str(udp.port)], timeout=60, check=False)
        assert run.returncode == 0
        assert [udp.message()["payload"] for _ in range(100)] == [str(number) for number in range(100)]

    @pytest.mark.parametrize("used", [True, False], ids=["used", "unused"])
    @pytest.mark.parametrize("order", ["before", "after"])
    def test_what_is_sent_while_the_process_ends_is_sent(self, udp, order, used):
        """Whether the application asked to be called at its end before there was a client, or after."""
        register = "import atexit; atexit.register(lambda: client.metlog('x', payload='late'))\n"
        use = "client.metlog('x', payload='early')\n" if used else ""
        code = register + SCRIPT + use if order == "before" else SCRIPT + use + register
        run = subprocess.run([sys.executable, "-c", code, str(udp.port)], timeout=60, capture_output=True, check=False)
        assert run.returncode == 0, run.stderr
        udp.socket.setblocking(False)
        assert [udp.message()["payload"] for _ in range(1 + used)] == (["early"] if used else []) + ["late"]

    def test_an_unreachable_router_delays_the_end_no_longer_than_the_bound(self):
        code = f"client.setup(TcpSender('127.0.0.1', {nowhere()}))\nsend()"
        begin = time.monotonic()
        command = [sys.executable, "-c", SCRIPT + code, "9"]
        subprocess.run(command, timeout=60, check=True, capture_output=True)
        # The bound, and what a busy machine needs to start an interpreter.
        assert _exit.TIMEOUT <= time.monotonic() - begin < _exit.TIMEOUT + 20


def test_a_name_with_addresses_of_both_kinds_is_sent_to_by_ipv4(udp, monkeypatch):
    """Nobody answers a datagram: a router that listens on 127.0.0.1 would never hear what goes to ::1."""

    def both(host, port, *_):
        return [
            (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    core = PlainCore(Destination("udp", (("router.example.org", udp.port),)))
    assert core.submit(b'{"payload": "heard"}')
    assert udp.message()["payload"] == "heard"
    assert core.close(30)
