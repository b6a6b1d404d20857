"""Senders: what they write, and where."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import subprocess
import sys

import pytest
from receivers import LineReceiver, wait_for

from metlog.client import SEVERITY, MetlogClient
from metlog.logging import MetlogHandler, hook_logger
from metlog.senders import DebugCaptureSender, FileSender, StdOutSender, StreamSender, TcpSender, UdpSender, UnixSender
from metlog.senders.logging import StdLibLoggingSender

MESSAGE = {"type": "x", "payload": "caf\u00e9 \ud800", "fields": {"a": [1, 2.5, None]}, "severity": 6}


def test_a_stream_gets_json_with_an_indent_of_four():
    stream = io.StringIO()
    StreamSender(stream).send_message(MESSAGE)
    assert stream.getvalue() == json.dumps(MESSAGE, indent=4) + "\n"


def test_a_stream_gets_one_line_of_json_on_request():
    stream = io.StringIO()
    StreamSender(stream, formatter="jsonl").send_message(MESSAGE)
    assert stream.getvalue() == json.dumps(MESSAGE) + "\n"


@pytest.mark.parametrize("formatter", [str, "builtins.str", "builtins:str"])
def test_a_stream_gets_what_a_formatter_makes(formatter):
    stream = io.StringIO()
    StreamSender(stream, formatter).send_message(MESSAGE)
    assert stream.getvalue() == f"{MESSAGE}\n"


def test_standard_output_is_a_stream(capsys):
    StdOutSender().send_message(MESSAGE)
    assert json.loads(capsys.readouterr().out) == MESSAGE


def test_a_file_is_appended_to(tmp_path):
    path = tmp_path / "log"
    for _ in range(2):
        sender = FileSender(str(path), formatter="jsonl")
        sender.send_message(MESSAGE)
        assert sender.close()
    assert path.read_text() == 2 * (json.dumps(MESSAGE) + "\n")


def test_the_last_hundred_messages_are_captured():
    sender = DebugCaptureSender(name="anything")
    for number in range(150):
        sender.send_message({"n": number})
    assert sender.name == "anything"
    assert [json.loads(text)["n"] for text in sender.msgs] == list(range(50, 150))


class TestStdLibLogging:
    def records(self, caplog, sender, messages):
        with caplog.at_level(logging.DEBUG):
            for message in messages:
                sender.send_message(message)
        return [(record.name, record.levelno, record.getMessage()) for record in caplog.records]

    def test_payloads_or_whole_messages_are_logged_by_type(self, caplog):
        sender = StdLibLoggingSender("tests.out", payload_types="plain", json_types=["whole"])
        messages = [
            {"type": "plain", "payload": "100%", "severity": SEVERITY.ALERT},
            {"type": "whole", "payload": "b", "severity": SEVERITY.NOTICE},
            {"type": "other", "payload": "c", "severity": SEVERITY.ERROR},
            {"type": "plain", "payload": "d", "severity": 99},
        ]
        assert self.records(caplog, sender, messages) == [
            ("tests.out", logging.CRITICAL, "100%"),
            ("tests.out", logging.INFO, json.dumps(messages[1])),
            ("tests.out", logging.WARNING, "d"),
        ]

    def test_a_sender_and_a_handler_on_one_logger_make_no_circle(self, caplog):
        client = MetlogClient(StdLibLoggingSender("tests.sender_and_handler"), "tests")
        hook_logger("tests.sender_and_handler", client)
        logging.getLogger("tests.sender_and_handler").error("from logging")
        client.error("from the client")
        assert [record.getMessage() for record in caplog.records] == [
            "from logging", "from logging", "from the client",
        ]  # fmt: skip


class TestHandler:
    def test_a_record_is_sent_as_it_was_written(self, captured):
        logger = logging.getLogger("tests.handler")
        logger.setLevel(1)
        for _ in range(2):
            hook_logger("tests.handler", captured.client)
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 15):
            logger.log(level, "%d%%", 7)
        assert len([each for each in logger.handlers if isinstance(each, MetlogHandler)]) == 1
        assert [(m["severity"], m["payload"]) for m in captured.messages()] == [
            (severity, "%d%%") for severity in (7, 6, 4, 3, 2, 2)
        ]

    def test_what_the_package_says_about_itself_is_not_sent(self, captured):
        hook_logger("metlog.internal", captured.client)
        logging.getLogger("metlog.internal").error("about us")
        logging.getLogger("metlog.internal").handlers.clear()
        assert captured.messages() == []


class TestUdp:
    def test_a_message_is_what_json_dumps_writes_and_its_number(self, udp):
        sender = UdpSender("127.0.0.1", udp.port)
        sender.send_message(MESSAGE)
        text = udp.text()
        assert json.loads(text)["metlog_seq"] == 1
        source = json.loads(text)["metlog_src"]
        assert len(bytes.fromhex(source)) == 8
        assert text == json.dumps({**MESSAGE, "metlog_seq": 1, "metlog_src": source})

    def test_without_numbers_a_message_has_the_bytes_of_0_10_0(self, udp):
        UdpSender("127.0.0.1", udp.port, seq=False).send_message(MESSAGE)
        assert udp.text() == json.dumps(MESSAGE)

    def test_who_takes_the_socket_has_the_ways_of_0_10_0(self, udp):
        sender = UdpSender("127.0.0.1", str(udp.port))
        sender.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.send_message(MESSAGE)
        assert udp.text() == json.dumps(MESSAGE)
        assert sender.stats()["accepted"] == 0

    def test_several_hosts_repeat_the_last_port(self):
        sender = UdpSender(["a", "b", "c"], [1, 2])
        assert sender._destinations == (("a", 1), ("b", 2), ("c", 2))
        assert UdpSender("a", [1, 2])._destinations == (("a", 1),)

    def test_every_host_gets_every_message(self, udp):
        sender = UdpSender(["127.0.0.1", "localhost"], udp.port, seq=False)
        sender.send_message(MESSAGE)
        assert [udp.text(), udp.text()] == [json.dumps(MESSAGE)] * 2
        assert sender.flush()
        assert sender.stats()["sent"] == 1

    @pytest.mark.parametrize("port", ["http", 0, 70_000, None])
    def test_a_port_that_is_none_is_told(self, port):
        with pytest.raises((ValueError, TypeError)):
            UdpSender("127.0.0.1", port)

    def test_bytes_that_are_no_text_are_an_error(self, udp):
        sender = UdpSender("127.0.0.1", udp.port)
        for message in (b"\xfa", {"payload": b"\xfa"}):
            with pytest.raises(UnicodeError):
                sender.send_message(message)
        sender.send_message({"payload": b"caf\xc3\xa9"})
        assert udp.message()["payload"] == "café"


def test_tcp_carries_one_message_on_each_line(tcp):
    client = MetlogClient(TcpSender("127.0.0.1", tcp.port), "tests")
    for number in range(1000):
        client.metlog("x", payload="a\nb", fields={"n": number})
    assert client.flush(30)
    wait_for(lambda: len(tcp.lines) == 1000)
    messages = tcp.messages()
    assert [message["fields"]["n"] for message in messages] == list(range(1000))
    assert [message["metlog_seq"] for message in messages] == list(range(1, 1001))
    assert client.stats()["sent"] == 1000


def test_a_unix_socket_carries_one_message_on_each_line(tmp_path):
    path = str(tmp_path / "socket")
    receiver = LineReceiver(path)
    sender = UnixSender(path)
    sender.send_message(MESSAGE)
    assert sender.flush(30)
    wait_for(lambda: receiver.lines)
    assert json.loads(receiver.lines[0])["payload"] == MESSAGE["payload"]
    receiver.close()


def test_a_unix_socket_carries_datagrams_on_request(tmp_path):
    path = str(tmp_path / "socket")
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(path)
    receiver.settimeout(30)
    UnixSender(path, "datagram", seq=False).send_message(MESSAGE)
    assert json.loads(receiver.recv(65_536)) == MESSAGE
    receiver.close()
    with pytest.raises(ValueError, match="'stream' or 'datagram'"):
        UnixSender(path, "carrier pigeon")


class TestZmq:
    """The senders over real sockets."""

    @pytest.fixture
    def zmq(self):
        return pytest.importorskip("zmq")

    def subscriber(self, zmq):
        socket_ = zmq.Context.instance().socket(zmq.SUB)
        socket_.setsockopt(zmq.SUBSCRIBE, b"")
        socket_.setsockopt(zmq.RCVTIMEO, 30_000)
        return socket_, socket_.bind_to_random_port("tcp://127.0.0.1")

    def test_messages_are_published(self, zmq):
        from metlog.senders.zmq import ZmqPubSender

        receiver, port = self.subscriber(zmq)
        sender = ZmqPubSender(f"tcp://127.0.0.1:{port}", pool_size=1)
        # What is published before the subscription has come is for nobody; so it is published until one arrives.
        wait_for(lambda: sender.send_message(MESSAGE) or receiver.poll(50), "a message")
        assert receiver.recv() == json.dumps(MESSAGE).encode()
        assert sender.close()
        receiver.close(0)

    def test_messages_are_published_once_the_subscriber_has_answered(self, zmq, capsys):
        from metlog.senders.zmq import ZmqHandshakePubSender

        receiver, port = self.subscriber(zmq)
        answering = zmq.Context.instance().socket(zmq.REP)
        answering_port = answering.bind_to_random_port("tcp://127.0.0.1")
        sender = ZmqHandshakePubSender(
            f"tcp://127.0.0.1:{answering_port}", f"tcp://127.0.0.1:{port}", 50, pool_size=2, livecheck=0.05
        )
        sender.send_message(MESSAGE)
        assert json.loads(capsys.readouterr().err) == MESSAGE

        def answer():
            if answering.poll(10):
                answering.recv()
                answering.send(b"")
            sender.send_message(MESSAGE)
            return receiver.poll(10)

        wait_for(answer, "a message")
        assert receiver.recv() == json.dumps(MESSAGE).encode()
        sender.close()
        receiver.close(0)
        answering.close(0)

    def test_an_unanswered_handshake_is_waited_for_once(self, zmq, monkeypatch):
        from metlog.senders import zmq as ours

        asked = []
        monkeypatch.setattr(ours.HandshakingClient, "connect", lambda self: bool(asked.append(self)))
        monkeypatch.setattr(ours.Pool, "start_reconnecting", lambda self: None)
        sender = ours.ZmqHandshakePubSender("tcp://127.0.0.1:1", "tcp://127.0.0.1:1", 200, pool_size=10)
        assert len(asked) == 1
        sender.close()

    def test_a_forked_child_has_sockets_of_its_own(self, zmq, tmp_path):
        code = """
