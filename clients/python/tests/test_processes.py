"""Processes that fork and end: a child is a source of its own, and what was accepted is sent before the end."""

from __future__ import annotations

import json
import os
import pathlib
import selectors
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from metlog import _exit

# Seconds that a test waits for what is sure to come, also on a machine that is busy with other things.
PATIENCE = 120.0

# Seconds that an exit may take beyond its bound: for the machine, not for us.
LEEWAY = 20.0

# An attempt to reach somebody takes half a second where it is in vain, or a whole one. A call that waited for it would
# take as long, and so would those that follow; a busy machine holds up one now and then.
LONG_CALL = 0.4
LONG_CALLS = 5

# The long form forks as often as a busy server does in its life. Each fork waits for the interpreter, and eight threads
# have their turns before: it takes minutes on a busy machine.
FORKS = 1000 if os.environ.get("METLOG_LONG") else 250


class Lines:
    """Receives lines over any number of TCP connections, in one thread."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listener.getsockname()[1]
        self.messages: list[dict[str, Any]] = []
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rests: dict[socket.socket, bytes] = {}
        while not self._ended:
            for key, _ in self._selector.select(0.1):
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    self._selector.register(connection, selectors.EVENT_READ)
                    rests[connection] = b""
                    continue
                connection = key.fileobj  # type: ignore[assignment]
                try:
                    piece = connection.recv(262_144)
                except OSError:
                    piece = b""
                if not piece:
                    self._selector.unregister(connection)
                    rests.pop(connection)
                    connection.close()
                    continue
                *lines, rests[connection] = (rests[connection] + piece).split(b"\n")
                self.messages.extend(json.loads(line) for line in lines)

    def named(self, name: str, count: int) -> list[dict[str, Any]]:
        """Wait until there are so many messages with a name, and return them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [message for message in list(self.messages) if message["fields"].get("name") == name]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} of {count} messages named {name} came"
            time.sleep(0.02)

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self.listener.close()


@pytest.fixture
def lines() -> Iterator[Lines]:
    receiver = Lines()
    yield receiver
    receiver.close()


