"""The plug-ins that every client of `metlog.init` has: exceptions for Sentry, and security events.

What they need is imported by the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metlog import _diagnostics
from metlog.client import MetlogClient
from metlog.path import resolve_name

_PROVIDERS = {
    "cef": "metlog_cef.cef_plugin:config_plugin",
    "raven": "metlog_raven.raven_plugin:config_plugin",
}


def add_to(client: MetlogClient) -> None:
    """Give a client the plug-ins that it does not have yet, with their defaults."""
    for name, provider in _PROVIDERS.items():
        if not hasattr(client, name):
            client.add_method(_made_when_called(name, provider))


def _made_when_called(name: str, provider: str) -> Callable[..., Any]:
    def method(self: MetlogClient, *args: Any, **kwargs: Any) -> Any:
        # Takes this one's place. Two threads at once make the same.
        try:
            made = resolve_name(provider)
        except ImportError as error:
            # At its end the interpreter imports nothing more.
            _diagnostics.once(f"plug-in {name}", "%s has no effect: %s", name, error)
            return None
        self.add_method(made({}), override=name)
        return getattr(self, name)(*args, **kwargs)

    method.metlog_name = name  # type: ignore[attr-defined]
    return method
