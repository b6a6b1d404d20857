"""A server that takes envelopes as Sentry does, and looks at each event with Sentry's own normaliser.

It prints its port. `POST /answers/PROJECT` takes a list of answers for that project's next requests: {"status": 429,
"headers": {...}}, {"hang": true} or {"reset": true}; without any left, the answer is 200. `GET /requests` lists every
envelope that came, in order, with what the normaliser made of it and what was answered. With a certificate and its key
as arguments it speaks TLS.
"""

import collections
import json
import re
import socket
import ssl
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sentry_relay.processing import StoreNormalizer

NORMALIZER = StoreNormalizer(project_id=2, protocol_version="7", key_id="key")
LOCK = threading.Lock()
ANSWERS = collections.defaultdict(collections.deque)
REQUESTS = []
UNDER_WAY = collections.Counter()
FOREVER = threading.Event()


def problems_of(record, head, item, event):
    """What Sentry would not take, or take differently from what was meant."""
    if record["content_type"] != "application/x-sentry-envelope":
        yield "content type"
    if not record["auth"].startswith("Sentry sentry_version=7, sentry_client=metlog/"):
        yield "authentication"
    if not re.fullmatch("[0-9a-f]{32}", head.get("event_id", "")):
        yield "event_id of the envelope"
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", head.get("sent_at", "")):
        yield "sent_at"
    if "secret" in head.get("dsn", "secret"):
        yield "dsn"
    if item != {"type": "event", "length": len(event)}:
        yield "item header %r, length %d" % (item, len(event))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"{}", headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        with LOCK:
            body = json.dumps(REQUESTS).encode()
        self.answer(200, body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match = re.fullmatch(r"/answers/(\w+)", self.path)
        if match:
            with LOCK:
                ANSWERS[match.group(1)].extend(json.loads(body))
            return self.answer(200)
        match = re.fullmatch(r"/(?:\w+/)*api/(\w+)/envelope/", self.path)
        if not match:
            return self.answer(404)
        project = match.group(1)
        record = {
            "project": project,
            "path": self.path,
            "auth": self.headers.get("X-Sentry-Auth", ""),
            "content_type": self.headers.get("Content-Type", ""),
        }
        try:
            head, item, rest = body.split(b"\n", 2)
            head, item = json.loads(head), json.loads(item)
            event = rest[: item["length"]]
            assert rest[item["length"] :] == b"\n"
            record["head"] = head
            record["event"] = event.decode()
            record["normalized"] = NORMALIZER.normalize_event(raw_event=event.decode())
            record["problems"] = list(problems_of(record, head, item, event))
            record["problems"] += record["normalized"].get("errors") or []
        except Exception as error:  # whatever it is, the test wants to know
            record["problems"] = [repr(error)]
        with LOCK:
            planned = ANSWERS[project].popleft() if ANSWERS[project] else {}
            record["answer"] = planned.get("status", 200)
            if planned.get("hang") or planned.get("reset"):
                record["answer"] = None
            UNDER_WAY[project] += 1
            record["under_way"] = UNDER_WAY[project]
            REQUESTS.append(record)
        if planned.get("hang"):
            FOREVER.wait(60)
        with LOCK:
            UNDER_WAY[project] -= 1
        if planned.get("hang") or planned.get("reset"):
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return None
        return self.answer(record["answer"], b'{"detail":"planned"}', planned.get("headers", {}))

    def finish(self):
        try:
            super().finish()
        except (OSError, ValueError):
            pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


def main():
    server = Server(("127.0.0.1", 0), Handler)
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # Ends with the test that started it, whose end of the pipe then closes.
    sys.stdin.read()


main()
