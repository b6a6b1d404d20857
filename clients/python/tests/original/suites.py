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
            r"from nose_tools import",
            "from nose_tools import with_a_standing_clock,",
            "for the next edit",
            "test_decorators.py",
        ),
        Edit(
            r"( +)def test_arg_timeit\(",
            r"\1@with_a_standing_clock\n\1def test_arg_timeit(",
            "it expects 0 milliseconds, but on a busy machine a call that does nothing may take one",
            "test_decorators.py",
        ),
    ),
    left_out=(
        LeftOut("sync_publisher.py", "a sketch that nothing uses, not a test"),
        LeftOut("sync_subscriber.py", "a sketch that nothing uses, not a test"),
    ),
    tests=72,
)

PRINT = Edit(r'print "(.*)"', r'print("\1")', "print is a function on Python 3")
ASSERT_EQUAL = Edit(r"\bassertEquals\b", "assertEqual", "the name that is left since Python 3.12")

METLOG_CEF = Suite(
    distribution="metlog-cef",
    version="0.2",
    sha256="4e7cac6c41b921cce78465abb0ba0566af4a82163b8a42d4a5229b76eb5360c0",
    package="metlog_cef",
    edits=(
        NOSE,
        ASSERT_EQUAL,
        Edit(
            r"from cef import logger",
            "from metlog_cef.cef_plugin import logger",
            "the package cef does not run on Python 3; its lines are made here, and so are its warnings",
        ),
        Edit(r"cs1=\\=", r"cs1=\\\\=", "a backslash that begins no escape sequence is a warning"),
    ),
    left_out=(LeftOut("ceftests.py", "of an older client (setup_client); test_cef.py took its place"),),
    tests=10,
)

METLOG_PSUTILS = Suite(
    distribution="metlog-psutils",
    version="0.1",
    sha256="fa44cceb66451c6afd155e4308219990311c4bc035ae8d2919a803ca0b8ee89a",
    package="metlog_psutils",
    edits=(
        NOSE,
        SET_UP,
        TEAR_DOWN,
        PRINT,
        Edit(r"from unittest2 import", "from unittest import", "unittest2 is what unittest is on Python 3"),
        Edit(r"client\.send\('", "client.send(b'", "a str of Python 2 is bytes", "test_network.py"),
        Edit(
            r"self\.PORT = 50007 .*",
            "with socket.create_server((self.HOST, 0)) as any_port: self.PORT = any_port.getsockname()[1]",
            "another program may have this port",
            "test_network.py",
        ),
        Edit(
            r"from nose_tools import", "from nose_tools import wait_for_state,", "for the next two", "test_network.py"
        ),
        Edit(
            r"for i in range\(3\):\n\s+self\.client\.procinfo\(net=True\)\n\s+time\.sleep\(1\)",
            "wait_for_state(self.client, 'ESTABLISHED'); wait_for_state(self.client, 'CLOSE_WAIT')",
            "it looked at connections at three moments, when they may have been in other states",
            "test_network.py",
        ),
        Edit(
            r"time\.sleep\(1\)\n\n\s+self\.client\.procinfo\(net=True\)\n(\s+details)",
            r"wait_for_state(self.client, 'LISTEN')\n\1",
            "on a busy machine the server listens later than a second after its thread was started",
            "test_network.py",
        ),
        Edit(
            r"\[sys\.executable, '-m',\s*'metlog_psutils\.tests\.cpuhog'\]",
            "[sys.executable, __file__.replace('test_psutils', 'cpuhog')]",
            "the tests are no part of the installed package",
            "test_psutils.py",
        ),
        Edit(r"detail\['io'\]", "detail", "the messages are a list; the original skips the test", "test_psutils.py"),
        Edit(
            r"from nose_tools import",
            "from nose_tools import is_zero, wait_for_cpu_time,",
            "for the next two",
            "test_psutils.py",
        ),
        Edit(
            r"(found_[rw]b) = (statsd\['payload'\])",
            r"\1 = \2 or is_zero(statsd['fields']['name'])",
            "a process that has had no need of a disk yet has 0 bytes, which is no reading that is missing",
            "test_psutils.py",
        ),
        Edit(
            r"time\.sleep\(0\.5\)",
            "wait_for_cpu_time(pid)",
            "on a busy machine a process may have had no time within half a second",
            "test_psutils.py",
        ),
    ),
    left_out=(),
    tests=9,
)

# metlog-raven 0.5 was published without tests.
SUITES = (METLOG_PY, METLOG_CEF, METLOG_PSUTILS)
