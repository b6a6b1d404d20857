"""How the plain core puts encoded messages on a network: what leads to a destination, and the datagrams themselves."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import socket
import time
from collections.abc import Sequence
from typing import Any

from metlog import _diagnostics, _msgpack
from metlog._core import TOO_LARGE, Destination
from metlog._lines import Lines
from metlog._sending import PATIENCE, Backoff, Host, Path, Settled, Transport, UnreachableError

# Bytes in one datagram; a longer message's payload is cut.
LARGEST_DATAGRAM = 60_000

# Seconds after a datagram without a refusal until somebody is taken to listen.
QUIET = 1.0

# Refusals of earlier datagrams that one datagram is held up by at most.
MOST_REFUSALS = 2

# What a payload ends with that was cut before.
_MARKER = re.compile(r" \[truncated from \d{1,20} bytes\]\Z", re.ASCII)

_BUSY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)


def open_transport(destination: Destination) -> Transport:
    """Return the transport for a destination. It opens nothing yet."""
    if destination.transport == "udp":
        places = [Host(host, port) for host, port in destination.addresses]
        return _Datagrams(places, destination.encoder, LARGEST_DATAGRAM)
    if destination.transport == "unix-datagram":
        return _Datagrams([Path(destination.path)], destination.encoder, None)
    if destination.transport == "tcp":
        host, port = destination.addresses[0]
        return Lines(Host(host, port), socket.SOCK_STREAM)
    if destination.transport == "unix":
        return Lines(Path(destination.path), socket.SOCK_STREAM)
    raise ValueError(f"there is no transport {destination.transport!r}")


class _TooLargeError(Exception):
    """The system has no datagram of this length."""


class _Refusals:
    """What the system tells about datagrams to one host that nobody listened to.

    It tells of one at a time, by an error on the connected socket that sent it, and only where an answer comes back:
    from the same machine, seldom from another. So what is counted here is the least that was lost.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lost = 0
        # The same since the log said that nobody listens; None while it has not.
        self._said: int | None = None
        # When the first datagram since the last refusal went.
        self._quiet_since: float | None = None

    def sent(self) -> None:
        """Keep that a datagram went."""
        if self._said is not None and self._quiet_since is None:
            self._quiet_since = time.monotonic()

    def ask(self, outgoing: socket.socket) -> None:
        """Ask the system whether an earlier datagram was refused."""
        if outgoing.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED:
            self.refused()
        elif self._quiet_since is not None and time.monotonic() >= self._quiet_since + QUIET:
            _diagnostics.say(
                "udp %s: somebody listens again; messages known to be lost: %d", self._name, self._said or 0
            )
            self._said = self._quiet_since = None

    def refused(self) -> None:
        """Count an earlier datagram that was refused."""
        if self._said is None:
            _diagnostics.say("udp %s: nobody listens there, and messages are lost until somebody does", self._name)
        self._said = (self._said or 0) + 1
        self._lost += 1
        self._quiet_since = None

    def take(self) -> int:
        """Return how many datagrams are known to be lost since this was asked last."""
        lost, self._lost = self._lost, 0
        return lost


