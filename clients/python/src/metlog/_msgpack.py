"""msgpack, as far as a message needs it: what the plain core puts into datagrams.

The plain core is for where no compiled module can be loaded, and JSON's few types need few lines; so there is no
dependency. The same messages become the same bytes as with the Rust client.
"""

from __future__ import annotations

import math
import struct
from typing import Any

# What a receiver of datagrams is told that the bytes are.
PREFIX = b"\0msgpack::"

# The largest length in a single byte, and in two; and the whole numbers of 64 bits.
_BYTE = 0xFF
_SHORT = 0xFFFF
_LEAST = -(2**63)
_MOST = 2**64 - 1


class NoMsgpackError(Exception):
    """msgpack cannot hold a value as it is: a whole number of more than 64 bits, half of a surrogate pair."""


def packed(value: Any) -> bytes:
    """Return what ``json.loads`` has returned as msgpack, or raise NoMsgpackError."""
    out = bytearray()
    try:
        _pack(value, out)
    except UnicodeEncodeError as error:
        raise NoMsgpackError from error
    return bytes(out)


def _pack(value: Any, out: bytearray) -> None:
    if value is None:
        out.append(0xC0)
    elif value is True or value is False:
        out.append(0xC3 if value else 0xC2)
    elif isinstance(value, str):
        text = value.encode("utf-8")
        _length(len(text), out, (0xA0, 31), 0xD9, 0xDA, 0xDB)
        out += text
    elif isinstance(value, int):
        _integer(value, out)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise NoMsgpackError
        out += struct.pack(">Bd", 0xCB, value)
    elif isinstance(value, dict):
        _length(len(value), out, (0x80, 15), None, 0xDE, 0xDF)
        for key, member in value.items():
            _pack(key, out)
            _pack(member, out)
    else:
        _length(len(value), out, (0x90, 15), None, 0xDC, 0xDD)
        for member in value:
            _pack(member, out)


def _length(length: int, out: bytearray, fixed: tuple[int, int], byte: int | None, short: int, long: int) -> None:
    """Write how long something is, in the shortest of its forms."""
    first, most = fixed
    if length <= most:
        out.append(first | length)
    elif byte is not None and length <= _BYTE:
        out += struct.pack(">BB", byte, length)
    elif length <= _SHORT:
        out += struct.pack(">BH", short, length)
    else:
        out += struct.pack(">BI", long, length)


# For numbers from the one to the other: the form's first byte, and the rest. The first that fits is the shortest.
_INTEGERS = (
    (0, 0x7F, None, "B"),
    (-32, -1, None, "b"),
    (0, _BYTE, 0xCC, "B"),
    (0, _SHORT, 0xCD, "H"),
    (0, 2**32 - 1, 0xCE, "I"),
    (0, _MOST, 0xCF, "Q"),
    (-(2**7), -1, 0xD0, "b"),
    (-(2**15), -1, 0xD1, "h"),
    (-(2**31), -1, 0xD2, "i"),
    (_LEAST, -1, 0xD3, "q"),
)


def _integer(value: int, out: bytearray) -> None:
    for least, most, first, form in _INTEGERS:
        if least <= value <= most:
            if first is not None:
                out.append(first)
            out += struct.pack(f">{form}", value)
            return
    raise NoMsgpackError
