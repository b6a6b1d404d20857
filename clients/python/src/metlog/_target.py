"""Where `metlog.init` sends to, as one text: ``udp://127.0.0.1:5565``, ``file:/var/log/app.jsonl`` and so on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from metlog.senders import FileSender, StdOutSender, TcpSender, UdpSender, UnixSender
from metlog.senders.base import Sender
from metlog.senders.network import JSON

# Where a router on this machine listens.
DEFAULT = "udp://127.0.0.1:5565"
DEFAULT_PORT = 5565

# A user's name and password, which are not to be shown.
_USER = re.compile("//.*@")

_FORMS = "udp://HOST:PORT, tcp://HOST:PORT, unix:///PATH, stdout: and file:PATH"


def sender_for(target: str) -> Sender:
    """Return the sender for a target; one that is none is a ValueError, a file that cannot be written an OSError.

    Network targets take ``?seq=false`` (no sequence numbers), and a Unix socket ``?mode=datagram``. UDP takes several
    hosts, with commas between them, and ``?pack=true`` (several messages may share a datagram). Where messages go in
    datagrams there is ``?encoder=msgpack``.
    """
    if not isinstance(target, str):
        raise ValueError(f"a target is a text, not {target!r}; there are {_FORMS}")
    target = target.strip()
    shown = _USER.sub("//[Filtered]@", target)
    try:
        parts = urlsplit(target)
        make = _SCHEMES.get(parts.scheme)
        if make is not None:
            return make(parts, {name: values[-1] for name, values in parse_qs(parts.query).items()})
    except ValueError as error:
        raise ValueError(f"the target {shown!r} is not right: {error}") from None
    raise ValueError(f"{shown!r} is no target; there are {_FORMS}")


def _udp(parts: SplitResult, options: dict[str, str]) -> Sender:
    _only_places(parts)
    places = [_host_and_port(place) for place in parts.netloc.split(",")]
    pack = _switch(options, "pack", "false")
    return UdpSender([host for host, _ in places], [port for _, port in places], **_network(options), pack=pack)


def _tcp(parts: SplitResult, options: dict[str, str]) -> Sender:
    _only_places(parts)
    host, port = _host_and_port(parts.netloc)
    return TcpSender(host, port, **_network(options))


def _unix(parts: SplitResult, options: dict[str, str]) -> Sender:
    path = parts.netloc + parts.path
    if not path:
        raise ValueError("there is no path")
    return UnixSender(path, options.pop("mode", "stream"), **_network(options))


def _stdout(parts: SplitResult, options: dict[str, str]) -> Sender:
    _none_left(options)
    return StdOutSender("jsonl")


def _file(parts: SplitResult, options: dict[str, str]) -> Sender:
    _none_left(options)
    path = parts.netloc + parts.path
    if not path:
        raise ValueError("there is no path")
    return FileSender(path, "jsonl")


_SCHEMES: dict[str, Callable[[SplitResult, dict[str, str]], Sender]] = {
    "udp": _udp,
    "tcp": _tcp,
    "unix": _unix,
    "stdout": _stdout,
    "file": _file,
}


def _host_and_port(place: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise ValueError("there is no host")
    return parts.hostname, DEFAULT_PORT if parts.port is None else parts.port


def _only_places(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise ValueError("it takes no user and no password")
    if parts.path.strip("/"):
        raise ValueError(f"it takes no path, such as {parts.path!r}")


def _network(options: dict[str, str]) -> dict[str, Any]:
    further = {"seq": _switch(options, "seq", "true"), "encoder": options.pop("encoder", JSON)}
    _none_left(options)
    return further


def _switch(options: dict[str, str], name: str, default: str) -> bool:
    given = options.pop(name, default).lower()
    if given not in ("true", "false"):
        raise ValueError(f"{name} is true or false, not {given!r}")
    return given == "true"


def _none_left(options: dict[str, str]) -> None:
    if options:
        raise ValueError(f"it takes no {', '.join(sorted(options))}")
