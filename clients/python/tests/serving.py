"""Serves a request to an application without a server, as one would do it."""

from __future__ import annotations

import asyncio
import io
import sys
from typing import Any


def wsgi(application: Any, path: str, method: str = "GET", **more: Any) -> tuple[str, bytes]:
    """Return status and body of a WSGI application's answer."""
    answer: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "shop",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "shop",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **more,
    }

    def start_response(status: str, headers: list, exc_info: Any = None) -> None:
        answer[:] = [status]

    body = application(environ, start_response)
    try:
        # The status is there by the first part at the latest.
        sent = b"".join(body)
        return answer[0], sent
    finally:
        if hasattr(body, "close"):
            body.close()


def asgi(application: Any, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Return status and body of an ASGI application's answer."""
    given = {"host": "shop", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("shop", 80),
    }
    sent: list[dict[str, Any]] = []

    received: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not received:
            # The client says nothing more, and stays.
            await asyncio.Event().wait()
        return received.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(application(scope, receive, send))
    status = next(message["status"] for message in sent if message["type"] == "http.response.start")
    return status, b"".join(message.get("body", b"") for message in sent)
