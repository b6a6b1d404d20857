"""The pages about Python: their examples run, and the tests that they name exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = TESTS.parents[2] / "docs"

# A block is run by itself, unless this line stands before it.
NOT_RUN = "<!-- not run -->\n"


def examples() -> list[str]:
    text = (DOCS / "python.md").read_text(encoding="utf-8") + (TESTS.parent / "README.md").read_text(encoding="utf-8")
    return [
        match.group(2)
        for match in re.finditer(rf"({NOT_RUN})?```python\n(.*?)```", text, re.DOTALL)
        if not match.group(1)
    ]


@pytest.mark.parametrize("code", examples(), ids=range(len(examples())))
def test_an_example_of_the_guide_runs(udp, code, tmp_path):
    environment = {**os.environ, "METLOG_URL": f"udp://127.0.0.1:{udp.port}"}
    run = subprocess.run(
        # Somebody listens, or it would be told that nobody does.
        [sys.executable, "-W", "error", "-c", code.replace("5565", str(udp.port))],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_the_differences_name_tests_that_exist():
    text = (DOCS / "python-differences.md").read_text(encoding="utf-8")
    rows = [row for row in text.splitlines() if row.startswith("| ") and not row.startswith(("| ---", "| 0.10.0"))]
    named = [re.search(r"`(test_\w+)` \|$", row) for row in rows]
    assert rows and all(named), [row for row, name in zip(rows, named) if not name]
    sources = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    missing = [name.group(1) for name in named if name and f"def {name.group(1)}(" not in sources]
    assert missing == []
