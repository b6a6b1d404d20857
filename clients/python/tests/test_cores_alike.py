"""The native core and the plain one promise the same (`metlog._core`), and each test here asks both."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from receivers import DEADLINE, LineReceiver, wait_for

from metlog import _core, _native_path
from metlog._core import Destination
from metlog._plain_core import PlainCore
from metlog.client import MetlogClient
from metlog.senders import TcpSender, UdpSender, UnixSender


@pytest.fixture(params=["native", "plain"])
def core_kind(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setenv(_core.NATIVE_VARIABLE, "0")
    elif _core.native() is None:
        pytest.skip("there is no native module here")
    return request.param


@pytest.fixture
def open_core(core_kind):
    """Open cores that are closed at the end of the test."""
    cores = []

    def open_one(destination):
        module = _core.native()
        core = PlainCore(destination) if module is None else _native_path.open_core(module, destination)
        cores.append(core)
        return core

    yield open_one
    for core in cores:
        core.close(0)


@pytest.fixture
def unix_datagrams(tmp_path):
    path = str(tmp_path / "datagrams")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.settimeout(DEADLINE)
        yield path, receiver


def message(payload: str, logger: str = "shop", **fields) -> dict:
    # The keys of an envelope, in its order, which is what both cut by.
    return {
        "type": "x",
        "timestamp": "2012-07-18T21:13:25Z",
        "logger": logger,
        "severity": 6,
        "payload": payload,
        "fields": fields,
    }


def encoded(*arguments, **fields) -> bytes:
    return json.dumps(message(*arguments, **fields)).encode("ascii")


def adds_up(stats) -> bool:
    return stats["accepted"] == stats["sent"] + sum(stats["dropped"].values()) + stats["queued"]


def test_the_account_names_the_source_that_messages_carry(open_core, udp):
    core = open_core(Destination("udp", (("127.0.0.1", udp.port),)))
    assert core.stats()["src"] is None
    assert core.submit(encoded("x"))
    assert core.stats()["src"] == udp.message()["metlog_src"]
    assert core.close(DEADLINE)
    assert core.stats()["src"] is not None
    without_numbers = open_core(Destination("udp", (("127.0.0.1", udp.port),), seq=False))
    assert without_numbers.submit(encoded("x")) and "metlog_src" not in udp.message()
    assert without_numbers.stats()["src"] is None
    unused = open_core(Destination("udp", (("127.0.0.1", udp.port),)))
    assert unused.close(DEADLINE) and unused.stats()["src"] is None


# Payloads of which a cut can go wrong: escapes of one, two and six letters, pairs of these, and none.
PAYLOADS = ["x", "\\", '"\n', "é", "😀", "a\u0000"]


@pytest.mark.parametrize("unit", PAYLOADS, ids=ascii)
def test_a_payload_that_no_datagram_holds_is_cut(open_core, udp, unit):
    core = open_core(Destination("udp", (("127.0.0.1", udp.port),), seq=False))
    text = encoded(unit * 70_000, note="kept")
    assert core.submit(text)
    datagram = udp.text()
    cut = json.loads(datagram)
    before, marker, after = cut["payload"].partition(f" [truncated from {len(text)} bytes]")
    assert (marker != "", after, cut["fields"]) == (True, "", {"note": "kept"})
    # Nothing but the payload's beginning, and as much of it as there is room for.
    assert (unit * 70_000).startswith(before)
    assert 60_000 - 12 < len(datagram) <= 60_000
    assert core.flush(DEADLINE)
    stats = core.stats()
    assert (stats["sent"], stats["truncated"], stats["dropped"]) == (1, 1, {})


def test_a_payload_longer_than_a_message_may_be_is_cut(open_core, tcp):
    core = open_core(Destination("tcp", (("127.0.0.1", tcp.port),)))
    assert core.submit(encoded("x" * 1_200_000))
    assert core.submit(encoded("after"))
    assert core.flush(DEADLINE)
    wait_for(lambda: len(tcp.lines) == 2, "both messages")
    cut, after = tcp.messages()
    assert 1_048_000 < len(tcp.lines[0]) <= 1_048_576
    assert " [truncated from 1200" in cut["payload"][-40:]
    assert (cut["metlog_seq"], after["metlog_seq"], after["payload"]) == (1, 2, "after")
    stats = core.stats()
    assert (stats["sent"], stats["truncated"], stats["dropped"]) == (2, 1, {})


def test_what_is_cut_for_the_queue_and_for_a_datagram_tells_its_first_length(open_core, udp):
    core = open_core(Destination("udp", (("127.0.0.1", udp.port),)))
    text = encoded("x" * 3_000_000)
    assert core.submit(text)
    marker = json.loads(udp.text())["payload"].rpartition(" [truncated from ")[2]
    # What the numbers take is counted where they are added before the cut.
    assert len(text) <= int(marker.removesuffix(" bytes]")) <= len(text) + 100


def test_what_cannot_be_cut_is_too_large(open_core, udp):
    core = open_core(Destination("udp", (("127.0.0.1", udp.port),)))
    core.submit(encoded("", blob="y" * 70_000))
    assert not core.submit(encoded("", blob="y" * 1_100_000))
    assert core.flush(DEADLINE)
    stats = core.stats()
    assert stats["dropped"] == {"too-large": 2}
    assert adds_up(stats)


def test_what_no_queue_holds_is_too_large(open_core, udp):
    core = open_core(Destination("udp", (("127.0.0.1", udp.port),), queue_bytes=32_768))
    assert not core.submit(encoded("y" * 40_000))
    assert core.stats()["dropped"] == {"too-large": 1}


def test_a_unix_datagram_is_as_large_as_the_system_has_them(open_core, unix_datagrams):
    path, receiver = unix_datagrams
    core = open_core(Destination("unix-datagram", path=path, seq=False))
    core.submit(encoded("x" * 100_000))
    assert json.loads(receiver.recv(1 << 20))["payload"] == "x" * 100_000
    core.submit(encoded("x" * 900_000))
    cut = receiver.recv(1 << 20)
    assert len(cut) == 60_000
    assert " [truncated from 900" in json.loads(cut)["payload"]
    core.submit(encoded("", blob="x" * 900_000))
    assert core.flush(DEADLINE)
    stats = core.stats()
    assert (stats["truncated"], stats["dropped"]) == (1, {"too-large": 1})
    assert adds_up(stats)


def test_a_report_of_drops_has_the_logger_of_the_messages(open_core, tmp_path):
    path = str(tmp_path / "stream")
    core = open_core(Destination("unix", path=path, queue_bytes=32_768))
    answers = [core.submit(encoded("x" * 1000)) for _ in range(200)]
    assert not all(answers)
    receiver = LineReceiver(path)

    def reports():
        return [one for one in receiver.messages() if one["type"] == "metlog.dropped"]

    core.flush(DEADLINE)
    wait_for(lambda: sum(int(one["payload"]) for one in reports()) == answers.count(False), "the report")
    assert {one["logger"] for one in reports()} == {"shop"}
    receiver.close()


class Sleeper:
    """A receiver of lines that takes connections, and reads them when it is told to."""

    def __init__(self) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.port: int = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.connections.append(self.listener.accept()[0])

    def read(self) -> bytes:
        """Return what has come over the only connection, up to its end."""
        (connection,) = self.connections
        connection.settimeout(DEADLINE)
        return b"".join(iter(lambda: connection.recv(65_536), b""))

    def close(self) -> None:
        self.listener.close()
        for connection in self.connections:
            connection.close()


# Longer than either core waits for one write.
NAP = 2.5


def test_a_receiver_that_is_slow_gets_everything_in_order_over_one_connection(open_core):
    receiver = Sleeper()
    core = open_core(Destination("tcp", (("127.0.0.1", receiver.port),), queue_bytes=64 << 20))
    # More than the kernel keeps for a connection.
    for number in range(8000):
        assert core.submit(encoded("x" * 1500, number=number))
    wait_for(lambda: core.stats()["sent"] > 0, "the first messages")
    time.sleep(NAP)
    assert core.stats()["queued"] > 0
    read = []
    reader = threading.Thread(target=lambda: read.append(receiver.read()))
    reader.start()
    assert core.close(DEADLINE)
    reader.join()
    lines = read[0].splitlines()
    assert [json.loads(line)["metlog_seq"] for line in lines] == list(range(1, 8001))
    assert core.stats()["sent"] == 8000
    receiver.close()


def test_a_receiver_that_never_reads_delays_the_end_no_longer_than_asked(open_core):
    receiver = Sleeper()
    core = open_core(Destination("tcp", (("127.0.0.1", receiver.port),), queue_bytes=64 << 20))
    for _ in range(8000):
        core.submit(encoded("x" * 1500))
    wait_for(lambda: core.stats()["sent"] > 0, "the first messages")
    begin = time.monotonic()
    assert not core.close(0.2)
    assert time.monotonic() - begin < 5
    # The sending thread may be in the middle of a write.
    wait_for(lambda: core.stats()["queued"] == 0, "the end")
    stats = core.stats()
    assert stats["dropped"]["shutdown"] > 0
    assert adds_up(stats)
    assert len(receiver.connections) == 1
    receiver.close()


class Ender:
    """Ends connections as soon as it has taken them, until it is told to keep and read them."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.ended = 0
        self.keeps = False
        self.read = b""
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while not self.keeps:
            connection = self.listener.accept()[0]
            if not self.keeps:
                connection.close()
                self.ended += 1
        with connection:
            self.read = b"".join(iter(lambda: connection.recv(65_536), b""))

    def close(self) -> None:
        self._thread.join(DEADLINE)
        self.listener.close()


