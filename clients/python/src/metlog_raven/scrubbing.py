"""Takes secrets out of what is about to leave the process.

By the name that a value has (``password``, ``api_key``, ``Authorization`` …), and inside text by its shape: passwords
in URLs, ``token=…``, bearer tokens, card numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

FILTERED = "[Filtered]"
"""What stands for a secret. Sentry's own libraries write the same."""

LONGEST_TEXT = 32_768
"""Characters of one text that are looked at. No datagram holds much more."""

DEEPEST = 16
"""Levels of collections that are looked at."""

_SECRET_NAMES = (
    "password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "access_key", "private_key",
    "credential", "authorization", "cookie", "csrf", "xsrf", "sessionid", "session_id", "session_key", "signature",
    "card_number", "cardnumber", "cvv", "iban", "pwd",
)  # fmt: skip
_NAMES = "|".join(_SECRET_NAMES)

_URL_PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):([^\s/@]+)@")
# Every repetition has a bound, so that no text takes long. A name may be the end of a longer one; behind it come an
# equals sign or a colon and the value: quoted, or up to the next space or separator.
_ASSIGNMENT = re.compile(
    rf"((?:{_NAMES})[\w-]{{0,40}}['\"]?\s{{0,8}}[=:]>?\s{{0,8}})"
    r"(?:(['\"]).{0,1000}?(?:\2|$)|(?:(?:basic|bearer|token)\s{1,8})?[^\s,;&'\")}\]]+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(bearer)\s{1,8}[\w.~+/=-]{16,}", re.IGNORECASE)
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w.-])")


class Scrubber:
    """Knows which names belong to secrets."""

    def __init__(self, more_names: Iterable[str] = ()) -> None:
        """Learn more names, or parts of names, that the application's own secrets have."""
        self._names = (*_SECRET_NAMES, *(_plain(name) for name in more_names))

    def is_secret(self, name: object) -> bool:
        """Return whether a value of this name is a secret."""
        if not isinstance(name, str):
            return False
        plain = _plain(name)
        return any(secret in plain for secret in self._names)

    def text(self, text: str) -> str:
        """Return the text without the secrets that can be seen in it, and without what is behind LONGEST_TEXT."""
        if len(text) > LONGEST_TEXT:
            text = f"{text[: LONGEST_TEXT - 1]}…"
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\1:{FILTERED}@", text)
        text = _ASSIGNMENT.sub(rf"\1{FILTERED}", text)
        text = _BEARER.sub(rf"\1 {FILTERED}", text)
        return _CARD.sub(_unless_no_card, text)

    def value(self, value: Any, depth: int = DEEPEST) -> Any:
        """Return a value without the secrets in it; what cannot be looked at is left out."""
        if isinstance(value, str):
            return self.text(value)
        try:
            if isinstance(value, dict):
                return {name: self._member(name, held, depth) for name, held in value.items()}
            if isinstance(value, (list, tuple)):
                return [self._member(None, held, depth) for held in value]
        except Exception:
            # A collection of the application's own that fails, or that another thread changes meanwhile.
            return FILTERED
        return value

    def _member(self, name: object, held: Any, depth: int) -> Any:
        return FILTERED if depth == 0 or self.is_secret(name) else self.value(held, depth - 1)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")


def _unless_no_card(match: re.Match[str]) -> str:
    """Card numbers end with a check digit, by which other long numbers (times, identifiers) are told from them."""
    digits = [int(digit) for digit in match.group() if digit.isdigit()]
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return (
        FILTERED if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and digits[0] in (2, 3, 4, 5, 6) else match.group()
    )
