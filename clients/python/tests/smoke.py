"""Sends messages with the installed package, the way that is named on the command line. It needs nothing else."""

from __future__ import annotations

import json
import socket
import sys

import metlog
from metlog import _core
from metlog.client import MetlogClient
from metlog.senders import UdpSender

receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(30)
client = MetlogClient(UdpSender("127.0.0.1", receiver.getsockname()[1]), "smoke")
for number in range(3):
    client.incr("hits", fields={"number": number, "text": "é\ud800"})
    message = json.loads(receiver.recv(65_536))
    assert (message["fields"]["number"], message["metlog_seq"]) == (number, number + 1), message
with client.timer("time"):
    pass
assert json.loads(receiver.recv(65_536))["type"] == "timer"
assert client.flush()
assert client.stats()["sent"] == 4, client.stats()
way = "plain Python" if _core.native() is None else "native"
assert way == sys.argv[1], way
print(f"Python {sys.version.split()[0]}: metlog-py {metlog.__version__}, {way}")
