"""Celery: one call counts and times every task, reports the exceptions that end one, and binds its names.

    metlog.celery.connect()

A trace goes on in the tasks that its code sends, and the handler of the root logger stays when a worker sets up
logging. What waits in a worker process when it ends is sent: Celery lets no exit function of Python run there.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from celery import signals

from metlog import _exit, _failures, _tracing, _web
from metlog.handler import LogHandler

if TYPE_CHECKING:
    from metlog.client import MetlogClient

_STARTED = "_metlog_started"
_BINDING = "_metlog_binding"
_PIECE = "_metlog_piece"
_TRACEPARENT = "traceparent"
_NANOSECONDS_PER_MICROSECOND = 1000

_connected: _Connection | None = None


def connect(client: MetlogClient | None = None) -> None:
    """Watch over the tasks of this process and of the workers that it starts. A second call only changes the client.

    :param client: what sends; by default the default client of ``CLIENT_HOLDER``, looked up for each task.
    """
    global _connected  # noqa: PLW0603  the signals are global too
    if _connected is not None:
        _connected.client = client
        return
    _connected = _Connection(client)
    for signal, receiver in (
        (signals.before_task_publish, _connected.published),
        (signals.task_prerun, _connected.began),
        (signals.task_postrun, _connected.ended),
        (signals.task_failure, _connected.failed),
        (signals.celeryd_init, _connected.worker_begins),
        (signals.worker_process_shutdown, _connected.process_ends),
        (signals.after_setup_logger, _connected.give_handlers_back),
    ):
        signal.connect(receiver, weak=False)


class _Connection:
    """What is done at each signal."""

    def __init__(self, client: MetlogClient | None) -> None:
        self.client = client
        self._root_handlers: list[logging.Handler] = []
        self.note_handlers()

    def note_handlers(self, **_: Any) -> None:
        """Remember the root logger's handlers of ours, before Celery takes all of them away."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, LogHandler) and handler not in self._root_handlers:
                self._root_handlers.append(handler)

    def worker_begins(self, **_: Any) -> None:
        """Look again when the application is imported, and be the last to hear of the end of a worker process."""
        self.note_handlers()
        signals.worker_process_shutdown.disconnect(self.process_ends)
        signals.worker_process_shutdown.connect(self.process_ends, weak=False)

    def process_ends(self, **_: Any) -> None:
        """Send what waits in a worker process."""
        _exit.flush_all()

    def give_handlers_back(self, logger: Any = None, **_: Any) -> None:
        """Give them back when Celery has set up logging."""
        for handler in self._root_handlers:
            if logger is not None and handler not in logger.handlers:
                logger.addHandler(handler)

    def published(self, headers: Any = None, **_: Any) -> None:
        """Pass the trace on to a task that is sent."""
        client = _web.client_for(self.client)
        traceparent = _tracing.to_header(_tracing.current(client)) if client is not None else None
        if traceparent is not None and isinstance(headers, dict):
            headers.setdefault(_TRACEPARENT, traceparent)

    def began(self, task_id: str = "", task: Any = None, **_: Any) -> None:
        """Bind the names of a task that begins."""
        client = _web.client_for(self.client)
        if client is None or task is None:
            return
        names: dict[str, Any] = dict(_tracing.from_headers(_header(task.request), None))
        # The request of a task is the task.
        names.pop(_tracing.REQUEST_ID)
        binding = client.bind(task_id=task_id, task=task.name, **names)
        binding.__enter__()
        setattr(task.request, _BINDING, binding)
        setattr(task.request, _PIECE, _failures.Piece())
        setattr(task.request, _STARTED, time.perf_counter_ns())

    def ended(self, task: Any = None, state: Any = None, **_: Any) -> None:
        """Say what became of a task."""
        client = _web.client_for(self.client)
        request = getattr(task, "request", None)
        started = getattr(request, _STARTED, None)
        if client is None or started is None:
            return
        elapsed_us = (time.perf_counter_ns() - started) // _NANOSECONDS_PER_MICROSECOND
        # Celery knows no state of a task that was ignored or rejected.
        about = {"task": task.name, "state": str(state or "IGNORED")}
        try:
            name = f"celery.{about['task']}.{about['state']}"
            client.incr(name, fields=about)
            client.timer_send(name, elapsed_us / 1000, fields=about)
        except Exception as error:
            _web.complain("a task was not counted: %r", error)
        getattr(request, _PIECE).end()
        getattr(request, _BINDING).__exit__(None, None, None)

    def failed(self, sender: Any = None, exception: Any = None, **_: Any) -> None:
        """Report the exception that ended a task."""
        client = _web.client_for(self.client)
        if client is None or not isinstance(exception, BaseException):
            return
        _failures.report(client, exception, f"task {sender.name} failed", handled=False, is_logged=True)


def _header(request: Any) -> str | None:
    """Return the trace that whoever sent the task passed on. Celery shows headers as attributes, too."""
    headers = getattr(request, "headers", None)
    value = headers.get(_TRACEPARENT) if isinstance(headers, dict) else None
    value = value or getattr(request, _TRACEPARENT, None)
    return value if isinstance(value, str) else None
