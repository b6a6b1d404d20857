"""``metlog.handler.LogHandler``: what an application logs arrives with everything that is known about it."""

from __future__ import annotations

import io
import logging
import logging.config
import logging.handlers
import pathlib
import queue
import sys
import threading
from collections.abc import Iterator
from typing import Any

import hostile
import pytest

from metlog.client import MetlogClient
from metlog.handler import LogHandler, severity_of
from metlog.holder import CLIENT_HOLDER
from metlog.senders.logging import StdLibLoggingSender
from metlog.testing import Capture

RECORD = {"name": "tests", "levelno": logging.INFO, "msg": "sold"}


@pytest.fixture
def client() -> MetlogClient:
    return MetlogClient(Capture(), "shop")


@pytest.fixture
def log(client: MetlogClient) -> Iterator[logging.Logger]:
    """Return a logger that has one handler, ours."""
    made = logging.getLogger("tests.shop")
    handler = LogHandler(client)
    made.addHandler(handler)
    made.setLevel(1)
    made.propagate = False
    yield made
    made.removeHandler(handler)
    made.propagate = True


def test_a_line_arrives_with_its_template_and_its_place(client: MetlogClient, log: logging.Logger) -> None:
    log.warning("%s of %d sold", "apples", 7)
    message = client.sender.one(type="oldstyle", logger="shop", severity=4, payload="apples of 7 sold")
    fields = message["fields"]
    line = fields.pop("line")
    assert fields == {
        "template": "%s of %d sold",
        "logger_name": "tests.shop",
        "thread": threading.current_thread().name,
        "func": "test_a_line_arrives_with_its_template_and_its_place",
        "file": __file__,
    }
    assert pathlib.Path(__file__).read_text().splitlines()[line - 1].strip().startswith("log.warning(")


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (60, 2),
        (50, 2),
        (45, 3),
        (40, 3),
        (39, 4),
        (30, 4),
        (29, 5),
        (25, 5),
        (24, 6),
        (20, 6),
        (15, 7),
        (10, 7),
        (5, 7),
    ],
)
def test_the_severity_goes_by_thresholds(level: int, severity: int, client: MetlogClient, log: logging.Logger) -> None:
    log.log(level, "x")
    assert client.sender.one()["severity"] == severity
    assert severity_of(level) == severity


def test_extras_are_fields(client: MetlogClient, log: logging.Logger) -> None:
    log.info("sold", extra={"sku": "A-7", "basket": {"apples": 2}})
    fields = client.sender.one()["fields"]
    assert fields["sku"] == "A-7"
    assert fields["basket"] == {"apples": 2}


def test_fixed_names_keep_their_meaning(client: MetlogClient, log: logging.Logger) -> None:
    log.info("sold", extra={"line": "the blue one", "stack": "of apples", "request_id": "r-7"})
    fields = client.sender.one()["fields"]
    assert isinstance(fields["line"], int)
    assert fields["line_"] == "the blue one"
    assert fields["stack_"] == "of apples"
    assert fields["request_id"] == "r-7", "whoever logs knows it best"


def test_what_formatters_leave_in_a_record_is_no_extra(client: MetlogClient, log: logging.Logger) -> None:
    other = logging.StreamHandler(io.StringIO())
    other.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.handlers.insert(0, other)
    log.info("sold")
    log.removeHandler(other)
    assert not {"message", "asctime", "taskName"} & set(client.sender.one()["fields"])


def test_an_exception_is_told_by_its_type_its_words_and_its_stack(client: MetlogClient, log: logging.Logger) -> None:
    try:
        {}["sku"]
    except KeyError:
        log.exception("not found")
    message = client.sender.one(severity=3, payload="not found", exc_type="KeyError", exc_message="'sku'")
    assert message["fields"]["stack"].startswith("Traceback (most recent call last):")
    assert message["fields"]["stack"].endswith("KeyError: 'sku'")


