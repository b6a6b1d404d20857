"""The native path and the way by Python send the same, and each call takes the one that it has to take."""

from __future__ import annotations

import copy
import datetime
import decimal
import enum
import gc
import json
import math
import socket
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional
from unittest import mock

import hostile
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metlog import _core
from metlog.client import MetlogClient
from metlog.filters import (
    severity_max_provider,
    type_blacklist_provider,
    type_severity_max_provider,
    type_whitelist_provider,
)
from metlog.senders import TcpSender, UdpSender

pytestmark = pytest.mark.skipif(_core.native() is None, reason="these tests are about the native module")

# Seconds that a test waits for what is sure to come.
PATIENCE = 30.0


class Receiver:
    """Receives datagrams, each of which is a message."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE)
        self.client = MetlogClient(UdpSender("127.0.0.1", self.socket.getsockname()[1]), "shop")
        # The native path is made by the first message, which goes it.
        self.client.incr("first")
        self.text()

    def text(self) -> str:
        return self.socket.recv(65_536).decode("utf-8")

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.text())
        return message


@pytest.fixture(scope="module")
def shared() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.socket.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.socket.close()


@contextmanager
def by_python(client: MetlogClient) -> Iterator[None]:
    """Send the way by Python, as after a method on the way was replaced."""
    original = client.send_message
    client.send_message = lambda msg: original(msg)  # type: ignore[method-assign]  # noqa: PLW0108  not the original
    try:
        yield
    finally:
        del client.send_message  # type: ignore[method-assign]


def is_native(text: str) -> bool:
    """Return whether a message was written by the native path: without spaces between its tokens."""
    return text.startswith('{"type":"')


def content(text: str) -> dict[str, Any]:
    """Return what has to be equal in both ways: all but when it was, and which number it has."""
    message: dict[str, Any] = json.loads(text)
    assert datetime.datetime.strptime(message.pop("timestamp"), "%Y-%m-%dT%H:%M:%S.%fZ")
    for key in ("metlog_seq", "metlog_src"):
        assert message.pop(key)
    return message


def same_both_ways(receiver: Receiver, call: Callable[[MetlogClient], object]) -> str:
    """Make a call in both ways, compare what is sent, and return the text of the native path."""
    call(receiver.client)
    first = receiver.text()
    with by_python(receiver.client):
        call(receiver.client)
    second = receiver.text()
    assert not is_native(second)
    assert _comparable(content(first)) == _comparable(content(second))
    return first


def _comparable(value: Any) -> Any:
    """Tell 1, 1.0 and True apart, which Python does not; -0.0 and 0.0 too. Whole rates may be either."""
    if isinstance(value, dict):
        return {key: _comparable(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_comparable(member) for member in value]
    return (type(value).__name__, math.copysign(1, value), value) if isinstance(value, (int, float)) else value


class Color(str, enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Strange:
    def __repr__(self) -> str:
        return "<strange>"


def _values() -> st.SearchStrategy[Any]:
    text = st.text(alphabet=st.characters(exclude_categories=()))
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(min_value=-(2**200), max_value=2**200),
        st.floats(),
        text,
        st.builds(Text, text),
        st.builds(Number, st.integers()),
        st.sampled_from([Color.RED, Level.HIGH, Strange(), decimal.Decimal("1.50"), uuid.UUID(int=7)]),
        st.datetimes(),
        st.binary(max_size=0),
        st.sampled_from(hostile.NAMES).map(hostile.Named),
    )
    keys = st.one_of(text, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none(), st.builds(Text, text))
    return st.recursive(
        plain,
        lambda inner: st.one_of(
            st.lists(inner, max_size=5), st.tuples(inner, inner), st.dictionaries(keys, inner, max_size=5)
        ),
        max_leaves=20,
    )


_KEYS = st.text(alphabet=st.characters(exclude_categories=()))
_FIELDS = st.dictionaries(_KEYS, _values(), max_size=6)
_FREELY = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=100)


@_FREELY
@given(kind=st.text(), payload=st.one_of(st.text(), _values()), fields=st.one_of(st.none(), _FIELDS))
def test_any_message_is_the_same_both_ways(shared: Receiver, kind: str, payload: Any, fields: Any) -> None:
    payload, fields = hostile.in_place(payload), hostile.in_place(fields)
    same_both_ways(shared, lambda client: client.metlog(kind, payload=payload, fields=fields))


@_FREELY
@given(
    name=_KEYS,
    count=st.one_of(st.integers(), st.floats(), st.booleans()),
    fields=st.one_of(st.none(), st.dictionaries(st.one_of(_KEYS, st.sampled_from(["name", "rate"])), _values())),
    rate=st.sampled_from([1, 1.0, 2.5]),
    kind=st.sampled_from(["incr", "gauge"]),
)
def test_any_counter_and_gauge_is_the_same_both_ways(
    shared: Receiver, name: str, count: Any, fields: Any, rate: float, kind: str
) -> None:
    fields = hostile.in_place(fields)
    same_both_ways(shared, lambda client: getattr(client, kind)(name, count, fields=fields, rate=rate))


@_FREELY
@given(elapsed=st.one_of(st.integers(), st.floats()), bound=st.one_of(st.just({}), _FIELDS))
def test_any_time_is_the_same_both_ways(shared: Receiver, elapsed: float, bound: dict[str, Any]) -> None:
    held = {key: hostile.in_place(value) for key, value in bound.items() if key != "self"}

    def call(client: MetlogClient) -> None:
        with client.bind(**held):
            client.timer_send("name", elapsed)

    same_both_ways(shared, call)


def test_the_native_path_writes_compact_json_in_the_order_of_old(receiver: Receiver) -> None:
    receiver.client.metlog("cef", payload="é", fields={"b": [1, 2.5, None], "a": {"x": True}})
    text = receiver.text()
    assert text.startswith('{"type":"cef","timestamp":"')
    assert (
        '"logger":"shop","severity":6,"payload":"é","fields":{"b":[1,2.5,null],"a":{"x":true}},"env_version":"0.8",'
        in text
    )
    keys = ["type", "timestamp", "logger", "severity", "payload", "fields", "env_version"]
    assert list(json.loads(text)) == [*keys, "metlog_pid", "metlog_hostname", "metlog_seq", "metlog_src"]


@pytest.mark.parametrize(
    "value",
    [
        "\ud800",
        2**70,
        1e300,
        -0.0,
        5e-324,
        {2: "a", None: "b", True: "c", 1.5: "d"},
        {"\udfff": 1},
        [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]],
        (1, (2, 3)),
        Color.RED,
        Level.HIGH,
        Strange(),
        float("nan"),
        {"a": float("inf")},
        datetime.date(2012, 7, 18),
        {3, 1, 2},
    ],
    ids=repr,
)
def test_special_values_are_the_same_both_ways(receiver: Receiver, value: Any) -> None:
    same_both_ways(receiver, lambda client: client.metlog("x", fields={"value": value}))


@pytest.mark.parametrize("name", hostile.UNREADABLE)
def test_fields_that_cannot_be_read_are_the_same_both_ways(receiver: Receiver, name: str) -> None:
    fields = hostile.make(name)
    same_both_ways(receiver, lambda client: client.metlog("x", fields=fields))
    same_both_ways(receiver, lambda client: client.incr("x", fields=fields))


def test_a_cycle_ends_on_the_way_by_python(receiver: Receiver) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    same_both_ways(receiver, lambda client: client.metlog("x", fields={"value": cycle}))


# Changes something on the way, and returns what undoes that, and what is told when a replacement is called, if any.
Flip = Callable[[MetlogClient], tuple[Callable[[], None], Optional[mock.Mock]]]


def _spy(original: Any) -> mock.Mock:
    return mock.Mock(side_effect=original)


def _set_on_instance(name: str) -> Flip:
    def flip(client: MetlogClient) -> tuple[Callable[[], None], mock.Mock]:
        spy = _spy(getattr(client, name))
        setattr(client, name, spy)
        return lambda: delattr(client, name), spy

    return flip


def _put_into_dict(name: str) -> Flip:
    def flip(client: MetlogClient) -> tuple[Callable[[], None], mock.Mock]:
        spy = client.__dict__[name] = _spy(getattr(client, name))
        return lambda: client.__dict__.pop(name), spy

    return flip


def _patch_class(owner: Any, name: str) -> Flip:
    def flip(client: MetlogClient) -> tuple[Callable[[], None], mock.Mock]:
        original, spy = owner.__dict__[name], _spy(None)

        def replacement(*args: Any, **kwargs: Any) -> Any:
            spy()
            return original(*args, **kwargs)

        setattr(owner, name, replacement)
        return lambda: setattr(owner, name, original), spy

    return flip


def _assign(name: str, value: Any) -> Flip:
    def flip(client: MetlogClient) -> tuple[Callable[[], None], None]:
        original = client.__dict__.get(name)
        setattr(client, name, value)
        return lambda: client.__dict__.pop(name) if original is None else setattr(client, name, original), None

    return flip


def _of_sender(name: str) -> Flip:
    def flip(client: MetlogClient) -> tuple[Callable[[], None], mock.Mock]:
        spy = client.sender.__dict__[name] = _spy(getattr(client.sender, name))
        return lambda: client.sender.__dict__.pop(name), spy

    return flip


def _core(client: MetlogClient) -> tuple[Callable[[], None], mock.Mock]:
    original, spy = client.sender.core, mock.Mock()
    spy.submit.side_effect = original.submit
    client.sender.core = spy
    return lambda: setattr(client.sender, "core", original), spy.submit


def _subclass(client: MetlogClient) -> tuple[Callable[[], None], None]:
    client.__class__ = type("Derived", (MetlogClient,), {})

    def undo() -> None:
        client.__class__ = MetlogClient

    return undo, None


def _sender_subclass(client: MetlogClient) -> tuple[Callable[[], None], None]:
    original = client.sender
    derived = copy.copy(original)
    derived.__class__ = type("Derived", (UdpSender,), {})
    client.sender = derived
    return lambda: setattr(client, "sender", original), None


def _foreign_filter(client: MetlogClient) -> tuple[Callable[[], None], None]:
    client.filters.append(lambda msg: True)
    return client.filters.clear, None


def _modified_filter(client: MetlogClient) -> tuple[Callable[[], None], None]:
    severity = 7
    keeps = severity_max_provider(severity)
    keeps.__code__ = (lambda msg: bool(severity)).__code__
    client.filters.append(keeps)
    return client.filters.clear, None


_FLIPS: dict[str, Flip] = {
    "metlog set on the client": _set_on_instance("metlog"),
    "send_message set on the client": _set_on_instance("send_message"),
    "timer_send set on the client": _set_on_instance("timer_send"),
    "incr set on the client": _set_on_instance("incr"),
    "metlog put into its dict": _put_into_dict("metlog"),
    "send_message put into its dict": _put_into_dict("send_message"),
    "metlog patched in the class": _patch_class(MetlogClient, "metlog"),
    "send_message patched in the class": _patch_class(MetlogClient, "send_message"),
    "timer_send patched in the class": _patch_class(MetlogClient, "timer_send"),
    "incr patched in the class": _patch_class(MetlogClient, "incr"),
    "a class of its own": _subclass,
    "another host name": _assign("hostname", "elsewhere"),
    "another process id": _assign("pid", 7),
    "another version of the envelope": _assign("env_version", "0.9"),
    "a filter of the application": _foreign_filter,
    "a filter of ours with other code": _modified_filter,
    "a sender of a class of its own": _sender_subclass,
    "send_message set on the sender": _of_sender("send_message"),
    "encode set on the sender": _of_sender("encode"),
    "send_message patched in the sender's class": _patch_class(UdpSender, "send_message"),
    "send_message patched in its base": _patch_class(UdpSender.__mro__[1], "send_message"),
    "encode patched in its base": _patch_class(UdpSender.__mro__[2], "encode"),
    "a core of somebody else's": _core,
}

_CALLS: dict[str, Callable[[MetlogClient], object]] = {
    "metlog": lambda client: client.metlog("x"),
    "info": lambda client: client.info("x"),
    "incr": lambda client: client.incr("x"),
    "timer_send": lambda client: client.timer_send("x", 1),
    "timer": lambda client: client.timer("x").__enter__().__exit__(None, None, None),
}

# The methods that a call does not go through, which may be replaced without an effect on it.
_NOT_THROUGH = {
    "metlog": ("timer_send", "incr"),
    "info": ("timer_send", "incr"),
    "incr": ("timer_send",),
    "timer_send": ("incr",),
    "timer": ("incr",),
}


@pytest.mark.parametrize("call", _CALLS)
@pytest.mark.parametrize("flip", _FLIPS, ids=lambda flip: flip.replace(" ", "-"))
def test_what_is_replaced_on_a_live_client_is_used_from_the_next_call_on(
    receiver: Receiver, flip: str, call: str
) -> None:
    _CALLS[call](receiver.client)
    assert is_native(receiver.text()), "before"
    undo, spy = _FLIPS[flip](receiver.client)
    try:
        for _ in range(2):
            _CALLS[call](receiver.client)
            text = receiver.text()
            if flip.split(maxsplit=1)[0] in _NOT_THROUGH[call]:
                assert is_native(text)
            elif spy is None:
                assert not is_native(text)
            else:
                assert spy.called
                spy.reset_mock()
    finally:
        undo()
    _CALLS[call](receiver.client)
    receiver.text()
    _CALLS[call](receiver.client)
    assert is_native(receiver.text()), "all is as it was, and so is the way"


def test_a_replacement_sees_the_message_without_number_and_source(receiver: Receiver) -> None:
    seen: list[dict[str, Any]] = []
    receiver.client.send_message = seen.append  # type: ignore[method-assign, assignment]
    receiver.client.incr("hits", fields={"page": "cart"})
    assert seen[0]["fields"] == {"page": "cart", "name": "hits", "rate": 1.0}
    assert not {"metlog_seq", "metlog_src"} & set(seen[0])


def test_a_socket_that_somebody_takes_is_used(receiver: Receiver) -> None:
    receiver.client.sender.socket = taken = mock.Mock()
    receiver.client.incr("hits")
    assert json.loads(taken.sendto.call_args[0][0])["fields"]["name"] == "hits"
    del receiver.client.sender.socket
    receiver.client.incr("hits")
    assert is_native(receiver.text())


def test_another_sender_is_used_from_the_next_call_on(receiver: Receiver) -> None:
    other = Receiver()
    receiver.client.sender = other.client.sender
    for _ in range(3):
        receiver.client.incr("hits")
        assert other.message()["fields"]["name"] == "hits"


def test_logger_and_severity_are_those_of_the_moment(receiver: Receiver) -> None:
    receiver.client.logger, receiver.client.severity = "cart", 3
    receiver.client.incr("hits")
    text = receiver.text()
    assert is_native(text)
    assert (json.loads(text)["logger"], json.loads(text)["severity"]) == ("cart", 3)
    receiver.client.incr("hits", logger="other", severity=1)
    message = receiver.message()
    assert (message["logger"], message["severity"]) == ("other", 1)
    # What the envelope does not know goes the way by Python, and as it is.
    receiver.client.incr("hits", severity=9)
    assert receiver.message()["severity"] == 9


@pytest.mark.parametrize(
    ("keeps", "kept"),
    [
        (severity_max_provider(4), ["error", "warning"]),
        (type_blacklist_provider({"oldstyle"}), ["counter"]),
        (type_blacklist_provider("counter"), ["error", "warning", "info"]),
        (type_whitelist_provider(["counter", "timer"]), ["counter"]),
        (type_severity_max_provider({"oldstyle": {"severity": 3}}), ["error", "counter"]),
        (type_severity_max_provider(counter=5), ["error", "warning", "info"]),
    ],
    ids=lambda value: getattr(value, "__name__", "-".join(value) if isinstance(value, list) else None),
)
def test_our_filters_decide_as_their_functions_do(receiver: Receiver, keeps: Any, kept: list[str]) -> None:
    def calls() -> list[str]:
        for level in ("error", "warning", "info"):
            getattr(receiver.client, level)(level)
        receiver.client.incr("counter", severity=6)
        receiver.client.metlog("end", severity=0)
        names = []
        while True:
            text = receiver.text()
            message = json.loads(text)
            if message["type"] == "end":
                return names
            names.append(message["fields"].get("name") or message["payload"])

    receiver.client.filters.append(keeps)
    if keeps.__name__ == "type_whitelist":
        receiver.client.filters[:] = [type_whitelist_provider(["counter", "timer", "end"])]
    with by_python(receiver.client):
        assert calls() == kept
    before = receiver.client.stats()["filtered"]
    receiver.client.metlog("end", severity=0)
    receiver.text()
    assert calls() == kept
    assert receiver.client.stats()["filtered"] - before == 4 - len(kept)
    receiver.client.metlog("end", severity=0)
    assert is_native(receiver.text())


def test_a_filter_s_settings_may_change_and_a_filter_that_fails_lets_messages_pass(receiver: Receiver) -> None:
    unwanted = {"oldstyle"}
    receiver.client.filters.append(type_blacklist_provider(unwanted))
    receiver.client.info("gone")
    unwanted.clear()
    receiver.client.info("kept")
    assert receiver.message()["payload"] == "kept"
    receiver.client.filters[:] = [type_whitelist_provider(7)]  # type: ignore[arg-type]
    receiver.client.info("kept")
    receiver.client.info("kept")
    assert receiver.message()["payload"] == receiver.message()["payload"] == "kept"
    assert receiver.client.stats()["filter_errors"] == 2


def test_a_filter_is_asked_itself_while_its_closure_has_another_setting(receiver: Receiver) -> None:
    keeps: Any = severity_max_provider(3)
    receiver.client.filters.append(keeps)
    for expected in (False, True):
        # By Python once, which makes the path anew.
        receiver.client.error("kept")
        assert is_native(receiver.text()) == expected
    (cell,) = keeps.__closure__
    cell.cell_contents = 6
    for _ in range(2):
        receiver.client.info("kept")
        assert not is_native(receiver.text())
    cell.cell_contents = 3
    for expected in (False, True):
        receiver.client.info("gone")
        receiver.client.error("kept")
        text = receiver.text()
        assert json.loads(text)["payload"] == "kept"
        assert is_native(text) or not expected


def test_numbers_are_given_out_after_the_filters_and_in_both_ways_from_one_row(receiver: Receiver) -> None:
    receiver.client.filters.append(severity_max_provider(6))
    numbers = []
    for turn in range(6):
        receiver.client.debug("gone")
        if turn % 2:
            with by_python(receiver.client):
                receiver.client.info("kept")
        else:
            receiver.client.info("kept")
        numbers.append(receiver.message()["metlog_seq"])
    assert numbers == list(range(2, 8))


def test_seq_false_sends_no_numbers(receiver: Receiver) -> None:
    receiver.client.sender = UdpSender("127.0.0.1", receiver.socket.getsockname()[1], seq=False)
    for _ in range(3):
        receiver.client.incr("hits")
        assert not {"metlog_seq", "metlog_src"} & set(receiver.message())


def test_wrong_arguments_are_the_same_error_both_ways(receiver: Receiver) -> None:
    for _ in range(2):
        with pytest.raises(TypeError):
            receiver.client.metlog("x", fields=7)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            receiver.client.incr("x", fields=["name"])  # type: ignore[arg-type]
        receiver.client.send_message = receiver.client.send_message  # type: ignore[method-assign]


def test_fields_of_the_caller_stay_as_they_are(receiver: Receiver) -> None:
    fields = {"name": "mine", "a": 1}
    receiver.client.incr("hits", fields=fields)
    assert receiver.message()["fields"] == {"a": 1, "name": "hits", "rate": 1.0}
    assert fields == {"name": "mine", "a": 1}


def test_a_closed_client_counts_what_comes_later(receiver: Receiver) -> None:
    receiver.client.close()
    for _ in range(3):
        receiver.client.incr("late")
    assert receiver.client.stats()["dropped"] == {"closed": 3}


def test_the_ledger_of_both_ways_adds_up(receiver: Receiver) -> None:
    for _ in range(10):
        receiver.client.incr("hits")
        with by_python(receiver.client):
            receiver.client.incr("hits")
    assert receiver.client.flush(PATIENCE)
    stats = receiver.client.stats()
    assert (stats["accepted"], stats["sent"], stats["dropped"], stats["queued"]) == (21, 21, {}, 0)


def test_a_full_queue_drops_and_counts_and_the_gaps_show_it() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    client = MetlogClient(TcpSender("127.0.0.1", port, queue_bytes=64 * 1024), "shop")
    for _ in range(50_000):
        client.info("x" * 100)
    stats = client.stats()
    assert stats["dropped"]["queue-full"] > 0
    assert stats["accepted"] == stats["sent"] + sum(stats["dropped"].values()) + stats["queued"]
    listener.close()


class TestTimers:
    """What `client.timer` returns on the native path is a timer like any other."""

    def test_each_span_is_its_own(self, receiver: Receiver) -> None:
        with receiver.client.timer("outer") as outer, receiver.client.timer("inner"):
            assert outer.result is None
        assert [receiver.message()["fields"]["name"] for _ in range(2)] == ["inner", "outer"]
        assert isinstance(outer.result, int)

    def test_one_timer_measures_nested_spans(self, receiver: Receiver) -> None:
        timer = receiver.client.timer("nested")
        with timer, timer, timer:
            pass
        assert [receiver.message()["type"] for _ in range(3)] == ["timer"] * 3

    def test_attributes_are_those_of_the_thread(self, receiver: Receiver) -> None:
        timer = receiver.client.timer("shared")
        with timer:
            timer.mark = "main"
        assert (timer.mark, timer.name, timer.client) == ("main", "shared", receiver.client)
        start = timer.start
        seen: list[Any] = []

        def other() -> None:
            seen.append(getattr(timer, "mark", None))
            with timer:
                seen.append(timer.result)
            seen.append(timer.result)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert seen[:2] == [None, None]
        assert isinstance(seen[2], int)
        assert timer.start == start

    def test_it_is_like_one_in_python(self, receiver: Receiver) -> None:
        """Whatever is done with a timer, it shows the same as one of the way by Python."""

        def show(timer: Any) -> list[Any]:
            shown = []
            with timer:
                with timer:
                    shown.append(timer.result)
                shown.append(type(timer.result))
                inner = timer.start
            shown.append(type(timer.result))
            shown.append(timer.start == inner)
            timer.result, timer.start = 99, 1.0
            shown.append((timer.result, timer.start))
            copied = copy.copy(timer)
            shown.append((copied.result, copied.start, copied.name))
            with copied:
                shown.append((copied.result, timer.result))
            del timer.result
            shown.append((hasattr(timer, "result"), hasattr(timer, "start")))
            with timer:
                shown.append(timer.result)
            del timer.result
            shown.append(hasattr(timer, "result"))
            return shown

        def make(client: MetlogClient) -> Any:
            return client.timer("shown")

        native = make(receiver.client)
        receiver.client._path = None
        in_python = make(receiver.client)
        assert (type(native).__name__, type(in_python).__name__) == ("NativeTimer", "_Timer")
        assert show(native) == show(in_python)

    @pytest.mark.parametrize("precision", [None, -1, 2.5, "3", True, 9])
    def test_what_is_no_number_of_decimals_is_none(self, receiver: Receiver, precision: Any) -> None:
        receiver.client.timer_precision = precision
        kinds = []
        for way in range(2):
            with receiver.client.timer("odd") as timer:
                pass
            kinds.append(type(timer.result))
            receiver.client._path = None
            assert receiver.message()["fields"]["name"] == "odd", way
        assert kinds == ([float] * 2 if precision in (True, 9) else [int] * 2)

    def test_a_span_that_another_thread_ends_is_that_ones_result(self, receiver: Receiver) -> None:
        timer = receiver.client.timer("moved")
        timer.__enter__()
        results = []

        def end() -> None:
            timer.__exit__(None, None, None)
            results.append(timer.result)

        thread = threading.Thread(target=end)
        thread.start()
        thread.join()
        assert (type(results[0]), timer.result) == (int, None)
        assert receiver.message()["fields"]["name"] == "moved"

    def test_it_is_collected_with_what_refers_to_it(self, receiver: Receiver) -> None:
        class Owner:
            pass

        owner = Owner()
        timer = owner.timer = receiver.client.timer("in a cycle")  # type: ignore[attr-defined]
        timer.owner = owner
        gone = weakref.ref(owner)
        del owner, timer
        gc.collect()
        assert gone() is None

    def test_it_decorates(self, receiver: Receiver) -> None:
        @receiver.client.timer("decorated")
        def double(number: int) -> int:
            """Twice."""
            return 2 * number

        assert (double(21), double.__name__, double.__doc__) == (42, "double", "Twice.")
        assert receiver.message()["fields"]["name"] == "decorated"

    def test_spans_of_two_tasks_do_not_mix(self, receiver: Receiver) -> None:
        import asyncio

        timer = receiver.client.timer("shared")

        async def task(before: float, within: float) -> None:
            await asyncio.sleep(before)
            with timer:
                await asyncio.sleep(within)

        async def both() -> None:
            await asyncio.gather(task(0, 0.05), task(0.02, 0.2))

        asyncio.run(both())
        times = sorted(int(receiver.message()["payload"]) for _ in range(2))
        # Each span lasts as long as its own sleep at least; mixed up, one would be shorter than either.
        assert times[0] >= 49 and times[1] >= 199

    def test_decimals_are_rounded_as_python_rounds(self, receiver: Receiver) -> None:
        receiver.client.timer_precision = 3
        with receiver.client.timer("precise") as timer:
            pass
        assert receiver.message()["payload"] == str(timer.result)
        assert timer.result == round(timer.result, 3)

    def test_bound_fields_are_in_its_message(self, receiver: Receiver) -> None:
        with receiver.client.bind(request_id=7), receiver.client.timer("bound"):
            pass
        assert receiver.message()["fields"] == {"request_id": 7, "name": "bound", "rate": 1.0}

    def test_a_name_that_is_disabled_sends_nothing(self, receiver: Receiver) -> None:
        receiver.client._disabled_timers.add("off")
        with receiver.client.timer("off"):
            pass
        with receiver.client.timer("on"):
            pass
        assert receiver.message()["fields"]["name"] == "on"

    def test_an_exception_passes_and_the_time_is_sent(self, receiver: Receiver) -> None:
        with pytest.raises(KeyError), receiver.client.timer("failing"):
            raise KeyError("x")
        assert receiver.message()["fields"]["name"] == "failing"


def test_clients_and_their_paths_are_collected(receiver: Receiver) -> None:
    client = MetlogClient(receiver.client.sender, "short-lived")
    client.incr("hits")
    client.me = client  # type: ignore[attr-defined]
    client.sender.owner = client  # type: ignore[union-attr]
    gone = weakref.ref(client)
    del client
    receiver.client.sender.__dict__.pop("owner")
    gc.collect()
    assert gone() is None


def test_what_a_sender_has_queued_is_sent_when_it_is_gone(receiver: Receiver) -> None:
    client = MetlogClient(UdpSender("127.0.0.1", receiver.socket.getsockname()[1]), "short-lived")
    for _ in range(10):
        client.incr("hits")
    del client
    for _ in range(10):
        assert receiver.message()["logger"] == "short-lived"
