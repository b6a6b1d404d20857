"""What tests share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from receivers import LineReceiver, UdpReceiver

from metlog.client import MetlogClient
from metlog.holder import CLIENT_HOLDER
from metlog.senders import DebugCaptureSender


class Captured:
    """A client, and what it has sent."""

    def __init__(self) -> None:
        self.sender = DebugCaptureSender()
        self.client = MetlogClient(self.sender, "tests")

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.sender.msgs]

    def message(self) -> dict[str, Any]:
        """Return the only message."""
        (message,) = self.messages()
        return message


@pytest.fixture
def captured() -> Captured:
    return Captured()


@pytest.fixture
def udp() -> Iterator[UdpReceiver]:
    receiver = UdpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def tcp() -> Iterator[LineReceiver]:
    receiver = LineReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def holder() -> Iterator[Any]:
    """The process's holder, empty, and as it was before afterwards."""
    clients, config = dict(CLIENT_HOLDER._clients), dict(CLIENT_HOLDER.global_config)
    CLIENT_HOLDER._clients.clear()
    CLIENT_HOLDER.global_config.clear()
    yield CLIENT_HOLDER
    CLIENT_HOLDER._clients.clear()
    CLIENT_HOLDER._clients.update(clients)
    CLIENT_HOLDER.global_config.clear()
    CLIENT_HOLDER.global_config.update(config)
