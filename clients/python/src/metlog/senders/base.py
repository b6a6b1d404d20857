"""What senders have in common."""

from __future__ import annotations

from typing import Any

from metlog import values


class Sender:
    """Delivers messages. Any object with a method ``send_message(msg)`` is one; this is the base of ours."""

    #: Whether `stats` accounts for every message; where not, the client does it.
    keeps_ledger: bool = False

    #: How many values were sent as their ``repr``, because they could not be converted.
    unconvertible: int = 0

    def send_message(self, msg: Any) -> None:
        """Deliver a message."""
        raise NotImplementedError

    def encode(self, msg: Any, *, indent: int | None = None) -> str:
        """Return a message as JSON text. Bytes that are no UTF-8 are a UnicodeError."""
        text, unconvertible = values.encode(msg, indent=indent)
        if unconvertible:
            self.unconvertible += unconvertible
        return text

    def stats(self) -> dict[str, Any]:
        """Return what became of the messages, where `keeps_ledger` says so."""
        return {}

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until every message is delivered or dropped, for `timeout` seconds at most; False if that is short."""
        return True

    def close(self, timeout: float = 2.0) -> bool:
        """Deliver what waits, for `timeout` seconds at most, and end; False if something had to be dropped."""
        return True
