"""Records of ``logging`` on the native path: the same messages as by Python, while nothing on the way is replaced."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_native_path import Receiver, by_python

from metlog import _core, _reentry, _tracing
from metlog.handler import LogHandler

pytestmark = pytest.mark.skipif(_core.native() is None, reason="these tests are about the native module")


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.socket.close()


@pytest.fixture
def handler(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> LogHandler:
    # Who has imported this has spans, which Python looks for.
    monkeypatch.delitem(sys.modules, _tracing.MODULE, raising=False)
    # Makes the native path, if there is none after an earlier test.
    receiver.client.incr("first")
    receiver.text()
    return LogHandler(receiver.client)


def record_of(msg: Any = "sold %d", args: Any = (7,), level: Any = logging.INFO, **further: Any) -> logging.LogRecord:
    record = logging.LogRecord("shop.till", level, "/srv/shop.py", 12, msg, args, None, "sell")
    record.__dict__.update(further)
    return record


def is_native(handler: LogHandler, record: logging.LogRecord) -> bool:
    """Handle a record the native way alone; False if that leaves it to Python."""
    return handler._handle(handler, record)


def said(message: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key not in ("timestamp", "metlog_seq", "metlog_src")}


def by_python_alone(receiver: Receiver, handler: LogHandler, record: logging.LogRecord) -> dict[str, Any]:
    with by_python(receiver.client):
        assert not is_native(handler, record)
        handler.handle(record)
        return said(receiver.message())


USUAL = [
    record_of(),
    record_of("no arguments", None),
    record_of("no arguments", ()),
    record_of("%s %s %s %s %r", ("text", 1.5, None, True, "repr")),
    record_of('é 😀\n"quoted" %%s', ()),
    record_of(message="sold 7", asctime="now"),
    *(record_of(level=level) for level in (0, 1, 10, 19, 20, 24, 25, 26, 30, 39, 40, 50, 51, 1000)),
]


@pytest.mark.parametrize("record", USUAL, ids=range(len(USUAL)))
def test_a_usual_record_goes_the_native_way_and_is_the_same(
    receiver: Receiver, handler: LogHandler, record: logging.LogRecord
) -> None:
    assert is_native(handler, record)
    assert said(receiver.message()) == by_python_alone(receiver, handler, record)


class Loud:
    def __str__(self) -> str:
        return "loud"


class Text(str):
    pass


UNUSUAL = [
    record_of("sold %(count)d", ({"count": 7},)),
    record_of("%d apples", ("many",)),
    record_of("%d %d", (1,)),
    record_of("%s", (Loud(),)),
    record_of("%s", ([1, 2],)),
    record_of(Loud(), None),
    record_of(Text("sold %d")),
    record_of(["no", "text"], None),
    record_of(request_id=7),
    record_of(exc_text="Traceback"),
    record_of(stack_info="Stack"),
    record_of(threadName=Text("main")),
    record_of(level=True),
]


@pytest.mark.parametrize("record", UNUSUAL, ids=range(len(UNUSUAL)))
def test_another_record_is_left_to_python(receiver: Receiver, handler: LogHandler, record: logging.LogRecord) -> None:
    assert not is_native(handler, record)
    handler.handle(record)
    assert said(receiver.message()) == by_python_alone(receiver, handler, record)


def test_a_record_that_lost_something_is_left_to_python(receiver: Receiver, handler: LogHandler) -> None:
    record = record_of()
    del record.process
    record.request_id = 7
    assert not is_native(handler, record)
    handler.handle(record)
    assert receiver.message()["fields"]["request_id"] == 7


def test_any_line_is_the_same_both_ways(receiver: Receiver, handler: LogHandler) -> None:
    arguments = st.lists(st.text() | st.integers() | st.floats() | st.none() | st.booleans(), max_size=3)

    @settings(max_examples=150, deadline=None)
    @given(st.text(st.sampled_from("a%sdr() é\n"), max_size=12), arguments)
    def same(template: str, given_arguments: list[Any]) -> None:
        record = record_of(template, tuple(given_arguments))
        handler.handle(record)
        assert said(receiver.message()) == by_python_alone(receiver, handler, record)

    same()


@contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute, and put back what was there before, if there was anything."""
    before = vars(owner).get(name)
    had_it = name in vars(owner)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had_it:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


@contextmanager
def filtered(handler: LogHandler) -> Iterator[None]:
    def keeps_nothing(record: logging.LogRecord) -> bool:
        return False

    handler.addFilter(keeps_nothing)
    try:
        yield
    finally:
        handler.removeFilter(keeps_nothing)


