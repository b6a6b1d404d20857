"""The line for each framework, with the framework itself: route, status, exception and names arrive."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import wsgiref.util
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import django
import fastapi
import flask
import pytest
import serving
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import include, path, re_path

import metlog.asgi
import metlog.flask
from metlog.holder import CLIENT_HOLDER
from metlog.testing import Capture
from metlog_raven import raven_plugin

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
NAMES = {"trace_id": TRACE, "span_id": SPAN, "request_id": "r-7"}
HEADERS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "r-7"}
ENVIRON = {"HTTP_TRACEPARENT": HEADERS["traceparent"], "HTTP_X_REQUEST_ID": "r-7"}


def no_path_is_shown(capture: Capture) -> None:
    """Assert that nothing that a client made up is in a metric."""
    for message in [*capture.of(type="counter"), *capture.of(type="timer")]:
        assert "A-7" not in str(message)
        assert "admin" not in str(message)


# Flask.


@pytest.fixture
def flask_app() -> flask.Flask:
    app = flask.Flask("shop")

    @app.route("/articles/<sku>")
    def article(sku: str) -> str:
        logging.getLogger("shop").warning("asked for %s", sku)
        return sku

    @app.route("/broken/<sku>")
    def broken(sku: str) -> str:
        raise LookupError("no apples")

    @app.route("/stream/<sku>")
    def stream(sku: str) -> Any:
        return (letter for letter in sku)

    metlog.flask.init_app(app)
    metlog.flask.init_app(app)
    return app


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("/articles/A-7", "http.GET./articles/<sku>.200"),
        ("/stream/A-7", "http.GET./stream/<sku>.200"),
        ("/broken/A-7", "http.GET./broken/<sku>.500"),
        ("/wp-admin", "http.GET.(none).404"),
    ],
)
def test_flask_is_counted_and_timed_by_rule(
    asked: str, name: str, flask_app: flask.Flask, metlog_capture: Capture
) -> None:
    serving.wsgi(flask_app, asked, **ENVIRON)
    metlog_capture.one(type="counter", name=name, **NAMES)
    metlog_capture.one(type="timer", name=name, **NAMES)
    no_path_is_shown(metlog_capture)


def test_lines_that_flask_logs_have_the_names(flask_app: flask.Flask, metlog_capture: Capture) -> None:
    serving.wsgi(flask_app, "/articles/A-7", **ENVIRON)
    metlog_capture.one(type="oldstyle", payload="asked for A-7", **NAMES)


def test_an_exception_in_flask_is_the_line_that_flask_logs(flask_app: flask.Flask, metlog_capture: Capture) -> None:
    serving.wsgi(flask_app, "/broken/A-7", **ENVIRON)
    metlog_capture.one(type="oldstyle", severity=3, exc_type="LookupError", logger_name="shop", **NAMES)


def test_an_exception_in_flask_is_an_event_with_the_plug_in(flask_app: flask.Flask, metlog_capture: Capture) -> None:
    with_raven()
    serving.wsgi(flask_app, "/broken/A-7", **ENVIRON)
    event = json.loads(metlog_capture.one(type="sentry", route="/broken/<sku>")["payload"])
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"].endswith("broken")
    assert event["contexts"]["trace"]["trace_id"] == TRACE


def test_an_exception_that_flask_lets_through_is_a_line_of_ours(
    flask_app: flask.Flask, metlog_capture: Capture
) -> None:
    flask_app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(LookupError):
        serving.wsgi(flask_app, "/broken/A-7", **ENVIRON)
    line = metlog_capture.one(type="oldstyle", severity=3, exc_type="LookupError", **NAMES)
    assert line["payload"] == "GET /broken/<sku> failed"


def test_an_exception_that_flask_lets_through_is_reported_once(flask_app: flask.Flask, metlog_capture: Capture) -> None:
    with_raven()
    flask_app.testing = True
    with pytest.raises(LookupError):
        serving.wsgi(flask_app, "/broken/A-7", **ENVIRON)
    metlog_capture.one(type="sentry")
    metlog_capture.one(type="oldstyle")
    assert metlog_capture.count("http.GET./broken/<sku>.500") == 1


def test_a_streamed_answer_that_goes_on_gives_its_names_to_no_other_request(
    flask_app: flask.Flask, metlog_capture: Capture
) -> None:
    environ: dict[str, Any] = {"PATH_INFO": "/stream/abc", **ENVIRON}
    wsgiref.util.setup_testing_defaults(environ)
    streamed = iter(flask_app.wsgi_app(environ, lambda *_: None))
    next(streamed)
    serving.wsgi(flask_app, "/articles/B-8")
    other = metlog_capture.one(type="counter", route="/articles/<sku>")["fields"]
    assert "trace_id" not in other
    assert other["request_id"] != "r-7"
    streamed.close()
    metlog_capture.one(type="counter", route="/stream/<sku>", **NAMES)
    CLIENT_HOLDER.default_client.info("after")
    assert metlog_capture.one(payload="after")["fields"] == {}


def with_raven() -> None:
    client = CLIENT_HOLDER.default_client
    client.add_method(raven_plugin.config_plugin({}), override="raven")


# FastAPI.


@pytest.fixture
def fast_app() -> fastapi.FastAPI:
    app = fastapi.FastAPI()
    router = fastapi.APIRouter(prefix="/v1")
    mounted = fastapi.FastAPI()

    @app.get("/articles/{sku}")
    async def article(sku: str) -> str:
        logging.getLogger("shop").warning("asked for %s", sku)
        return sku

    @app.get("/plain/{sku}")
    def plain(sku: str) -> str:
        # On a thread of its own.
        logging.getLogger("shop").warning("asked for %s", sku)
        return sku

    @app.get("/broken/{sku}")
    async def broken(sku: str) -> str:
        raise LookupError("no apples")

    @router.get("/items/{sku}")
    def item(sku: str) -> str:
        return sku

    @mounted.get("/inside/{sku}")
    def inside(sku: str) -> str:
        return sku

    app.include_router(router, prefix="/api")
    app.mount("/mounted/{shop}", mounted)
    app.add_middleware(metlog.asgi.Middleware)
    return app


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("/articles/A-7", "http.GET./articles/{sku}.200"),
        ("/plain/A-7", "http.GET./plain/{sku}.200"),
        ("/api/v1/items/A-7", "http.GET./api/v1/items/{sku}.200"),
        ("/mounted/A-7/inside/A-7", "http.GET./mounted/{shop}/inside/{sku}.200"),
        ("/broken/A-7", "http.GET./broken/{sku}.500"),
        ("/wp-admin", "http.GET.(none).404"),
        ("/api/v1/admin", "http.GET.(none).404"),
        ("/mounted/A-7/admin", "http.GET.(none).404"),
    ],
)
def test_fastapi_is_counted_and_timed_by_route(
    asked: str, name: str, fast_app: fastapi.FastAPI, metlog_capture: Capture
) -> None:
    if "broken" in asked:
        with pytest.raises(LookupError):
            serving.asgi(fast_app, asked, headers=HEADERS)
    else:
        serving.asgi(fast_app, asked, headers=HEADERS)
    metlog_capture.one(type="counter", name=name, **NAMES)
    metlog_capture.one(type="timer", name=name, **NAMES)
    no_path_is_shown(metlog_capture)


@pytest.mark.parametrize("asked", ["/articles/A-7", "/plain/A-7"])
def test_lines_of_fastapi_have_the_names(asked: str, fast_app: fastapi.FastAPI, metlog_capture: Capture) -> None:
    serving.asgi(fast_app, asked, headers=HEADERS)
    metlog_capture.one(type="oldstyle", payload="asked for A-7", **NAMES)


def test_an_exception_in_fastapi_is_an_event_with_the_plug_in(
    fast_app: fastapi.FastAPI, metlog_capture: Capture
) -> None:
    with_raven()
    with pytest.raises(LookupError):
        serving.asgi(fast_app, "/broken/A-7", headers=HEADERS)
    event = json.loads(metlog_capture.one(type="sentry", route="/broken/{sku}")["payload"])
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"].endswith("broken")


@pytest.mark.parametrize("kind", ["coroutine", "function"])
def test_a_route_of_fastapi_that_reports_its_exceptions_stays_one(kind: str, metlog_capture: Capture) -> None:
    with_raven()
    app = fastapi.FastAPI()

    async def coroutine(sku: int, size: str = "L") -> dict[str, Any]:
        return function(sku, size)

    def function(sku: int, size: str = "L") -> dict[str, Any]:
        if sku == 0:
            raise LookupError("no apples")
        return {"sku": sku, "size": size}

    app.get("/articles/{sku}")(raven_plugin.capture_stack(coroutine if kind == "coroutine" else function))
    assert serving.asgi(app, "/articles/7") == (200, b'{"sku":7,"size":"L"}')
    assert serving.asgi(app, "/articles/seven")[0] == 422, "the signature is known"
    parameters = app.openapi()["paths"]["/articles/{sku}"]["get"]["parameters"]
    assert [parameter["name"] for parameter in parameters] == ["sku", "size"]
    with pytest.raises(LookupError):
        serving.asgi(app, "/articles/0")
    metlog_capture.one(type="sentry")


# Django.


def article(request: Any, sku: str) -> HttpResponse:
    logging.getLogger("shop").warning("asked for %s", sku)
    return HttpResponse(sku)


async def asynchronous(request: Any, sku: str) -> HttpResponse:
    await asyncio.sleep(0)
    logging.getLogger("shop").warning("asked for %s", sku)
    return HttpResponse(sku)


def broken(request: Any, sku: str) -> HttpResponse:
    raise LookupError("no apples")


@pytest.fixture(scope="module", autouse=True)
def django_project() -> Iterator[None]:
    urls = ModuleType("shop_urls")
    urls.urlpatterns = [
        path("articles/<sku>/", article),
        path("asynchronous/<sku>/", asynchronous),
        path("api/", include([path("items/<sku>/", article)])),
        re_path(r"^old/(?P<sku>[A-Z0-9-]+)/$", article),
        path("broken/<sku>/", broken),
    ]
    sys.modules["shop_urls"] = urls
    settings.configure(
        ROOT_URLCONF="shop_urls",
        ALLOWED_HOSTS=["shop"],
        SECRET_KEY="x",
        MIDDLEWARE=["metlog.django.Middleware", "django.middleware.common.CommonMiddleware"],
    )
    django.setup()
    yield
    del sys.modules["shop_urls"]


DJANGO = [
    ("/articles/A-7/", "http.GET./articles/<sku>/.200"),
    ("/asynchronous/A-7/", "http.GET./asynchronous/<sku>/.200"),
    ("/api/items/A-7/", "http.GET./api/items/<sku>/.200"),
    ("/old/A-7/", "http.GET./^old/(?P<sku>[A-Z0-9-]+)/$.200"),
    ("/broken/A-7/", "http.GET./broken/<sku>/.500"),
    ("/wp-admin", "http.GET.(none).404"),
]


def ask_django(kind: str, asked: str) -> None:
    if kind == "wsgi":
        serving.wsgi(get_wsgi_application(), asked, **ENVIRON)
    else:
        serving.asgi(get_asgi_application(), asked, headers=HEADERS)


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
@pytest.mark.parametrize(("asked", "name"), DJANGO)
def test_django_is_counted_and_timed_by_route(asked: str, name: str, kind: str, metlog_capture: Capture) -> None:
    ask_django(kind, asked)
    metlog_capture.one(type="counter", name=name, **NAMES)
    metlog_capture.one(type="timer", name=name, **NAMES)
    no_path_is_shown(metlog_capture)


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
@pytest.mark.parametrize("asked", ["/articles/A-7/", "/asynchronous/A-7/"])
def test_lines_of_django_have_the_names(asked: str, kind: str, metlog_capture: Capture) -> None:
    ask_django(kind, asked)
    metlog_capture.one(type="oldstyle", payload="asked for A-7", **NAMES)


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_an_exception_in_django_is_the_line_that_django_logs(kind: str, metlog_capture: Capture) -> None:
    ask_django(kind, "/broken/A-7/")
    metlog_capture.one(type="oldstyle", severity=3, exc_type="LookupError", logger_name="django.request", **NAMES)


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_an_exception_in_django_is_an_event_with_the_plug_in(kind: str, metlog_capture: Capture) -> None:
    with_raven()
    ask_django(kind, "/broken/A-7/")
    event = json.loads(metlog_capture.one(type="sentry", route="/broken/<sku>/")["payload"])
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "broken"
    assert event["contexts"]["trace"]["trace_id"] == TRACE
