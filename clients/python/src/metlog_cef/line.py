r"""Writes one CEF line: a date, a host, seven header fields between bars, and an extension of ``key=value`` pairs.

    Nov 22 09:05:25 web1 CEF:0|vendor|product|1.0|AuthFail|Login failed|5|... src=192.0.2.7 suser=ann

Nothing that a value holds can end its field or start another one: in the header ``|``, ``\`` and line breaks get a
backslash in front; in the extension ``=`` and ``\`` do, and line breaks are written as ``\n`` and ``\r``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

LONGEST_LINE_BYTES = 1024
"""How long a line may become by the extensions that the application adds. Syslog of old guarantees no more."""

NOT_KNOWN = "none"
"""What stands for a value that nobody gave."""

# By name, because strftime would write them in the language of the process.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ENDS_A_HEADER_FIELD = re.compile(r"([|\\\r\n])")
_NO_PART_OF_A_KEY = re.compile(r"[^a-zA-Z0-9_.-]")
_IN_EXTENSIONS = str.maketrans({"\\": r"\\", "=": r"\=", "\n": r"\n", "\r": r"\r"})


def text_of(value: object) -> str:
    """Return the value as text, also where its own ``__str__`` fails: a security event is never lost for that."""
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return str(value)
    except Exception:
        return object.__repr__(value)


def mapping(value: Any, name: str) -> Mapping[Any, Any]:
    """Return a mapping as a dictionary, an empty one for None; what is no mapping is a TypeError.

    What cannot be read, as a proxy without a request, has nothing in it.
    """
    try:
        if not value:
            return {}
        items = getattr(value, "items", None)
        if items is not None:
            return dict(items())
    except Exception:
        return {}
    raise TypeError(f"{name} must be a mapping, not {type(value).__qualname__}")


def header(value: object) -> str:
    """Return a value as it stands between two bars."""
    # A function and no template, for which `re` imports a module.
    return _ENDS_A_HEADER_FIELD.sub(lambda found: "\\" + found.group(), text_of(value))


def extension(value: object) -> str:
    """Return a value as it stands behind an equals sign."""
    return text_of(value).translate(_IN_EXTENSIONS)


def key(name: str) -> str:
    """Return a name as it may stand in front of an equals sign."""
    return _NO_PART_OF_A_KEY.sub("_", name) or "_"


def from_environ(environ: Mapping[str, Any], name: str, default: str = "") -> str:
    """Return a variable of a WSGI environment as the text that the client sent.

    WSGI hands over bytes as if they were Latin-1; what is UTF-8 in truth is read as that.
    """
    value = text_of(environ.get(name, default))
    try:
        return value.encode("latin-1").decode("utf-8")
    except (UnicodeError, ImportError):
        # It is not that, or the end of the interpreter looks for no codec any more.
        return value


def source_address(environ: Mapping[str, Any]) -> str:
    """Return where the request came from: the first address that a proxy noted, or the peer's."""
    forwarded = from_environ(environ, "HTTP_X_FORWARDED_FOR")
    return forwarded.split(",", 1)[0].strip() or from_environ(environ, "REMOTE_ADDR", NOT_KNOWN)


def settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what begins with ``cef.`` in the application's settings, without that."""
    return {
        name[len("cef.") :].replace(".", "_"): text_of(value)
        for name, value in config.items()
        if isinstance(name, str) and name.startswith("cef.")
    }


def date(moment: float | None = None) -> str:
    """Return the local time as syslog writes it: ``Nov 22 09:05:25``."""
    now = time.localtime(moment)
    return f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:02d} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"
