"""Runs each original suite in a process of its own, as its tests change what the whole process shares."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .suite import CACHE, Suite
from .suites import SUITES

HERE = Path(__file__).parent


@pytest.mark.parametrize("suite", SUITES, ids=[suite.distribution for suite in SUITES])
def test_the_original_suite_passes(suite: Suite):
    try:
        folder = suite.prepare()
    except OSError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"!! cannot download {suite.distribution}: {error}")
    settings = {
        "METLOG_ORIGINAL_PACKAGE": suite.package,
        "METLOG_ORIGINAL_FOLDER": str(folder / suite.package),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "in_package", "--rootdir", str(folder), "-c", os.devnull]
    command += ["-o", f"cache_dir={CACHE / 'pytest'}"]
    # As nose did it: every record reaches the handlers.
    command += ["--log-level=DEBUG"]
    command += [f"--deselect={suite.package}/tests/{name}" for name in suite.deselected()]
    command.append(str(folder))
    run = subprocess.run(
        command, env={**os.environ, **settings}, cwd=HERE, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed and int(passed.group(1)) == suite.tests, run.stdout
    assert "skipped" not in run.stdout, run.stdout