def run(program: str, *arguments: object, folder: pathlib.Path) -> str:
    """Run a program of its own, which has to end well, and return what it printed."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(program))
    command = [sys.executable, str(path), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


FORKING = """
    import os, signal, sys, threading, time
    from metlog.client import MetlogClient
    from metlog.senders import TcpSender

    port, forks = map(int, sys.argv[1:])
    client = MetlogClient(TcpSender("127.0.0.1", port), "forking")
    stop = threading.Event()
    busy = [0] * 8

    def log(number):
        while not stop.is_set():
            client.incr("busy")
            busy[number] += 1
            # So that there is an end to the load; the forks come at any moment of a call all the same.
            if busy[number] % 50 == 0:
                time.sleep(0.001)

    def child():
        client.incr("child")
        # A child that hangs ends by itself, and not well.
        sent = client.flush(60.0)
        stats = client.stats()
        return sent and (stats["accepted"], stats["sent"], stats["dropped"]) == (1, 1, {})

    threads = [threading.Thread(target=log, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(forks):
        process = os.fork()
        if process == 0:
            signal.alarm(90)
            os._exit(0 if child() else 3)
        _, status = os.waitpid(process, 0)
        if status:
            stop.set()
            sys.exit(f"a child ended with {status}")
    stop.set()
    for thread in threads:
        thread.join()
    assert client.flush(60.0)
    stats = client.stats()
    assert stats["accepted"] == stats["sent"] + sum(stats["dropped"].values()), stats
    print(stats["sent"])
"""


def test_a_process_forks_again_and_again_while_threads_log(lines: Lines, tmp_path: pathlib.Path) -> None:
    sent = int(run(FORKING, lines.port, FORKS, folder=tmp_path))
    children = lines.named("child", FORKS)
    assert len({message["metlog_src"] for message in children}) == FORKS
    assert all(message["metlog_seq"] == 1 for message in children)
    busy = [message for message in lines.messages if message["fields"].get("name") != "child"]
    (source,) = {message["metlog_src"] for message in busy}
    (parent,) = {message["metlog_pid"] for message in busy}
    assert source not in {message["metlog_src"] for message in children}
    assert all(message["metlog_pid"] != parent for message in children)
    # The parent's own part: all that it sent came, each number once.
    deadline = time.monotonic() + PATIENCE
    while len(busy) < sent and time.monotonic() < deadline:
        time.sleep(0.02)
        busy = [message for message in lines.messages if message["metlog_src"] == source]
    assert len(busy) == sent
    assert len({message["metlog_seq"] for message in busy}) == sent


EXITING = """
    import sys
    from metlog.client import MetlogClient
    from metlog.senders import TcpSender

    client = MetlogClient(TcpSender("127.0.0.1", int(sys.argv[1])), "exiting")
    for _ in range(1000):
        client.incr("last words")
    sys.exit(0)
"""


def test_what_waits_at_the_exit_is_sent(lines: Lines, tmp_path: pathlib.Path) -> None:
    run(EXITING, lines.port, folder=tmp_path)
    assert len(lines.named("last words", 1000)) == 1000


FORKED_EXIT = """
    import os, sys
    from metlog.client import MetlogClient
    from metlog.senders import TcpSender

    client = MetlogClient(TcpSender("127.0.0.1", int(sys.argv[1])), "exiting")
    client.incr("parent")
    process = os.fork()
    for _ in range(100):
        client.incr("last words")
    if process:
        assert os.waitpid(process, 0)[1] == 0
"""


def test_a_forked_child_that_ends_as_python_does_sends_its_own(lines: Lines, tmp_path: pathlib.Path) -> None:
    run(FORKED_EXIT, lines.port, folder=tmp_path)
    sources = defaultdict(list)
    for message in lines.named("last words", 200):
        sources[message["metlog_pid"], message["metlog_src"]].append(message["metlog_seq"])
    assert sorted(map(sorted, sources.values())) == [list(range(1, 101)), list(range(2, 102))]


MULTIPROCESSING = """
    import multiprocessing, sys
    from metlog.client import MetlogClient
    from metlog.senders import TcpSender

    # At import, as applications do: the children of `spawn` do it again.
    client = MetlogClient(TcpSender("127.0.0.1", int(sys.argv[1])), "children")

    def work(number):
        for _ in range(100):
            client.incr("from a child")

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[2])
        children = [context.Process(target=work, args=(number,)) for number in range(4)]
        for child in children:
            child.start()
        client.incr("from the parent")
        for child in children:
            child.join()
            assert child.exitcode == 0
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_send_what_they_have(lines: Lines, tmp_path: pathlib.Path, method: str) -> None:
    run(MULTIPROCESSING, lines.port, method, folder=tmp_path)
    messages = lines.named("from a child", 400)
    assert len({message["metlog_src"] for message in messages}) == 4
    assert len({message["metlog_pid"] for message in messages}) == 4


STREAM_FORKS = 100

WRITING = """
    import os, signal, sys, threading
    from metlog.client import MetlogClient
    from metlog.senders import StdOutSender, StreamSender

    forks = int(sys.argv[2])
    sender = StdOutSender("jsonl") if sys.argv[1] == "-" else StreamSender(open(sys.argv[1], "w"), "jsonl")
    client = MetlogClient(sender, "forking")
    stop = threading.Event()

    # They write nearly all the time, so that the lock of the stream is held at most moments.
    def log():
        for _ in range(20_000):
            client.incr("busy" * 100)
            if stop.is_set():
                return

    threads = [threading.Thread(target=log) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(forks):
        process = os.fork()
        if process == 0:
            signal.alarm(90)
            client.incr("child")
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if status:
            stop.set()
            sys.exit(f"a child ended with {status}")
    stop.set()
"""


@pytest.mark.parametrize("where", ["a file", "standard output"])
def test_a_child_takes_no_lock_of_a_stream(tmp_path: pathlib.Path, where: str) -> None:
    path = tmp_path / "sent.jsonl"
    printed = run(WRITING, path if where == "a file" else "-", STREAM_FORKS, folder=tmp_path)
    text = path.read_text() if where == "a file" else printed
    # What a child writes is whole, though it may stand in the middle of what the parent's buffer held.
    assert text.count('"fields": {"name": "child", "rate": 1.0}, "env_version": "0.8"') == STREAM_FORKS


WITHOUT_NOTICE = """
    import ctypes, os, signal, sys
    from metlog.client import MetlogClient
    from metlog.senders import TcpSender

    client = MetlogClient(TcpSender("127.0.0.1", int(sys.argv[1])), "forking")
    for _ in range(10):
        client.incr("parent")
    assert client.flush(60.0)
    # A fork that Python is not told of, as servers written in C do it.
    process = ctypes.PyDLL(None).fork()
    if process == 0:
        signal.alarm(90)
        client.incr("child")
        sent = client.flush(60.0)
        stats = client.stats()
        right = (stats["accepted"], stats["sent"], stats["dropped"]) == (1, 1, {})
        os._exit(0 if sent and right else 3)
    assert os.waitpid(process, 0)[1] == 0
    client.incr("parent")
    assert client.flush(60.0)
    assert client.stats()["sent"] == 11
    print(os.getpid(), process)
"""


def test_a_fork_that_python_is_not_told_of_is_noticed(lines: Lines, tmp_path: pathlib.Path) -> None:
    parent, process = map(int, run(WITHOUT_NOTICE, lines.port, folder=tmp_path).split())
    (child,) = lines.named("child", 1)
    parents = lines.named("parent", 11)
    assert [message["metlog_seq"] for message in parents] == list(range(1, 12))
    ((source, number),) = {(message["metlog_src"], message["metlog_pid"]) for message in parents}
    assert number == parent
    assert (child["metlog_seq"], child["metlog_pid"]) == (1, process)
    assert child["metlog_src"] != source


UNREACHABLE = """
    import atexit, json, logging, sys, time
    import metlog

    client = metlog.init(logger="lonely", target=sys.argv[1])
    logging.getLogger().setLevel("INFO")
    took = []
    for number in range(2000):
        before = time.monotonic()
        if number % 2:
            client.incr("unheard", fields={"filling": "x" * 5000})
        else:
            logging.info("unheard %s", "x" * 5000)
        took.append(time.monotonic() - before)
    stats = client.stats()

    # What was registered last is called first.
    @atexit.register
    def begin():
        print(json.dumps({"took": took, "stats": stats, "exit begins": time.monotonic()}), flush=True)
"""


class Unreachable:
    """Targets at which nobody takes anything."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._open: list[socket.socket] = []

    def _bound(self, family: int, kind: int) -> socket.socket:
        one = socket.socket(family, kind)
        one.bind(str(self._folder / "socket") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        self._open.append(one)
        return one

    def a_connection_that_hangs(self) -> str:
        # A queue of connections that nobody accepts, and that is full.
        hanging = self._bound(socket.AF_INET, socket.SOCK_STREAM)
        hanging.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(hanging.getsockname())
            self._open.append(filler)
        return f"tcp://127.0.0.1:{hanging.getsockname()[1]}"

    def a_connection_that_is_refused(self) -> str:
        # Bound, so that nobody else gets the port, and not listening.
        return f"tcp://127.0.0.1:{self._bound(socket.AF_INET, socket.SOCK_STREAM).getsockname()[1]}"

    def a_receiver_that_reads_nothing(self) -> str:
        deaf = self._bound(socket.AF_INET, socket.SOCK_STREAM)
        deaf.listen()
        return f"tcp://127.0.0.1:{deaf.getsockname()[1]}"

    def a_port_without_anybody(self) -> str:
        one = self._bound(socket.AF_INET, socket.SOCK_DGRAM)
        port = one.getsockname()[1]
        one.close()
        return f"udp://127.0.0.1:{port}"

    def a_name_that_nobody_has(self) -> str:
        return "udp://no-such-host.invalid:5565"

    def a_socket_that_is_not_there(self) -> str:
        return f"unix://{self._folder}/nobody"

    def datagrams_for_a_socket_that_is_not_there(self) -> str:
        return f"unix://{self._folder}/nobody?mode=datagram"

    def a_socket_that_nobody_reads(self) -> str:
        self._bound(socket.AF_UNIX, socket.SOCK_STREAM).listen()
        return f"unix://{self._folder}/socket"

    def datagrams_for_a_socket_that_nobody_reads(self) -> str:
        self._bound(socket.AF_UNIX, socket.SOCK_DGRAM)
        return f"unix://{self._folder}/socket?mode=datagram"

    def close(self) -> None:
        for one in self._open:
            one.close()


@pytest.fixture
def unreachable(tmp_path: pathlib.Path) -> Iterator[Unreachable]:
    targets = Unreachable(tmp_path)
    yield targets
    targets.close()


@pytest.mark.parametrize("where", [name for name in vars(Unreachable) if name.startswith(("a_", "datagrams_"))])
def test_an_unreachable_router_delays_neither_calls_nor_the_exit(
    unreachable: Unreachable, where: str, tmp_path: pathlib.Path
) -> None:
    said = json.loads(run(UNREACHABLE, getattr(unreachable, where)(), folder=tmp_path))
    # The clock is that of all processes: the whole end counts, until nothing is left of the process.
    exiting = time.monotonic() - said["exit begins"]
    assert len([took for took in said["took"] if took > LONG_CALL]) <= LONG_CALLS, sorted(said["took"])[-10:]
    assert exiting < _exit.TIMEOUT + LEEWAY
    stats = said["stats"]
    assert stats["accepted"] >= 2000
    assert stats["accepted"] == stats["sent"] + sum(stats["dropped"].values()) + stats["queued"]


IN_THE_CHILD = """
    import os, sys
    from metlog.client import MetlogClient
    from metlog.senders import TcpSender

    client = MetlogClient(TcpSender("127.0.0.1", int(sys.argv[1])), "forking")
    client.incr("parent")
    process = os.fork()
    if process == 0:
        for _ in range(10):
            client.incr("child")
        client.close()
        client.incr("late")
        stats = client.stats()
        ended = stats["sent"] == 10 and stats["dropped"] == {"closed": 1} and client.pid == os.getpid()
        os._exit(0 if ended else 3)
    assert os.waitpid(process, 0)[1] == 0
    client.incr("parent")
    client.close()
    assert client.stats()["sent"] == 2, client.stats()
"""


def test_a_client_that_a_child_closes_stays_open_in_the_parent(lines: Lines, tmp_path: pathlib.Path) -> None:
    run(IN_THE_CHILD, lines.port, folder=tmp_path)
    parents = lines.named("parent", 2)
    assert [message["metlog_seq"] for message in parents] == [1, 2]
    assert {message["metlog_pid"] for message in lines.named("child", 10)}.isdisjoint({parents[0]["metlog_pid"]})
    assert parents[0]["metlog_pid"] != os.getpid()


SEVERAL_HOOKS = """
    import atexit, sys, time

    # What was registered first is called last.
    atexit.register(lambda: print(time.monotonic() - begin))

    import multiprocessing.util
    from metlog import _exit
    from metlog.client import MetlogClient
    from metlog.senders import TcpSender

    # So long that two of them stand out from what a busy machine adds to one.
    _exit.TIMEOUT = float(sys.argv[2])

    # Another module that ends processes in its own way, as billiard does.
    sys.modules["billiard.util"] = multiprocessing.util
    client = MetlogClient(TcpSender("127.0.0.1", int(sys.argv[1])), "lonely")
    client.incr("unheard")

    @atexit.register
    def first():
        global begin
        begin = time.monotonic()
"""


@pytest.mark.parametrize("native", ["1", "0"], ids=["native", "plain"])
def test_the_bound_at_the_exit_holds_however_many_hooks_there_are(
    tmp_path: pathlib.Path, native: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METLOG_NATIVE", native)
    hanging = socket.socket()
    hanging.bind(("127.0.0.1", 0))
    hanging.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(hanging.getsockname())
        fillers.append(filler)
    # Three hooks would take three times as long if each had its own bound.
    bound = 5.0
    took = float(run(SEVERAL_HOOKS, hanging.getsockname()[1], bound, folder=tmp_path))
    assert bound <= took < 2 * bound
    for filler in [*fillers, hanging]:
        filler.close()


BUSY_TO_THE_END = """
    import sys, threading
    from metlog.client import MetlogClient
    from metlog.senders import UdpSender

    client = MetlogClient(UdpSender("127.0.0.1", 9), "busy")
    client.info("first")
    working = threading.Semaphore(0)

    def work(number):
        said = False
        while True:
            {block}
            if not said:
                said = True
                working.release()

    for number in range(8):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    for _ in range(8):
        working.acquire()
    # They work on until Python ends them, wherever they are.
    sys.exit(0)
"""


@pytest.mark.parametrize(
    "block",
    [
        "with client.bind(task=number), client.timer('step'): sum(range(200))",
        "with client.timer('step', fields={'task': {number}}): sum(range(200))",
        "with (timer := client.timer('step')), timer: sum(range(200))",
    ],
    ids=["bound fields", "fields that are not plain", "a timer within itself"],
)
def test_a_process_ends_well_while_daemon_threads_measure(tmp_path: pathlib.Path, block: str) -> None:
    # Which line of theirs the end meets is chance.
    for _ in range(3):
        run(BUSY_TO_THE_END.replace("{block}", block), folder=tmp_path)