def test_a_stack_without_an_exception_is_told_too(client: MetlogClient, log: logging.Logger) -> None:
    log.info("here", stack_info=True)
    assert client.sender.one()["fields"]["stack"].startswith("Stack (most recent call last):")


def test_an_endless_stack_is_bounded(client: MetlogClient, log: logging.Logger) -> None:
    try:
        raise ValueError("x" * 100_000)
    except ValueError:
        log.exception("not found")
    fields = client.sender.one()["fields"]
    assert len(fields["stack"]) <= 16_384
    assert len(fields["exc_message"]) <= 4096


def test_arguments_that_do_not_fit_are_shown_behind_the_template(client: MetlogClient) -> None:
    # By the handler itself: that of pytest, which sees every record, makes an error of it.
    LogHandler(client).handle(logging.makeLogRecord({**RECORD, "msg": "%d sold", "args": ("seven",)}))
    assert client.sender.one()["payload"] == "%d sold ('seven',)"


def test_a_message_that_is_no_text_is_shown_as_text(client: MetlogClient, log: logging.Logger) -> None:
    log.info(ValueError("x"))
    assert client.sender.one()["payload"] == "x"
    assert client.sender.one()["fields"]["template"] == "x"


def test_what_fails_stays_inside_logging(client: MetlogClient, capsys: pytest.CaptureFixture) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("broken")

        __repr__ = __str__

    LogHandler(client).handle(logging.makeLogRecord({**RECORD, "msg": "%s sold", "args": (Broken(),)}))
    assert client.sender.one()["payload"].startswith("%s sold <")
    client.metlog = None
    LogHandler(client).handle(logging.makeLogRecord(RECORD))
    assert "--- Logging error ---" in capsys.readouterr().err


def test_bound_names_come_along(client: MetlogClient, log: logging.Logger) -> None:
    with client.bind(request_id="r-7", trace_id="a" * 32, span_id="b" * 16):
        log.info("sold")
    client.sender.one(request_id="r-7", trace_id="a" * 32, span_id="b" * 16)


def test_the_span_of_open_telemetry_comes_along(client: MetlogClient, log: logging.Logger) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("tests")
    with tracer.start_as_current_span("sale") as span:
        log.info("sold")
    context = span.get_span_context()
    client.sender.one(trace_id=trace.format_trace_id(context.trace_id), span_id=trace.format_span_id(context.span_id))
    log.info("without a span")
    assert "trace_id" not in client.sender.messages[-1]["fields"]


def test_names_that_open_telemetry_put_into_records_are_ours(client: MetlogClient, log: logging.Logger) -> None:
    log.info("sold", extra={"otelTraceID": "a" * 32, "otelSpanID": "b" * 16})
    client.sender.one(trace_id="a" * 32, span_id="b" * 16)
    log.info("without a span", extra={"otelTraceID": "0", "otelSpanID": "0"})
    assert not {"trace_id", "otelTraceID"} & set(client.sender.messages[-1]["fields"])


def test_a_formatter_makes_the_payload(client: MetlogClient, log: logging.Logger) -> None:
    log.handlers[0].setFormatter(logging.Formatter("<%(message)s>"))
    log.info("%s sold", "apples")
    assert client.sender.one()["payload"] == "<apples sold>"


def test_the_configuration_of_logging_can_name_it(metlog_capture: Capture) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"metlog": {"class": "metlog.handler.LogHandler", "level": "WARNING"}},
            "loggers": {"tests.configured": {"handlers": ["metlog"], "level": "INFO", "propagate": False}},
        }
    )
    logging.getLogger("tests.configured").info("left alone")
    logging.getLogger("tests.configured").warning("sold")
    assert metlog_capture.lines == ["sold"]


def test_a_handler_can_name_its_client(metlog_capture: Capture) -> None:
    client = CLIENT_HOLDER.get_client("tests.till")
    client.sender = Capture()
    handler = LogHandler(logger="tests.till")
    handler.handle(logging.makeLogRecord(RECORD))
    CLIENT_HOLDER.delete_client("tests.till")
    assert client.sender.lines == ["sold"]
    assert metlog_capture.lines == []


