"""Takes secrets out of what is about to leave the process.

By the name that a value has (``password``, ``api_key``, ``Authorization`` …), and inside text by its shape: passwords
in URLs, ``token=…``, headers, bearer tokens, card numbers. A secret that nothing marks as one cannot be seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

FILTERED = "[Filtered]"
"""What stands for a secret. Sentry's own libraries write the same."""

LONGEST_NAME = 200
"""Characters of a name in which words are looked for."""

LONGEST_TEXT = 32_768
"""Characters of one text that are looked at. No datagram holds much more."""

MOST_TEXT = 4 * LONGEST_TEXT
"""Characters that are looked at in all of a collection's texts; those behind are cut, or left out."""

DEEPEST = 16
"""Levels of collections that are looked at."""

_SECRET_NAMES = (
    "password", "passwd", "passphrase", "secret", "token", "api_key", "apikey", "access_key", "private_key",
    "credential", "authorization", "cookie", "csrf", "xsrf", "sessionid", "session_id", "session_key", "signature",
    "card_number", "cardnumber", "cvv", "iban", "pwd",
)  # fmt: skip
# Too short to be looked for inside longer words.
_SECRET_WORDS = ("pass", "pw", "passcode", "otp", "pin", "jwt", "ssn")
_URL = re.compile(r"(?<=://)[^\s<>]+")
_PORT = re.compile(r"\d{1,5}(?:[/?#,;'\")}\]]|$)")
_PAIR = 2

_QUOTED = r"b?(?P<{0}>\\{{0,3}}['\"])(?:(?!(?P={0}))(?:\\.|[^\\]))*(?P={0})?"
"""A quoted value, to its end or that of the text. Nothing that it consumes is tried twice."""

# Headers whose value has several parts: it is quoted as a whole, or goes on to the end of the line.
_HEADER = re.compile(
    r"((?:authorization|cookie)[\w-]{0,40}\\{0,3}['\"]?\s{0,8}[=:]>?\s{0,8})(?!\[Filtered\])"
    rf"(?:{_QUOTED.format('quote')}|[^\r\n]+)",
    re.IGNORECASE | re.DOTALL,
)
_DIGEST = re.compile(r"\b(digest)\s{1,8}\w{1,40}=[^\r\n]*", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer)\s{1,8}[\w.~+/=-]{16,}", re.IGNORECASE)
# Looked for once in each run of letters: where it begins, or behind a hyphen.
_WEB_TOKEN = re.compile(r"(?<![\w-])(?:\w{1,40}-{1,2})?eyJ[\w-]{4,8000}(?:\.[\w-]*){1,4}")
# The words of a name: ``user_pin``, ``userPin``, ``USER-PIN``.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w.-])")


class Scrubber:
    """Knows which names belong to secrets."""

    def __init__(self, more_names: Iterable[str] = ()) -> None:
        """Learn more names, or parts of names, that the application's own secrets have."""
        names = (*_SECRET_NAMES, *more_names)
        self._names = tuple(plain for plain in map(_plain, names) if plain)
        self._assignment = _assignment(names)

    def is_secret(self, name: object) -> bool:
        """Return whether a value of this name is a secret."""
        if isinstance(name, bytes):
            name = name.decode("latin-1")
        if not isinstance(name, str):
            return False
        plain = _plain(name)
        return any(secret in plain for secret in self._names) or any(
            word.lower() in _SECRET_WORDS for word in _WORD.findall(name[:LONGEST_NAME])
        )

    def text(self, text: str, longest: int = LONGEST_TEXT) -> str:
        """Return the text without the secrets that can be seen in it, and without what is behind so many characters."""
        if len(text) > longest:
            text = f"{text[: max(longest - 1, 0)]}…"
        if "://" in text:
            text = _URL.sub(_without_password, text)
        text = _HEADER.sub(rf"\1{FILTERED}", text)
        text = self._assignment.sub(_without_value, text)
        text = _DIGEST.sub(rf"\1 {FILTERED}", text)
        text = _BEARER.sub(rf"\1 {FILTERED}", text)
        text = _WEB_TOKEN.sub(FILTERED, text)
        return _CARD.sub(_unless_no_card, text)

    def value(self, value: Any) -> Any:
        """Return a plain value (as JSON has them) without the secrets in it; what cannot be looked at is left out."""
        return _Look(self).value(value, DEEPEST)