def test_a_receiver_that_ends_each_connection_at_once_gets_one_message_over_each(open_core):
    receiver = Ender()
    core = open_core(Destination("tcp", (("127.0.0.1", receiver.port),)))
    core.submit(encoded("x", number=0))
    wait_for(lambda: receiver.ended == 1, "the first end")
    for number in range(1, 200):
        core.submit(encoded("x", number=number))
    wait_for(lambda: receiver.ended >= 4, "more ends")
    sent = core.stats()["sent"]
    # A connection may have its message and not be ended yet.
    assert sent <= receiver.ended + 1

    receiver.keeps = True
    wait_for(lambda: core.stats()["queued"] == 0, "somebody who keeps a connection gets the rest")
    assert core.close(DEADLINE)
    receiver.close()
    assert [json.loads(line)["metlog_seq"] for line in receiver.read.splitlines()][-1] == 200


@pytest.mark.parametrize("host", ["", " ", "a b", "a\0b", "a\nb", "a..b", "x" * 64 + ".org", None, 7])
@pytest.mark.parametrize("kind", [UdpSender, TcpSender])
def test_what_is_no_host_is_a_value_error(core_kind, kind, host):
    with pytest.raises((ValueError, TypeError) if host in (None, 7) and kind is UdpSender else ValueError):
        kind(host, 5565)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "example.org.", "bücher.example", "a_b"])
