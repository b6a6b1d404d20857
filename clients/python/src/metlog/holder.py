"""Where the clients of a process are kept by name, and which of them is the default."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from metlog.client import MetlogClient
from metlog.config import client_from_dict_config


class MetlogClientHolder:
    """Keeps clients by name, and what holds for all of them; `CLIENT_HOLDER` is the one of the process.

    Its own methods take no lock: each step is one operation of a dictionary, so a forked child never waits for its
    parent.
    """

    def __init__(self) -> None:
        """Make an empty holder."""
        self._clients: dict[str, MetlogClient] = {}
        self.global_config: dict[str, Any] = {}
        #: For applications that keep one another from changing the holder; nothing here waits for it.
        self.lock: threading.Lock = threading.Lock()

    def get_client(self, name: str) -> MetlogClient:
        """Return the client of a name, which is also its `logger`; a new one has no sender yet."""
        client = self._clients.get(name)
        if client is None:
            if not self._clients and not self.global_config.get("default"):
                self.global_config["default"] = name
            # Of two threads that come at once, both get the client of the first.
            client = self._clients.setdefault(name, MetlogClient(sender=None, logger=name))
        return client

    def set_client(self, name: str, client: MetlogClient) -> None:
        """Keep a client under a name; the first one becomes the default."""
        self._clients[name] = client
        if len(self._clients) == 1:
            self.global_config["default"] = name

    def set_default_client_name(self, name: str | None) -> None:
        """Say which client is the default, by its name."""
        self.global_config["default"] = name

    @property
    def default_client(self) -> MetlogClient | None:
        """The default client; None if there is none."""
        name = self.global_config.get("default")
        return None if name is None else self._clients.get(name)

    def delete_client(self, name: str) -> None:
        """Forget a client; the next one that is kept becomes the default if this was it."""
        self._clients.pop(name, None)
        if self.global_config.get("default") == name:
            del self.global_config["default"]


CLIENT_HOLDER = MetlogClientHolder()


def get_client(name: str, config_dict: Mapping[str, Any] | None = None) -> MetlogClient:
    """Return the client of a name, configured anew if there is a configuration.

    :param name: The client's name and `logger`.
    :param config_dict: A configuration as for `metlog.config.client_from_dict_config`. Its ``logger`` is `name` or
                        missing; anything else is a ValueError.
    """
    client = CLIENT_HOLDER.get_client(name)
    if config_dict:
        logger = config_dict.get("logger")
        if logger and logger != name:
            raise ValueError(f"the configuration's logger {logger!r} is not the client's name {name!r}; leave it out")
        client = client_from_dict_config({**config_dict, "logger": name}, client=client)
    return client
