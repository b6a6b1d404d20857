"""Makes Sentry's event from an exception: https://develop.sentry.dev/sdk/data-model/event-payloads/.

The event is bounded: with everything else in its message it must fit into a datagram, since an event that was cut off
would be none. What there is no room for is left out, the least telling first, and ``extra`` says so.
"""

from __future__ import annotations

import json
import platform
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Callable

from metlog import __version__, _clock, values
from metlog_raven import bounded
from metlog_raven.frames import stacktrace
from metlog_raven.scrubbing import Scrubber

MOST_BYTES = 45_000
"""Bytes of an event inside a message, where every quotation mark and every letter beyond ASCII takes several."""

MOST_EXCEPTIONS = 20
"""Exceptions of one chain."""

LONGEST_MESSAGE = 4096
"""Characters of what an exception or the caller says."""

FRAMES_WHEN_SHORT = 15
"""Frames of each exception where there is little room."""

_LEVELS = ("fatal", "fatal", "fatal", "error", "warning", "info", "info", "debug")


class Settings:
    """What all events of a plug-in have in common."""

    def __init__(
        self,
        release: str | None = None,
        environment: str | None = None,
        project: str | int | None = None,
        with_locals: bool = False,
        scrubber: Scrubber | None = None,
    ) -> None:
        self.release = release
        self.environment = environment
        self.project = project
        self.with_locals = with_locals
        self.scrubber: Scrubber = scrubber or Scrubber()


def event(
    settings: Settings,
    exception: BaseException,
    traceback: TracebackType | None,
    *,
    message: str = "",
    logger: str | None = None,
    severity: int = 3,
    server_name: str | None = None,
    trace: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
    handled: bool = True,
) -> str:
    """Return an exception as the JSON text of an event.

    :param traceback: that of the exception; those of its causes are their own.
    :param trace: ``trace_id``, ``span_id`` and ``request_id``, as far as they are known.
    :param extra: what else the caller has to say; secrets in it are taken out.
    :param handled: false where nobody caught it.
    """
    scrubber = settings.scrubber
    made: dict[str, Any] = {
        "event_id": uuid.uuid4().hex,
        "timestamp": _clock.timestamp(),
        "platform": "python",
        "level": _LEVELS[severity] if isinstance(severity, int) and severity in range(len(_LEVELS)) else "error",
        "logger": logger or None,
        "server_name": server_name,
        "release": settings.release,
        "environment": settings.environment,
        "project": settings.project,
        "logentry": {"formatted": scrubber.text(bounded.text(message, LONGEST_MESSAGE))} if message else None,
        "exception": {"values": _exceptions(exception, traceback, settings, handled)},
        "threads": {"values": [_thread(handled)]},
        "contexts": _contexts(trace or {}),
        "tags": {"request_id": bounded.text(trace["request_id"], 200)} if trace and "request_id" in trace else None,
        "extra": scrubber.value(bounded.plain(dict(extra))) if extra else {},
        "sdk": {"name": "metlog.python", "version": __version__},
    }
    return _within_bounds({key: value for key, value in made.items() if value is not None})


def _thread(handled: bool) -> dict[str, Any]:
    thread = threading.current_thread()
    return {"id": thread.ident, "name": bounded.text(thread.name, 200), "current": True, "crashed": not handled}


def _contexts(trace: Mapping[str, str]) -> dict[str, Any]:
    contexts: dict[str, Any] = {
        "runtime": {"name": platform.python_implementation(), "version": platform.python_version()}
    }
    if trace.get("trace_id"):
        # A span is asked for, also where only the trace is known.
        contexts["trace"] = {"trace_id": trace["trace_id"], "span_id": trace.get("span_id") or uuid.uuid4().hex[:16]}
    return contexts


def _exceptions(
    exception: BaseException, traceback: TracebackType | None, settings: Settings, handled: bool
) -> list[dict[str, Any]]:
    """Return the exception and what led to it, the first cause first, as Sentry wants it."""
    shown = []
    for number, parent, source, one in _chain(exception):
        stack = stacktrace(
            traceback if one is exception else one.__traceback__, settings.scrubber, settings.with_locals
        )
        mechanism: dict[str, Any] = {"type": "generic" if parent is None else "chained", "handled": handled}
        mechanism["exception_id"] = number
        if parent is not None:
            mechanism.update(parent_id=parent, source=source)
        if _members(one):
            mechanism["is_exception_group"] = True
        module = type(one).__module__
        value: dict[str, Any] = {
            "type": bounded.text(type(one).__qualname__, 200),
            "value": settings.scrubber.text(_says(one)),
            "module": None if module == "builtins" else bounded.text(module, 200),
            "mechanism": mechanism,
        }
        if stack:
            value["stacktrace"] = stack
        shown.append({key: held for key, held in value.items() if held is not None})
    shown.reverse()
    return shown