def test_without_a_client_nothing_happens() -> None:
    assert CLIENT_HOLDER.default_client is None
    LogHandler().handle(logging.makeLogRecord(RECORD))


def test_filters_of_the_handler_are_asked(client: MetlogClient, log: logging.Logger) -> None:
    log.handlers[0].addFilter(lambda record: "apples" in record.msg)
    log.info("pears")
    log.info("apples")
    assert client.sender.lines == ["apples"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters return records from Python 3.12 on")
def test_a_filter_may_put_another_record_in_its_place(client: MetlogClient, log: logging.Logger) -> None:
    log.handlers[0].addFilter(lambda record: logging.makeLogRecord({**vars(record), "msg": "something"}))
    log.info("apples")
    assert client.sender.lines == ["something"]


def test_what_metlog_says_of_itself_is_not_sent(client: MetlogClient, log: logging.Logger) -> None:
    for name in ("metlog.internal", "metlog.internal.core"):
        log.handlers[0].handle(logging.makeLogRecord({**RECORD, "name": name}))
    log.handlers[0].handle(logging.makeLogRecord({**RECORD, "name": "metlog.internals"}))
    assert client.sender.lines == ["sold"], "the one that only looks like it"


def test_a_sender_that_logs_does_not_loop() -> None:
    client = MetlogClient(StdLibLoggingSender("tests.loop"), "shop")
    log = logging.getLogger("tests.loop")
    log.propagate = False
    written: list[str] = []

    class Written(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(record.getMessage())

    for handler in (LogHandler(client), Written()):
        log.addHandler(handler)
    log.warning("sold")
    client.warning("paid")
    log.handlers.clear()
    assert written == ["sold", "sold", "paid"], "once by the application, once by the sender; and once"


def test_no_lock_is_held_while_a_line_is_sent(client: MetlogClient, log: logging.Logger) -> None:
    meeting = threading.Barrier(2, timeout=60)

    class Meeting:
        def send_message(self, msg: dict[str, Any]) -> None:
            meeting.wait()

    client.sender = Meeting()
    threads = [threading.Thread(target=log.info, args=("sold",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Both were inside at the same time, or the barrier would be broken.
    assert not meeting.broken


def test_records_that_come_through_a_queue_say_where_they_were_made(client: MetlogClient) -> None:
    records: queue.SimpleQueue = queue.SimpleQueue()
    log = logging.getLogger("tests.queue")
    log.addHandler(logging.handlers.QueueHandler(records))
    log.propagate = False
    try:
        {}["sku"]
    except KeyError:
        log.error("%s is missing", "it")
        log.exception("failed")
    log.handlers.clear()
    listener = logging.handlers.QueueListener(records, LogHandler(client))
    listener.start()
    listener.stop()
    first, second = client.sender.messages
    assert first["payload"] == "it is missing"
    assert first["fields"]["func"] == "test_records_that_come_through_a_queue_say_where_they_were_made"
    assert "KeyError: 'sku'" in second["fields"].get("stack", second["payload"])


class Talkative:
    """Logs while it is shown."""

    def __str__(self) -> str:
        logging.getLogger("tests.shop.talkative").info("I am shown")
        return "talkative"


def test_what_an_argument_logs_while_it_is_shown_is_a_line_too(client: MetlogClient, log: logging.Logger) -> None:
    log.info("sold to %s", Talkative())
    # Whatever else handles the record shows it again.
    assert client.sender.lines[0] == "I am shown"
    client.sender.one(payload="sold to talkative")


def test_an_extra_that_fails_loses_no_line(client: MetlogClient, log: logging.Logger) -> None:
    log.info("sold", extra={"user": hostile.Unbound(), "otelTraceID": hostile.Unbound()})
    assert client.sender.one(payload="sold")["fields"]["user"] == "<unbound>"
