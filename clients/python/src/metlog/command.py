"""``mb``: sends messages to a router as fast as this client can, until it is stopped."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence

from metlog import _clock
from metlog.client import MetlogClient
from metlog.config import client_from_stream_config
from metlog.senders import UdpSender

# Messages between two looks at the clock and the queue.
_STRIDE = 100

# Seconds that the queue is given to become empty before more is sent: a benchmark that drops proves nothing.
_PATIENCE = 1.0


mb_doc = """mb: sends messages to a Metlog router until it is stopped, and says how many that were.

Usage:
  mb HOST PORT [--metlogcfg=FILE] [--raw] [--seconds=N]

Arguments:
  HOST              The router's host name or address
  PORT              The port of its UDP input

Options:
  --metlogcfg=FILE  An INI file whose section [metlog] configures the client
  --raw             Send one text again and again, without a client
  --seconds=N       Stop after so many seconds
"""


class _Parser(argparse.ArgumentParser):
    def format_help(self) -> str:
        return mb_doc


def mb(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status.

    :param arguments: Those of the command line unless given.
    """
    parser = _Parser(prog="mb")
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("port", metavar="PORT", type=int)
    parser.add_argument("--raw", action="store_true")
    parser.add_argument("--metlogcfg", metavar="FILE")
    parser.add_argument("--seconds", metavar="N", type=float, default=float("inf"))
    given = parser.parse_args(arguments)
    begin = time.monotonic()
    until = begin + given.seconds
    sent = 0
    try:
        if given.raw:
            for sent in _raw(given.host, given.port, until):  # noqa: B007  counted also where it is interrupted
                pass
        else:
            for sent in _through(_client(given), until):  # noqa: B007
                pass
    except KeyboardInterrupt:
        pass
    except OSError as error:
        print(f"mb: cannot send to {given.host}:{given.port}: {error}", file=sys.stderr)
        return 1
    took = time.monotonic() - begin
    print(f"{sent} messages in {took:.1f} s, {sent / max(took, 1e-9):.0f} per second")
    return 0


def _client(given: argparse.Namespace) -> MetlogClient:
    if given.metlogcfg:
        with open(given.metlogcfg, encoding="utf-8") as stream:
            return client_from_stream_config(stream, "metlog")
    return MetlogClient(UdpSender(given.host, given.port), "mb")


def _through(client: MetlogClient, until: float) -> Iterator[int]:
    """Send through a client, and yield how many messages were sent."""
    sent = 0
    while sent == 0 or time.monotonic() < until:
        for _ in range(_STRIDE):
            client.metlog("MBTEST", payload="MBTEST")
        client.flush(_PATIENCE)
        sent += _STRIDE
        yield sent


def _raw(host: str, port: int, until: float) -> Iterator[int]:
    """Send one text, and yield how often it was sent."""
    message = {
        "type": "MBTEST",
        "timestamp": _clock.timestamp(),
        "logger": "mb",
        "severity": 6,
        "payload": "MBTEST",
        "fields": {},
        "env_version": "0.8",
        "metlog_pid": os.getpid(),
        "metlog_hostname": socket.gethostname(),
    }
    text = json.dumps(message).encode("ascii")
    family, _, _, _, address = socket.getaddrinfo(host, port, 0, socket.SOCK_DGRAM)[0]
    sent = 0
    with socket.socket(family, socket.SOCK_DGRAM) as outgoing:
        while sent == 0 or time.monotonic() < until:
            for _ in range(_STRIDE):
                outgoing.sendto(text, address)
            sent += _STRIDE
            yield sent
