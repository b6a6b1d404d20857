"""A pytest plug-in that lets converted tests be imported as what they were: modules inside the package they test."""

from __future__ import annotations

import importlib
import os


def pytest_configure() -> None:
    """Add the converted suite to the package, which stays the installed one."""
    package = importlib.import_module(os.environ["METLOG_ORIGINAL_PACKAGE"])
    package.__path__.append(os.environ["METLOG_ORIGINAL_FOLDER"])
