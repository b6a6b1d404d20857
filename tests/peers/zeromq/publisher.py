"""Publishes what it is told on standard input, one JSON object a line, and answers each on standard output.

{"connect": ADDRESS}        a PUB socket that connects, as metlog-py's does
{"bind": ADDRESS}           a PUB socket that binds; answers with whether it could
{"hwm": NUMBER}             for the sockets made after it
{"handshake": ADDRESS, "patience": MS}   asks as metlog-py does; answers with whether there was an answer
{"send": [FRAME, …]}        one message, each frame text, or {"base64": TEXT}
{"pack": OBJECT}            one message in msgpack
{"numbers": [FIRST, END], "logger": NAME, "bytes": SIZE, "pause": SECONDS}   messages numbered in metlog_seq
"""

import base64
import json
import sys
import time

import msgpack
import zmq

context = zmq.Context()
socket = None
hwm = 1000


def publisher():
    made = context.socket(zmq.PUB)
    made.setsockopt(zmq.LINGER, 0)
    made.setsockopt(zmq.SNDHWM, hwm)
    made.setsockopt(zmq.RECONNECT_IVL, 20)
    # So that what is not taken is held here, not in the kernel.
    made.setsockopt(zmq.SNDBUF, 65536)
    return made


def frame(value):
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value.encode()


def handshake(address, patience):
    question = context.socket(zmq.REQ)
    question.setsockopt(zmq.LINGER, 0)
    question.connect(address)
    poller = zmq.Poller()
    poller.register(question, zmq.POLLIN)
    question.send(b"")
    answered = bool(dict(poller.poll(patience)).get(question) == zmq.POLLIN)
    if answered:
        question.recv()
    question.close()
    return answered


def numbers(first, end, logger, size, pause):
    for number in range(first, end):
        message = {
            "type": "oldstyle",
            "timestamp": "2012-07-18T21:13:25.687518Z",
            "logger": logger,
            "severity": 6,
            "payload": "",
            "fields": {},
            "env_version": "0.8",
            "metlog_seq": number,
        }
        message["payload"] = "x" * max(0, size - len(json.dumps(message)))
        socket.send(json.dumps(message).encode())
        if pause:
            time.sleep(pause)


for line in sys.stdin:
    order = json.loads(line)
    answer = True
    if "hwm" in order:
        hwm = order["hwm"]
    elif "connect" in order:
        socket = socket or publisher()
        socket.connect(order["connect"])
    elif "bind" in order:
        socket = publisher()
        try:
            socket.bind(order["bind"])
        except zmq.ZMQError:
            answer = False
    elif "handshake" in order:
        answer = handshake(order["handshake"], order["patience"])
    elif "send" in order:
        socket.send_multipart([frame(part) for part in order["send"]])
    elif "pack" in order:
        socket.send(b"\0msgpack::" + msgpack.packb(order["pack"]))
    elif "numbers" in order:
        numbers(*order["numbers"], order["logger"], order["bytes"], order["pause"])
    print(json.dumps(answer), flush=True)