@pytest.mark.parametrize("kind", [UdpSender, TcpSender])
def test_what_may_be_a_host_is_taken(core_kind, kind, host):
    kind(host, 5565)


@pytest.mark.parametrize("path", ["", "a\0b", None])
def test_what_is_no_path_is_a_value_error(core_kind, path):
    with pytest.raises(ValueError, match="path"):
        UnixSender(path)


def test_a_path_may_be_one_of_pathlib(core_kind, tmp_path):
    receiver = LineReceiver(str(tmp_path / "socket"))
    client = MetlogClient(UnixSender(pathlib.Path(tmp_path) / "socket"), "tests")
    client.incr("hits")
    wait_for(lambda: receiver.lines, "the message")
    receiver.close()


class Overridden(UdpSender):
    """Delivers in a way of its own, or in the usual one, or fails."""

    def send_message(self, msg):
        if msg["payload"] == "usual":
            super().send_message({**msg, "severity": 7})
        elif msg["payload"] == "bad":
            raise OSError("out of order")
        elif msg["payload"] == "both":
            super().send_message(msg)
            raise OSError("out of order")


class TestStats:
    """A client accounts for every message, whoever delivers it."""

    def stats(self, client) -> tuple:
        assert client.flush(DEADLINE)
        stats = client.stats()
        assert adds_up(stats)
        return stats["accepted"], stats["sent"], stats["dropped"]

    @pytest.mark.parametrize(
        ("payload", "account"),
        [
            ("usual", (1, 1, {})),
            ("its own way", (1, 1, {})),
            ("bad", (1, 0, {"sender-error": 1})),
            ("both", (1, 1, {})),
        ],
    )
    def test_of_a_sender_whose_class_is_derived(self, core_kind, udp, payload, account):
        client = MetlogClient(Overridden("127.0.0.1", udp.port), "tests")
        client.metlog("x", payload=payload)
        assert self.stats(client) == account

    def test_of_a_sender_whose_socket_was_taken(self, core_kind, udp):
        sender = UdpSender("127.0.0.1", udp.port)
        client = MetlogClient(sender, "tests")
        client.incr("queued")
        socket = sender.socket
        client.incr("sent at once")
        assert self.stats(client) == (2, 2, {})
        socket.close()
        client.incr("lost")
        assert self.stats(client) == (3, 2, {"sender-error": 1})
        del sender.socket
        client.incr("queued")
        assert self.stats(client) == (4, 3, {"sender-error": 1})

    def test_of_a_sender_whose_method_was_replaced(self, core_kind, udp):
        sender = UdpSender("127.0.0.1", udp.port)
        client = MetlogClient(sender, "tests")
        seen = []
        sender.send_message = seen.append
        client.incr("seen")
        del sender.send_message
        client.incr("queued")
        assert (len(seen), *self.stats(client)) == (1, 2, 2, {})


