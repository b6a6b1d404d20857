"""What values become: the table of docs/python.md, and what never goes wrong."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import json
import math
import pathlib
import types
import uuid

import hostile
import pytest
from hypothesis import given
from hypothesis import strategies as some

from metlog import values
from metlog.values import encode, plain


class Color(enum.Enum):
    RED = "red"
    DAY = datetime.date(2012, 7, 18)


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Text(str):
    __slots__ = ()

    def __repr__(self):
        return "not this"


class Integer(int):
    def __repr__(self):
        return "not this"

    __str__ = __repr__


NOON = datetime.datetime(2012, 7, 18, 12, 0, 0, 1000, tzinfo=datetime.timezone.utc)


class Recorded(Exception):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOON, "2012-07-18T12:00:00.001000+00:00"),
        (datetime.date(2012, 7, 18), "2012-07-18"),
        (datetime.time(12, 30), "12:30:00"),
        (datetime.timedelta(minutes=1, milliseconds=500), 60.5),
        (decimal.Decimal("12.50"), "12.50"),
        (fractions.Fraction(1, 3), "1/3"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ipaddress.ip_address("::1"), "::1"),
        (pathlib.PurePosixPath("/var/log"), "/var/log"),
        (Color.RED, "red"),
        (Color.DAY, "2012-07-18"),
        (Number.ONE, 1),
        (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
        (collections.namedtuple("Pair", "a b")(1, 2), [1, 2]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", 1}), ["b", 1]),
        (collections.deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (types.MappingProxyType({"a": NOON}), {"a": "2012-07-18T12:00:00.001000+00:00"}),
        (b"caf\xc3\xa9", "café"),
        (bytearray(b"x"), "x"),
        (memoryview(b"x"), "x"),
        (ValueError("bad"), "ValueError: bad"),
        (KeyError(), "KeyError"),
        (Recorded("x"), "test_values.Recorded: x"),
        (Text("text"), "text"),
        (Integer(7), 7),
        ("\ud800", "\ud800"),
        (10**100, 10**100),
        (1e100, 1e100),
    ],
)
def test_what_has_a_rule_is_converted_without_a_mark(value, expected):
    text, unconvertible = encode({"fields": {"value": value}})
    assert json.loads(text) == {"fields": {"value": expected}}
    assert unconvertible == 0
    assert plain({"value": value}) == ({"value": expected}, 0)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (None, "null"), (True, "true"), (False, "false"), (7, "7"), (1.5, "1.5"), (math.nan, "NaN"),
        (math.inf, "Infinity"), (Number.ONE, "1"), (Color.RED, "red"), (Color.DAY, "2012-07-18"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))), (b"x", "x"), (Text("t"), "t"), (Integer(7), "7"),
    ],
)  # fmt: skip
def test_keys_are_text_as_json_dumps_has_it_or_by_the_rules(key, expected):
    assert json.loads(encode({"fields": {key: 1}})[0]) == {"fields": {expected: 1}}


class Raising:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1 + 2j, "(1+2j)"),
        (Raising(), "<Raising: its repr raised RuntimeError>"),
        (types.SimpleNamespace(a="x" * 5000), None),
        (ValueError, "<class 'ValueError'>"),
    ],
)
def test_what_has_no_rule_becomes_its_repr_marked_and_counted(value, text):
    message, unconvertible = json.loads(encode({"fields": {"a": [1, value]}})[0]), 1
    assert message["fields"]["a"][1] == text or (text is None and len(message["fields"]["a"][1]) == values.REPR_LIMIT)
    assert message["metlog_marks"] == {"unconvertible": ["fields.a.1"]}
    assert encode({"fields": {"a": [1, value]}})[1] == unconvertible


def test_a_key_without_a_rule_becomes_its_repr_marked_and_counted():
    text, unconvertible = encode({(1, 2): 3})
    assert json.loads(text) == {"(1, 2)": 3, "metlog_marks": {"unconvertible": ["(1, 2)"]}}
    assert unconvertible == 1


def test_what_is_not_finite_becomes_null_and_is_marked():
    text, unconvertible = encode({"fields": {"a": math.nan, "b": [math.inf, -math.inf], "c": 1.5}})
    assert json.loads(text) == {
        "fields": {"a": None, "b": [None, None], "c": 1.5},
        "metlog_marks": {"not-finite": ["fields.a", "fields.b.0", "fields.b.1"]},
    }
    assert unconvertible == 0


def test_cycles_are_cut_and_marked():
    cycle: dict = {"a": 1}
    cycle["again"] = [cycle]
    assert json.loads(encode({"fields": cycle})[0]) == {
        "fields": {"a": 1, "again": ["[cycle]"]},
        "metlog_marks": {"cut": ["fields.again.0"]},
    }
    point = Point(1)
    point.y = point
    assert json.loads(encode({"p": point})[0]) == {
        "p": {"x": 1, "y": "[cycle]"},
        "metlog_marks": {"cut": ["p.y"]},
    }


def test_the_same_value_twice_is_no_cycle():
    shared = [math.nan]
    assert json.loads(encode({"a": shared, "b": shared})[0])["b"] == [None]


def depth(value) -> int:
    levels = 0
    while isinstance(value, (list, dict)):
        levels += 1
        value = next(iter(value.values())) if isinstance(value, dict) else value[0]
    return levels


@pytest.mark.parametrize("levels", [98, 99, 100, 300, 100_000])
def test_depth_is_cut_and_marked(levels):
    deep: object = "bottom"
    for _ in range(levels):
        deep = [deep]
    message = json.loads(encode({"deep": deep})[0])
    assert depth(message) == min(levels + 1, values.DEPTH_LIMIT)
    assert ("metlog_marks" in message) == (levels + 1 > values.DEPTH_LIMIT)


def test_brackets_in_text_are_no_depth():
    text = "[{" * 500
    assert json.loads(encode({"payload": text})[0]) == {"payload": text}


def test_the_list_of_places_is_bounded_and_the_count_is_not():
    text, unconvertible = encode({"all": [object() for _ in range(50)]})
    assert len(json.loads(text)["metlog_marks"]["unconvertible"]) == values.PLACES_LIMIT
    assert unconvertible == 50


def test_integers_beyond_the_interpreters_digits_do_not_lose_the_message():
    message = json.loads(encode({"n": 10**5000, "m": 1})[0])
    assert message["m"] == 1


def test_bytes_that_are_no_text_are_an_error_unless_the_client_asks():
    for msg in (b"\xfa", {"a": b"\xfa"}, {"a": [1j, b"\xfa"]}):
        with pytest.raises(UnicodeError):
            encode(msg)
    assert plain({"a": b"\xfa"}) == ({"a": "b'\\xfa'", "metlog_marks": {"unconvertible": ["a"]}}, 1)


def test_containers_whose_own_code_raises_do_no_harm():
    class Broken(dict):
        def items(self):
            raise RuntimeError

    class BrokenPath:
        def __fspath__(self):
            raise RuntimeError

    message = json.loads(encode({"a": Broken(x=1j), "b": BrokenPath(), "c": 1j})[0])
    assert set(message["metlog_marks"]["unconvertible"]) >= {"b", "c"}


def test_what_is_no_exception_passes():
    class Interrupting:
        def __repr__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode({"a": Interrupting()})


JSON_VALUES = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False)
    | some.text(some.characters()),
    lambda inner: some.lists(inner) | some.dictionaries(some.text() | some.integers() | some.none(), inner),
    max_leaves=20,
)  # fmt: skip

ODD_VALUES = some.recursive(
    JSON_VALUES | some.floats() | some.binary() | some.datetimes() | some.uuids() | some.decimals()
    | some.complex_numbers() | some.sets(some.integers() | some.text()) | some.just(Color.RED) | some.just(object),
    lambda inner: some.lists(inner) | some.dictionaries(some.text() | some.tuples(some.integers()), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON_VALUES)
def test_what_json_dumps_takes_is_written_as_it_writes_it(value):
    assert encode({"fields": value}) == (json.dumps({"fields": value}), 0)


@given(ODD_VALUES)
def test_everything_becomes_json_and_does_so_once(value):
    converted, unconvertible = plain({"fields": value})
    text = json.dumps(converted, allow_nan=False)
    assert encode(converted) == (text, 0)
    assert (unconvertible > 0) == ("unconvertible" in converted.get("metlog_marks", {}))


class TestNumpy:
    """With numpy where it is installed; it is no requirement of the tests."""

    def test_scalars_and_arrays_become_numbers_and_lists(self):
        numpy = pytest.importorskip("numpy")
        message = {"a": numpy.int64(7), "b": numpy.float32(0.5), "c": numpy.bool_(True), "d": numpy.arange(3)}
        assert json.loads(encode(message)[0]) == {"a": 7, "b": 0.5, "c": True, "d": [0, 1, 2]}
        assert encode({"a": numpy.zeros(values.ARRAY_LIMIT + 1)})[1] == 1


@pytest.mark.parametrize("error", [KeyError, RuntimeError, AttributeError])
@pytest.mark.parametrize("indent", [None, 4, 2])
def test_a_value_whose_class_cannot_be_asked_for_becomes_its_repr(error, indent):
    class Proxy:
        @property
        def __class__(self):
            raise error("nothing")

        def __repr__(self):
            return "<a proxy>"

    text, unconvertible = encode({"a": [Proxy()]}, indent=indent)
    assert json.loads(text) == {"a": ["<a proxy>"], "metlog_marks": {"unconvertible": ["a.0"]}}
    assert unconvertible == 1
    assert plain({"a": Proxy()}) == ({"a": "<a proxy>", "metlog_marks": {"unconvertible": ["a"]}}, 1)


@pytest.mark.parametrize("name", hostile.NAMES)
@pytest.mark.parametrize("indent", [None, 4])
def test_no_value_s_own_code_reaches_the_application(name, indent):
    value = hostile.make(name)
    by_message = json.loads(encode({"fields": {"v": value, "w": 7}}, indent=indent)[0])
    assert by_message["fields"]["w"] == 7
    assert json.loads(json.dumps(plain({"fields": {"v": value, "w": 7}})[0])) == by_message


def test_what_cannot_be_read_stands_as_its_repr_and_is_marked():
    values_ = {"a": hostile.Unbound(), "b": hostile.NoKeys(), "c": hostile.Changing(), "d": hostile.HostileRepr()}
    message, unconvertible = plain({"fields": values_})
    assert message["fields"] == {"a": "<unbound>", "b": "<no keys>", "c": "<changing>", "d": "<hostile>"}
    assert message["metlog_marks"] == {"unconvertible": ["fields.a", "fields.b", "fields.c", "fields.d"]}
    assert unconvertible == 4


def test_only_one_value_is_lost_of_a_container():
    message, unconvertible = plain({"fields": {"a": [1, hostile.Liar()], "b": {"c": hostile.NoPairs()}}})
    assert message["fields"]["a"] == [1, "<liar>"]
    assert unconvertible == 2
