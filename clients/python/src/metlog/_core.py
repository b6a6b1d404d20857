"""The seam between what builds messages and what carries them away.

A *core* takes encoded messages from any thread and sends them in the background. There are two: ``PlainCore`` in
Python (``_plain_core``), and the native one in Rust (``metlog._native``). Senders know only this interface:

``submit(encoded)``
    Takes one message: a JSON object as UTF-8 without line breaks. It never waits, never raises, and may be called
    from any thread, from signal handlers and from forked children. False says that the message was dropped, which is
    counted. Where sequence numbers are on, the core adds ``metlog_seq`` and ``metlog_src`` as the last keys.
``stats()``
    The ledger of this process: accepted = sent + the sum of dropped + queued, at every moment. With it goes ``src``,
    the ``metlog_src`` of this process's messages: None before the first one, and without sequence numbers.
``flush(timeout)``
    Waits until all that was submitted before is sent or dropped; False if that takes longer than `timeout` seconds.
``close(timeout)``
    Sends what waits for at most `timeout` seconds, drops and counts the rest, and ends the thread. What is submitted
    later is dropped as ``closed``. Closing twice is harmless.

In a forked child a core starts anew: without the messages, counters and connections of its parent, with a
``metlog_src`` of its own, and without a lock that a thread of the parent may have held.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

from metlog import _diagnostics, _interpreter

# The environment variable that forces plain Python with the value 0.
NATIVE_VARIABLE = "METLOG_NATIVE"

# Memory for the messages that wait, in bytes.
DEFAULT_QUEUE_BYTES = 8 * 1024 * 1024

# Why a message that was accepted never left; the names are those of the Rust client.
QUEUE_FULL = "queue-full"
TOO_LARGE = "too-large"
REFUSED = "refused"
CLOSED = "closed"
SHUTDOWN = "shutdown"
UNREACHABLE = "unreachable"


class CoreStats(TypedDict):
    """What became of the messages that a core took."""

    # Only by the native path; elsewhere the client counts them itself.
    filtered: int
    accepted: int
    sent: int
    queued: int
    truncated: int
    dropped: dict[str, int]
    # None before the first message, and where messages have no sequence numbers.
    src: str | None


class Core(Protocol):
    """Takes encoded messages and sends them; the module's text says what each method promises."""

    def submit(self, encoded: bytes, /) -> bool:
        """Queue one encoded message; False if it was dropped."""
        ...

    def stats(self) -> CoreStats:
        """Return the ledger of this process."""
        ...

    def flush(self, timeout: float, /) -> bool:
        """Wait until everything is sent or dropped, for at most `timeout` seconds."""
        ...

    def close(self, timeout: float, /) -> bool:
        """Send what waits for at most `timeout` seconds, then end; False if something was dropped."""
        ...


@dataclass(frozen=True)
class Destination:
    """Where a core sends to, and how."""

    # "udp", "tcp", "unix" (a stream of lines) or "unix-datagram".
    transport: str
    # Hosts and ports, for udp one or several.
    addresses: tuple[tuple[str, int], ...] = ()
    # The socket's path, for the two kinds of Unix sockets.
    path: str = ""
    # Memory for the messages that wait, in bytes.
    queue_bytes: int = DEFAULT_QUEUE_BYTES
    # Whether messages carry metlog_seq and metlog_src.
    seq: bool = True
    # Whether several messages may share a datagram, with line breaks between them.
    pack: bool = False
    # "json" or "msgpack": what is in a datagram.
    encoder: str = "json"


def native() -> Any:
    """Return the native module, or None where it cannot be loaded or is not wanted."""
    if os.environ.get(NATIVE_VARIABLE) == "0":
        return None
    if not _interpreter.is_main():
        _diagnostics.once("native", "this is not the main interpreter of its process: plain Python is used")
        return None
    try:
        return importlib.import_module("metlog._native")
    except ImportError as error:
        _diagnostics.once("native", "the native module cannot be loaded, plain Python is used: %s", error)
        return None


def open_core(destination: Destination) -> Core:
    """Return a core for a destination: the native one where there is one. Nothing is opened or started yet."""
    module = native()
    if module is not None:
        from metlog import _native_path

        return _native_path.open_core(module, destination)
    from metlog._plain_core import PlainCore

    return PlainCore(destination)
