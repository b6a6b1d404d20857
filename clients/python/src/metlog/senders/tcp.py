"""Messages over TCP."""

from __future__ import annotations

from metlog._core import Destination
from metlog.senders.network import DEFAULT_QUEUE_BYTES, JSON, NetworkSender, as_encoder, as_host, as_port


class TcpSender(NetworkSender):
    """Sends messages over a TCP connection, one on each line, and connects again when it breaks."""

    def __init__(
        self,
        host: str,
        port: int | str = 5565,
        *,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        seq: bool = True,
        encoder: str = JSON,
    ) -> None:
        """Make a sender.

        :param host: The host.
        :param port: The port.
        :param queue_bytes: Memory for messages that wait, in bytes.
        :param seq: Whether messages carry ``metlog_seq`` and ``metlog_src``, so that a receiver can count losses.
        :param encoder: Only ``json``: a line break may be anywhere in ``msgpack``.
        """
        as_encoder(encoder, datagrams=False)
        super().__init__(Destination("tcp", ((as_host(host), as_port(port)),), queue_bytes=queue_bytes, seq=seq))
