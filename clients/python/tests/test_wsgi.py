"""``metlog.wsgi.Middleware``: every request is counted and timed once, whatever becomes of it."""

from __future__ import annotations

import io
import logging
import wsgiref.util
import wsgiref.validate
from collections.abc import Iterator
from typing import Any

import pytest
import serving

from metlog import _failures, wsgi
from metlog.client import MetlogClient
from metlog.handler import LogHandler
from metlog.testing import Capture
from metlog_raven import raven_plugin

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def client() -> MetlogClient:
    return MetlogClient(Capture(), "shop")


def shop(environ: dict[str, Any], start_response: Any) -> Any:
    environ[wsgi.ROUTE] = "/articles/{sku}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"apples"]


def test_a_request_is_counted_and_timed_by_route_and_status(client: MetlogClient) -> None:
    assert serving.wsgi(wsgi.Middleware(shop, client), "/articles/A-7") == ("200 OK", b"apples")
    name = "http.GET./articles/{sku}.200"
    about = {"method": "GET", "route": "/articles/{sku}", "status": 200}
    assert client.sender.count(name, **about) == 1
    (milliseconds,) = client.sender.timings(name, **about)
    assert 0 < milliseconds < 60_000
    assert "." in client.sender.one(type="timer")["payload"], "decimals of milliseconds"
    assert "A-7" not in str(client.sender.messages)


def test_a_request_without_a_route_does_not_show_its_path(client: MetlogClient) -> None:
    def nothing(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("404 Not Found", [])
        return [b""]

    serving.wsgi(wsgi.Middleware(nothing, client), "/wp-admin")
    assert client.sender.count("http.GET.(none).404") == 1
    assert "wp-admin" not in str(client.sender.messages)


def test_a_made_up_method_is_none_of_its_own(client: MetlogClient) -> None:
    serving.wsgi(wsgi.Middleware(shop, client), "/", method="X" * 100)
    client.sender.one(type="counter", method="OTHER")


def test_a_function_can_say_the_route(client: MetlogClient) -> None:
    application = wsgi.Middleware(shop, client, route=lambda environ: f"/{environ['REQUEST_METHOD'].lower()}")
    serving.wsgi(application, "/articles/A-7")
    client.sender.one(type="counter", route="/get")


def test_a_function_that_fails_does_not_fail_the_request(client: MetlogClient) -> None:
    application = wsgi.Middleware(shop, client, route=lambda environ: environ["nothing"])
    assert serving.wsgi(application, "/articles/A-7")[1] == b"apples"
    client.sender.one(type="counter", route="(none)")


def test_an_answer_that_is_made_while_it_is_sent_is_timed_to_its_end(client: MetlogClient) -> None:
    seen: list[int] = []

    def streaming(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"app"
        seen.append(len(client.sender.messages))
        logging.getLogger("tests.streaming").warning("still at it")
        yield b"les"

    handler = LogHandler(client)
    logging.getLogger("tests.streaming").addHandler(handler)
    headers = {"HTTP_TRACEPARENT": TRACEPARENT, "HTTP_X_REQUEST_ID": "r-7"}
    assert serving.wsgi(wsgi.Middleware(streaming, client), "/", **headers) == ("200 OK", b"apples")
    logging.getLogger("tests.streaming").removeHandler(handler)
    assert seen == [0], "nothing is said before the end"
    assert client.sender.count("http.GET.(none).200") == 1
    client.sender.one(type="oldstyle", trace_id=TRACE, span_id=SPAN, request_id="r-7")


def test_names_hold_for_the_request_and_not_longer(client: MetlogClient) -> None:
    def logging_application(environ: dict[str, Any], start_response: Any) -> Any:
        client.info("inside")
        return shop(environ, start_response)

    headers = {"HTTP_TRACEPARENT": TRACEPARENT, "HTTP_X_REQUEST_ID": "r-7"}
    serving.wsgi(wsgi.Middleware(logging_application, client), "/", **headers)
    client.info("outside")
    for kind in ("counter", "timer"):
        client.sender.one(type=kind, trace_id=TRACE, span_id=SPAN, request_id="r-7")
    client.sender.one(payload="inside", trace_id=TRACE, span_id=SPAN, request_id="r-7")
    assert client.sender.one(payload="outside")["fields"] == {}


def test_answers_that_are_sent_side_by_side_leave_no_names_behind(client: MetlogClient) -> None:
    def streaming(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        for number in range(2):
            client.info("%s %d", environ["PATH_INFO"], number)
            yield b"x"

    def begin(path: str, **headers: str) -> Iterator[bytes]:
        environ: dict[str, Any] = {"PATH_INFO": path, **headers}
        wsgiref.util.setup_testing_defaults(environ)
        body = wsgi.Middleware(streaming, client)(environ, lambda *_: None)
        next(iter(body))
        return body

    first = begin("/a", HTTP_TRACEPARENT=TRACEPARENT, HTTP_X_REQUEST_ID="r-1")
    second = begin("/b", HTTP_X_REQUEST_ID="r-2")
    assert client.sender.one(payload="/b 0")["fields"] == {"request_id": "r-2"}
    first.close()
    next(second)
    assert client.sender.one(payload="/b 1")["fields"] == {"request_id": "r-2"}
    second.close()
    client.info("outside")
    assert client.sender.one(payload="outside")["fields"] == {}
    assert _failures._pieces.entered() == (), "no piece of work is left either"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "hello",
        TRACEPARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{TRACEPARENT}-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}{SPAN}-01",
    ],
)
def test_a_trace_that_is_none_is_not_believed(header: str, client: MetlogClient) -> None:
    serving.wsgi(wsgi.Middleware(shop, client), "/", HTTP_TRACEPARENT=header)
    fields = client.sender.one(type="counter")["fields"]
    if header.strip() == TRACEPARENT:
        assert fields["trace_id"] == TRACE
    else:
        assert "trace_id" not in fields


