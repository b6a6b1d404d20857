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

import inspect
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from configparser import ConfigParser
from textwrap import dedent
from typing import Any, NamedTuple, TextIO

from metlog import _diagnostics
from metlog._severity import checked
from metlog.client import MetlogClient
from metlog.exceptions import EnvironmentNotFoundError
from metlog.path import DottedNameResolver

_INTEGER = re.compile(r"-?[0-9]+\Z")
_VARIABLE = re.compile(r"\$\{(\w[^}]*?)(?::-([^}]*))?\}")
_TRUE = ("true", "t", "yes", "on")
_FALSE = ("false", "f", "no", "off")

_KEYS = ("logger", "severity", "disabled_timers", "timer_precision", "sender", "filters", "plugins", "global")
_PREFIXES = ("sender_", "global_")


class _Places(NamedTuple):
    """Where the parts of a configuration were written, in the words of whoever wrote it."""

    #: The whole, and the key of the sender's class.
    whole: str = "the configuration"
    sender: str = "the key `class` of `sender`"
    #: Of each filter, and of each plug-in by its name.
    filters: tuple[str, ...] = ()
    plugins: Mapping[str, str] = {}
    #: Keys that are for others, who share the file.
    of_others: frozenset[str] = frozenset()

    def filter(self, number: int) -> str:
        return self.filters[number] if number < len(self.filters) else f"number {number + 1} of `filters`"

    def plugin(self, name: str) -> str:
        return self.plugins.get(name, f"{name!r} of `plugins`")


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
    return _client(config, client, clear_global, _Places())


def _client(
    config: Mapping[str, Any], client: MetlogClient | None, clear_global: bool, places: _Places
) -> MetlogClient:
    own = nest_prefixes(_copy(config))
    as_text = json.dumps(own, default=repr)
    _name_unknown(own, places)
    try:
        severity = checked(own.get("severity", 6))
    except ValueError as error:
        raise ValueError(f"{places.whole}, key `severity`: {error}") from None

    from metlog.holder import CLIENT_HOLDER

    if clear_global:
        CLIENT_HOLDER.global_config = {}
    CLIENT_HOLDER.global_config.update(own.get("global", {}))

    # Relative names are relative to this package, as ever: `.senders.UdpSender`.
    resolver = DottedNameResolver("metlog")
    filters = [
        _called(places.filter(number), _resolved(places.filter(number), resolver, provider), (), settings)
        for number, (provider, settings) in enumerate(own.get("filters", []))
    ]
    sender = _sender(own.get("sender", {}), resolver, places)
    arguments = (sender, own.get("logger", ""), severity, own.get("disabled_timers", []), filters)
    if client is None:
        client = MetlogClient(*arguments)
    else:
        client.setup(*arguments)
    client.timer_precision = own.get("timer_precision", client.timer_precision)
    for name, (provider, settings) in own.get("plugins", {}).items():
        override = settings.pop("override", False)
        client.add_method(_resolved(places.plugin(name), resolver, provider)(settings), override)
    client._config = as_text
    return client


def _name_unknown(own: Mapping[str, Any], places: _Places) -> None:
    # No error: there are configurations of old with keys that nobody reads.
    unknown = [
        key
        for key in map(str, own)
        if key not in _KEYS and key not in places.of_others and not key.startswith(_PREFIXES)
    ]
    if unknown:
        named = ", ".join(f"`{key}`" for key in sorted(unknown))
        text = "%s has keys that nothing reads: %s; there are %s, and keys that begin with %s"
        there_are = ", ".join(_KEYS), " or ".join(_PREFIXES)
        _diagnostics.once(f"configuration {places.whole} {named}", text, places.whole, named, *there_are)


def _sender(settings: dict[str, Any], resolver: DottedNameResolver, places: _Places) -> Any:
    if not settings:
        return None
    if "class" not in settings:
        raise ValueError("the configuration of the sender has no `class` (in an INI file: `sender_class`)")
    sender_class = _resolved(places.sender, resolver, settings.pop("class"))
    return _called(places.sender, sender_class, settings.pop("args", ()), settings)


def _resolved(place: str, resolver: DottedNameResolver, dotted: Any) -> Any:
    """Return what a name stands for; where it stands for nothing, the error says where it was written."""
    try:
        return resolver.resolve(dotted)
    except ImportError as error:
        raise ImportError(f"{place}: {error}", name=error.name) from error
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _called(place: str, called: Any, args: Iterable[Any], settings: dict[str, Any]) -> Any:
    """Return what a class or a provider makes of settings; where they do not fit, the error says where."""
    args = tuple(args)
    try:
        signature = inspect.signature(called)
    except (TypeError, ValueError):
        # What does not say what it takes.
        return called(*args, **settings)
    try:
        signature.bind(*args, **settings)
    except TypeError as error:
        raise TypeError(f"{place}: {error}; it takes {', '.join(signature.parameters) or 'nothing'}") from None
    try:
        return called(*args, **settings)
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        raise ValueError(f"{place}: {error}") from error


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
    return _read(stream, section)[0]


def _read(stream: TextIO, section: str) -> tuple[dict[str, Any], _Places]:
    # As Python 2 read them: a later value wins, and a comment may follow a value.
    parser = ConfigParser(strict=False, inline_comment_prefixes=(";",))
    parser.read_file(stream)
    client_dict: dict[str, Any] = {key: _convert(value) for key, value in parser.items(section)}
    filters = [name for name in parser.sections() if name.startswith(f"{section}_filter")]
    plugins = {
        name.replace(f"{section}_plugin_", ""): name
        for name in parser.sections()
        if name.startswith(f"{section}_plugin")
    }
    client_dict["filters"] = [_provided(parser, name) for name in filters]
    client_dict["plugins"] = {name: _provided(parser, whole) for name, whole in plugins.items()}
    places = _Places(
        f"the section [{section}]",
        f"the section [{section}], key `sender_class`",
        tuple(f"the section [{name}]" for name in filters),
        {name: f"the section [{whole}]" for name, whole in plugins.items()},
        frozenset(parser.defaults()),
    )
    return nest_prefixes(client_dict), places


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
    config, places = _read(stream, section)
    return _client(config, client, clear_global, places)


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
