"""Metlog: typed telemetry messages from an application to any destination.

Two lines are enough::

    import metlog

    metlog.init(logger="myapp")

Importing this package does no work: what is named here is imported when it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metlog._init import init
    from metlog.client import SEVERITY, MetlogClient
    from metlog.decorators import incr_count, timeit
    from metlog.holder import CLIENT_HOLDER, get_client

__version__ = "0.11.0"

__all__ = ["CLIENT_HOLDER", "SEVERITY", "MetlogClient", "get_client", "incr_count", "init", "timeit"]

_HOMES = {
    "CLIENT_HOLDER": "metlog.holder",
    "MetlogClient": "metlog.client",
    "SEVERITY": "metlog.client",
    "get_client": "metlog.holder",
    "incr_count": "metlog.decorators",
    "init": "metlog._init",
    "timeit": "metlog.decorators",
}


def __getattr__(name: str) -> Any:
    """Import what is named here when it is first used."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