class _Look:
    """One look through a value, of which there may be more than is worth looking at."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._characters_left = MOST_TEXT

    def value(self, value: Any, depth: int) -> Any:
        try:
            if isinstance(value, str):
                return self._text(value)
            if isinstance(value, dict):
                return {self._key(name): self._member(name, held, depth) for name, held in value.items()}
            if isinstance(value, (list, tuple)):
                if len(value) == _PAIR and self._scrubber.is_secret(value[0]):
                    # A header, as servers and clients hold them.
                    return [value[0], FILTERED]
                return [self._member(None, held, depth) for held in value]
        except Exception:
            # A collection of the application's own that fails, or that another thread changes meanwhile.
            return FILTERED
        return value

    def _text(self, text: str) -> str:
        longest = min(self._characters_left, LONGEST_TEXT)
        self._characters_left -= min(len(text), longest)
        return self._scrubber.text(text, longest)

    def _member(self, name: object, held: Any, depth: int) -> Any:
        return FILTERED if depth == 0 or self._scrubber.is_secret(name) else self.value(held, depth - 1)

    def _key(self, name: Any) -> Any:
        # A secret as a key, such as a URL that something is counted by.
        return self._text(name) if isinstance(name, str) else name


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", str(name).lower())


def _assignment(names: Iterable[str]) -> re.Pattern[str]:
    """Return what finds a secret's name and its value: behind an equals sign or a colon, or as the next of a pair.

    A name may be a part of a longer one. The value is quoted, or goes on to the next space or separator.
    """
    parts = [[part for part in re.split(r"[-_ ]", str(name)) if part] for name in names]
    either = "|".join("[-_ ]?".join(map(re.escape, words)) for words in parts if words)
    either += rf"|(?<![^\W_])(?:{'|'.join(_SECRET_WORDS)})(?![^\W_])"
    # Few letters of a text can begin any of them: one look at each, instead of one for every name.
    initials = {words[0][0] for words in parts if words} | {word[0] for word in _SECRET_WORDS}
    return re.compile(
        rf"(?=[{''.join(map(re.escape, sorted(initials)))}])"
        rf"(?:(?P<name>(?:{either})[\w-]{{0,40}}(?:\\{{0,3}}['\"])?\s{{0,8}}[=:]>?\s{{0,8}})(?!\[Filtered\])"
        rf"(?:{_QUOTED.format('quote')}"
        r"|(?:(?:basic|bearer|token)\s{1,8})?(?:[^\s,;&'\")}\]]|['\"](?=\w))+)"
        rf"|(?P<first>(?:{either})[\w-]{{0,40}}\\{{0,3}}['\"]\s{{0,8}},\s{{0,8}}){_QUOTED.format('second')})",
        re.IGNORECASE | re.DOTALL,
    )


def _without_value(match: re.Match[str]) -> str:
    return f"{match['name'] or match['first']}{FILTERED}"


def _without_password(match: re.Match[str]) -> str:
    """Take the password out of what is behind ``://``. One with a slash or an at sign ends at the last at sign."""
    return "://".join(map(_without_one_password, match.group().split("://")))


def _without_one_password(rest: str) -> str:
    user, _, behind = rest.partition(":")
    secret, at, host = behind.rpartition("@")
    if not (at and secret) or re.search("[/?#]", user) or _PORT.match(behind):
        return rest
    return f"{user}:{FILTERED}@{host}"


def _unless_no_card(match: re.Match[str]) -> str:
    """Card numbers end with a check digit, by which other long numbers (times, identifiers) are told from them."""
    digits = [int(digit) for digit in match.group() if digit.isdigit()]
    doubled = [sum(divmod(digit * 2, 10)) for digit in digits[-2::-2]]
    return (
        FILTERED if (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and digits[0] in (2, 3, 4, 5, 6) else match.group()
    )
