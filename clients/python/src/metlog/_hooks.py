"""What `metlog.init` listens to: the root logger, uncaught exceptions, SIGTERM. Each calls what was there before."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from metlog import _diagnostics, _failures, _reentry
from metlog.client import MetlogClient
from metlog.handler import LogHandler
from metlog.logging import MetlogHandler

# Seconds that a signal waits for what is in the queue.
SIGTERM_TIMEOUT = 2.0


class _Hook:
    """One of our functions, where it was put, and whom it serves."""

    def __init__(self, serves: Any) -> None:
        # A handler or a client; None once another hook does that.
        self.serves: Any = serves
        self.function: Any = None


# By what they listen to.
_hooks: dict[str, _Hook] = {}


def _hook(what: str, current: Any, serves: Any) -> _Hook | None:
    """Return a new hook; None where the earlier one is still in place, which serves the new client from now on."""
    earlier = _hooks.get(what)
    if earlier is not None:
        if earlier.function is current:
            earlier.serves = serves
            return None
        # Something was put around it, or in its place.
        earlier.serves = None
    hook = _hooks[what] = _Hook(serves)
    return hook


def logging_to(client: MetlogClient, level: int | str = logging.NOTSET) -> None:
    """Send every record that reaches the root logger.

    The root logger gets no handler for that. One would keep ``logging.basicConfig`` from doing anything and
    ``logging.lastResort`` from writing warnings to stderr, and ``logging.config`` would remove it.
    """
    handler = LogHandler(client, level=level)
    root = logging.getLogger()
    if logging.NOTSET < handler.level < root.level:
        _diagnostics.once(
            "level",
            "records below %s do not come here whatever `level` says (%s): the root logger holds them back. "
            "logging.basicConfig(level=logging.%s) before metlog.init() lets them through",
            logging.getLevelName(root.level),
            logging.getLevelName(handler.level),
            logging.getLevelName(handler.level),
        )
    hook = _hook("logging", logging.Logger.callHandlers, handler)
    if hook is None:
        return
    inside = _reentry.inside
    before = logging.Logger.callHandlers

    @functools.wraps(before)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        if inside.senders is not None:
            # A handler logs while it is asked below who sends a record. This is another one.
            around, inside.senders = inside.senders, None
            try:
                call_handlers(self, record)
            finally:
                inside.senders = around
            return
        ours = hook.serves
        if ours is None or record.levelno < ours.level:
            before(self, record)
            return
        on_the_way = _on_the_way(self)
        if on_the_way:
            # A handler of the application's own for the same client may send it: that is known when it has.
            senders = _senders_of(before, self, record)
            if all(sender is not ours.client for sender in senders):
                ours.handle(record)
            return
        if on_the_way is not None:
            ours.handle(record)
        before(self, record)

    hook.function = call_handlers
    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]


def _on_the_way(logger: logging.Logger) -> bool | None:
    """Return whether a logger's records meet a handler of ours on the way to the root logger; None: they end before."""
    current: logging.Logger | None = logger
    found = False
    while current is not None:
        for handler in current.handlers:
            if isinstance(handler, (LogHandler, MetlogHandler)):
                found = True
        if current.parent is not None and not current.propagate:
            return None
        current = current.parent
    return found


def _senders_of(
    call: Callable[[logging.Logger, logging.LogRecord], None], logger: logging.Logger, record: logging.LogRecord
) -> list[Any]:
    """Call the handlers for a record, and return the clients that have sent it."""
    inside = _reentry.inside
    senders: list[Any] = []
    inside.senders = senders
    try:
        call(logger, record)
    finally:
        inside.senders = None
    return senders


def exceptions_to(client: MetlogClient) -> None:
    """Send uncaught exceptions, of the main thread and of others. An interrupt from the keyboard is none."""
    before = sys.excepthook
    hook = _hook("exceptions", before, client)
    if hook is not None:

        def in_main_thread(kind: type[BaseException], error: BaseException, trace: Any) -> None:
            if hook.serves is not None and not issubclass(kind, KeyboardInterrupt):
                _failures.report_uncaught(hook.serves, error, "Uncaught exception")
            before(kind, error, trace)

        hook.function = sys.excepthook = in_main_thread
    before_in_threads = threading.excepthook
    hook_in_threads = _hook("exceptions in threads", before_in_threads, client)
    if hook_in_threads is not None:

        def in_thread(args: Any) -> None:
            serves = hook_in_threads.serves
            if serves is not None and args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
                name = args.thread.name if args.thread is not None else "unknown"
                _failures.report_uncaught(serves, args.exc_value, f"Uncaught exception in thread {name}")
            before_in_threads(args)

        hook_in_threads.function = threading.excepthook = in_thread


def flush_on_sigterm(client: MetlogClient) -> None:
    """Send what waits when SIGTERM comes, then do what would have been done without this."""
    if threading.current_thread() is not threading.main_thread():
        _diagnostics.once("sigterm", "flush_on_sigterm has no effect: init was not called in the main thread")
        return
    before = signal.getsignal(signal.SIGTERM)
    if before is None:
        _diagnostics.once("sigterm", "flush_on_sigterm has no effect: SIGTERM has a handler that is not Python's")
        return

    hook = _hook("sigterm", before, client)
    if hook is None:
        return

    def flush_then(number: int, frame: FrameType | None) -> None:
        try:
            if hook.serves is not None:
                hook.serves.flush(SIGTERM_TIMEOUT)
        except Exception as error:
            # A sender that the application wrote. Whoever asked the process to end is not to wait for ever.
            _diagnostics.once("sigterm flush", "could not send what waits: %r", error)
        _go_on(before, number, frame)

    hook.function = flush_then
    signal.signal(signal.SIGTERM, flush_then)


def _go_on(before: Callable[..., Any] | int, number: int, frame: FrameType | None) -> None:
    if callable(before):
        before(number, frame)
    elif before == signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
