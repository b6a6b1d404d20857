"""Messages over UDP."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from metlog._core import Destination
from metlog.senders.network import DEFAULT_QUEUE_BYTES, JSON, NetworkSender, as_encoder, as_host, as_port


class UdpSender(NetworkSender):
    """Sends messages as datagrams, to one or several hosts: each in one of its own, unless `pack` is on.

    Whoever takes or sets the attribute `socket` has the ways of 0.10.0 from then on: each message is sent by that
    socket's ``sendto``, on the calling thread, as ``json.dumps`` writes it.
    """

    def __init__(
        self,
        host: str | Iterable[str],
        port: int | str | Iterable[int | str] = 5565,
        *,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        seq: bool = True,
        pack: bool = False,
        encoder: str = JSON,
    ) -> None:
        """Make a sender.

        :param host: A host, or several; each gets every message.
        :param port: A port, or one for each host; where there are fewer, the last one holds for the further hosts.
        :param queue_bytes: Memory for messages that wait, in bytes.
        :param seq: Whether messages carry ``metlog_seq`` and ``metlog_src``, so that a receiver can count losses.
        :param pack: Whether several messages may share a datagram, with line breaks between them, as the router reads
                     them. It takes the native module, and costs the sending thread a tenth.
        :param encoder: What is in a datagram: ``json``, or ``msgpack``, which is one message in each.
        """
        hosts = [as_host(each) for each in ([host] if isinstance(host, str) else host)]
        ports = [as_port(each) for each in ([port] if isinstance(port, (int, str)) else port)]
        if not hosts or not ports:
            raise ValueError("a UdpSender needs a host and a port")
        ports.extend(ports[-1:] * (len(hosts) - len(ports)))
        self._destinations = tuple(zip(hosts, ports))
        self._socket: Any = None
        further: dict[str, Any] = {"pack": pack, "encoder": as_encoder(encoder)}
        super().__init__(Destination("udp", self._destinations, queue_bytes=queue_bytes, seq=seq, **further))

    @property
    def socket(self) -> Any:
        """A UDP socket, which is made when it is first asked for, and used from then on."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        return self._socket

    @socket.setter
    def socket(self, replacement: Any) -> None:
        self._socket = replacement

    @socket.deleter
    def socket(self) -> None:
        self._socket = None

    def send_message(self, msg: Any) -> None:
        """Queue a message, or send it at once where somebody has taken the socket. Bad UTF-8 is a UnicodeError."""
        if self._socket is None:
            super().send_message(msg)
            return
        encoded = self.encode(msg).encode("ascii")
        for destination in self._destinations:
            self._socket.sendto(encoded, destination)
