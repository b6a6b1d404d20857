"""For applications under test: at the end of each of their processes, what the default client says is written down.

Imported before the client is made, so that the report is written after Metlog's own end. It flushes nothing itself:
what the hooks of the package do is all that is done. Only their bound is longer, so that it is none on a busy machine;
that it is kept has tests of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from metlog import _exit

FOLDER = "METLOG_REPORTS"
"""The environment variable with the folder for the reports, one for each process, named by its id."""

# The modules whose children end in their own way; their finalizers with a higher priority are called first.
_PROCESS_MODULES = ("multiprocessing.util", "billiard.util")
_AFTER_METLOG = 5

# Seconds.
_PATIENCE = 60.0


class _Watched:
    pass


_watched = _Watched()


def write() -> None:
    """Write the report of this process, whole or not at all."""
    from metlog.holder import CLIENT_HOLDER

    client = CLIENT_HOLDER.default_client
    path = pathlib.Path(os.environ[FOLDER], str(os.getpid()))
    part = path.with_suffix(".part")
    part.write_text(json.dumps(client.stats()))
    part.rename(path)


def _register(_: Any = None) -> None:
    for name in _PROCESS_MODULES:
        util = sys.modules.get(name)
        if util is not None:
            register = _registration(util)
            register(None)
            util.register_after_fork(_watched, register)


def _registration(util: Any) -> Callable[[Any], None]:
    return lambda _: util.Finalize(None, write, exitpriority=_AFTER_METLOG)


if FOLDER in os.environ:
    _exit.TIMEOUT = _PATIENCE
    atexit.register(write)
    os.register_at_fork(after_in_child=_register)
    _register()
