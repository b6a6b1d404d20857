"""Which suites there are, and what each of them needs to run on Python 3."""

from __future__ import annotations

from .suite import Edit, LeftOut, Suite

# What every suite needs.
NOSE = Edit(r"from nose\.tools import", "from nose_tools import", "nose does not run on today's Python")
SET_UP = Edit(r"def set[uU]p\(self\)", "def setup_method(self, method)", "the name by which pytest knows it")
TEAR_DOWN = Edit(r"def tearDown\(self\)", "def teardown_method(self, method)", "the name by which pytest knows it")

METLOG_PY = Suite(
    distribution="metlog-py",
    version="0.10.0",
    sha256="acee40147bd3728dff0ab34a0f52d34542b95a82f67279c69c2e90b4d7ac0924",
    package="metlog",
    edits=(
        NOSE,
        SET_UP,
        TEAR_DOWN,
        Edit(r"from nose\.plugins\.skip import", "from nose_tools import", "nose does not run on today's Python"),
        Edit(r"from mock import", "from unittest.mock import", "mock is part of Python now"),
        Edit(r"import StringIO", "import io as StringIO", "the module has another name on Python 3"),
        Edit(r"\.func_name\b", ".__name__", "the attribute has another name on Python 3"),
        Edit(
            r"global name 'b' is not defined",
            "name 'b' is not defined",
            "Python 3 says it in other words",
            "test_client.py",
        ),
        Edit(r'"\\xfa121a1"', r'b"\\xfa121a1"', "a str of Python 2 is bytes", "test_senders.py"),
        Edit(
            r"mock_socket\.send\.assert_called_with\(json_msg\)",
            "mock_socket.send.assert_called_with(json_msg.encode())",
            "a str of Python 2 is bytes; pyzmq takes nothing else",
            "test_senders.py",
        ),
        Edit(
            r"'payload': '0', 'env_version'",
            "'payload': msgs[0]['payload'], 'env_version'",
            "on a busy machine a call that does nothing takes a millisecond",
            "test_decorators.py",
        ),
    ),
    left_out=(
        LeftOut("sync_publisher.py", "a sketch that nothing uses, not a test"),
        LeftOut("sync_subscriber.py", "a sketch that nothing uses, not a test"),
    ),
    tests=72,
)

SUITES = (METLOG_PY,)
