"""msgpack: the bytes are the same from both cores, and a real router reads them as what was meant."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_router import Router
from receivers import DEADLINE, UdpReceiver

import metlog
from metlog import _core, _init, _msgpack, _native_path
from metlog._core import Destination
from metlog._plain_core import PlainCore
from metlog.client import MetlogClient
from metlog.config import client_from_text_config
from metlog.senders import TcpSender, UdpSender, UnixSender

# What there is in JSON, with the lengths and numbers at which msgpack's forms change.
EDGES: list[Any] = [
    {},
    {"a": None, "b": [True, False], "c": [], "": ""},
    {
        "numbers": [
            sign * (2**bits + more)
            for bits in (0, 4, 5, 7, 8, 15, 16, 31, 32, 63)
            for more in (-1, 0)
            for sign in (1, -1)
        ]
    },
    {"numbers": [2**64 - 1, -(2**63), 0, -32, -33, 127, 128]},
    {"floats": [0.0, -0.0, 1.5, -1e300, 5e-324, 0.1]},
    {"texts": ["x" * length for length in (0, 1, 31, 32, 255, 256, 20_000)]},
    {"é": "😀", "line\nbreak": "nul \0", "text": "\u2028"},
    {"list": list(range(15)), "more": list(range(16)), "long": [0] * 17_000},
    {str(number): number for number in range(15)},
    {str(number): number for number in range(16)},
]

# What msgpack cannot hold as it is, or only in more bytes than a datagram has.
NOT_IN_MSGPACK: list[Any] = [
    {"n": 2**64},
    {"n": -(2**63) - 1},
    {"half": "\ud800"},
    {"\udc00": 1},
    {"samples": [1.5] * 10_000},
]


@pytest.fixture
def cores(udp):
    """The cores that there are here, which send to one receiver."""
    destination = Destination("udp", (("127.0.0.1", udp.port),), seq=False, encoder="msgpack")
    native = _core.native()
    both = (
        [PlainCore(destination)]
        if native is None
        else [PlainCore(destination), _native_path.open_core(native, destination)]
    )
    yield both
    for core in both:
        core.close(0)


def datagrams(cores: Any, udp: UdpReceiver, value: Any) -> list[bytes]:
    found = []
    for core in cores:
        assert core.submit(json.dumps(value).encode("ascii"))
        found.append(udp.socket.recv(65_536))
    return found


@pytest.mark.parametrize("value", EDGES, ids=range(len(EDGES)))
def test_both_cores_send_the_same_bytes(cores, udp, value):
    first, *others = datagrams(cores, udp, value)
    assert first == _msgpack.PREFIX + _msgpack.packed(value)
    assert others in ([], [first])


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_both_cores_send_the_same_bytes_whatever_they_are_given(cores, udp):
    @settings(max_examples=200, deadline=None)
    @given(st.dictionaries(st.text(), VALUES))
    def same(value):
        first, *others = datagrams(cores, udp, value)
        assert others in ([], [first])

    same()


@pytest.mark.parametrize("value", NOT_IN_MSGPACK, ids=range(len(NOT_IN_MSGPACK)))
def test_what_msgpack_cannot_hold_goes_as_json(cores, udp, value):
    for datagram in datagrams(cores, udp, value):
        assert json.loads(datagram) == value


def test_a_payload_that_is_too_large_is_cut_as_json(cores, udp):
    value = {"type": "x", "payload": "x" * 70_000}
    for datagram in datagrams(cores, udp, value):
        assert json.loads(datagram)["payload"].endswith(" bytes]")


class TestSettings:
    def test_a_connection_takes_no_msgpack(self):
        for make in (
            lambda: TcpSender("127.0.0.1", 5565, encoder="msgpack"),
            lambda: UnixSender("/x", encoder="msgpack"),
        ):
            with pytest.raises(ValueError, match="takes datagrams"):
                make()
        TcpSender("127.0.0.1", 5565, encoder="json")

    @pytest.mark.parametrize("encoder", ["msgpak", "", None, 1])
    def test_another_encoder_is_an_error(self, encoder):
        with pytest.raises(ValueError, match="the encoder is 'json' or 'msgpack', not "):
            UdpSender("127.0.0.1", 5565, encoder=encoder)

    def test_a_wrong_target_is_told(self):
        with pytest.raises(ValueError, match=r"tcp://127.0.0.1:1.*takes datagrams"):
            metlog._target.sender_for("tcp://127.0.0.1:1?encoder=msgpack")


ROUTER = """
[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"

[inputs.unix]
kind = "unix"
mode = "datagram"
path = "socket"

[endpoints.lines]
kind = "file"
path = "lines.jsonl"
format = "json"

[[routes]]
unrouted = true
to = ["lines"]
"""


def test_a_router_reads_what_every_way_to_msgpack_sends(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(_init._State, "calls", {})
    router = Router(tmp_path, ROUTER)
    target = router.url("udp")
    port = target.rpartition(":")[2]
    router.said(message="listening", input="unix")
    clients = [
        metlog.init("init", f"{target}?encoder=msgpack", hook_logging=False, report_exceptions=False),
        MetlogClient(UdpSender("127.0.0.1", port, encoder="msgpack"), "udp"),
        MetlogClient(UnixSender(tmp_path / "socket", "datagram", encoder="msgpack"), "unix"),
        client_from_text_config(
            f"""
            [metlog]
            logger = text
            sender_class = metlog.senders.UdpSender
            sender_host = 127.0.0.1
            sender_port = {port}
            sender_encoder = msgpack
            """,
            "metlog",
        ),
    ]
    fields = {"user": 4711, "took": 12.5, "name": "Jürgen", "big": 2**70, "list": [1, None, True]}
    for client in clients:
        client.incr("hits", 3)
        client.metlog("x", payload="two\nlines", fields=fields)
        client.metlog("x", payload="three", fields={"took": 0.25})
        assert client.flush(DEADLINE)
        client.close()
    router.wait_until_delivered(3 * len(clients))
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    for client in clients:
        counter, two, three = sorted(
            (line for line in lines if line["logger"] == client.logger), key=lambda line: line["metlog_seq"]
        )
        assert (counter["payload"], counter["fields"]) == ("3", {"name": "hits", "rate": 1.0})
        assert (two["payload"], two["fields"]) == ("two\nlines", fields)
        assert (three["fields"], three["metlog_seq"]) == ({"took": 0.25}, 3)
    assert {line["metlog_hostname"] for line in lines} == {socket.gethostname()}
    router.stop()
    router.end()
