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
