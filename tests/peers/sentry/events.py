"""Prints messages with events as applications make them: raven 6.10 as the Metlog plug-in sent them (base64 of zlib of
JSON), and today's SDK's as they are. The argument is the DSN."""

import base64
import json
import sys
import warnings

warnings.simplefilter("ignore")

import raven  # noqa: E402
import sentry_sdk  # noqa: E402

DSN = sys.argv[1]


def message(payload, origin, dsn):
    print(json.dumps({
        "type": "sentry",
        "timestamp": "2013-04-09T17:20:01.123456Z",
        "logger": origin,
        "severity": 3,
        "payload": payload,
        "fields": {"dsn": dsn, "msg": "", "epoch_timestamp": 1365528001.123456},
        "env_version": "0.8",
    }))


class RavenToMetlog(raven.Client):
    def send(self, **data):
        message(base64.b64encode(self.encode(data)).decode(), "raven", DSN)


class SdkToMetlog(sentry_sdk.transport.Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            event = item.payload.get_bytes().decode()
            message(json.loads(event), "sdk-object", DSN)
            message(event, "sdk-text", DSN)


def fail(depth, text):
    local = {"text": text, "nothing": float("nan"), "endless": float("inf"), "bytes": b"\xff"}
    if depth:
        return fail(depth - 1, text) + len(local)
    raise ValueError(text)


def each_way(capture_exception, capture_message):
    for text in ["plain", "bukan\u00fdrka \u30c0 \U0001f600", "line\nbreak \x00 \" \\", "x" * 20_000]:
        try:
            fail(3, text)
        except ValueError:
            capture_exception()
        capture_message(text)


client = RavenToMetlog(DSN, install_sys_hook=False, enable_breadcrumbs=False, release="r1", environment="test")
each_way(
    lambda: client.captureException(extra={"nan": float("nan"), "n": 1}, tags={"a": "b"}, level=50),
    lambda text: client.captureMessage(text, level="warning", data={"culprit": "here", "server_name": "web1"}),
)
sentry_sdk.init(DSN, transport=SdkToMetlog, default_integrations=False, release="r1", environment="test")
each_way(sentry_sdk.capture_exception, sentry_sdk.capture_message)
