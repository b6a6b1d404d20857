"""Messages over a Unix socket."""

from __future__ import annotations

import os

from metlog._core import Destination
from metlog.senders.network import DEFAULT_QUEUE_BYTES, JSON, NetworkSender, as_encoder, as_path


class UnixSender(NetworkSender):
    """Sends messages over a Unix socket: a stream with one message on each line, or datagrams."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        mode: str = "stream",
        *,
        queue_bytes: int = DEFAULT_QUEUE_BYTES,
        seq: bool = True,
        encoder: str = JSON,
    ) -> None:
        """Make a sender.

        :param path: The path of the router's socket.
        :param mode: ``stream`` or ``datagram``, as the router's input says.
        :param queue_bytes: Memory for messages that wait, in bytes.
        :param seq: Whether messages carry ``metlog_seq`` and ``metlog_src``, so that a receiver can count losses.
        :param encoder: What is in a datagram: ``json`` or ``msgpack``. In a stream only ``json``.
        """
        transports = {"stream": "unix", "datagram": "unix-datagram"}
        if mode not in transports:
            raise ValueError(f"the mode of a Unix socket is 'stream' or 'datagram', not {mode!r}")
        encoder = as_encoder(encoder, datagrams=mode == "datagram")
        transport = transports[mode]
        super().__init__(Destination(transport, path=as_path(path), queue_bytes=queue_bytes, seq=seq, encoder=encoder))
