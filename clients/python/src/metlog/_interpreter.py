"""Whether this is the interpreter that the process began with.

mod_wsgi and others have several in one process. The native module serves the main one alone, as its classes are those
of the process; and the end of another one waits for its threads, while those of the main one are stopped.
"""

from __future__ import annotations

import functools
import importlib

# What knows, of Python 3.13 and later and of those before.
_MODULES = ("_interpreters", "_xxsubinterpreters")


@functools.cache
def is_main() -> bool:
    """Return whether this is the main interpreter; where nobody knows of others, it is."""
    for name in _MODULES:
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True
