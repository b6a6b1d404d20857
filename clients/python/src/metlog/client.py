"""The client: builds messages and hands them to a sender.

Its calls raise nothing but TypeError, and that only for arguments of a call that are wrong in themselves. Whatever
else goes wrong in a filter, a sender or a value is counted (`MetlogClient.stats`) and told in few words.
"""

from __future__ import annotations

import os
import random
import socket
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from metlog import _bound, _diagnostics, _native_path, _process, _reentry, _text, values
from metlog._core import CLOSED
from metlog._ledger import Ledger
from metlog._report import ErrorReport
from metlog._severity import SEVERITY
from metlog.filters import CODES, Filter
from metlog.senders import NoSendSender, TcpSender, UdpSender, UnixSender
from metlog.senders.base import Sender
from metlog.senders.network import NetworkSender, queued
from metlog.timers import _NoOpTimer, _Timer, _UnsampledTimer

__all__ = ["SEVERITY", "MetlogClient"]

# What the client itself counts; see `MetlogClient.stats`.
DISABLED = "disabled"
NO_SENDER = "no-sender"
SENDER_ERROR = "sender-error"
_SENT = "sent"
_FILTERED = "filtered"
_SAMPLED_OUT = "sampled-out"
_FILTER_ERRORS = "filter-errors"
_UNCONVERTIBLE = "unconvertible"
_REASONS = (DISABLED, NO_SENDER, SENDER_ERROR, CLOSED)


