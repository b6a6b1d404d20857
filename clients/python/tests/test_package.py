"""What the package is made of."""

import subprocess
import sys

import metlog


def test_the_versions_of_the_distribution_and_the_package_agree():
    from importlib.metadata import version

    assert version("metlog-py") == metlog.__version__


def test_the_native_module_is_built_and_can_be_loaded():
    from metlog import _native

    assert _native.version()


def test_an_import_of_the_package_imports_nothing_else_of_it():
    code = "import sys, metlog; print(*(name for name in sys.modules if name.startswith('metlog.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
