"""Clients from configuration: a dictionary, or a section of an INI file.

The keys of a dictionary, all of them optional:

``logger``, ``severity``, ``disabled_timers``
    As for `metlog.client.MetlogClient`.
``timer_precision``
    Decimals of the milliseconds that timers send.
``sender``
    A dictionary: ``class``, the dotted name of a sender's class; ``args``, its positional arguments; all else are
    keyword arguments.
``filters``
    Pairs of a provider's dotted name and its keyword arguments, in the order in which filters are asked.
``plugins``
    A dictionary with a pair for each plug-in: the provider's dotted name, and the dictionary that it is given.
    ``override`` in that is for `MetlogClient.add_method`.
``global``
    Goes to ``CLIENT_HOLDER.global_config``, which all clients share.

In an INI file, filters and plug-ins have sections of their own, ``[metlog_filter_NAME]`` and ``[metlog_plugin_NAME]``,
with a ``provider``; and ``sender_KEY`` and ``global_KEY`` stand for keys of the dictionaries.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from configparser import ConfigParser
from textwrap import dedent
from typing import Any, TextIO

from metlog.client import MetlogClient
from metlog.exceptions import EnvironmentNotFoundError
from metlog.path import DottedNameResolver

_INTEGER = re.compile(r"-?[0-9]+\Z")
_VARIABLE = re.compile(r"\$\{(\w[^}]*?)(?::-([^}]*))?\}")
_TRUE = ("true", "t", "yes", "on")
_FALSE = ("false", "f", "no", "off")


def _from_environment(found: re.Match[str]) -> str:
    name, otherwise = found.groups()
    value = os.environ.get(name)
    if otherwise is not None:
        return value or str(otherwise)
    if value is None:
        raise EnvironmentNotFoundError(name)
    return value


def _convert_line(value: str) -> Any:
    value = value.strip()
    if _INTEGER.match(value):
        return int(value)
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    return _VARIABLE.sub(_from_environment, value)


def _convert(value: Any) -> Any:
    """Return what a text of an INI file stands for.

    That is an integer, or a bool (true, t, yes, on and their opposites in any case), or a text in which ``${NAME}``
    and ``${NAME:-default}`` are taken from the environment; several lines are a list. What is no text stays as it is.
    """
    if not isinstance(value, str):
        return value
    if "\n" in value:
        return [_convert_line(line) for line in value.split("\n") if line.strip()]
    return _convert_line(value)


def nest_prefixes(
    config_dict: dict[str, Any], prefixes: Iterable[str] | None = None, separator: str = "_"
) -> dict[str, Any]:
    """Gather keys like ``sender_class`` in a dictionary ``sender``, and return the dictionary that was given.

    :param config_dict: Is changed; the keys that are gathered stay where they are, too.
    :param prefixes: ``sender`` and ``global`` unless given.
    :param separator: What stands behind a prefix.
    """
    for prefix in ("sender", "global") if prefixes is None else prefixes:
        start = prefix + separator
        nested = {key[len(start) :]: value for key, value in config_dict.items() if key.startswith(start)}
        if nested:
            config_dict.setdefault(prefix, {}).update(nested)
    return config_dict


def client_from_dict_config(
    config: Mapping[str, Any], client: MetlogClient | None = None, clear_global: bool = False
) -> MetlogClient:
    """Return a client with a sender, filters and plug-ins.

    :param config: The configuration, see this module's text. It stays as it is, and can be used again.
    :param client: A client to configure anew; without one, one is made.
    :param clear_global: Empties ``CLIENT_HOLDER.global_config`` first.
    """
    own = nest_prefixes(_copy(config))
    as_text = json.dumps(own, default=repr)

    from metlog.holder import CLIENT_HOLDER

    if clear_global:
        CLIENT_HOLDER.global_config = {}
    CLIENT_HOLDER.global_config.update(own.get("global", {}))

    # Relative names are relative to this package, as ever: `.senders.UdpSender`.
    resolver = DottedNameResolver("metlog")
    filters = [resolver.resolve(provider)(**settings) for provider, settings in own.get("filters", [])]
    sender = _sender(own.get("sender", {}), resolver)
    arguments = (sender, own.get("logger", ""), own.get("severity", 6), own.get("disabled_timers", []), filters)
    if client is None:
        client = MetlogClient(*arguments)
    else:
        client.setup(*arguments)
    client.timer_precision = own.get("timer_precision", client.timer_precision)
    for provider, settings in own.get("plugins", {}).values():
        override = settings.pop("override", False)
        client.add_method(resolver.resolve(provider)(settings), override)
    client._config = as_text
    return client


def _sender(settings: dict[str, Any], resolver: DottedNameResolver) -> Any:
    if not settings:
        return None
    if "class" not in settings:
        raise ValueError("the configuration of the sender has no `class` (in an INI file: `sender_class`)")
    sender_class = resolver.resolve(settings.pop("class"))
    arguments = settings.pop("args", ())
    return sender_class(*arguments, **settings)


def _copy(value: Any) -> Any:
    """Return a copy of nested containers; what they hold, such as an open file, is the same."""
    if isinstance(value, Mapping):
        return {key: _copy(member) for key, member in value.items()}
    if isinstance(value, (list, set)):
        return type(value)(_copy(member) for member in value)
    if type(value) is tuple:
        return tuple(_copy(member) for member in value)
    return value


def dict_from_stream_config(stream: TextIO, section: str) -> dict[str, Any]:
    """Return the dictionary that a section of an INI file, with its filters and plug-ins, stands for.

    :param stream: The file.
    :param section: The section's name.
    """
    # As Python 2 read them: a later value wins, and a comment may follow a value.
    parser = ConfigParser(strict=False, inline_comment_prefixes=(";",))
    parser.read_file(stream)
    client_dict: dict[str, Any] = {key: _convert(value) for key, value in parser.items(section)}
    client_dict["filters"] = [
        _provided(parser, name) for name in parser.sections() if name.startswith(f"{section}_filter")
    ]
    client_dict["plugins"] = {
        name.replace(f"{section}_plugin_", ""): _provided(parser, name)
        for name in parser.sections()
        if name.startswith(f"{section}_plugin")
    }
    return nest_prefixes(client_dict)


def _provided(parser: ConfigParser, section: str) -> tuple[str, dict[str, Any]]:
    settings = dict(parser.items(section))
    if "provider" not in settings:
        raise ValueError(f"the section [{section}] has no `provider`")
    provider = settings.pop("provider")
    return provider, {key: _convert(value) for key, value in settings.items()}


def client_from_stream_config(
    stream: TextIO, section: str, client: MetlogClient | None = None, clear_global: bool = False
) -> MetlogClient:
    """Return a client from a section of an INI file.

    :param stream: The file.
    :param section: The section's name.
    :param client: A client to configure anew; without one, one is made.
    :param clear_global: Empties ``CLIENT_HOLDER.global_config`` first.
    """
    return client_from_dict_config(dict_from_stream_config(stream, section), client, clear_global)


def client_from_text_config(
    text: str, section: str, client: MetlogClient | None = None, clear_global: bool = False
) -> MetlogClient:
    """Return a client from a section of an INI text, which may be indented.

    :param text: The text.
    :param section: The section's name.
    :param client: A client to configure anew; without one, one is made.
    :param clear_global: Empties ``CLIENT_HOLDER.global_config`` first.
    """
    return client_from_stream_config(io.StringIO(dedent(text)), section, client, clear_global)
