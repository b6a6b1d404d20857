"""Servers for tests: they keep what they get, and tests wait for it with a deadline."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import Any

# Seconds that a test waits for what is sure to come; long, for machines that are busy with other things.
DEADLINE = 30.0


def wait_for(condition: Any, what: str = "the condition") -> Any:
    """Return what `condition` returns, as soon as that is true."""
    until = time.monotonic() + DEADLINE
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < until, f"{what} did not come true within {DEADLINE} s"
        time.sleep(0.005)


class UdpReceiver:
    """Receives datagrams."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(DEADLINE)
        self.port: int = self.socket.getsockname()[1]

    def text(self) -> str:
        """Return the next datagram."""
        return self.socket.recv(65_536).decode("utf-8")

    def message(self) -> dict[str, Any]:
        """Return the next datagram as the message that it is."""
        message: dict[str, Any] = json.loads(self.text())
        return message

    def close(self) -> None:
        self.socket.close()


class LineReceiver:
    """Receives lines over any number of connections, from TCP or a Unix socket."""

    def __init__(self, path: str = "") -> None:
        if path:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(path)
            self.listener.listen()
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.port: int = self.listener.getsockname()[1]
        self.lines: list[str] = []
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        rest = b""
        while True:
            try:
                piece = connection.recv(65_536)
            except OSError:
                return
            if not piece:
                return
            *lines, rest = (rest + piece).split(b"\n")
            self.lines.extend(line.decode("utf-8") for line in lines)

    def messages(self) -> list[dict[str, Any]]:
        """Return what has come so far."""
        return [json.loads(line) for line in list(self.lines)]

    def close(self) -> None:
        # The thread that waits for connections keeps the port open until it is told.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.close()
