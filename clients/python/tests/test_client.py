"""The client's calls, and what they never do to an application."""

from __future__ import annotations

import collections
import datetime
import logging
import os
import re
import socket
import sys
import threading
import types

import hostile
import pytest

from metlog import _bound, _diagnostics
from metlog.client import SEVERITY, MetlogClient
from metlog.senders import NoSendSender, StdOutSender, UdpSender


class RaisingSender:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def send_message(self, msg):
        raise self.error


def test_a_message_has_the_envelopes_keys_in_their_order(captured):
    captured.client.metlog("x", payload="y", fields={"a": 1})
    message = captured.message()
    assert list(message) == [
        "type", "timestamp", "logger", "severity", "payload", "fields", "env_version", "metlog_pid", "metlog_hostname",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", message.pop("timestamp"))
    assert message == {
        "type": "x",
        "logger": "tests",
        "severity": 6,
        "payload": "y",
        "fields": {"a": 1},
        "env_version": "0.8",
        "metlog_pid": os.getpid(),
        "metlog_hostname": socket.gethostname(),
    }


@pytest.mark.parametrize(
    ("call", "severity"),
    [
        ("debug", 7), ("info", 6), ("notice", 5), ("warn", 4), ("warning", 4), ("error", 3), ("critical", 2),
        ("exception", 1), ("alert", 1), ("emergency", 0),
    ],
)  # fmt: skip
def test_each_log_call_has_its_severity_and_takes_fields(captured, call, severity):
    getattr(captured.client, call)("%s is %d", "x", 7, fields={"user": 7})
    message = captured.message()
    assert (message["type"], message["severity"], message["payload"]) == ("oldstyle", severity, "x is 7")
    assert message["fields"] == {"user": 7}


def test_a_derived_client_keeps_what_it_sets_before_it_is_made():
    class Derived(MetlogClient):
        def __init__(self):
            self.tenant = "north"
            super().__init__(None, "shop")

    client = Derived()
    assert (client.tenant, client.logger) == ("north", "shop")


def test_a_single_mapping_fills_a_template_by_names(captured):
    captured.client.info("%(who)s did it", {"who": "nobody"})
    assert captured.message()["payload"] == "nobody did it"


def test_a_template_without_arguments_is_not_formatted(captured):
    captured.client.info("100%")
    captured.client.info("100%", {})
    assert [message["payload"] for message in captured.messages()] == ["100%", "100%"]


def test_bad_arguments_give_the_template_and_what_the_arguments_are(captured):
    captured.client.info("%d apples", "many")
    captured.client.info("one %s", "two", "three")
    captured.client.info("%(a)s", {"b": 1})
    assert [message["payload"] for message in captured.messages()] == [
        "%d apples ('many',)",
        "one %s ('two', 'three')",
        "%(a)s ({'b': 1},)",
    ]


def test_an_argument_that_cannot_say_what_it_is_does_no_harm(captured):
    class Mute:
        def __str__(self):
            raise RuntimeError

        __repr__ = __str__

    captured.client.info("%s", Mute())
    captured.client.info(Mute(), 1)
    assert len(captured.messages()) == 2


def raised() -> ValueError:
    try:
        raise ValueError("bad")
    except ValueError as error:
        return error


@pytest.mark.parametrize("kind", ["instance", "tuple", "true"])
def test_exc_info_appends_the_traceback(captured, kind):
    error = raised()
    exc_info = {"instance": error, "tuple": (ValueError, error, error.__traceback__), "true": True}[kind]
    try:
        raise error
    except ValueError:
        captured.client.error("it broke", exc_info=exc_info)
    payload = captured.message()["payload"]
    assert payload.startswith("it broke\nTraceback (most recent call last):\n")
    assert payload.endswith("\nValueError: bad")


def test_exc_info_without_an_exception_adds_nothing(captured):
    captured.client.error("nothing broke", exc_info=True)
    captured.client.exception("nothing broke")
    assert [message["payload"] for message in captured.messages()] == ["nothing broke", "nothing broke"]


def test_exception_formats_its_arguments(captured):
    try:
        raise ValueError("bad")
    except ValueError as error:
        captured.client.exception("%s failed: %s", "it", error)
    assert captured.message()["payload"].startswith("it failed: bad\nTraceback")


def test_exception_takes_exc_info_by_position_as_in_0_10_0(captured):
    error = raised()
    captured.client.exception("quiet", False)
    captured.client.exception("quiet", None)
    captured.client.exception("quiet", 0)
    captured.client.exception("loud", (ValueError, error, error.__traceback__))
    captured.client.exception("loud", error)
    try:
        raise error
    except ValueError:
        captured.client.exception("loud", 1)
    payloads = [message["payload"] for message in captured.messages()]
    assert payloads[:3] == ["quiet", "quiet", "quiet"]
    assert [payload.splitlines()[0] for payload in payloads[3:]] == ["loud", "loud", "loud"]
    assert all(payload.endswith("ValueError: bad") for payload in payloads[3:])


def test_what_exception_cannot_take_for_exc_info_is_shown(captured):
    captured.client.exception("the order failed", "A-7")
    captured.client.exception("%s failed", None)
    assert [message["payload"] for message in captured.messages()] == ["the order failed ('A-7',)", "None failed"]


def test_the_callers_fields_stay_as_they_are(captured):
    fields = {"a": 1}
    captured.client.filters = [lambda msg: msg["fields"].update(b=2) or True]
    captured.client.metlog("x", fields=fields)
    captured.client.incr("x", fields=fields)
    captured.client.timer_send("x", 1, fields=fields)
    assert fields == {"a": 1}


def test_fields_that_are_no_mapping_are_the_callers_mistake(captured):
    with pytest.raises(TypeError, match="fields must be a mapping, not list"):
        captured.client.metlog("x", fields=["a"])
    with pytest.raises(TypeError):
        captured.client.incr("x", no_such_argument=1)


def test_a_span_of_time_is_sent_in_milliseconds(captured):
    captured.client.timer_send("parse", datetime.timedelta(milliseconds=320))
    captured.client.timer_send("parse", datetime.timedelta(microseconds=1500))
    assert [message["payload"] for message in captured.messages()] == ["320.0", "1.5"]


def test_metrics_have_a_name_and_a_rate(captured):
    captured.client.incr("hits")
    captured.client.incr("hits", 10, fields={"page": "/"})
    captured.client.gauge("depth", 2.5)
    captured.client.timer_send("took", 12, rate=0.5)
    assert [(m["type"], m["payload"], m["fields"]) for m in captured.messages()] == [
        ("counter", "1", {"name": "hits", "rate": 1.0}),
        ("counter", "10", {"page": "/", "name": "hits", "rate": 1.0}),
        ("gauge", "2.5", {"name": "depth", "rate": 1.0}),
        ("timer", "12", {"name": "took", "rate": 0.5}),
    ]


def test_a_rate_of_zero_sends_nothing_and_counts_it(captured):
    for _ in range(3):
        captured.client.incr("hits", rate=0)
    assert captured.messages() == []
    assert captured.client.stats()["sampled_out"] == 3


def test_no_random_numbers_of_the_application_change(captured):
    import random

    random.seed(7)
    expected = random.random()
    random.seed(7)
    MetlogClient(captured.sender, "another")
    assert random.random() == expected


def test_a_method_of_a_plug_in_is_bound_to_the_client(captured):
    def shout(self, text):
        self.info(text.upper())

    shout.metlog_name = "shout"
    captured.client.add_method(shout)
    captured.client.shout("hey")
    assert captured.message()["payload"] == "HEY"
    assert isinstance(captured.client.shout, types.MethodType)
    with pytest.raises(SyntaxError):
        captured.client.add_method(shout)
    captured.client.add_method(shout, override=True)
    captured.client.add_method(shout, override="cry")
    assert captured.client.cry.metlog_name == "shout"
    with pytest.raises(TypeError):
        captured.client.add_method("shout")


def test_a_filter_turns_messages_away(captured):
    captured.client.filters = [lambda msg: msg["payload"] != "no"]
    captured.client.info("no")
    captured.client.info("yes")
    assert captured.message()["payload"] == "yes"
    assert captured.client.stats()["filtered"] == 1


def test_a_raising_filter_lets_messages_through_and_is_counted(captured, caplog):
    captured.client.filters = [lambda msg: msg["no such key"]]
    captured.client.info("a")
    captured.client.info("b")
    assert len(captured.messages()) == 2
    stats = captured.client.stats()
    assert (stats["filter_errors"], stats["sent"]) == (2, 2)
    assert [record.name for record in caplog.records] == ["metlog.internal"]


def test_a_raising_sender_is_told_once_a_second_and_counted(capsys):
    client = MetlogClient(RaisingSender(OSError("gone")), "tests")
    for _ in range(100):
        client.info("lost")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error sending message (OSError('gone')): [{'type': 'oldstyle', ")
    assert client.stats()["dropped"] == {"sender-error": 100}


@pytest.mark.parametrize("stream", [None, types.SimpleNamespace()])
def test_a_process_without_stderr_goes_on(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    MetlogClient(RaisingSender(OSError("gone")), "tests").info("lost")


def test_what_is_no_exception_passes():
    for error in (KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(error)):
            MetlogClient(RaisingSender(error), "tests").info("x")


def test_an_unconfigured_client_is_silent_after_its_first_line(capsys):
    client = MetlogClient(None, "tests")
    for _ in range(10):
        client.info("lost")
    assert capsys.readouterr().err == "The metlog client 'tests' has no sender: its messages are dropped.\n"
    assert client.stats()["dropped"] == {"no-sender": 10}
    assert not client.is_active
    with pytest.raises(NotImplementedError):
        NoSendSender().send_message({})


def test_a_closed_client_drops_and_counts(captured):
    captured.client.info("before")
    assert captured.client.close()
    captured.client.info("after")
    assert captured.message()["payload"] == "before"
    assert captured.client.stats()["dropped"] == {"closed": 1}


def test_the_ledger_adds_up(captured):
    for number in range(20):
        captured.client.info("%d", number)
    stats = captured.client.stats()
    assert stats["accepted"] == stats["sent"] + sum(stats["dropped"].values()) + stats["queued"] == 20


def test_bytes_that_are_no_text_are_sent_as_their_repr(captured):
    captured.client.metlog("x", payload=b"caf\xc3\xa9", fields={"bad": b"\xfa"})
    message = captured.message()
    assert message["payload"] == "café"
    assert message["fields"] == {"bad": "b'\\xfa'"}
    assert message["metlog_marks"] == {"unconvertible": ["fields.bad"]}
    assert captured.client.stats()["unconvertible"] == 1


def test_a_filter_that_logs_makes_no_circle(captured):
    from metlog.logging import hook_logger

    logger = logging.getLogger("tests.circle")
    hook_logger("tests.circle", captured.client)
    captured.client.filters = [lambda msg: logger.warning("filtering") or True]
    captured.client.info("hey")
    logger.warning("hello")
    assert [message["payload"] for message in captured.messages()] == ["hey", "hello"]


def test_fields_are_bound_for_a_block(captured):
    client = captured.client
    with client.bind(request_id=7, user="x"):
        client.info("a")
        with client.bind(user="y"):
            client.info("b", fields={"request_id": 8})
        client.incr("c")
    client.info("d")
    a, b, c, d = (message["fields"] for message in captured.messages())
    assert a == {"request_id": 7, "user": "x"}
    assert b == {"request_id": 8, "user": "y"}
    assert c == {"request_id": 7, "user": "x", "name": "c", "rate": 1.0}
    assert d == {}


def test_bound_fields_are_those_of_one_client_thread_and_task(captured):
    import asyncio

    other = MetlogClient(captured.sender, "other")

    async def task(number):
        with captured.client.bind(number=number):
            await asyncio.sleep(0)
            captured.client.info("from %d", number)

    async def main():
        await asyncio.gather(*(task(number) for number in range(5)))

    with captured.client.bind(outer=True):
        other.info("x")
        thread = threading.Thread(target=captured.client.info, args=("y",))
        thread.start()
        thread.join()
    asyncio.run(main())
    messages = captured.messages()
    assert [message["fields"] for message in messages[:2]] == [{}, {}]
    assert all(message["payload"] == f"from {message['fields']['number']}" for message in messages[2:])
    assert len(messages) == 7


def test_fields_of_a_generator_that_is_closed_in_another_thread_do_not_stay(captured):
    client = captured.client

    def work(number):
        with client.bind(number=number):
            yield

    waiting = []
    for number in range(20):
        waiting.append(work(number))
        next(waiting[-1])
        if len(waiting) > 3:
            closing = threading.Thread(target=waiting.pop(0).close)
            closing.start()
            closing.join()
    client.info("the last one that is open")
    for generator in waiting:
        closing = threading.Thread(target=generator.close)
        closing.start()
        closing.join()
    client.info("none is open")
    assert [message["fields"] for message in captured.messages()] == [{"number": 19}, {}]
    assert _bound.is_any() is None


def test_threads_may_share_a_binding(captured):
    binding = captured.client.bind(shared=True)
    entered = threading.Barrier(2)
    left = threading.Event()

    def work(first):
        with binding:
            entered.wait(60)
            if not first:
                assert left.wait(60)
        if first:
            left.set()
        captured.client.info("outside")

    threads = [threading.Thread(target=work, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [message["fields"] for message in captured.messages()] == [{}, {}]


def test_everything_may_be_replaced_at_any_time(captured):
    client = captured.client
    seen = []
    client.send_message = seen.append
    client.logger, client.severity, client.pid, client.hostname = "l", SEVERITY.ERROR, 1, "h"
    client.metlog("x")
    (message,) = seen
    assert (message["logger"], message["severity"], message["metlog_pid"], message["metlog_hostname"]) == (
        "l", 3, 1, "h",
    )  # fmt: skip
    del client.send_message
    client.metlog("x")
    assert len(captured.messages()) == 1


def test_setup_configures_a_client_anew(captured):
    client = MetlogClient(None, "before")
    client.setup(captured.sender, "after", 3, "slow", [lambda msg: True])
    assert (client.is_active, client.logger, client.severity) == (True, "after", 3)
    assert client._disabled_timers == {"slow"}
    assert len(client.filters) == 1
    client.setup()
    assert not client.is_active


def test_a_message_that_is_no_dictionary_goes_to_the_sender_as_it_is(capsys):
    client = MetlogClient(StdOutSender("jsonl"), "tests")
    client.send_message("just text")
    assert capsys.readouterr().out == '"just text"\n'


def test_unknown_arguments_of_a_log_call_are_ignored_as_in_0_10_0(captured, caplog):
    captured.client.info("x", extra={"a": 1})
    assert captured.message()["payload"] == "x"


def test_a_forked_child_sends_its_own_process_id(captured):
    child = os.fork()
    if child == 0:
        captured.client.info("x")
        os._exit(0 if captured.message()["metlog_pid"] == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert captured.client.stats()["sent"] == 0


def test_handlers_and_filters_that_fail_in_any_way_do_not_reach_the_application(captured):
    class Broken:
        def __call__(self, message):
            raise ValueError(self)

        def __repr__(self):
            raise ValueError("there is nothing to say")

    class Raising(logging.Handler):
        def emit(self, record):
            raise RuntimeError("a handler of the application")

    said = set(_diagnostics._said)
    handler = Raising()
    logging.getLogger().addHandler(handler)
    try:
        captured.client.filters = [Broken()]
        captured.client.incr("x")
        captured.client.info("y", colour="red")
        # One topic for all objects of a kind: what was said is remembered for ever.
        captured.client.filters = [Broken() for _ in range(10)]
        captured.client.incr("z")
    finally:
        logging.getLogger().removeHandler(handler)
        new = _diagnostics._said - said
        _diagnostics._said.clear()
        _diagnostics._said.update(said)
    assert len(captured.messages()) == 3
    assert len([topic for topic in new if topic.startswith("filter ")]) == 1


class Proxy:
    """A proxy for something that is not there, of which even the class is unknown."""

    @property
    def __class__(self):
        raise KeyError("nothing")


def test_a_value_without_a_class_is_sent_as_its_repr_and_marked(captured):
    captured.client.metlog("x", fields={"user": Proxy(), "other": 7})
    message = captured.message()
    assert "Proxy object" in message["fields"]["user"]
    assert message["fields"]["other"] == 7
    assert message["metlog_marks"] == {"unconvertible": ["fields.user"]}
    assert captured.client.stats()["unconvertible"] == 1


def test_a_value_without_a_class_is_sent_over_a_network_too(udp):
    client = MetlogClient(UdpSender("127.0.0.1", udp.port), "tests")
    client.metlog("x", fields={"user": Proxy()})
    message = udp.message()
    assert "Proxy object" in message["fields"]["user"]
    assert message["metlog_marks"] == {"unconvertible": ["fields.user"]}


def _calls():
    """Each call of a client with a value in each of its places."""
    for name in ("debug", "info", "warning", "exception", "critical"):
        yield name, lambda client, value, name=name: getattr(client, name)(value)
        yield f"{name} %", lambda client, value, name=name: getattr(client, name)("%s", value)
        yield f"{name} without %", lambda client, value, name=name: getattr(client, name)("x", value)
        yield f"{name} % %", lambda client, value, name=name: getattr(client, name)("%s %s", value, 1)
        yield f"{name} exc_info", lambda client, value, name=name: getattr(client, name)("x", exc_info=value)
        yield f"{name} fields", lambda client, value, name=name: getattr(client, name)("x", fields={"v": value})
    yield "metlog", lambda client, value: client.metlog("x", payload=value, fields={"v": value})
    yield "incr", lambda client, value: client.incr("x", value, fields={"v": value})
    yield "timer_send", lambda client, value: client.timer_send("x", value, fields={"v": value})
    yield "gauge", lambda client, value: client.gauge("x", value, fields={"v": value})
    yield "bind", _info_while_bound


def _info_while_bound(client, value):
    with client.bind(v=value, trace_id=value):
        client.info("x")


@pytest.mark.parametrize(("name", "call"), list(_calls()), ids=[name for name, _ in _calls()])
def test_no_value_raises_into_the_application_or_loses_its_message(captured, name, call):
    for kind in hostile.NAMES:
        call(captured.client, hostile.make(kind))
    stats = captured.client.stats()
    assert (stats["sent"], stats["dropped"]) == (len(hostile.NAMES), {})
    assert len(captured.messages()) == len(hostile.NAMES)


def test_a_template_with_an_unbound_proxy_says_what_there_is(captured):
    captured.client.info("for %s", hostile.Unbound())
    assert captured.message()["payload"] == "for %s (<unbound>,)"


@pytest.mark.parametrize("name", hostile.UNREADABLE)
def test_fields_that_cannot_be_read_are_sent_as_their_repr_and_marked(captured, name):
    fields = hostile.make(name)
    captured.client.metlog("x", payload="kept", fields=fields)
    captured.client.incr("x", fields=fields)
    line, counter = captured.messages()
    assert (line["payload"], line["fields"]) == ("kept", {"fields": repr(fields)})
    assert line["metlog_marks"] == {"unconvertible": ["fields.fields"]}
    assert counter["fields"] == {"fields": repr(fields), "name": "x", "rate": 1.0}


def test_a_mapping_of_any_kind_is_fields(captured):
    captured.client.metlog("x", fields=collections.UserDict(a=1))
    captured.client.metlog("x", fields=types.MappingProxyType({"a": 1}))
    assert [message["fields"] for message in captured.messages()] == [{"a": 1}, {"a": 1}]


def _binding(client, **fields):
    """A generator that binds while it goes on, as streamed answers do."""
    with client.bind(**fields):
        yield client.info("inside")
        yield client.info("inside")


def test_nothing_stays_bound_of_blocks_that_overlap(captured):
    client = captured.client
    first, second = _binding(client, a=1), _binding(client, b=2)
    next(first)
    next(second)
    first.close()
    next(second)
    second.close()
    client.info("after")
    told = [message["fields"] for message in captured.messages()]
    assert told == [{"a": 1}, {"a": 1, "b": 2}, {"b": 2}, {}]
    assert _bound.is_any() is None, "what comes next is as quick as before"


def test_a_task_keeps_what_was_bound_where_it_began(captured):
    import asyncio

    async def later(go_on):
        await go_on.wait()
        captured.client.info("later")

    async def main():
        go_on = asyncio.Event()
        with captured.client.bind(request_id=7):
            task = asyncio.create_task(later(go_on))
            await asyncio.sleep(0)
        captured.client.info("after")
        go_on.set()
        await task

    asyncio.run(main())
    assert {message["payload"]: message["fields"] for message in captured.messages()} == {
        "after": {},
        "later": {"request_id": 7},
    }


def test_one_binding_may_be_entered_by_several_threads_at_once(captured):
    binding = captured.client.bind(a=1)
    entered, leave = threading.Barrier(3), threading.Barrier(3)

    def work():
        with binding:
            entered.wait(30)
            leave.wait(30)
        captured.client.info("after")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    entered.wait(30)
    with binding, binding:
        leave.wait(30)
        for thread in threads:
            thread.join()
        captured.client.info("inside")
    captured.client.info("after")
    assert [message["fields"] for message in captured.messages()] == [{}, {}, {"a": 1}, {}]
