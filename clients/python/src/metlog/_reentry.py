"""Whether this thread is inside Metlog while code of the application runs: a filter, a sender, a logging handler.

Handlers of ours take nothing from such a thread. What a filter logs, or a sender that itself logs, would otherwise
come back as a message for ever.
"""

from __future__ import annotations

import threading
from typing import Any


class _Inside(threading.local):
    active = False
    # The clients that have sent the record that this thread logs now, for who wants to know.
    senders: list[Any] | None = None


#: This thread's mark, for those who must be quick.
inside = _Inside()


def enter() -> bool:
    """Mark this thread as inside; returns whether it was already, for `leave`."""
    before = inside.active
    inside.active = True
    return before


def leave(before: bool) -> None:
    """Undo `enter`, with what it returned."""
    inside.active = before


def is_inside() -> bool:
    """Return whether this thread is inside."""
    return inside.active


def note_sender(client: Any) -> None:
    """Note that a client has sent the record that this thread logs now."""
    if inside.senders is not None:
        inside.senders.append(client)
