"""The four filters, and what they are told about."""

from __future__ import annotations

import pytest

from metlog.filters import (
    severity_max_provider,
    type_blacklist_provider,
    type_severity_max_provider,
    type_whitelist_provider,
)


def kept(filter_fn, messages):
    return [message for message in messages if filter_fn({"type": message[0], "severity": message[1]})]


MESSAGES = [("a", 3), ("a", 5), ("ab", 3), ("ab", 5)]


@pytest.mark.parametrize(
    ("filter_fn", "expected"),
    [
        (severity_max_provider(severity=4), [("a", 3), ("ab", 3)]),
        (type_blacklist_provider(types=["a"]), [("ab", 3), ("ab", 5)]),
        # As an INI file with one type has it: a text is one type, not a set of letters.
        (type_blacklist_provider(types="ab"), [("a", 3), ("a", 5)]),
        (type_whitelist_provider(types={"a"}), [("a", 3), ("a", 5)]),
        (type_whitelist_provider(types="ab"), [("ab", 3), ("ab", 5)]),
        (type_severity_max_provider(types={"a": {"severity": 4}}), [("a", 3), ("ab", 3), ("ab", 5)]),
        (type_severity_max_provider(a=4), [("a", 3), ("ab", 3), ("ab", 5)]),
    ],
)
def test_each_filter_keeps_what_its_settings_say(filter_fn, expected):
    assert kept(filter_fn, MESSAGES) == expected


def test_settings_may_be_used_again():
    types = {"a": {"severity": 4}}
    for _ in range(2):
        assert kept(type_severity_max_provider(types=types), MESSAGES) == [("a", 3), ("ab", 3), ("ab", 5)]


def test_a_filter_tells_what_it_decides_by():
    assert severity_max_provider(4).metlog_rule == ("severity_max", 4)
    assert type_whitelist_provider("a").metlog_rule == ("type_whitelist", {"a"})