class TestDiagnostics:
    """What the package says about itself goes to one logger, and to nobody else."""

    @pytest.fixture
    def lines(self):
        """What the logger was given since the test began."""
        lines = []

        class Keeper(logging.Handler):
            def emit(self, record):
                lines.append(record.getMessage())

        logger = logging.getLogger("metlog.internal")
        keeper = Keeper()
        before = logger.propagate
        logger.propagate = False
        logger.addHandler(keeper)
        if _core.native() is not None:
            # What earlier tests have left.
            _core.native().take_diagnostics()
        yield lines
        logger.removeHandler(keeper)
        logger.propagate = before

    def test_a_router_that_is_not_there_is_told(self, core_kind, lines, tmp_path, capfd):
        path = str(tmp_path / "nobody")
        client = MetlogClient(UnixSender(path), "tests")
        # A call has it told, whoever called before.
        wait_for(lambda: client.incr("hits") or any(path in line for line in lines), "the line")
        assert next(line for line in lines if path in line).startswith("metlog: ")
        client.close(0)
        assert capfd.readouterr().err == ""

    def test_a_handler_that_waits_for_a_lock_of_the_caller_stops_nobody(self, core_kind, tmp_path):
        lock = threading.Lock()
        waits = threading.Event()
        told = []

        class Locking(logging.Handler):
            def emit(self, record):
                waits.set()
                with lock:
                    told.append(record.getMessage())

        logger = logging.getLogger("metlog.internal")
        handler = Locking()
        logger.addHandler(handler)
        path = str(tmp_path / "nobody")
        client = MetlogClient(UnixSender(path), "tests")
        try:
            with lock:
                wait_for(lambda: client.incr("hits") or waits.is_set(), "a line")
                client.flush(0.01)
                client.close(0.01)
                assert told == []
            wait_for(lambda: told, "the line")
        finally:
            logger.removeHandler(handler)

    SCRIPT = """
import logging, sys, time
from metlog.client import MetlogClient
from metlog.senders import UnixSender
logging.basicConfig(stream=sys.stdout, format="%(name)s %(message)s")
client = MetlogClient(UnixSender(sys.argv[1]), "tests")
client.incr("hits")
client.flush(float(sys.argv[2]))
"""

    @pytest.mark.parametrize("seconds", [0, 0.5])
    def test_the_end_of_a_process_tells_what_is_left(self, core_kind, tmp_path, seconds):
        command = [sys.executable, "-c", self.SCRIPT, str(tmp_path / "nobody"), str(seconds)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        # That nobody is there, and what was given up.
        assert run.stdout.count("metlog.internal metlog: ") == 2, run.stdout
        assert "still waited at the end of the process: 1\n" in run.stdout
        assert run.stderr == ""


class TestThreads:
    """A system that has no threads for a while costs no message."""

    SCRIPT = """
import logging, resource, sys, time
from metlog.client import MetlogClient
from metlog.senders import UdpSender
logging.basicConfig(stream=sys.stdout, format="%(name)s %(message)s")
client = MetlogClient(UdpSender("127.0.0.1", int(sys.argv[1])), "tests")
# Too little memory for the stack of any thread, and enough for the rest.
with open("/proc/self/statm") as pages:
    taken = int(pages.read().split()[0]) * resource.getpagesize()
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (taken + 1536 * 1024, before[1]))
client.incr("early")
stats = client.stats()
assert (stats["queued"], stats["dropped"]) == (1, {}), stats
"""

    def run(self, udp, code: str) -> str:
        command = [sys.executable, "-c", self.SCRIPT + code, str(udp.port)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout

    @pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
    def test_later_calls_start_what_could_not_be_started(self, core_kind, udp):
        said = self.run(
            udp,
            "resource.setrlimit(resource.RLIMIT_AS, before)\n"
            "until = time.monotonic() + 60\n"
            "while client.stats()['sent'] == 0 and time.monotonic() < until:\n"
            "    client.incr('later')\n"
            "    time.sleep(0.01)\n"
            "assert client.flush(30)\n"
            "stats = client.stats()\n"
            "assert stats['sent'] == stats['accepted'] > 1, stats\n",
        )
        assert udp.message()["fields"]["name"] == "early"
        assert said.count("metlog.internal metlog: cannot start the sending thread: ") == 1, said

    @pytest.mark.skipif(sys.platform != "linux", reason="the limit on memory is Linux's")
    def test_the_end_of_the_process_tries_as_well(self, core_kind, udp):
        self.run(udp, "resource.setrlimit(resource.RLIMIT_AS, before)\n")
        assert udp.message()["fields"]["name"] == "early"


LATE = """
import builtins, sys
import metlog
client = metlog.init(logger="shop", target=f"udp://127.0.0.1:{sys.argv[1]}")
class Late:
    def __init__(self, call):
        self.call = call
    def __del__(self, write=sys.__stdout__.write):
        try:
            self.call()
        except BaseException as error:
            write(f"raised {error!r} ")
        else:
            write("silent ")
# What is here is let go of when modules are gone and nothing is imported any more.
builtins.late = [
    Late(lambda: client.info("late")),
    Late(lambda: client.incr("late", fields={"at": object()})),
    Late(lambda: client.cef("late", 5, {}, {})),
]
if sys.argv[2] == "used":
    for late in builtins.late:
        late.call()
"""


@pytest.mark.parametrize("before", ["used", "unused"])
def test_a_finaliser_at_the_very_end_may_call_and_gets_no_exception(core_kind, udp, before):
    command = [sys.executable, "-c", LATE, str(udp.port), before]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == ["silent"] * 3, run.stdout + run.stderr


class TestCtrlC:
    """Somebody who waits can be told to stop waiting."""

    @pytest.fixture
    def core(self, open_core, tmp_path):
        """A core that waits for a receiver that is not there."""
        core = open_core(Destination("unix", path=str(tmp_path / "nobody")))
        core.submit(encoded("x"))
        return core

    def interrupt(self, wait) -> None:
        """Interrupt what waits, again and again, for the first time may be before it waits."""
        over = threading.Event()
        # A shell has its background jobs ignore the signal, and Python leaves that as it is.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)

        def press():
            while not over.wait(0.2):
                os.kill(os.getpid(), signal.SIGINT)

        presser = threading.Thread(target=press)
        presser.start()
        begin = time.monotonic()
        try:
            with pytest.raises(KeyboardInterrupt):
                wait(4 * DEADLINE)
        finally:
            # One more of them must not be taken by the test.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            over.set()
            presser.join()
            signal.signal(signal.SIGINT, before)
        assert time.monotonic() - begin < 3 * DEADLINE

    def test_a_flush_is_interrupted(self, core):
        self.interrupt(core.flush)
        assert core.stats()["queued"] == 1

    def test_the_end_is_interrupted_and_comes_all_the_same(self, core):
        self.interrupt(core.close)
        assert not core.submit(encoded("late"))
        assert not core.close(0)
        wait_for(lambda: core.stats()["queued"] == 0, "the end")
        assert core.stats()["dropped"] == {"closed": 1, "shutdown": 1}


def test_without_a_thread_a_flush_is_interrupted_as_well(tmp_path, monkeypatch):
    """Where no thread can be started, a flush of the plain core sends by itself."""
    core = PlainCore(Destination("unix", path=str(tmp_path / "nobody")))

    def start(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        core.submit(encoded("x"))
    TestCtrlC().interrupt(core.flush)
    core.close(0)
