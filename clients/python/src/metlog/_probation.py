"""Whether a connection is to be trusted with more than one message.

What takes connections and ends them at once, as a port proxy does without anybody behind it, swallows what is written:
the kernel had taken that. So a connection that ends early is a failure, after which there is a wait, longer each time;
and the next one is on probation: it gets one message, and the others when it has stayed open for a while. The native
core does the same. A receiver that closes a connection on which nothing was going on is in its right, also early.
"""

from __future__ import annotations

from typing import Any

# Seconds that a connection has stayed open which has somebody behind it.
PROVEN = 5.0

# Nothing is going on where nothing was written for so many seconds.
IDLE = 1.0

# Seconds between two looks at a connection on probation.
LOOK_INTERVAL = 0.25


class Probation:
    """What is known of the connection at hand, and of those before. Moments are those of the monotonic clock."""

    def __init__(self) -> None:
        # A connection ended early, and none has been proven since.
        self._is_on = False
        self._connection: Any = None
        self._made_at = 0.0
        self._open_at = 0.0
        self._wrote_at = 0.0
        self._has_its_message = False

    def most(self, connection: Any, now: float) -> int | None:
        """Return how many messages may be written to a connection that was found open; None: as many as there are."""
        if connection is not self._connection:
            self._connection = connection
            self._made_at = self._wrote_at = now
            self._has_its_message = False
        self._open_at = now
        self._is_on = self._is_on and not self._is_proven()
        if not self._is_on:
            return None
        return 0 if self._has_its_message else 1

    def wrote(self, now: float) -> None:
        """Note that something was written."""
        self._wrote_at = now
        self._has_its_message = True

    def ended(self, now: float, orderly: bool) -> bool:
        """Note that the connection has ended, and return whether that was early."""
        if self._connection is None:
            return False
        self._connection = None
        is_early = not self._is_proven() and not (orderly and now - self._wrote_at >= IDLE)
        self._is_on = self._is_on or is_early
        return is_early

    def left(self) -> None:
        """Note that the connection was given up."""
        self._connection = None

    def _is_proven(self) -> bool:
        return self._open_at - self._made_at >= PROVEN
