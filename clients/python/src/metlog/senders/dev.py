"""Senders for development, and for messages that go to a file or a stream."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any, Protocol, Union

from metlog import _process
from metlog.path import resolve_name
from metlog.senders.base import Sender

# Makes the text of a message: a function, its dotted name, or "jsonl".
Formatter = Union[Callable[[Any], Any], str, None]

# The formatter that writes a message on one line, which the router and other tools read.
JSONL = "jsonl"

_INDENT = 4


class Stream(Protocol):
    """What a message can be written to."""

    def write(self, text: str, /) -> Any:
        """Take a text."""

    def flush(self) -> Any:
        """Pass on what was taken."""

    def close(self) -> Any:
        """Take no more."""


class _Descriptor:
    """What a text stream writes to, without the stream's buffer, and without the lock that guards it."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self._number = stream.fileno()
        self._encoding = stream.encoding
        self._errors = stream.errors or "strict"

    def write(self, text: str) -> int:
        """Write a text at once, so that lines of several threads and processes stay whole."""
        _write_all(self._number, text.encode(self._encoding, self._errors))
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Do nothing: the descriptor is the stream's to close."""


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


class StreamSender(Sender):
    """Writes messages to a stream, such as an open file.

    A forked child writes past the buffer of a file that it inherited: a thread of its parent may have held the
    buffer's lock, and nobody would ever let go of it.
    """

    def __init__(self, stream: Stream, formatter: Formatter = None) -> None:
        """Make a sender.

        :param stream: Is written to and flushed for each message.
        :param formatter: A function that returns the text of a message, or its dotted name; ``jsonl`` for one line
                          of JSON. Without it, JSON with an indent of four.
        """
        self.stream = stream
        _process.watch()
        self._home = _process.identity()
        # In a forked child: the stream that was looked at, and what is written to for it.
        self._inherited: tuple[Stream, Stream] | None = None
        if formatter is None:
            formatter = self.default_formatter
        elif formatter == JSONL:
            formatter = self.encode
        self.formatter: Callable[[Any], Any] = formatter if callable(formatter) else resolve_name(formatter)

    def default_formatter(self, msg: Any) -> str:
        """Return a message as JSON with an indent of four."""
        return self.encode(msg, indent=_INDENT)

    def send_message(self, msg: Any) -> None:
        """Write a message and a line break."""
        text = f"{self.formatter(msg)}\n"
        stream = self.stream if self._home == _process.identity() else self._in_child()
        stream.write(text)
        stream.flush()

    def _in_child(self) -> Stream:
        stream, known = self.stream, self._inherited
        if known is not None and known[0] is stream:
            return known[1]
        # Other streams are what somebody made, or have no lock; and one without a descriptor writes to memory.
        outlet: Stream = stream
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                outlet = _Descriptor(stream)
        self._inherited = stream, outlet
        return outlet


class StdOutSender(StreamSender):
    """Writes messages to standard output."""

    def __init__(self, formatter: Formatter = None) -> None:
        """Make a sender; `formatter` as for `StreamSender`."""
        super().__init__(sys.stdout, formatter)


class _Appended:
    """A text file that is written to without a buffer and without a lock, so that a forked child finds none taken."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115  open as long as the sender
        self.name = path

    def write(self, text: str) -> int:
        """Append a text at once, so that lines of several threads and processes stay whole."""
        _write_all(self.fileno(), text.encode("utf-8"))
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""

    def fileno(self) -> int:
        return self._file.fileno()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        self._file.close()


class FileSender(StreamSender):
    """Appends messages to a file."""

    def __init__(self, filepath: str, formatter: Formatter = None) -> None:
        """Make a sender, and the file if there is none.

        :param filepath: Where the file is.
        :param formatter: As for `StreamSender`.
        """
        super().__init__(_Appended(filepath), formatter)

    def close(self, timeout: float = 2.0) -> bool:
        """Close the file."""
        self.stream.close()
        return True


class DebugCaptureSender(Sender):
    """Keeps the last 100 messages as JSON texts in `msgs`, for tests."""

    def __init__(self, **kwargs: Any) -> None:
        """Make a sender.

        :param kwargs: Become attributes of the sender, whatever they are.
        """
        self.msgs: collections.deque[str] = collections.deque(maxlen=100)
        for name, value in kwargs.items():
            setattr(self, name, value)

    def send_message(self, msg: Any) -> None:
        """Keep a message."""
        self.msgs.append(self.encode(msg))
