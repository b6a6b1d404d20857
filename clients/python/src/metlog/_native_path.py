"""What the package asks of its native module, where there is one: cores, and the native path of a client.

The native path takes the arguments of a call straight into the queue of a native core, without building a message in
Python first, for as long as nothing on the way is replaced: exactly our classes, no method on the way overridden or
assigned, no filters but ours, unmodified. Each call looks whether that still holds. Otherwise a message goes the way
that everybody sees: `MetlogClient.metlog`, `MetlogClient.send_message`, the filters, the sender.
"""

from __future__ import annotations

import _thread
import functools
import importlib
import time
import weakref
from collections.abc import Sequence
from types import CodeType
from typing import Any

from metlog import _bound, _diagnostics, _exit
from metlog._core import Core, Destination

# What decides, of a client and of a sender. A log line or message of any type depends on the client's first two, a
# counter on three, and a timer's message on all of them.
_OF_CLIENTS = ("send_message", "env_version", "metlog", "timer_send")
_OF_SENDERS = ("send_message", "encode")

# A class, and what it has of some names.
_Original = tuple[type, dict[str, Any]]


class _State:
    """The native module, from its first core on.

    No call imports it: a child that is forked at that moment would wait for ever for whoever imported it.
    """

    module: Any = None


class Way:
    """The classes on the way of a message as they were when they were imported, before anybody could change them."""

    def __init__(self, client: type, senders: Sequence[Sequence[type]], filters: dict[str, CodeType]) -> None:
        """Look at the classes.

        :param client: The class of the clients.
        :param senders: The classes of the senders that have a native core, the bases of each behind it.
        :param filters: The code of our filters, by the name of their kind; it grows when they are made.
        """
        self._client = original(client, _OF_CLIENTS)
        self._senders = [[original(each, _OF_SENDERS) for each in classes] for classes in senders]
        self._filters = filters
        self._terms: Any = None

    def path(self, client: Any) -> Any:
        """Return the native path of a client as it is now; None if it has none."""
        if _State.module is None:
            return None
        if self._terms is None:
            self._terms = _State.module.Terms(
                _OF_CLIENTS, self._client, _OF_SENDERS, self._senders, self._filters, vars(_bound)
            )
        return self._terms.path(client)


def original(owner: type, names: Sequence[str]) -> _Original:
    """Return a class, and what it has under these names."""
    return owner, {name: vars(owner)[name] for name in names if name in vars(owner)}


_cores: weakref.WeakSet[Any] = weakref.WeakSet()


def open_core(module: Any, destination: Destination) -> Core:
    """Return a native core, which is flushed when the process ends."""
    # It needs the native module, and completes its class of timers.
    importlib.import_module("metlog._native_timer")
    _State.module = module
    _exit.call(_finish)
    # Not a function in Python, which would run beneath native code; no daemon thread must meet its end there.
    module.spread_diagnostics(functools.partial(_thread.start_new_thread, _log, ()))
    core: Core = module.open_core(destination)
    _cores.add(core)
    return core


def _finish(timeout: float) -> None:
    until = time.monotonic() + timeout
    for core in list(_cores):
        core.flush(max(0.0, until - time.monotonic()))
    _State.module.flush_retired(max(0.0, until - time.monotonic()))
    lines, left_out = _State.module.take_diagnostics()
    if left_out:
        lines.append(_LEFT_OUT % left_out)
    lines += _exit.given_up(sum(core.stats()["queued"] for core in list(_cores)))
    # A handler of the application's may wait for whatever it likes.
    _diagnostics.say_aside(lines, max(_diagnostics.PATIENCE, until - time.monotonic()))


def _log() -> None:
    """Have what the sending threads say logged, on a thread of its own.

    Whoever has it started may hold a lock for which a handler of the application's waits, or interrupt, as the handler
    of a signal or a finaliser, the very code that starts threads. So it is started in the one way that takes no lock
    and waits for nothing. Where that fails, for want of threads or at the end of the interpreter, the end tells.
    """
    lines, left_out = _State.module.take_diagnostics()
    for line in lines:
        _diagnostics.say("%s", line)
    if left_out:
        _diagnostics.say(_LEFT_OUT, left_out)


_LEFT_OUT = "%d more lines were left out"
