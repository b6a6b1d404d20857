"""``metlog.structlog.Processor``: events of structlog arrive, and go on to whatever writes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import hostile
import pytest
import structlog

from metlog.client import MetlogClient
from metlog.structlog import Processor
from metlog.testing import Capture


@pytest.fixture
def client() -> Iterator[MetlogClient]:
    yield MetlogClient(Capture(), "shop")
    structlog.reset_defaults()


class Written(list):
    """What is behind the processor."""

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        self.append(dict(event))
        raise structlog.DropEvent


def configure(*processors: Any) -> Written:
    written = Written()
    structlog.configure(processors=[*processors, written])
    return written


def test_an_event_arrives_with_its_fields_and_goes_on_unchanged(client: MetlogClient) -> None:
    written = configure(structlog.processors.add_log_level, Processor(client))
    structlog.get_logger().bind(sku="A-7").warning("sold", count=2)
    message = client.sender.one(type="oldstyle", logger="shop", severity=4, payload="sold")
    assert message["fields"] == {"sku": "A-7", "count": 2}
    assert written == [{"sku": "A-7", "count": 2, "level": "warning", "event": "sold"}]


@pytest.mark.parametrize(
    ("method", "severity"),
    [("debug", 7), ("info", 6), ("msg", 6), ("warning", 4), ("warn", 4), ("error", 3), ("critical", 2), ("fatal", 2)],
)
def test_the_severity_is_that_of_the_method(method: str, severity: int, client: MetlogClient) -> None:
    configure(Processor(client))
    getattr(structlog.get_logger(), method)("sold")
    assert client.sender.one()["severity"] == severity


def test_names_are_those_of_every_other_way_in(client: MetlogClient) -> None:
    place = structlog.processors.CallsiteParameter
    wanted = [place.FUNC_NAME, place.LINENO, place.PATHNAME, place.THREAD_NAME]
    configure(structlog.processors.CallsiteParameterAdder(wanted), structlog.stdlib.add_logger_name, Processor(client))
    structlog.wrap_logger(logging.getLogger("tests.till"), wrapper_class=structlog.BoundLogger).info("sold")
    fields = client.sender.one()["fields"]
    assert fields["logger_name"] == "tests.till"
    assert fields["func"] == "test_names_are_those_of_every_other_way_in"
    assert fields["file"] == __file__
    assert isinstance(fields["line"], int)
    assert fields["thread"] == "MainThread"


@pytest.mark.parametrize("how", [True, "exception", "formatted"])
def test_an_exception_is_told_by_its_type_its_words_and_its_stack(how: Any, client: MetlogClient) -> None:
    before = [structlog.processors.format_exc_info] if how == "formatted" else []
    configure(*before, Processor(client))
    try:
        {}["sku"]
    except KeyError as error:
        structlog.get_logger().error("not found", exc_info=error if how == "exception" else True)
    fields = client.sender.one(severity=3)["fields"]
    assert "KeyError: 'sku'" in fields["stack"]
    if how != "formatted":
        assert fields["exc_type"] == "KeyError"
        assert fields["exc_message"] == "'sku'"
    assert "exc_info" not in fields


class Talkative:
    """Logs while it is shown."""

    def __str__(self) -> str:
        structlog.get_logger().info("I am shown")
        return "talkative"


def test_what_an_event_logs_while_it_is_shown_is_a_line_too(client: MetlogClient) -> None:
    configure(Processor(client))
    structlog.get_logger().info(Talkative())
    assert client.sender.lines == ["I am shown", "talkative"]


def test_values_whose_own_code_raises_lose_no_event(client: MetlogClient) -> None:
    configure(Processor(client))
    structlog.get_logger().info("sold", **{name: hostile.make(name) for name in hostile.NAMES})
    assert client.sender.one(payload="sold")["fields"]["unbound"] == "<unbound>"


def test_an_event_can_end_here(client: MetlogClient) -> None:
    written = configure(Processor(client, drop=True))
    structlog.get_logger().info("sold")
    assert client.sender.lines == ["sold"]
    assert written == []


def test_the_default_client_is_looked_up_for_each_event(metlog_capture: Capture) -> None:
    configure(Processor())
    structlog.get_logger().info("sold")
    assert metlog_capture.lines == ["sold"]


def test_without_a_client_events_go_on(client: MetlogClient) -> None:
    written = configure(Processor())
    structlog.get_logger().info("sold")
    assert [event["event"] for event in written] == ["sold"]


def test_what_fails_is_told_once_and_the_event_goes_on(client: MetlogClient, caplog: pytest.LogCaptureFixture) -> None:
    client.metlog = None
    written = configure(Processor(client))
    for _ in range(3):
        structlog.get_logger().info("sold")
    assert len(written) == 3
    assert len(caplog.messages) == 1


def test_a_sender_that_logs_by_structlog_does_not_loop() -> None:
    class Logging:
        def send_message(self, msg: dict[str, Any]) -> None:
            structlog.get_logger().info("sent")

    written = configure(Processor(MetlogClient(Logging(), "shop")))
    structlog.get_logger().info("sold")
    structlog.reset_defaults()
    assert [event["event"] for event in written] == ["sent", "sold"]
