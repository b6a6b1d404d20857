"""What time it is, as messages say it."""

from __future__ import annotations

from datetime import datetime, timezone


def timestamp() -> str:
    """Return the time now as RFC 3339 text in UTC, to the microsecond.

    It imports nothing, as ``strftime`` does: finalisers may send when the interpreter imports no more.
    """
    return datetime.now(timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