@contextmanager
def with_spans() -> Iterator[None]:
    sys.modules[_tracing.MODULE] = types.ModuleType("trace")
    try:
        yield
    finally:
        del sys.modules[_tracing.MODULE]


def nothing(*_: Any) -> bool:
    return False


# What is replaced on the way of a record, and the payload that comes of it; None where nothing is sent.
REPLACED: dict[str, tuple[Callable[[LogHandler], AbstractContextManager[None]], str | None]] = {
    "a filter": (filtered, None),
    "a formatter": (lambda handler: attribute(handler, "formatter", logging.Formatter("> %(message)s")), "> sold 7"),
    "the handler's emit": (lambda handler: attribute(handler, "emit", nothing), None),
    "the handler's filter": (lambda handler: attribute(handler, "filter", nothing), None),
    "the class's emit": (lambda _: attribute(LogHandler, "emit", nothing), None),
    "the class's filter": (lambda _: attribute(LogHandler, "filter", nothing), None),
    "the base's filter": (lambda _: attribute(logging.Handler, "filter", nothing), None),
    "the filterer's filter": (lambda _: attribute(logging.Filterer, "filter", nothing), None),
    "the record's getMessage": (lambda _: attribute(logging.LogRecord, "getMessage", lambda _: "mine"), "mine"),
    "spans": (lambda _: with_spans(), "sold 7"),
    "the client": (lambda handler: attribute(handler, "client", None), None),
}


@pytest.mark.parametrize("what", REPLACED)
def test_what_is_replaced_is_used_from_the_next_record_on(receiver: Receiver, handler: LogHandler, what: str) -> None:
    replace, payload = REPLACED[what]
    assert is_native(handler, record_of())
    receiver.message()
    with replace(handler):
        assert not is_native(handler, record_of())
        handler.handle(record_of())
    if payload is not None:
        assert receiver.message()["payload"] == payload
    assert is_native(handler, record_of("after", None))
    assert receiver.message()["payload"] == "after"


def test_derived_handlers_and_records_are_left_to_python(receiver: Receiver, handler: LogHandler) -> None:
    class Derived(LogHandler):
        pass

    class Braces(logging.LogRecord):
        def getMessage(self) -> str:
            return self.msg.format(*self.args)

    record = Braces("shop", logging.INFO, "shop.py", 1, "sold {}", (7,), None)
    assert not is_native(handler, record)
    handler.handle(record)
    assert receiver.message()["payload"] == "sold 7"
    derived = Derived(receiver.client)
    assert not is_native(derived, record_of())
    derived.handle(record_of())
    assert receiver.message()["payload"] == "sold 7"


def test_a_replaced_client_sees_records(receiver: Receiver, handler: LogHandler) -> None:
    seen: list[Any] = []
    with attribute(receiver.client, "send_message", seen.append):
        handler.handle(record_of())
    assert [message["payload"] for message in seen] == ["sold 7"]
    # The path is made again by a call of the client's.
    handler.handle(record_of())
    assert receiver.message()["payload"] == "sold 7"


def test_what_metlog_says_and_what_is_logged_within_it_is_not_sent(receiver: Receiver, handler: LogHandler) -> None:
    for name in ("metlog.internal", "metlog.internal.more"):
        assert is_native(handler, record_of(name=name))
    outside = _reentry.enter()
    try:
        assert is_native(handler, record_of())
    finally:
        _reentry.leave(outside)
    assert is_native(handler, record_of(name="metlog.internals"))
    assert receiver.message()["fields"]["logger_name"] == "metlog.internals"


def test_filters_of_the_client_and_bound_fields_hold_for_records(receiver: Receiver, handler: LogHandler) -> None:
    from metlog.filters import severity_max_provider

    with attribute(receiver.client, "filters", [severity_max_provider(severity=4)]):
        handler.handle(record_of())
        handler.handle(record_of("kept", None, logging.ERROR))
    assert receiver.message()["payload"] == "kept"
    with receiver.client.bind(request_id=7):
        handler.handle(record_of())
    assert receiver.message()["fields"]["request_id"] == 7


def test_who_has_sent_a_record_is_noted_for_who_wants_to_know(receiver: Receiver, handler: LogHandler) -> None:
    _reentry.inside.senders = []
    try:
        assert is_native(handler, record_of())
        assert _reentry.inside.senders == [receiver.client]
    finally:
        _reentry.inside.senders = None
    assert receiver.message()["payload"] == "sold 7"