def test_a_trace_of_a_version_to_come_is_read_as_far_as_it_is_known(client: MetlogClient) -> None:
    serving.wsgi(wsgi.Middleware(shop, client), "/", HTTP_TRACEPARENT=f"01-{TRACE}-{SPAN}-01-more")
    client.sender.one(type="counter", trace_id=TRACE, span_id=SPAN)


@pytest.mark.parametrize("given", ["", "x" * 129, "r 7", "r\n7", "\u00e9"])
def test_a_request_gets_a_name_of_its_own_where_it_brings_none_to_be_used(given: str, client: MetlogClient) -> None:
    for _ in range(2):
        serving.wsgi(wsgi.Middleware(shop, client), "/", HTTP_X_REQUEST_ID=given)
    first, second = (message["fields"]["request_id"] for message in client.sender.of(type="counter"))
    assert first != second
    assert given not in (first, second)
    assert len(first) == 16


def failing(environ: dict[str, Any], start_response: Any) -> Any:
    environ[wsgi.ROUTE] = "/articles/{sku}"
    raise LookupError("no apples")


def failing_while_it_answers(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    environ[wsgi.ROUTE] = "/articles/{sku}"
    start_response("200 OK", [])
    yield b"app"
    raise LookupError("no apples")


class FailingAtTheEnd:
    def __init__(self, environ: dict[str, Any], start_response: Any) -> None:
        environ[wsgi.ROUTE] = "/articles/{sku}"
        start_response("200 OK", [])

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"apples"])

    def close(self) -> None:
        raise LookupError("no apples")


