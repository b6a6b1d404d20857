"""How severe a message is: the numbers of RFC 5424."""

from __future__ import annotations


class SEVERITY:
    """The severities by their names."""

    EMERGENCY = 0
    ALERT = 1
    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFORMATIONAL = 6
    DEBUG = 7


def checked(severity: object) -> int:
    """Return a severity as it is; anything but an integer from 0 to 7 is a ValueError."""
    is_number = isinstance(severity, int) and not isinstance(severity, bool)
    if is_number and SEVERITY.EMERGENCY <= severity <= SEVERITY.DEBUG:  # type: ignore[operator]
        return severity  # type: ignore[return-value]
    raise ValueError(f"a severity is a number from 0 (emergency) to 7 (debug), not {severity!r}")