import os, sys, time
from metlog.senders.zmq import ZmqPubSender
sender = ZmqPubSender(sys.argv[1], pool_size=2)
sender.send_message({"from": "parent"})
if os.fork() == 0:
    mine = sender.pool._all_clients
    # Until it is heard: what it sends before the subscription has come is for nobody.
    until = time.monotonic() + 60
    while not os.path.exists(sys.argv[2]) and time.monotonic() < until:
        sender.send_message({"from": "child"})
        time.sleep(0.01)
    assert sender.pool._all_clients is not mine
    os._exit(0)
assert os.wait()[1] == 0
"""
        receiver, port = self.subscriber(zmq)
        heard = tmp_path / "heard"
        child = subprocess.Popen([sys.executable, "-c", code, f"tcp://127.0.0.1:{port}", str(heard)])
        seen = set()
        wait_for(lambda: seen.add(json.loads(receiver.recv())["from"]) or "child" in seen, "a message of the child")
        heard.touch()
        assert child.wait(60) == 0
        receiver.close(0)

    def test_without_pyzmq_the_senders_say_what_to_install(self, monkeypatch):
        import metlog.senders.zmq

        monkeypatch.setattr(metlog.senders.zmq, "zmq", None)
        with pytest.raises(ValueError, match=r"metlog-py\[zeromqpub\]"):
            metlog.senders.zmq.ZmqPubSender("tcp://127.0.0.1:1")


def test_mb_blasts_and_counts(udp, tmp_path):
    config = tmp_path / "metlog.ini"
    config.write_text(
        f"[metlog]\nlogger = own\nsender_class = metlog.senders.UdpSender\nsender_host = 127.0.0.1\n"
        f"sender_port = {udp.port}\n"
    )
    for further, logger in (([], "mb"), (["--raw"], "mb"), ([f"--metlogcfg={config}"], "own")):
        command = [sys.executable, "-c", "from metlog.command import mb; raise SystemExit(mb())"]
        command += ["127.0.0.1", str(udp.port), "--seconds=0.05", *further]
        run = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
        assert run.stdout.split()[1] == "messages"
        # How many it are is the machine's affair.
        assert int(run.stdout.split()[0]) >= 1
        message = udp.message()
        assert (message["type"], message["payload"], message["logger"]) == ("MBTEST", "MBTEST", logger)
        # The rest of what was sent.
        udp.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                udp.text()
        udp.socket.settimeout(30)


FORKING = """
import os, signal, sys, threading, time
from metlog.client import MetlogClient
from metlog.senders import FileSender

