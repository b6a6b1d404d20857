"""The examples of the guide run, chapter by chapter, and do what the text says.

A comment `<!-- test … -->` behind an example holds what is asserted of it.
"""

from __future__ import annotations

import logging
import pathlib
import re
from typing import Any

import pytest

import metlog
from metlog import _plugins
from metlog.holder import CLIENT_HOLDER
from metlog.testing import Capture

DOCS = pathlib.Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"^```(python|ini)\n(.*?)^```$|^<!-- (test)\n(.*?)^-->$", re.MULTILINE | re.DOTALL)
NAMED_TEST = re.compile(r"\| `(test_\w+)` \|$", re.MULTILINE)


def chapters(page: str) -> list[Any]:
    """Return the chapters of a page: what stands between two headings of the second or third level."""
    parts = re.split(r"^##+ (.*)$", (DOCS / page).read_text(), flags=re.MULTILINE)
    found = zip(parts[1::2], parts[2::2])
    return [pytest.param(text, id=title) for title, text in found if "```python" in text]


def run(text: str, names: dict[str, Any]) -> None:
    """Run the examples of a text, one after the other."""
    for language, example, _, test in BLOCK.findall(text):
        if language == "ini":
            names["configuration"] = example
        else:
            exec(compile(example or test, "the guide", "exec"), names)


@pytest.mark.parametrize("text", chapters("python-integrations.md"))
def test_a_way_in_is_as_the_guide_says(text: str, metlog_capture: Capture) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        run(text, {"metlog_capture": metlog_capture})
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.mark.parametrize("text", chapters("python-migration.md"))
def test_what_other_calls_become_is_as_the_guide_says(
    text: str, metlog_capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = CLIENT_HOLDER.default_client
    _plugins.add_to(client)
    # The hooks of the real one are for the whole process.
    monkeypatch.setattr(metlog, "init", lambda logger: client)
    run(text, {"metlog_capture": metlog_capture, "client": client})
    del client.raven
    assert not hasattr(client, "raven")


def test_the_plug_ins_are_as_the_guide_says() -> None:
    capture = Capture()
    text = (DOCS / "python-plugins.md").read_text()
    beginning, rest = text.split("## Security events")
    names: dict[str, Any] = {
        "environ": {"REQUEST_METHOD": "POST", "PATH_INFO": "/login", "REMOTE_ADDR": "192.0.2.7"},
        "settings": {"cef.version": "0", "cef.vendor": "mozilla", "cef.product": "shop", "cef.device_version": "1.4"},
        "capture": capture,
    }
    run(beginning, names)
    assert names["client"].cef.cef_meta["syslog_facility"] == "AUTH"
    names["client"].sender = capture
    run(rest, names)
    assert CLIENT_HOLDER.default_client is None


def test_every_difference_names_a_test_that_exists() -> None:
    named = NAMED_TEST.findall((DOCS / "python-plugins.md").read_text())
    there = "".join(path.read_text() for path in pathlib.Path(__file__).parent.glob("test_*.py"))
    assert len(named) > 10
    assert [name for name in named if f"def {name}(" not in there] == []
