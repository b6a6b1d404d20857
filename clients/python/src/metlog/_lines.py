"""Messages over a connection, one on each line.

A receiver that is slow gets no second connection: what its kernel has taken by then would be counted as sent, and read
beside what comes over the next one. A line that was cut short goes on where it was cut, for as long as it takes; a
connection is given up only when it has broken, or the other side has closed it. A receiver that ends each connection
soon after it was made gets one message over each, ever more seldom.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Sequence

from metlog import _diagnostics
from metlog._probation import LOOK_INTERVAL, Probation
from metlog._sending import PATIENCE, Backoff, Host, Path, Settled, UnreachableError

# Pieces of what a receiver of lines says that are read at once, of 4 KiB each. It has nothing to say.
MOST_PIECES = 16

# How a connection has ended: in an orderly way, or not.
_CLOSED = "closed"
_BROKEN = "broken"

# Seconds until a receiver is asked again that is there, but takes nothing now.
SLOW_DELAY = 0.01


class _SlowError(Exception):
    """The receiver is there, and takes nothing now."""


class Lines:
    """A connection that is made when there is something to send, and made again when it has broken."""

    def __init__(self, place: Host | Path, kind: int) -> None:
        self._place = place
        self._kind = kind
        self._connection: socket.socket | None = None
        # How many bytes of the next message are written already.
        self._carried = 0
        self._backoff = Backoff()
        self._probation = Probation()

    def send(self, messages: Sequence[bytes]) -> Settled:
        """Send messages in their order."""
        text = b""
        written = 0
        try:
            connection = self._connected()
            most = self._probation.most(connection, time.monotonic())
            text = b"\n".join([*messages[:most], b""])
            written = self._carried
            until = time.monotonic() + PATIENCE
            while written < len(text):
                written += _write(connection, memoryview(text)[written:], until)
        except _SlowError:
            self._carried = written - (text.rfind(b"\n", 0, written) + 1)
            raise UnreachableError(_whole(text, written), SLOW_DELAY) from None
        except OSError as error:
            _diagnostics.once(
                f"send {self._place.text}", "cannot send to %s: %s; trying again", self._place.text, error
            )
            # The line that was cut short is sent again as a whole, over the next connection.
            self._probation.ended(time.monotonic(), orderly=False)
            self.close()
            raise UnreachableError(_whole(text, written), self._backoff.failed()) from None
        except BaseException:
            # Whatever it is, nothing may follow a line that is not whole.
            self.close()
            raise
        self._carried = 0
        if most != 0:
            self._probation.wrote(time.monotonic())
        if most is not None:
            raise UnreachableError(Settled(most), LOOK_INTERVAL)
        self._backoff.succeeded()
        return Settled(len(messages))

    def _connected(self) -> socket.socket:
        if self._connection is not None:
            ending = _ending(self._connection)
            if ending is None:
                return self._connection
            is_early = self._probation.ended(time.monotonic(), orderly=ending == _CLOSED)
            self.close()
            if is_early:
                raise ConnectionAbortedError("it ended a connection soon after it took it, and may have lost a message")
        until = time.monotonic() + PATIENCE
        failure: OSError = ConnectionError("the name has no address")
        for family, address in self._place.resolve(self._kind):
            connection = socket.socket(family, self._kind)
            connection.setblocking(False)
            try:
                code = connection.connect_ex(address)
                if code == errno.EINPROGRESS:
                    if not _is_ready(connection, until):
                        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
                    code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code))
                self._connection = connection
                return connection
            except OSError as error:
                connection.close()
                failure = error
        raise failure

    def lost(self) -> int:
        """Return nothing: a connection tells of what is not there when it is made."""
        return 0

    def close(self) -> None:
        """Let go of the connection, and of the line that is cut short on it."""
        self._carried = 0
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._probation.left()


def _whole(text: bytes, written: int) -> Settled:
    """Return how many lines are written to their end."""
    return Settled(text.count(b"\n", 0, written))


def _write(connection: socket.socket, rest: memoryview, until: float) -> int:
    try:
        return connection.send(rest)
    except BlockingIOError:
        if not _is_ready(connection, until):
            raise _SlowError from None
        return 0


def _is_ready(connection: socket.socket, until: float) -> bool:
    """Wait until a connection is made or takes something; False if the time is over before."""
    left = until - time.monotonic()
    if left <= 0:
        return False
    poll = getattr(select, "poll", None)
    if poll is None:
        return any(select.select([], [connection], [], left))
    poller = poll()
    poller.register(connection, select.POLLOUT)
    return bool(poller.poll(left * 1000))


def _ending(connection: socket.socket) -> str | None:
    """Return how the other side has ended the connection, if it has; what it says otherwise is of no interest."""
    try:
        for _ in range(MOST_PIECES):
            if not connection.recv(4096):
                # Whoever closes before all is read says so, to somebody who asks.
                return _BROKEN if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) else _CLOSED
    except BlockingIOError:
        return None
    except OSError:
        return _BROKEN
    return None