@pytest.mark.parametrize("application", [failing, failing_while_it_answers])
def test_an_exception_passes_and_is_reported_once(application: Any, client: MetlogClient) -> None:
    with pytest.raises(LookupError):
        serving.wsgi(wsgi.Middleware(application, client), "/articles/A-7")
    message = client.sender.one(type="oldstyle", severity=3, exc_type="LookupError", exc_message="no apples")
    assert message["payload"] == "GET /articles/{sku} failed"
    assert "no apples" in message["fields"]["stack"]
    assert client.sender.count("http.GET./articles/{sku}.500") == 1
    assert len(client.sender.messages) == 3


def test_an_exception_after_the_whole_answer_is_reported_too(client: MetlogClient) -> None:
    with pytest.raises(LookupError):
        serving.wsgi(wsgi.Middleware(FailingAtTheEnd, client), "/articles/A-7")
    client.sender.one(type="oldstyle", severity=3, exc_type="LookupError", exc_message="no apples")
    assert client.sender.count("http.GET./articles/{sku}.200") == 1, "that is what was sent"
    assert len(client.sender.messages) == 3


def test_with_the_plug_in_an_exception_is_an_event(client: MetlogClient) -> None:
    client.add_method(raven_plugin.config_plugin({}))
    with pytest.raises(LookupError):
        serving.wsgi(wsgi.Middleware(failing, client), "/", HTTP_TRACEPARENT=TRACEPARENT)
    message = client.sender.one(type="sentry", route="/articles/{sku}", method="GET")
    assert '"handled":false' in message["payload"]
    assert TRACE in message["payload"]


def test_an_exception_that_the_application_reported_is_no_second_event(client: MetlogClient) -> None:
    client.add_method(raven_plugin.config_plugin({}))
    the_same = LookupError("no apples")

    @raven_plugin.capture_stack(client=client)
    def reporting(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            raise the_same
        except LookupError:
            client.raven("seen here")
            raise

    for number in (1, 2):
        with pytest.raises(LookupError):
            serving.wsgi(wsgi.Middleware(reporting, client), "/")
        assert len(client.sender.of(type="sentry", msg="seen here")) == number, "another request is another event"
        assert len(client.sender.of(type="sentry")) == number
        assert len(client.sender.of(type="oldstyle")) == number


def test_a_client_that_goes_away_is_no_failure(client: MetlogClient) -> None:
    def endless(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        while True:
            yield b"apples"

    body = wsgi.Middleware(endless, client)({"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert next(iter(body)) == b"apples"
    body.close()
    assert client.sender.count("http.GET.(none).200") == 1
    client.sender.none(type="oldstyle")


def test_what_the_server_sends_by_itself_stays_what_it_was(client: MetlogClient) -> None:
    def file(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"apples"))

    environ = {"REQUEST_METHOD": "GET", "wsgi.file_wrapper": wsgiref.util.FileWrapper}
    body = wsgi.Middleware(file, client)(environ, lambda *_: None)
    assert isinstance(body, wsgiref.util.FileWrapper)
    assert client.sender.count("http.GET.(none).200") == 1


def test_it_keeps_to_the_rules_of_wsgi(client: MetlogClient) -> None:
    inner = wsgiref.validate.validator(shop)
    application = wsgiref.validate.validator(wsgi.Middleware(inner, client))
    environ: dict[str, Any] = {"PATH_INFO": "/", "SCRIPT_NAME": ""}
    wsgiref.util.setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    body = application(environ, lambda status, headers, exc_info=None: lambda data: None)
    assert b"".join(body) == b"apples"
    body.close()
    assert client.sender.count("http.GET./articles/{sku}.200") == 1


def test_without_a_client_requests_are_served() -> None:
    assert serving.wsgi(wsgi.Middleware(shop), "/articles/A-7")[1] == b"apples"


def test_a_client_that_fails_does_not_fail_a_request(client: MetlogClient) -> None:
    client.incr = None
    assert serving.wsgi(wsgi.Middleware(shop, client), "/articles/A-7")[1] == b"apples"
    with pytest.raises(LookupError):
        client.metlog = None
        serving.wsgi(wsgi.Middleware(failing, client), "/")
