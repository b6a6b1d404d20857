"""What the senders that use a network have in common: a core, which sends in the background."""

from __future__ import annotations

from typing import Any

from metlog._core import DEFAULT_QUEUE_BYTES, Core, Destination, open_core
from metlog.senders.base import Sender


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

    def stats(self) -> dict[str, Any]:
        """Return what became of this process's messages: accepted = sent + the sum of dropped + queued."""
        return {**self.core.stats()}

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until every message is sent or dropped, for `timeout` seconds at most; False if that is too short."""
        return self.core.flush(timeout)

    def close(self, timeout: float = 2.0) -> bool:
        """Send what waits, for `timeout` seconds at most, and end; False if something had to be dropped."""
        return self.core.close(timeout)


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

__all__ = ["DEFAULT_QUEUE_BYTES", "NetworkSender", "as_port"]