client = MetlogClient(FileSender(sys.argv[1], "jsonl"), "forking")
stop = threading.Event()
written = [0] * 4

def log(number):
    while not stop.is_set():
        client.info("x" * 200)
        written[number] += 1
        # So that there is an end to the load; the forks come at any moment of a call all the same.
        if written[number] % 50 == 0:
            time.sleep(0.001)

threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
hanging = 0
for _ in range(200):
    process = os.fork()
    if process == 0:
        signal.alarm(30)
        client.info("child")
        os._exit(0)
    hanging += os.waitpid(process, 0)[1] != 0
    if hanging:
        break
stop.set()
for thread in threads:
    thread.join()
print(hanging, sum(written))
"""


def test_children_write_to_the_file_of_a_process_whose_threads_do(tmp_path):
    """Nothing that a thread held at the fork stops the child, and each line is whole."""
    path = tmp_path / "log"
    command = [sys.executable, "-c", FORKING, str(path)]
    run = subprocess.run(command, timeout=300, capture_output=True, text=True, check=True)
    hanging, written = map(int, run.stdout.split())
    assert hanging == 0
    payloads = [json.loads(line)["payload"] for line in path.read_text().splitlines()]
    assert (payloads.count("child"), payloads.count("x" * 200)) == (200, written)