class _Datagrams:
    """One datagram for each message and destination."""

    def __init__(self, places: Sequence[Host | Path], encoder: str, largest: int | None) -> None:
        """Make a transport; where `largest` is None, the system says which datagrams are too large."""
        self._places = places
        self._encoder = encoder
        self._largest = largest
        # For each destination its socket, and the address that it is connected to.
        self._sockets: dict[Host | Path, tuple[socket.socket, Any]] = {}
        self._refusals: dict[Host | Path, _Refusals] = {
            place: _Refusals(place.text) for place in places if isinstance(place, Host)
        }
        self._backoff = Backoff()

    def send(self, messages: Sequence[bytes]) -> Settled:
        sent = truncated = 0
        for message in messages:
            is_too_large = self._largest is not None and len(message) > self._largest
            try:
                if not is_too_large and not self._send_to_all(self._datagram(message)):
                    raise UnreachableError(Settled(sent, truncated), self._backoff.failed())
            except _TooLargeError:
                is_too_large = True
            if is_too_large:
                shorter = shortened(message, LARGEST_DATAGRAM)
                if shorter is None:
                    return Settled(sent, truncated, TOO_LARGE)
                _diagnostics.once("oversize", "a message is too large for a datagram; its payload was cut")
                try:
                    if not self._send_to_all(shorter):
                        raise UnreachableError(Settled(sent, truncated), self._backoff.failed())
                except _TooLargeError:
                    return Settled(sent, truncated, TOO_LARGE)
            self._backoff.succeeded()
            sent += 1
            truncated += is_too_large
        return Settled(sent, truncated)

    def _datagram(self, message: bytes) -> bytes:
        """Return what goes into a datagram for a message; what msgpack cannot hold, or makes too long, stays JSON."""
        if self._encoder == "msgpack":
            with contextlib.suppress(_msgpack.NoMsgpackError, ValueError, RecursionError):
                datagram = _msgpack.PREFIX + _msgpack.packed(json.loads(message))
                if len(datagram) <= LARGEST_DATAGRAM:
                    return datagram
        return message

    def _send_to_all(self, datagram: bytes) -> bool:
        """Send a datagram to every destination; False if none took it."""
        # One destination that is gone does not cost the others anything.
        return any([self._send_to(place, datagram) for place in self._places])

    def _send_to(self, place: Host | Path, datagram: bytes) -> bool:
        try:
            addresses = place.resolve(socket.SOCK_DGRAM)
            # Nobody answers a datagram that went to the wrong one of a name's addresses. Routers listen on IPv4 first.
            family, address = next((one for one in addresses if one[0] == socket.AF_INET), addresses[0])
            outgoing = self._socket(place, family, address)
            refusals = self._refusals.get(place)
            if refusals is not None:
                # What an earlier datagram met comes to light before this one goes.
                refusals.ask(outgoing)
            refused = 0
            until = time.monotonic() + PATIENCE
            while True:
                try:
                    if refusals is None:
                        outgoing.sendto(datagram, address)
                    else:
                        outgoing.send(datagram)
                        refusals.sent()
                        refusals.ask(outgoing)
                    return True
                except OSError as error:
                    if refusals is not None and error.errno == errno.ECONNREFUSED and refused < MOST_REFUSALS:
                        # An earlier one was refused; this one was not sent yet.
                        refusals.refused()
                        refused += 1
                        continue
                    if error.errno == errno.EMSGSIZE:
                        raise _TooLargeError from None
                    if error.errno not in _BUSY or time.monotonic() >= until:
                        raise
                    # A full socket of a Unix receiver cannot be waited for; it is asked again soon.
                    time.sleep(0.005)
        except OSError as error:
            _diagnostics.once(f"send {place.text}", "cannot send to %s: %s; trying again", place.text, error)
            return False

    def _socket(self, place: Host | Path, family: int, address: Any) -> socket.socket:
        """Return the socket for a destination. To a host it is connected, so that the system tells of refusals."""
        outgoing, connected_to = self._sockets.get(place, (None, None))
        if outgoing is not None and connected_to == address:
            return outgoing
        if outgoing is not None:
            outgoing.close()
            del self._sockets[place]
        outgoing = socket.socket(family, socket.SOCK_DGRAM)
        try:
            outgoing.setblocking(False)
            if isinstance(place, Host):
                outgoing.connect(address)
        except OSError:
            outgoing.close()
            raise
        self._sockets[place] = outgoing, address
        return outgoing

    def lost(self) -> int:
        lost = sum(refusals.take() for refusals in self._refusals.values())
        # Of several hosts another one may have it.
        return lost if len(self._places) == 1 else 0

    def close(self) -> None:
        for outgoing, _ in self._sockets.values():
            outgoing.close()
        self._sockets.clear()


def shortened(message: bytes, limit: int) -> bytes | None:
    """Return a form of a message that is at most `limit` bytes long, by cutting its payload; None if there is none.

    What was cut before keeps its marker, which tells its first length.
    """
    try:
        parts = json.loads(message)
        payload = parts["payload"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not isinstance(payload, str):
        return None
    earlier = _MARKER.search(payload)
    marker = earlier.group() if earlier else f" [truncated from {len(message)} bytes]"
    parts["payload"] = marker
    room = limit - len(json.dumps(parts))
    if room < 0:
        return None
    # As many characters as there is room for, of which each takes one byte at least.
    low, high = 0, min(len(payload), room)
    while low < high:
        kept = (low + high + 1) // 2
        if len(json.dumps(payload[:kept])) - len('""') <= room:
            low = kept
        else:
            high = kept - 1
    parts["payload"] = payload[:low] + marker
    return json.dumps(parts).encode("ascii")
