"""A pytest fixture that shows what the code under test sends, and says in words what is missing.

    def test_an_order_is_counted(metlog_capture):
        place_order()
        assert metlog_capture.count("orders") == 1
        metlog_capture.one(type="oldstyle", severity=4, payload="the cart is nearly full")

pytest finds it by itself where metlog-py is installed.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from metlog.client import MetlogClient

_ENVELOPE = ("type", "timestamp", "logger", "severity", "payload", "env_version", "metlog_pid", "metlog_hostname")

# In the list of what was sent: as many messages, and as many characters of each.
_MOST_SHOWN = 30
_LONGEST_SHOWN = 160


class Capture:
    """What was sent since the test began, in order."""

    def __init__(self) -> None:
        """Begin with nothing."""
        #: The messages, as the router would read them.
        self.messages: list[dict[str, Any]] = []

    def send_message(self, msg: dict[str, Any]) -> None:
        """Take a message: this is the sender of every client while the test runs."""
        from metlog import values

        self.messages.append(json.loads(values.encode(msg)[0]))

    def of(self, **wanted: Any) -> list[dict[str, Any]]:
        """Return the messages that are as wanted.

        :param wanted: values of the envelope's keys (``type``, ``logger``, ``severity``, ``payload`` …) and of
            ``fields``; a pattern of ``re`` is searched for in the text.
        """
        return [message for message in self.messages if all(_fits(message, *want) for want in wanted.items())]

    def one(self, **wanted: Any) -> dict[str, Any]:
        """Return the only message that is as wanted; the test fails where there is none, or several."""
        found = self.of(**wanted)
        assert len(found) == 1, self._complaint("one message", wanted, len(found))
        return found[0]

    def none(self, **wanted: Any) -> None:
        """Fail the test where there is a message as wanted."""
        found = self.of(**wanted)
        assert not found, self._complaint("no message", wanted, len(found))

    def count(self, name: str, **wanted: Any) -> float:
        """Return what a counter counted in all."""
        return sum(float(message["payload"]) for message in self.of(type="counter", name=name, **wanted))

    def timings(self, name: str, **wanted: Any) -> list[float]:
        """Return the milliseconds that a timer measured."""
        return [float(message["payload"]) for message in self.of(type="timer", name=name, **wanted)]

    @property
    def lines(self) -> list[str]:
        """The log lines."""
        return [message["payload"] for message in self.of(type="oldstyle")]

    def clear(self) -> None:
        """Forget what was sent so far."""
        self.messages.clear()

    def __str__(self) -> str:
        """List the messages, one a line."""
        if not self.messages:
            return "nothing was sent"
        shown = [f"  {_summary(message)}" for message in self.messages[-_MOST_SHOWN:]]
        if len(self.messages) > _MOST_SHOWN:
            shown.insert(0, f"  … {len(self.messages) - _MOST_SHOWN} before these")
        return "\n".join(["this was sent:", *shown])

    def _complaint(self, expected: str, wanted: dict[str, Any], found: int) -> str:
        wish = ", ".join(f"{name}={_shown(value)}" for name, value in wanted.items()) or "anything"
        return f"expected {expected} with {wish}, found {found}; {self}{_hint(wanted)}"


def _fits(message: dict[str, Any], name: str, value: Any) -> bool:
    held = message if name in _ENVELOPE or name not in message.get("fields", {}) else message["fields"]
    if name not in held:
        return False
    if isinstance(value, re.Pattern):
        return isinstance(held[name], str) and value.search(held[name]) is not None
    return bool(held[name] == value)


def _hint(wanted: dict[str, Any]) -> str:
    """Return what to do where no client can send what is wanted, because none has the plug-in."""
    from metlog.holder import CLIENT_HOLDER

    plugin = _PLUGINS.get(str(wanted.get("type")))
    if plugin is None or any(hasattr(client, plugin) for client in list(CLIENT_HOLDER._clients.values())):
        return ""
    return f"\n(no client has the plug-in {plugin!r}; that of metlog.init() has it)"


# What sends messages of a type.
_PLUGINS = {"sentry": "raven", "cef": "cef"}


def _shown(value: Any) -> str:
    return f"/{value.pattern}/" if isinstance(value, re.Pattern) else repr(value)


def _summary(message: dict[str, Any]) -> str:
    fields = " ".join(f"{name}={value!r}" for name, value in message.get("fields", {}).items())
    summary = f"{message['type']} severity={message['severity']} {message['payload']!r} {fields}"
    return summary if len(summary) <= _LONGEST_SHOWN else f"{summary[: _LONGEST_SHOWN - 1]}…"


@contextlib.contextmanager
def capturing() -> Iterator[Capture]:
    """Capture what all clients of ``CLIENT_HOLDER`` send, and what is logged, while the block runs.

    That goes for clients that are made or configured meanwhile as well. Where there is no default client there is one,
    with the plug-ins that `metlog.init` gives, until the code under test names its own or the block ends.
    """
    from metlog import _plugins
    from metlog.handler import LogHandler
    from metlog.holder import CLIENT_HOLDER

    capture = Capture()
    is_new = CLIENT_HOLDER.default_client is None
    before = CLIENT_HOLDER.global_config.get("default")
    ours = CLIENT_HOLDER.get_client(_NAME) if is_new else None
    if ours is not None:
        # As `metlog.init` would make it.
        _plugins.add_to(ours)
        CLIENT_HOLDER.set_default_client_name(_NAME)
    root = logging.getLogger()
    handler = None if any(isinstance(one, LogHandler) for one in root.handlers) else LogHandler()
    if handler is not None:
        root.addHandler(handler)
    try:
        with _in_place_of_senders(capture):
            yield capture
    finally:
        if handler is not None:
            root.removeHandler(handler)
        # Under the very name there may be the application's by now.
        if ours is not None and not ours.is_active:
            is_still_ours = CLIENT_HOLDER.global_config.get("default") == _NAME
            CLIENT_HOLDER.delete_client(_NAME)
            if is_still_ours:
                CLIENT_HOLDER.set_default_client_name(before)


@contextlib.contextmanager
def _in_place_of_senders(capture: Capture) -> Iterator[None]:
    """Give every client of ``CLIENT_HOLDER`` this sender; each has its own one afterwards."""
    from metlog.client import MetlogClient
    from metlog.holder import CLIENT_HOLDER, MetlogClientHolder

    taken: dict[int, tuple[MetlogClient, Any]] = {}

    def take(client: MetlogClient) -> None:
        if client.sender is not capture:
            taken[id(client)] = client, client.sender
            client.sender = capture

    def take_new_ones() -> None:
        for client in list(CLIENT_HOLDER._clients.values()):
            if id(client) not in taken:
                take(client)

    def then_take_new_ones(method: Any) -> Any:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            take_new_ones()
            return result

        return call

    set_up = MetlogClient.setup

    @functools.wraps(set_up)
    def set_up_and_take(self: MetlogClient, *args: Any, **kwargs: Any) -> None:
        set_up(self, *args, **kwargs)
        if any(self is client for client in CLIENT_HOLDER._clients.values()):
            take(self)

    take_new_ones()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MetlogClient, "setup", set_up_and_take)
        for name in ("get_client", "set_client"):
            patch.setattr(MetlogClientHolder, name, then_take_new_ones(getattr(MetlogClientHolder, name)))
        try:
            yield
        finally:
            for client, sender in taken.values():
                client.sender = sender


_NAME = "test"


@pytest.fixture
def metlog_capture() -> Iterator[Capture]:
    """Show what the code under test sends through Metlog, and what it logs."""
    with capturing() as capture:
        yield capture
