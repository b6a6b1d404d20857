"""Values whose own code raises wherever it can: what an application may hand over without knowing."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


class Unbound:
    """A proxy that stands for nothing now, as frameworks have them for the current request."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("outside of a request")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("outside of a request")

    def __bool__(self) -> bool:
        raise RuntimeError("outside of a request")

    def __str__(self) -> str:
        raise RuntimeError("outside of a request")

    def __repr__(self) -> str:
        return "<unbound>"


class NoPairs(dict):
    """A dictionary whose items are none."""

    def items(self) -> Any:
        return [1, 2]


class HostileText(str):
    """Text of which nothing can be asked."""

    __slots__ = ()

    def __format__(self, form: str) -> str:
        raise RuntimeError("no form")

    def __len__(self) -> int:
        raise RuntimeError("no length")

    def __str__(self) -> str:
        raise RuntimeError("no text")


class HostileRepr:
    def __repr__(self) -> str:
        return HostileText("<hostile>")


class NoKeys(collections.UserDict):
    """A mapping that cannot be read."""

    def keys(self) -> Any:
        raise OSError("the cache is gone")

    def __iter__(self) -> Any:
        raise OSError("the cache is gone")

    def __repr__(self) -> str:
        return "<no keys>"


class Changing(Mapping):
    """A mapping of which another thread takes the keys away while it is read."""

    def __iter__(self) -> Any:
        return iter(["a", "b"])

    def __len__(self) -> int:
        return 2

    def __getitem__(self, key: str) -> int:
        raise KeyError(key)

    def __repr__(self) -> str:
        return "<changing>"


class Liar:
    """Says that it is text."""

    __class__ = str  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<liar>"


# Made by name, because pytest too asks values what they are.
_MAKERS: dict[str, Callable[[], Any]] = {
    "unbound": Unbound,
    "no-pairs": lambda: NoPairs(a=1),
    "text": lambda: HostileText("text"),
    "repr": HostileRepr,
    "no-keys": lambda: NoKeys(a=1),
    "changing": Changing,
    "liar": Liar,
    "keys": lambda: {HostileText("key"): HostileText("value")},
    "unbound-behind-key": lambda: {HostileText("key"): Unbound()},
    "inside": lambda: [NoPairs(a=1), {"a": Unbound()}],
}

NAMES = tuple(_MAKERS)

UNREADABLE = ("no-keys", "changing", "unbound")
"""Those that may be mappings, and cannot be read."""


def make(name: str) -> Any:
    return _MAKERS[name]()


@dataclasses.dataclass(frozen=True)
class Named:
    """Stands for such a value where others would look at it before."""

    name: str


def in_place(value: Any) -> Any:
    """Return a value with those that `Named` stands for in their places."""
    if type(value) is Named:
        return make(value.name)
    if type(value) is dict:
        return {key: in_place(held) for key, held in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(in_place, value))
    return value