def _chain(exception: BaseException) -> Iterator[tuple[int, int | None, str, BaseException]]:
    """Yield each exception once, with its number, that of the exception that it led to, and how it did."""
    waiting: list[tuple[int | None, str, BaseException]] = [(None, "", exception)]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_EXCEPTIONS:
        parent, source, one = waiting.pop(0)
        if id(one) in seen:
            continue
        number = len(seen)
        seen.add(id(one))
        yield number, parent, source, one
        if one.__cause__ is not None:
            waiting.append((number, "__cause__", one.__cause__))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append((number, "__context__", one.__context__))
        waiting += [(number, f"exceptions[{place}]", member) for place, member in enumerate(_members(one))]


def _members(exception: BaseException) -> tuple[BaseException, ...]:
    """Return the exceptions of a group: those of Python 3.11, and of the package `exceptiongroup` before."""
    if all(kind.__name__ != "BaseExceptionGroup" for kind in type(exception).__mro__):
        return ()
    members = getattr(exception, "exceptions", ())
    return (
        tuple(member for member in members if isinstance(member, BaseException)) if isinstance(members, tuple) else ()
    )


def _says(exception: BaseException) -> str:
    """Return what it says of itself, and the notes that were added to it."""
    said = bounded.text(exception, LONGEST_MESSAGE)
    notes = getattr(exception, "__notes__", None)
    if isinstance(notes, list):
        said = "\n".join([said, *(bounded.text(note) for note in notes[: bounded.MOST_MEMBERS])])
    return bounded.text(said, LONGEST_MESSAGE)


def _within_bounds(event: dict[str, Any]) -> str:
    """Return the event's text, without as much as is needed to keep the bound."""
    left_out: list[str] = []
    ways: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
        ("local variables", _leave_out_of_frames("vars")),
        ("code around the lines", _leave_out_of_frames("pre_context", "post_context")),
        ("extra", lambda event: event["extra"].clear()),
        ("outer frames", _leave_out_outer_frames),
        ("causes", lambda event: event["exception"].update(values=event["exception"]["values"][-1:])),
        ("long texts", _shorten_texts),
    ]
    for name, leave_out in ways:
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        if len(json.dumps(text)) <= MOST_BYTES:
            return text
        leave_out(event)
        left_out.append(name)
        event["extra"]["left_out"] = ", ".join(left_out)
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def _stacks(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (value["stacktrace"] for value in event["exception"]["values"] if "stacktrace" in value)


def _leave_out_of_frames(*keys: str) -> Callable[[dict[str, Any]], None]:
    def leave_out(event: dict[str, Any]) -> None:
        for stack in _stacks(event):
            for frame in stack["frames"]:
                for key in keys:
                    frame.pop(key, None)

    return leave_out


def _shorten_texts(event: dict[str, Any]) -> None:
    for holder, key in [
        (event.get("logentry"), "formatted"),
        *((one, "value") for one in event["exception"]["values"]),
    ]:
        if holder is not None:
            holder[key] = bounded.text(holder[key])


def _leave_out_outer_frames(event: dict[str, Any]) -> None:
    for stack in _stacks(event):
        frames = stack["frames"]
        if len(frames) > FRAMES_WHEN_SHORT:
            first, last = stack.get("frames_omitted", (0, 0))
            end = len(frames) - FRAMES_WHEN_SHORT
            stack["frames_omitted"] = [0, end + last - first]
            del frames[:end]


def exception_of(exc_info: Any) -> tuple[BaseException, TracebackType | None] | None:
    """Return the exception that is meant, and its traceback.

    :param exc_info: True or None for the current one, an exception, or a triple as of ``sys.exc_info()``.
    """
    if exc_info is True or exc_info is None:
        exc_info = sys.exc_info()
    # A proxy that stands for nothing is no exception.
    if values.is_a(exc_info, BaseException):
        return exc_info, exc_info.__traceback__
    if values.is_a(exc_info, tuple):
        exception, traceback = (*exc_info, None, None, None)[1:3]
        if isinstance(exception, BaseException):
            return exception, traceback if isinstance(traceback, TracebackType) else None
    return None
