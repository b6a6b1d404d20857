"""The fixture ``metlog_capture``: what it shows, and what it says when something is missing."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from metlog.client import MetlogClient
from metlog.holder import CLIENT_HOLDER
from metlog.testing import Capture, capturing


def place_order() -> None:
    client = CLIENT_HOLDER.default_client
    client.incr("orders", 2, fields={"shop": "north"})
    client.incr("orders", fields={"shop": "south"})
    with client.timer("till"):
        logging.getLogger("shop").warning("the cart is nearly full")


def test_what_is_sent_is_there(metlog_capture: Capture) -> None:
    place_order()
    assert metlog_capture.count("orders") == 3
    assert metlog_capture.count("orders", shop="south") == 1
    assert metlog_capture.count("returns") == 0
    assert len(metlog_capture.timings("till")) == 1
    assert metlog_capture.lines == ["the cart is nearly full"]
    metlog_capture.one(type="oldstyle", severity=4, payload=re.compile("nearly"), logger_name="shop")
    metlog_capture.none(type="sentry")
    metlog_capture.clear()
    assert metlog_capture.messages == []


def test_what_is_missing_is_said_in_words(metlog_capture: Capture) -> None:
    place_order()
    with pytest.raises(AssertionError) as failure:
        metlog_capture.one(type="oldstyle", payload=re.compile("empty"))
    said = str(failure.value)
    assert said.startswith("expected one message with type='oldstyle', payload=/empty/, found 0; this was sent:\n")
    assert "  counter severity=6 '2' shop='north' name='orders' rate=1.0\n" in said
    assert "'the cart is nearly full'" in said
    with pytest.raises(AssertionError, match="expected one message with type='counter', found 2; this was sent:"):
        metlog_capture.one(type="counter")
    with pytest.raises(AssertionError, match="expected no message with name='till', found 1; this was sent:"):
        metlog_capture.none(name="till")


def test_that_nothing_was_sent_is_said_too(metlog_capture: Capture) -> None:
    with pytest.raises(AssertionError, match="expected one message with anything, found 0; nothing was sent"):
        metlog_capture.one()


def test_without_an_init_there_are_its_plug_ins_all_the_same(metlog_capture: Capture) -> None:
    try:
        raise LookupError("no apples")
    except LookupError:
        CLIENT_HOLDER.default_client.raven("the order failed")
    metlog_capture.one(type="sentry", msg="the order failed")


def test_what_no_client_can_send_is_said_to_be_that(holder: Any) -> None:
    client = holder.get_client("shop")
    with capturing() as capture:
        with pytest.raises(AssertionError, match=r"no client has the plug-in 'raven'; that of metlog.init\(\) has it"):
            capture.one(type="sentry")
        client.raven = print
        with pytest.raises(AssertionError) as failure:
            capture.one(type="sentry")
        assert "no client has" not in str(failure.value)


def test_of_much_that_was_sent_the_last_is_shown(metlog_capture: Capture) -> None:
    for number in range(100):
        CLIENT_HOLDER.default_client.info("x" * 1000, fields={"number": number})
    lines = str(metlog_capture).splitlines()
    assert lines[1] == "  … 70 before these"
    assert len(lines) == 32
    assert max(map(len, lines)) <= 162


def test_everything_is_afterwards_as_it_was() -> None:
    sender = Capture()
    client = MetlogClient(sender, "tests.before")
    before = logging.getLogger().handlers[:]
    CLIENT_HOLDER.set_client("tests.before", client)
    CLIENT_HOLDER.set_default_client_name("tests.before")
    with capturing() as capture:
        client.info("sold")
    assert capture.lines == ["sold"]
    assert client.sender is sender
    assert sender.messages == []
    CLIENT_HOLDER.delete_client("tests.before")
    with capturing() as capture:
        CLIENT_HOLDER.default_client.info("sold")
        assert capture.lines == ["sold"]
    assert CLIENT_HOLDER.default_client is None
    assert logging.getLogger().handlers == before
