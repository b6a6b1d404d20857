"""What the senders that use a network have in common: a core, which sends in the background."""

from __future__ import annotations

import os
import threading
from typing import Any

from metlog._core import DEFAULT_QUEUE_BYTES, Core, Destination, open_core
from metlog.senders.base import Sender


class _Queued(threading.local):
    """How many messages this thread has given to cores: who has called a sender sees whether it took the usual way."""

    count = 0


queued: _Queued = _Queued()


class NetworkSender(Sender):
    """Puts messages into a bounded queue; a thread of its own sends them. Never waits for a network.

    When the queue is full, messages are dropped and counted (`stats`).
    """

    keeps_ledger: bool = True

    def __init__(self, destination: Destination) -> None:
        """Make a sender; nothing is opened or started before the first message."""
        self.destination = destination
        self.core: Core = open_core(destination)

    def send_message(self, msg: Any) -> None:
        """Queue a message. Bytes that are no UTF-8 are a UnicodeError."""
        self.core.submit(self.encode(msg).encode("ascii"))
        queued.count += 1

    def stats(self) -> dict[str, Any]:
        """Return what became of this process's messages: accepted = sent + the sum of dropped + queued."""
        return {**self.core.stats()}

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until every message is sent or dropped, for `timeout` seconds at most; False if that is too short."""
        return self.core.flush(timeout)

    def close(self, timeout: float = 2.0) -> bool:
        """Send what waits, for `timeout` seconds at most, and end; False if something had to be dropped."""
        return self.core.close(timeout)


def as_host(host: object) -> str:
    """Return a host as the system's own functions take it; a name that can be none is a ValueError."""
    if not isinstance(host, str) or not host or not host.isprintable() or any(each.isspace() for each in host):
        raise ValueError(f"a host is a name or an address, not {host!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if ":" in host:
        return host
    try:
        # Also the one for ASCII: it looks at the lengths of the parts.
        return host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"a host is a name or an address, not {host!r}: {error}") from None


def as_path(path: object) -> str:
    """Return the path of a socket, which may be a `pathlib.Path`; what can be none is a ValueError."""
    try:
        text = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"a path is a text, not {path!r}") from None
    if not text or "\0" in text:
        raise ValueError(f"there is no such path: {path!r}")
    return text


def as_encoder(encoder: Any, *, datagrams: bool = True) -> str:
    """Return how messages are written; lines over a connection are always JSON."""
    if encoder not in ENCODERS:
        raise ValueError(f"the encoder is {' or '.join(map(repr, ENCODERS))}, not {encoder!r}")
    if encoder != JSON and not datagrams:
        raise ValueError(f"a connection carries lines of JSON; {encoder!r} takes datagrams")
    return str(encoder)


def as_port(port: Any) -> int:
    """Return a port, which may be given as text, as configurations do."""
    try:
        number = int(port)
    except (TypeError, ValueError):
        raise ValueError(f"a port is a number from 1 to 65535, not {port!r}") from None
    if not 0 < number <= MAX_PORT:
        raise ValueError(f"a port is a number from 1 to 65535, not {number}")
    return number


MAX_PORT = 65_535

JSON = "json"
ENCODERS = (JSON, "msgpack")

__all__ = ["DEFAULT_QUEUE_BYTES", "JSON", "NetworkSender", "as_encoder", "as_host", "as_path", "as_port"]
