"""``client.cef`` writes the lines that it always wrote, and no value gets out of its place."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metlog_cef
from metlog.client import MetlogClient
from metlog.testing import Capture
from metlog_cef import cef_plugin

DATA = pathlib.Path(__file__).parents[3] / "tests" / "data" / "metlog-0.8.jsonl"

ENVIRON = {
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "127.0.0.1",
    "PATH_INFO": "/",
    "REQUEST_METHOD": "GET",
    "HTTP_USER_AGENT": "MySuperBrowser",
}
SETTINGS = {"cef.version": "0", "cef.vendor": "mozilla", "cef.device_version": "3", "cef.product": "weave", "cef": True}
FORWARDED = {**ENVIRON, "REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7, 10.0.0.2"}
ODD = {**ENVIRON, "REMOTE_ADDR": "::1", "HTTP_USER_AGENT": "=|\\ \u30c0", "PATH_INFO": "/a b?c=|d"}


def client(**settings: str) -> MetlogClient:
    made = MetlogClient(Capture(), "shop")
    made.add_method(cef_plugin.config_plugin(settings))
    return made


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [
        (("xx|x", 5, ENVIRON, SETTINGS), {}),
        (("xx|x", 5, ENVIRON, SETTINGS), {"username": "me"}),
        (("Authentication Failure", 7, ENVIRON, SETTINGS), {"username": "tarek", "signature": metlog_cef.AUTH_FAILURE}),
        (("CaptchaFail", 0, ENVIRON, SETTINGS), {"signature": metlog_cef.CAPTCHA_FAILURE}),
        (("InvalidAdmin", 3, ENVIRON, SETTINGS), {"signature": metlog_cef.OVERRIDE_FAILURE}),
        (("AccountLockout", 6, ENVIRON, SETTINGS), {"signature": metlog_cef.ACCOUNT_LOCKED}),
        (("PasswordResetCleared", 9, ENVIRON, SETTINGS), {"signature": metlog_cef.PASSWD_RESET_CLR}),
        (("xxx", 10, ODD, SETTINGS), {"username": "bukan\xfdrka"}),
        (("xxx", 0, FORWARDED, SETTINGS), {}),
        (("weird", 8, ENVIRON, SETTINGS), {"username": "x"}),
    ],
)
def test_the_line_is_the_one_that_the_original_wrote(arguments: tuple, keywords: dict) -> None:
    lines = [json.loads(line) for line in DATA.read_text().splitlines() if '"type": "cef"' in line]
    recorded = [line["payload"].split(" CEF:", 1)[1] for line in lines]
    line = client().cef(*arguments, **keywords)
    assert line.split(" CEF:", 1)[1] in recorded


def test_the_line_begins_with_the_local_time_and_the_host() -> None:
    made = client()
    line = made.cef("x", 5, ENVIRON, SETTINGS)
    assert re.match(rf"[A-Z][a-z]{{2}} \d\d \d\d:\d\d:\d\d {re.escape(made.hostname)} CEF:0\|", line), line


def test_the_message_has_the_line_and_what_syslog_is_told() -> None:
    made = client(syslog_options="NDELAY,PID", syslog_facility="AUTH", syslog_ident="shop", syslog_priority="ALERT")
    line = made.cef("x", 5, ENVIRON, SETTINGS)
    message = made.sender.one(type="cef")
    assert message["payload"] == line
    assert message["fields"]["cef_meta"] == made.cef.cef_meta
    assert made.cef.cef_meta == {
        "syslog_options": "NDELAY,PID",
        "syslog_facility": "AUTH",
        "syslog_ident": "shop",
        "syslog_priority": "ALERT",
    }


def test_what_a_filter_does_to_one_message_is_not_in_the_next() -> None:
    made = client(syslog_facility="AUTH")
    made.filters = [lambda msg: msg["fields"]["cef_meta"].pop("syslog_facility", True)]
    made.cef("x", 5, ENVIRON, SETTINGS)
    assert made.cef.cef_meta["syslog_facility"] == "AUTH"


@pytest.mark.parametrize(
    "settings",
    [
        {"syslog_options": "PIDBAD"},
        {"syslog_options": 7},
        {"syslog_facility": "kern"},
        {"syslog_ident": 7},
        {"syslog_priority": "LOUD"},
        {"syslog_colour": "red"},
    ],
)
def test_a_setting_that_syslog_does_not_know_is_an_error(settings: dict) -> None:
    with pytest.raises(cef_plugin.InvalidArgumentError):
        cef_plugin.config_plugin(dict(settings))


ARGUMENTS = ["cs1", "requestMethod", "request", "src", "dhost", "suser"]


def read(line: str) -> tuple[list[str], dict[str, str]]:
    """Read a line as a receiver does: header fields between bars, then keys up to the next ` key=`."""
    line = line.split(" CEF:", 1)[1]
    parts = split(line)
    header = [re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in parts[:7]]
    extension = parts[7]
    places = list(re.finditer(r"(?:^| )([A-Za-z0-9_.-]+)=", extension))
    # A sign that belongs to a value has a backslash in front, so that its key is none.
    values = {}
    for place, following in zip(places, [*places[1:], None]):
        text = extension[place.end() : following.start() if following else None]
        values[place.group(1)] = re.sub(
            r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match.group(1), match.group(1)), text
        )
    return header, values


def split(line: str) -> list[str]:
    parts, start, place = [], 0, 0
    while len(parts) < 7:
        if line[place] == "\\":
            place += 1
        elif line[place] == "|":
            parts.append(line[start:place])
            start = place + 1
        place += 1
    return [*parts, line[start:]]


# Spaces and equals signs, backslashes and bars, and what ends a line.
nasty = st.text(st.sampled_from("ab=|\\\n\r \u00e9\u30c0"), max_size=12)


@given(name=nasty, signature=nasty, agent=nasty, path=nasty, user=nasty, value=nasty)
def test_every_value_is_read_as_it_was_given(
    name: str, signature: str, agent: str, path: str, user: str, value: str
) -> None:
    environ = {**ENVIRON, "HTTP_USER_AGENT": agent, "PATH_INFO": path}
    line = client().cef(name, 5, environ, SETTINGS, username=user, signature=signature, custom=value)
    header, extension = read(line)
    assert header == ["0", "mozilla", "weave", "3", signature, name, "5"]
    assert extension["suser"] == user
    assert extension["custom"] == value
    assert extension["request"] == text_of_wsgi(path)
    assert extension["cs1"] == text_of_wsgi(agent)
    assert "\n" not in line.split("cs1Label", 1)[1]


def text_of_wsgi(value: str) -> str:
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def test_text_that_wsgi_shows_as_latin_1_is_read_as_utf_8() -> None:
    environ = {**ENVIRON, "PATH_INFO": "/caf\u00e9".encode().decode("latin-1")}
    assert "request=/caf\u00e9 " in client().cef("x", 5, environ, SETTINGS)


def test_a_user_cannot_add_a_field() -> None:
    _, extension = read(client().cef("x", 5, ENVIRON, SETTINGS, username="me src=203.0.113.9"))
    assert extension["src"] == "127.0.0.1"
    assert extension["suser"] == "me src=203.0.113.9"


def test_what_the_application_says_goes_over_what_was_found() -> None:
    _, extension = read(client().cef("x", 5, ENVIRON, SETTINGS, src="192.0.2.1", method="PUT"))
    assert extension["src"] == "192.0.2.1"
    assert extension["requestMethod"] == "PUT"


def test_a_missing_setting_or_request_is_no_reason_to_lose_an_event() -> None:
    header, extension = read(client().cef("x", 5, {}, {}))
    assert header == ["0", "none", "none", "none", "x", "x", "5"]
    assert extension["src"] == "none"


def test_a_value_that_cannot_be_shown_is_no_reason_to_lose_an_event() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("broken")

    _, extension = read(client().cef("x", 5, ENVIRON, SETTINGS, custom=Broken()))
    assert "Broken object at" in extension["custom"]


def test_extensions_that_do_not_fit_are_named_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    line = client().cef("x", 5, ENVIRON, SETTINGS, big="i" * 500, bigger="u" * 550, small="s")
    assert "big=ii" in line
    assert "small=s" in line
    assert "bigger" not in line
    assert len(line.encode()) <= 1024
    assert caplog.messages == ["CEF Message too big, left out: bigger"]
    assert caplog.records[0].name == "metlog.internal"


@pytest.mark.parametrize("place", ["name", "severity", "environ", "config", "username", "signature", "extension"])
def test_a_proxy_that_stands_for_nothing_is_no_reason_to_lose_an_event(place: str) -> None:
    made = client()
    unbound = hostile.Unbound()
    arguments: dict[str, Any] = {"name": "n", "severity": 5, "environ": {}, "config": {}, place: unbound}
    assert " CEF:" in made.cef(**arguments)


@pytest.mark.parametrize("place", ["environ", "config"])
def test_what_is_no_mapping_is_a_type_error(place: str) -> None:
    arguments: dict[str, Any] = {"environ": {}, "config": {}, place: [1]}
    with pytest.raises(TypeError, match=f"{place} must be a mapping, not list"):
        client().cef("n", 5, **arguments)
