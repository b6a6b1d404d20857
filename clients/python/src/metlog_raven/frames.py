"""The frames of a traceback as Sentry shows them: where, and the line of code.

Of the application's own code the lines around it are shown too.
"""

from __future__ import annotations

import functools
import linecache
import os
import sysconfig
from types import FrameType, TracebackType
from typing import Any

from metlog_raven import bounded
from metlog_raven.scrubbing import FILTERED, Scrubber

MOST_FRAMES = 100
"""Frames of one exception; of a deeper stack the outermost and, above all, the innermost stay."""

OUTERMOST_FRAMES = 20
"""How many of them are the outermost."""

LINES_AROUND = 5
"""Lines of code before and after the one where it happened."""

LONGEST_LINE = 256
"""Characters of one line of code."""


def stacktrace(traceback: TracebackType | None, scrubber: Scrubber, with_locals: bool) -> dict[str, Any] | None:
    """Return the stack of an exception, outermost frame first; ``None`` where it was never raised."""
    places = []
    while traceback is not None:
        places.append((traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    if not places:
        return None
    omitted = None
    if len(places) > MOST_FRAMES:
        end = len(places) - (MOST_FRAMES - OUTERMOST_FRAMES)
        places, omitted = places[:OUTERMOST_FRAMES] + places[end:], [OUTERMOST_FRAMES, end]
    stack: dict[str, Any] = {"frames": [_frame(frame, number, scrubber, with_locals) for frame, number in places]}
    if omitted:
        stack["frames_omitted"] = omitted
    return stack


def _frame(frame: FrameType, number: int, scrubber: Scrubber, with_locals: bool) -> dict[str, Any]:
    code = frame.f_code
    module = frame.f_globals.get("__name__")
    module = module if isinstance(module, str) else None
    in_app = _is_the_applications(code.co_filename, module)
    shown: dict[str, Any] = {
        "filename": bounded.text(_below_its_package(code.co_filename, module)),
        "abs_path": bounded.text(code.co_filename),
        # From Python 3.11 on it says of which class.
        "function": bounded.text(getattr(code, "co_qualname", code.co_name)),
        "module": module and bounded.text(module),
        "lineno": number,
        "in_app": in_app,
    }
    shown.update(_code_around(frame, number, LINES_AROUND if in_app else 0, scrubber))
    if with_locals:
        shown["vars"] = _locals(frame, scrubber)
    return shown


def _code_around(frame: FrameType, number: int, around: int, scrubber: Scrubber) -> dict[str, Any]:
    try:
        lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    except Exception:
        # A loader of somebody else's that fails, a file that is no text.
        return {}
    if not 0 < number <= len(lines):
        return {}
    shown: dict[str, Any] = {"context_line": _line(lines[number - 1], scrubber)}
    if around:
        shown["pre_context"] = [_line(line, scrubber) for line in lines[max(number - 1 - around, 0) : number - 1]]
        shown["post_context"] = [_line(line, scrubber) for line in lines[number : number + around]]
    return shown


# The same places fail again and again.
@functools.lru_cache(maxsize=2048)
def _line(line: str, scrubber: Scrubber) -> str:
    return bounded.text(scrubber.text(line.rstrip("\r\n")), LONGEST_LINE)


def _locals(frame: FrameType, scrubber: Scrubber) -> dict[str, Any]:
    try:
        held = dict(list(frame.f_locals.items())[: bounded.MOST_MEMBERS])
    except Exception:
        return {}
    return {
        name: FILTERED if scrubber.is_secret(name) else scrubber.value(bounded.plain(value))
        for name, value in held.items()
    }


def _below_its_package(path: str, module: str | None) -> str:
    """Return ``shop/cart.py`` for the module ``shop.cart``, wherever it is installed."""
    parts = path.replace(os.sep, "/").split("/")
    if not module or module == "__main__":
        return parts[-1]
    depth = module.count(".") + 1 + (parts[-1] == "__init__.py")
    return "/".join(parts[-depth:])


@functools.lru_cache(maxsize=1)
def _standard_library() -> tuple[str, ...]:
    paths = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    return tuple({os.path.join(path, "") for path in paths if path})


def _is_the_applications(path: str, module: str | None) -> bool:
    if module is not None and module.split(".", 1)[0] in ("metlog", "metlog_raven"):
        return False
    if "site-packages" in path or "dist-packages" in path or path.startswith("<"):
        return False
    return not path.startswith(_standard_library())
