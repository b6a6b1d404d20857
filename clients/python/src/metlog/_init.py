"""Everything that an application of today needs, in one call."""

from __future__ import annotations

import logging
import os
import threading

from metlog import _diagnostics, _hooks, _plugins, _target
from metlog._severity import SEVERITY, checked
from metlog.client import MetlogClient
from metlog.holder import CLIENT_HOLDER
from metlog.senders import NoSendSender
from metlog.senders.base import Sender

# Environment variables: where to send to, and whether not to.
TARGET_VARIABLE = "METLOG_URL"
DISABLED_VARIABLE = "METLOG_DISABLED"

# Decimals of the milliseconds that timers send.
TIMER_PRECISION = 3

_NO = ("", "0", "false", "no", "off")


# Seconds that a call waits for the first one, where both come at once.
PATIENCE = 5.0


class _First:
    """The first call: what it made, and whether it is done."""

    def __init__(self, client: MetlogClient, name: str, arguments: tuple[object, ...]) -> None:
        self.client = client
        self.name = name
        self.arguments = arguments
        self.process = os.getpid()
        self.thread = threading.get_ident()
        self.is_done = threading.Event()

    def wait(self) -> None:
        """Wait until it is done, unless it is this thread that is at it, further out."""
        if not self.is_done.is_set() and self.thread != threading.get_ident():
            self.is_done.wait(PATIENCE)

    def is_dead(self) -> bool:
        """Return whether it is over: its client is closed, or a process was forked in the middle of it."""
        return self.client._closed or (self.process != os.getpid() and not self.is_done.is_set())


class _State:
    """The first call, once there is one."""

    calls: dict[str, _First] = {}  # noqa: RUF012  one of the process

    @classmethod
    def first(cls) -> _First | None:
        """Return the first call, if there was one."""
        call = cls.calls.get(_FIRST)
        return None if call is None or call.is_dead() else call

    @classmethod
    def claim(cls, call: _First) -> _First:
        """Return the first call, which is this one if there is no other. Of several at once one is it."""
        found = cls.calls.setdefault(_FIRST, call)
        if found.is_dead():
            found = cls.calls[_FIRST] = call
        return found


_FIRST = "first"


def init(
    logger: str = "",
    target: str | None = None,
    *,
    severity: int = SEVERITY.INFORMATIONAL,
    timer_precision: int = TIMER_PRECISION,
    hook_logging: bool = True,
    level: int | str = logging.NOTSET,
    report_exceptions: bool = True,
    flush_on_sigterm: bool = False,
) -> MetlogClient:
    """Make a client, and let it have what the application logs, and its uncaught exceptions.

    The client becomes the default of ``CLIENT_HOLDER``, and has the plug-ins ``raven`` and ``cef``. A second call
    changes nothing and returns the first one's client, which it makes the default if there is none; of several calls at
    once one is the first. After that client is closed, the next call makes a new one. With ``METLOG_DISABLED=1`` in the
    environment nothing is sent and nothing is hooked.

    :param logger: Which application this is; messages carry it.
    :param target: Where to send to: ``udp://HOST:PORT``, ``tcp://HOST:PORT``, ``unix:///PATH``, ``stdout:`` or
                   ``file:PATH``. Without it the environment variable ``METLOG_URL``, or else udp://127.0.0.1:5565.
    :param severity: The messages' severity, unless a call has its own. What is none, from 0 to 7, is a ValueError.
    :param timer_precision: Decimals of the milliseconds that timers send.
    :param hook_logging: Whether records that reach the root logger are sent.
    :param level: Records below this level are not sent; the application's own levels hold beside it, that of the
                  root logger too, which is WARNING unless somebody sets it.
    :param report_exceptions: Whether uncaught exceptions are sent, of the main thread and of others.
    :param flush_on_sigterm: Whether SIGTERM sends what waits before it ends the process. Only in the main thread.
    """
    arguments = (logger, target, severity, timer_precision, hook_logging, level, report_exceptions, flush_on_sigterm)
    first = _State.first()
    if first is not None:
        return _again(first, arguments)
    checked(severity)
    disabled = os.environ.get(DISABLED_VARIABLE, "").strip().lower() not in _NO
    sender = _Nowhere(is_disabled=True) if disabled else _sender(target)
    known = CLIENT_HOLDER.get_client(logger)
    if known._closed:
        # Whoever closed it, and still has it, finds it closed.
        CLIENT_HOLDER.delete_client(logger)
        known = CLIENT_HOLDER.get_client(logger)
    mine = _First(known, logger, arguments)
    first = _State.claim(mine)
    if first is not mine:
        sender.close(0)
        return _again(first, arguments)
    client = mine.client
    try:
        client.setup(sender, logger, severity)
        client.timer_precision = timer_precision
        _plugins.add_to(client)
        CLIENT_HOLDER.set_default_client_name(logger)
        if not isinstance(sender, NoSendSender):
            if hook_logging:
                _hooks.logging_to(client, level)
            if report_exceptions:
                _hooks.exceptions_to(client)
            if flush_on_sigterm:
                _hooks.flush_on_sigterm(client)
    except BaseException:
        # A wrong argument: the next call may have the right one.
        _State.calls.pop(_FIRST, None)
        raise
    finally:
        mine.is_done.set()
    return client


def _again(first: _First, arguments: tuple[object, ...]) -> MetlogClient:
    """Return the first call's client, which is the default one again where there is none."""
    first.wait()
    if arguments != first.arguments:
        _diagnostics.once(
            "second init",
            "init was called again with other arguments; those of the first call hold until its client is closed",
        )
    if CLIENT_HOLDER.default_client is None:
        CLIENT_HOLDER.set_client(first.name, first.client)
        CLIENT_HOLDER.set_default_client_name(first.name)
    return first.client


class _Nowhere(NoSendSender):
    """Takes messages and does nothing with them."""

    def __init__(self, *, is_disabled: bool) -> None:
        self.is_disabled = is_disabled

    def send_message(self, msg: object) -> None:
        """Do nothing."""


def _sender(target: str | None) -> Sender:
    if target is not None:
        return _target.sender_for(target)
    from_environment = os.environ.get(TARGET_VARIABLE)
    if not from_environment:
        return _target.sender_for(_target.DEFAULT)
    try:
        return _target.sender_for(from_environment)
    except (ValueError, OSError) as error:
        # Set by whoever runs the application, which is no reason for it not to start.
        _diagnostics.once("target", "%s: %s; nothing is sent", TARGET_VARIABLE, error)
        return _Nowhere(is_disabled=False)
