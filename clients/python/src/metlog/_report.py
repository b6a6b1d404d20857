"""What a client tells on stderr about messages that it could not send: little, and not often."""

from __future__ import annotations

import sys
import time
from typing import Any

from metlog import values

# Seconds between two reports of one client.
INTERVAL = 1.0


class ErrorReport:
    """Writes about errors of one client, and leaves out what comes too often."""

    def __init__(self) -> None:
        """Begin with nothing left out."""
        self._quiet_until = 0.0
        self._left_out = 0

    def sending(self, error: Exception, msg: Any) -> None:
        """Tell that a message was not sent, and why."""
        now = time.monotonic()
        if now < self._quiet_until:
            self._left_out += 1
            return
        self._quiet_until = now + INTERVAL
        left_out, self._left_out = self._left_out, 0
        more = f" ({left_out} more errors were not shown)" if left_out else ""
        self.write(f"Error sending message ({values.repr_of(error)}): [{values.repr_of(msg)}]{more}")

    def write(self, line: str) -> None:
        """Write one line to stderr, wherever that is now; a process without one is no reason to fail."""
        try:
            sys.stderr.write(line + "\n")
        except Exception:
            return
