"""``metlog.asgi.Middleware``: every request is counted and timed once, also beside many others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from metlog import asgi
from metlog.client import MetlogClient
from metlog.senders import DebugCaptureSender
from metlog.testing import Capture

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def client() -> MetlogClient:
    return MetlogClient(Capture(), "shop")


async def article(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.path_params["sku"])


async def broken(request: Request) -> PlainTextResponse:
    raise LookupError("no apples")


SHOP = Starlette(
    routes=[
        Route("/articles/{sku}", article, methods=["GET"]),
        Route("/broken/{sku:int}", broken),
        Mount(
            "/customers/{customer:int}",
            routes=[Route("/articles/{sku}", article), Mount("/deep", routes=[Route("/{sku}", article)])],
        ),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/articles/A-7", "http.GET./articles/{sku}.200"),
        ("POST", "/articles/A-7", "http.POST./articles/{sku}.405"),
        ("GET", "/wp-admin", "http.GET.(none).404"),
        ("GET", "/customers/42/articles/A-7", "http.GET./customers/{customer}/articles/{sku}.200"),
        ("GET", "/customers/42/deep/A-7", "http.GET./customers/{customer}/deep/{sku}.200"),
        ("GET", "/customers/42/wp-admin", "http.GET.(none).404"),
        ("GET", "/customers/42/deep/wp/admin", "http.GET.(none).404"),
    ],
)
def test_a_request_is_counted_and_timed_by_route_and_status(
    method: str, path: str, name: str, client: MetlogClient
) -> None:
    serving.asgi(asgi.Middleware(SHOP, client), path, method)
    client.sender.one(type="counter", name=name, method=method)
    (milliseconds,) = client.sender.timings(name)
    assert 0 < milliseconds < 60_000
    for value in ("A-7", "42", "admin"):
        assert value not in client.sender.one(type="counter")["fields"]["route"]


class Forgetful:
    """Leaves no route behind, as Starlette did for long."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await SHOP(scope, receive, send)
        finally:
            scope.pop("route", None)

    routes = SHOP.routes


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/articles/A-7", "/articles/{sku}"),
        ("POST", "/articles/A-7", "/articles/{sku}"),
        ("GET", "/customers/42/deep/A-7", "/customers/{customer}/deep/{sku}"),
        ("GET", "/customers/42/wp-admin", "(none)"),
        ("GET", "/wp-admin", "(none)"),
    ],
)
def test_a_route_that_is_not_left_behind_is_looked_for(
    method: str, path: str, route: str, client: MetlogClient
) -> None:
    serving.asgi(asgi.Middleware(Forgetful(), client), path, method)
    client.sender.one(type="counter", route=route)


def test_an_exception_passes_and_is_reported(client: MetlogClient) -> None:
    with pytest.raises(LookupError):
        serving.asgi(asgi.Middleware(SHOP, client), "/broken/7")
    client.sender.one(type="oldstyle", severity=3, exc_type="LookupError", payload="GET /broken/{sku} failed")
    assert client.sender.count("http.GET./broken/{sku}.500") == 1


def test_each_of_many_requests_has_its_own_names(client: MetlogClient) -> None:
    # Made inside the loop, as Python 3.9 wants it.
    gate: Any = None

    async def application(scope: Any, receive: Any, send: Any) -> None:
        client.info("before")
        if scope["path"] == "/19":
            gate.set()
        await gate.wait()
        client.info("after")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        pass

    async def serve() -> None:
        nonlocal gate
        gate = asyncio.Event()
        served = asgi.Middleware(application, client)
        scopes = [
            {"type": "http", "method": "GET", "path": f"/{number}", "headers": [(b"x-request-id", b"r-%d" % number)]}
            for number in range(20)
        ]
        await asyncio.gather(*(served(scope, None, send) for scope in scopes))

    asyncio.run(serve())
    for number in range(20):
        found = client.sender.of(request_id=f"r-{number}")
        assert sorted(message["type"] for message in found) == ["counter", "oldstyle", "oldstyle", "timer"]


def test_the_trace_is_bound_for_the_request(client: MetlogClient) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "r-7"}
    serving.asgi(asgi.Middleware(SHOP, client), "/articles/A-7", headers=headers)
    client.sender.one(type="counter", trace_id=TRACE, span_id=SPAN, request_id="r-7")
    client.info("outside")
    assert client.sender.one(payload="outside")["fields"] == {}


def test_a_request_that_is_cancelled_is_counted_as_such(client: MetlogClient) -> None:
    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async def serve() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        task = asyncio.create_task(asgi.Middleware(endless, client)(scope, None, None))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(serve())
    assert client.sender.count("http.GET.(none).499") == 1
    client.sender.none(type="oldstyle")


def test_another_framework_can_say_its_route(client: MetlogClient) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        scope[asgi.ROUTE] = "/articles/<sku>"
        await send({"type": "http.response.start", "status": 204, "headers": []})

    serving.asgi(asgi.Middleware(application, client), "/articles/A-7")
    assert client.sender.count("http.GET./articles/<sku>.204") == 1
    client.sender.clear()
    serving.asgi(asgi.Middleware(application, client, route=lambda scope: "/mine"), "/articles/A-7")
    assert client.sender.count("http.GET./mine.204") == 1


def test_what_is_no_request_passes_through(client: MetlogClient) -> None:
    served: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["type"])

    for kind in ("lifespan", "websocket"):
        asyncio.run(asgi.Middleware(application, client)({"type": kind}, None, None))
    assert served == ["lifespan", "websocket"]
    assert client.sender.messages == []


def test_without_a_client_requests_are_served() -> None:
    assert serving.asgi(asgi.Middleware(SHOP), "/articles/A-7") == (200, b"A-7")


class Flushed(DebugCaptureSender):
    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.flushes: list[float] = []
        self._error = error

    def flush(self, timeout: float = 2.0) -> bool:
        self.flushes.append(timeout)
        if self._error is not None:
            raise self._error
        return True


@pytest.mark.parametrize("error", [None, OSError("a sender of somebody's own")])
@pytest.mark.parametrize("end", ["lifespan.shutdown.complete", "lifespan.shutdown.failed"])
def test_what_waits_is_sent_when_the_application_ends(end: str, error: Exception | None) -> None:
    sender = Flushed(error)
    sent: list[tuple[str, int]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        for kind in ("lifespan.startup.complete", end):
            await send({"type": kind})

    async def send(message: Any) -> None:
        sent.append((message["type"], len(sender.flushes)))

    middleware = asgi.Middleware(application, MetlogClient(sender, "shop"))
    asyncio.run(middleware({"type": "lifespan"}, None, send))
    assert sent == [("lifespan.startup.complete", 0), (end, 1)]
    assert sender.flushes == [2.0]