class MetlogClient:
    """What an application talks to: one call for each kind of message, and the defaults that messages share.

    Every attribute may be assigned at any time, and every method may be overridden or replaced.
    """

    #: The version of the envelope.
    env_version = "0.8"

    # The native path, as long as there is one.
    _path: Any = None

    def __init__(
        self,
        sender: Any,
        logger: str,
        severity: int = SEVERITY.INFORMATIONAL,
        disabled_timers: str | Iterable[str] | None = None,
        filters: Iterable[Filter] | None = None,
        *,
        timer_precision: int = 0,
    ) -> None:
        """Make a client.

        :param sender: Delivers messages: an object with a method ``send_message(msg)``. None: nobody does.
        :param logger: The messages' `logger`, unless a call names another: which application this is.
        :param severity: The messages' severity, unless a call has its own.
        :param disabled_timers: The timers that send nothing, by name; ``*`` is all of them.
        :param filters: Functions that are asked for each message whether it is to be sent.
        :param timer_precision: Decimals of the milliseconds that timers send.
        """
        # The native path asks for the attributes as a dict. Those of an object that has one of its own are as quick to
        # read after that as before; those of others take three times as long.
        self.__dict__ = dict(self.__dict__)
        self._key = _bound.new_key()
        self._dynamic_methods: dict[str, Any] = {}
        self._noop_timer = _NoOpTimer()
        self._ledger = Ledger()
        self._errors = ErrorReport()
        self.timer_precision = timer_precision
        #: The configuration that the client was made from, as JSON text; None if it was made without one.
        self._config: str | None = None
        self.hostname: str = socket.gethostname()
        #: The process id that messages carry. A forked child has its own.
        self.pid: int = os.getpid()
        self._process = _process.identity()
        _process.tell(self)
        self.setup(sender, logger, severity, disabled_timers, filters)

    def setup(
        self,
        sender: Any = None,
        logger: str = "",
        severity: int = SEVERITY.INFORMATIONAL,
        disabled_timers: str | Iterable[str] | None = None,
        filters: Iterable[Filter] | None = None,
    ) -> None:
        """Configure the client anew, with the arguments of the constructor."""
        self.sender: Any = NoSendSender() if sender is None else sender
        self.logger = logger
        self.severity = severity
        if disabled_timers is None:
            self._disabled_timers: set[str] = set()
        elif isinstance(disabled_timers, str):
            self._disabled_timers = {disabled_timers}
        else:
            # A name of digits is a number in a configuration.
            self._disabled_timers = {str(name) for name in disabled_timers}
        # The very list that was given: who has it may change it, as ever.
        self.filters: list[Filter] = [] if filters is None else filters if isinstance(filters, list) else list(filters)
        self._closed = False
        self._said_unconfigured = False

    @property
    def is_active(self) -> bool:
        """Whether there is a sender."""
        return not isinstance(self.sender, NoSendSender)

    def add_method(self, method: Callable[..., Any], override: bool | str = False) -> None:
        """Add a method to this client, as plug-ins do.

        :param method: A function that takes the client first, and names the method in its attribute ``metlog_name``.
        :param override: True lets it take the place of a method of that name. A text is the name to use instead.
        """
        if not isinstance(method, types.FunctionType):
            raise TypeError(f"a method must be a function, not {type(method).__qualname__}")
        name: str = override if isinstance(override, str) else method.metlog_name  # type: ignore[attr-defined]
        if override is False and hasattr(self, name):
            raise SyntaxError(f"the client has a method {name!r} already; `override` replaces it")
        self._dynamic_methods[name] = method
        setattr(self, name, types.MethodType(method, self))

    # Sending.

    def send_message(self, msg: dict[str, Any]) -> None:
        """Send a message unless a filter turns it away."""
        outside = _reentry.enter()
        try:
            for keeps in self.filters:
                try:
                    if not keeps(msg):
                        self._ledger.add(_FILTERED)
                        return
                except Exception as error:
                    # A broken filter lets messages through: better one too many than none.
                    self._ledger.add(_FILTER_ERRORS)
                    name = values.callable_name(keeps)
                    _diagnostics.once(f"filter {name}", "the filter %s raised %r; messages pass it", name, error)
            self._deliver(msg)
        finally:
            _reentry.leave(outside)

    def _deliver(self, msg: dict[str, Any]) -> None:
        sender = self.sender
        if isinstance(sender, NoSendSender):
            self._ledger.add(DISABLED if sender.is_disabled else NO_SENDER)
            if type(sender) is NoSendSender and not self._said_unconfigured:
                self._said_unconfigured = True
                self._errors.write(f"The metlog client {self.logger!r} has no sender: its messages are dropped.")
            return
        if self._closed:
            self._ledger.add(CLOSED)
            return
        queued_before = queued.count
        try:
            try:
                sender.send_message(msg)
            except UnicodeError:
                if not isinstance(sender, Sender):
                    raise
                # Bytes that are no text: from a client they are sent as what can be said about them.
                converted, unconvertible = values.plain(msg)
                self._ledger.add(_UNCONVERTIBLE, unconvertible)
                sender.send_message(converted)
        except Exception as error:
            if not _is_accounted_for(sender, queued_before):
                self._ledger.add(SENDER_ERROR)
            self._errors.sending(error, msg)
            return
        if not _is_accounted_for(sender, queued_before):
            self._ledger.add(_SENT)

    def metlog(
        self,
        type: str,
        logger: str | None = None,
        severity: int | None = None,
        payload: Any = "",
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Send one message.

        :param type: What the message is: ``oldstyle``, ``counter``, or a name of the application's own.
        :param logger: Which application, or part of it; the client's unless given.
        :param severity: From 0 (emergency) to 7 (debug), see `SEVERITY`; the client's unless given.
        :param payload: The content.
        :param fields: Whatever else there is to say, by name.
        """
        path = self._path
        if path is None:
            path = self._path = _WAY.path(self)
        if path is not None:
            given = _bound.merged(self._key, fields) if _bound.ever and _bound.is_any() else fields
            done = path.metlog(self, type, logger, severity, payload, given)
            if done:
                return
            if done is None:
                self._path = None
        if self._process != _process.identity():
            # Forked without Python, which would have told.
            self._in_child()
        self.send_message(
            {
                "type": type,
                "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "logger": self.logger if logger is None else logger,
                "severity": self.severity if severity is None else severity,
                "payload": payload,
                "fields": _bound.merged(self._key, fields),
                "env_version": self.env_version,
                "metlog_pid": self.pid,
                "metlog_hostname": self.hostname,
            }
        )

    def _in_child(self) -> None:
        self._process = _process.identity()
        self.pid = os.getpid()

    # Metrics.

    def timer(
        self,
        name: str,
        logger: str | None = None,
        severity: int | None = None,
        fields: Mapping[str, Any] | None = None,
        rate: float = 1.0,
    ) -> Any:
        """Return a timer, to be used as a context manager or as a decorator; it sends a message at the end.

        Each entry measures its own span: timers may be nested, also in one another. What ``with`` returns has the
        milliseconds as ``result`` afterwards.

        :param name: The timer's name.
        :param rate: The share that is measured, from 0 to 1. It is drawn here for a block, and at each call of a
                     decorated function.
        """
        disabled = self._disabled_timers
        if disabled and (name in disabled or "*" in disabled):
            return self._noop_timer
        kind = _Timer
        if rate < 1.0 and random.random() >= rate:
            self._ledger.add(_SAMPLED_OUT)
            kind = _UnsampledTimer
        # Once, because another thread may let go of it.
        elif (path := self._path) is not None:
            return path.timer(self, name, logger, severity, fields, rate, self.timer_precision)
        further = {"logger": logger, "severity": severity, "fields": fields, "rate": rate}
        return kind(self, name, further, self.timer_precision)

    def timer_send(
        self,
        name: str,
        elapsed: float | timedelta,
        logger: str | None = None,
        severity: int | None = None,
        fields: Mapping[str, Any] | None = None,
        rate: float = 1.0,
    ) -> None:
        """Send how long something took.

        :param name: The timer's name.
        :param elapsed: Milliseconds, or a span of time.
        :param rate: The share that was measured. It is only told; this call always sends.
        """
        path = self._path
        if path is None or not path.metric(self, "timer", name, elapsed, logger, severity, fields, rate):
            if type(elapsed) is timedelta:  # `isinstance` would ask a value of the application for its class
                elapsed = elapsed / timedelta(milliseconds=1)
            self._metric("timer", name, elapsed, logger, severity, fields, rate)

    def incr(
        self,
        name: str,
        count: float = 1,
        logger: str | None = None,
        severity: int | None = None,
        fields: Mapping[str, Any] | None = None,
        rate: float = 1.0,
    ) -> None:
        """Count something.

        :param name: The counter's name.
        :param count: How much to add.
        :param rate: The share of calls that is sent, from 0 to 1; the others do nothing.
        """
        if rate < 1.0 and random.random() >= rate:
            self._ledger.add(_SAMPLED_OUT)
            return
        path = self._path
        if path is None or not path.metric(self, "counter", name, count, logger, severity, fields, rate):
            self._metric("counter", name, count, logger, severity, fields, rate)

    def gauge(
        self,
        name: str,
        value: float,
        logger: str | None = None,
        severity: int | None = None,
        fields: Mapping[str, Any] | None = None,
        rate: float = 1.0,
    ) -> None:
        """Say how much there is of something now.

        :param name: The gauge's name.
        :param value: How much.
        :param rate: The share of calls that is sent, from 0 to 1; the others do nothing.
        """
        if rate < 1.0 and random.random() >= rate:
            self._ledger.add(_SAMPLED_OUT)
            return
        path = self._path
        if path is None or not path.metric(self, "gauge", name, value, logger, severity, fields, rate):
            self._metric("gauge", name, value, logger, severity, fields, rate)

    def _metric(
        self,
        type: str,
        name: str,
        value: Any,
        logger: str | None,
        severity: int | None,
        fields: Mapping[str, Any] | None,
        rate: float,
    ) -> None:
        # A copy: the application's own dictionary stays as it is.
        named = {} if fields is None else _bound.checked(fields)
        named["name"] = name
        named["rate"] = rate
        self.metlog(type, logger, severity, values.text_of(value), named)

    # Log lines.

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity debug; arguments as for `info`."""
        self._oldstyle(SEVERITY.DEBUG, msg, *args, **kwargs)

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line.

        :param msg: The line, a template for ``%`` if there are `args`.
        :param args: What goes into the template: values, or one mapping.
        :param exc_info: Appends a traceback: True for the exception that is being handled, or an exception, or what
                         ``sys.exc_info`` returns.
        :param fields: Whatever else there is to say, by name.
        """
        self._oldstyle(SEVERITY.INFORMATIONAL, msg, *args, **kwargs)

    def notice(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity notice; arguments as for `info`."""
        self._oldstyle(SEVERITY.NOTICE, msg, *args, **kwargs)

    def warn(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity warning; arguments as for `info`."""
        self._oldstyle(SEVERITY.WARNING, msg, *args, **kwargs)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity warning; arguments as for `info`."""
        self._oldstyle(SEVERITY.WARNING, msg, *args, **kwargs)

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity error; arguments as for `info`."""
        self._oldstyle(SEVERITY.ERROR, msg, *args, **kwargs)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity alert with the traceback of the exception that is being handled.

        Arguments as for `info`. A first argument that can only be meant as `exc_info` is that: a bool, what
        ``sys.exc_info`` returns, and behind a template without ``%`` also an exception, None, 0 and 1.
        """
        if args and _text.is_exc_info(args[0], msg):
            kwargs.setdefault("exc_info", args[0])
            args = args[1:]
        kwargs.setdefault("exc_info", True)
        self._oldstyle(SEVERITY.ALERT, msg, *args, **kwargs)

    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity critical; arguments as for `info`."""
        self._oldstyle(SEVERITY.CRITICAL, msg, *args, **kwargs)

    def alert(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity alert; arguments as for `info`."""
        self._oldstyle(SEVERITY.ALERT, msg, *args, **kwargs)

    def emergency(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Send a log line of severity emergency; arguments as for `info`."""
        self._oldstyle(SEVERITY.EMERGENCY, msg, *args, **kwargs)

    def _oldstyle(
        self,
        severity: int,
        msg: Any,
        *args: Any,
        exc_info: Any = None,
        fields: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            _diagnostics.once("unknown", "a log call was given %s, which it does not know", ", ".join(sorted(unknown)))
        payload = _text.line(msg, args, exc_info)
        if fields is None:
            self.metlog(type="oldstyle", severity=severity, payload=payload)
        else:
            self.metlog(type="oldstyle", severity=severity, payload=payload, fields=fields)

    # Fields that hold for a while.

    def bind(self, **fields: Any) -> _bound.Binding:
        """Give every message of this client these fields, within a ``with`` block.

        ::

            with client.bind(request_id=7):
                client.info("served")

        Each thread and each asyncio task has its own. Fields of a call win over bound ones, inner ones over outer.
        """
        return _bound.Binding(self._key, fields)

    # Accounts and the end.

    def stats(self) -> dict[str, Any]:
        """Return what became of this process's messages.

        ``accepted`` = ``sent`` + the sum of ``dropped`` (by reason) + ``queued``. Not part of that: ``filtered`` and
        ``sampled_out``, ``unconvertible`` values, ``filter_errors``, and how many payloads were ``truncated``. ``src``
        is the ``metlog_src`` of this process's messages: None before the first, and where a sender adds none.
        """
        own = self._ledger.counts()
        sender = self.sender
        ours = isinstance(sender, Sender)
        carried: Mapping[str, Any] = sender.stats() if ours and sender.keeps_ledger else {}
        dropped = dict(carried.get("dropped", {}))
        for reason in _REASONS:
            if own.get(reason):
                dropped[reason] = dropped.get(reason, 0) + own[reason]
        failed = sum(own.get(reason, 0) for reason in _REASONS)
        sent = own.get(_SENT, 0)
        return {
            "accepted": carried.get("accepted", 0) + sent + failed,
            "sent": carried.get("sent", 0) + sent,
            "dropped": dropped,
            "queued": carried.get("queued", 0),
            "filtered": own.get(_FILTERED, 0) + carried.get("filtered", 0),
            "sampled_out": own.get(_SAMPLED_OUT, 0),
            "unconvertible": own.get(_UNCONVERTIBLE, 0) + (sender.unconvertible if ours else 0),
            "filter_errors": own.get(_FILTER_ERRORS, 0),
            "truncated": carried.get("truncated", 0),
            "src": carried.get("src"),
        }

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until every message is sent or dropped, for `timeout` seconds at most; False if that was too short."""
        return self.sender.flush(timeout) if isinstance(self.sender, Sender) else True

    def close(self, timeout: float = 2.0) -> bool:
        """Send what waits, for `timeout` seconds at most, and end; False if something had to be dropped.

        Later messages are dropped and counted. `setup` brings a closed client back.
        """
        self._closed = True
        self._path = None
        return self.sender.close(timeout) if isinstance(self.sender, Sender) else True


def _is_accounted_for(sender: Any, queued_before: int) -> bool:
    """Return whether a message that a sender was just given is part of the sender's own account."""
    if not (isinstance(sender, Sender) and sender.keeps_ledger):
        return False
    # Of a network sender the core keeps it, which does not hear of what goes another way: because the method is
    # overridden, or because somebody has taken the socket.
    return not isinstance(sender, NetworkSender) or queued.count != queued_before


_WAY = _native_path.Way(
    MetlogClient,
    [[UdpSender, NetworkSender, Sender], [TcpSender, NetworkSender, Sender], [UnixSender, NetworkSender, Sender]],
    CODES,
)
