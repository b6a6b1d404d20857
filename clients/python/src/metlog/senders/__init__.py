"""Senders: what delivers a client's messages."""

from __future__ import annotations

from typing import Any

from metlog.senders.base import Sender
from metlog.senders.dev import DebugCaptureSender, FileSender, StdOutSender, StreamSender
from metlog.senders.tcp import TcpSender
from metlog.senders.udp import UdpSender
from metlog.senders.unix import UnixSender

__all__ = [
    "DebugCaptureSender",
    "FileSender",
    "NoSendSender",
    "Sender",
    "StdOutSender",
    "StreamSender",
    "TcpSender",
    "UdpSender",
    "UnixSender",
]


class NoSendSender(Sender):
    """Stands for the sender of a client that has none yet. Such a client drops its messages and counts them."""

    #: Whether that is so because the environment asks for it.
    is_disabled: bool = False

    def send_message(self, msg: Any) -> None:
        """Raise NotImplementedError."""
        raise NotImplementedError("this client has no sender yet")
