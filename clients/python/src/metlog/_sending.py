"""What the transports of the plain core have in common.

A transport is used by one thread. `send` is given messages in order, and says how many of the first ones are settled;
where it raises `UnreachableError`, the rest is to be tried again after a delay, with the first message that is not
settled at the head. It waits for a network at most for `PATIENCE` seconds, so that its thread stays able to end.
"""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

# Seconds that one attempt may take: to connect, or to write.
PATIENCE = 1.0

# Seconds for which the addresses of a host name hold.
ADDRESSES_HOLD = 60.0

# Seconds for which a name that has no address is not looked up again.
FAILURE_HOLDS = 2.0

# Seconds before the next try after a failure: the first, and the longest.
FIRST_DELAY = 0.02
LONGEST_DELAY = 5.0


class Settled(NamedTuple):
    """What became of the first messages that a transport was given."""

    #: Handed to the kernel.
    sent: int = 0
    #: Of these, with a payload that was cut.
    truncated: int = 0
    #: Why the message behind them is dropped; None if it is not.
    dropped: str | None = None


class UnreachableError(Exception):
    """The rest has to wait `delay` seconds; `settled` tells what became of the messages before."""

    def __init__(self, settled: Settled, delay: float) -> None:
        super().__init__()
        self.settled = settled
        self.delay = delay


class Transport(Protocol):
    """Sends messages."""

    def send(self, messages: Sequence[bytes]) -> Settled:
        """Send messages in their order."""
        ...

    def lost(self) -> int:
        """Return how many of the messages that were sent turned out to be lost since this was asked last."""
        ...

    def close(self) -> None:
        """Let go of sockets."""
        ...


class Backoff:
    """How long to wait before the next try: longer each time, and not for all clients the same."""

    def __init__(self) -> None:
        self._failures = 0

    def failed(self) -> float:
        """Return the seconds to wait after one more failure."""
        whole = min(FIRST_DELAY * float(2 ** min(self._failures, 16)), LONGEST_DELAY)
        self._failures += 1
        return whole * (0.5 + random.random() / 2)

    def succeeded(self) -> None:
        """Begin anew."""
        self._failures = 0


class Path:
    """The address of a Unix socket."""

    def __init__(self, path: str) -> None:
        self.text = path

    def resolve(self, kind: int) -> list[tuple[int, Any]]:
        """Return the address family and the address."""
        return [(socket.AF_UNIX, self.text)]


class Host:
    """A host and a port, whose addresses are looked up by the sending thread, and again now and then."""

    def __init__(self, host: str, port: int) -> None:
        self.text = f"{host}:{port}"
        self._host = host
        self._port = port
        self._known: list[tuple[int, Any]] = []
        self._failure: OSError | None = None
        self._known_until = 0.0

    def resolve(self, kind: int) -> list[tuple[int, Any]]:
        """Return address families and addresses, the preferred one first."""
        now = time.monotonic()
        if now >= self._known_until:
            try:
                found = socket.getaddrinfo(self._host, self._port, 0, kind)
            except OSError as error:
                self._failure = error
                self._known_until = time.monotonic() + FAILURE_HOLDS
            else:
                self._known = [(family, address) for family, _, _, _, address in found]
                self._failure = None
                self._known_until = now + ADDRESSES_HOLD
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        return self._known
