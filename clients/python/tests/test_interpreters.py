"""Several interpreters in one process, as mod_wsgi has them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import pytest

# Runs code in an interpreter that shares the main one's lock, and ends that interpreter, as an embedding program does.
RUN = """
import sys
from _testcapi import run_in_subinterp

def run(code):
    assert run_in_subinterp(f"PORT = {sys.argv[1]}\\n" + code) == 0
"""

SEND = """
from metlog.client import MetlogClient
from metlog.senders import TcpSender, UdpSender
client = MetlogClient(UdpSender("127.0.0.1", PORT), "shop")
client.incr("orders")
client.info("a line")
"""

needs_testcapi = pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None, reason="this Python comes without its own tests"
)


def outcome(udp: Any, code: str) -> tuple[list[dict[str, Any]], str]:
    """Return the messages that a process sends, as many as it prints that it sends, and what it says."""
    environment = {name: value for name, value in os.environ.items() if name != "METLOG_NATIVE"}
    command = [sys.executable, "-c", code, str(udp.port)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [udp.message() for _ in range(int(done.stdout.split()[-1]))], done.stderr


@needs_testcapi
def test_another_interpreter_sends_by_plain_python_and_says_so_once(udp):
    code = f"""{RUN}
run('''{SEND}
from metlog._plain_core import PlainCore
assert isinstance(client.sender.core, PlainCore)
other = MetlogClient(UdpSender("127.0.0.1", PORT), "another")
other.incr("orders")
''')
print(3)
"""
    messages, said = outcome(udp, code)
    assert sorted(message["logger"] for message in messages) == ["another", "shop", "shop"]
    assert said.count("not the main interpreter") == 1


@needs_testcapi
@pytest.mark.parametrize("first", ["main", "another"])
def test_the_main_interpreter_has_its_native_module_whoever_comes_first(udp, first):
    here = f"PORT = int(sys.argv[1])\n{SEND}\nimport metlog._native as native\n"
    here += "assert isinstance(client.sender.core, native.Core)\n"
    there = f"run('''{SEND}''')\n"
    messages, _ = outcome(udp, RUN + (here + there if first == "main" else there + here) + "print(4)\n")
    assert len({message["metlog_src"] for message in messages}) == 2


@needs_testcapi
def test_the_native_module_refuses_another_interpreter(udp):
    code = f"""{RUN}
import metlog._native
run('''
try:
    import metlog._native
except ImportError as error:
    assert "main interpreter" in str(error), error
else:
    raise SystemExit("it was loaded")
''')
print(0)
"""
    outcome(udp, code)


@needs_testcapi
def test_what_is_sent_while_an_interpreter_ends_is_sent(udp):
    code = f"""{RUN}
run('''
import atexit
atexit.register(lambda: client.info("the end"))
{SEND}
''')
print(3)
"""
    messages, _ = outcome(udp, code)
    assert messages[-1]["payload"] == "the end"


@needs_testcapi
def test_an_interpreter_ends_although_nobody_takes_its_messages(udp):
    code = f"""{RUN}
import time
begin = time.monotonic()
run('''{SEND.replace("UdpSender(", "TcpSender(")}''')
assert time.monotonic() - begin < 60
print(0)
"""
    outcome(udp, code)


def test_an_interpreter_that_has_no_threads_sends_at_its_end(udp):
    interpreters = next(
        (name for name in ("_interpreters", "_xxsubinterpreters") if importlib.util.find_spec(name)), ""
    )
    if not interpreters:
        pytest.skip("this Python has no module for interpreters")
    code = f"""
import sys
import {interpreters} as interpreters
interpreter = interpreters.create()
run = getattr(interpreters, "exec", None) or interpreters.run_string
assert not run(interpreter, f"PORT = {{sys.argv[1]}}" + '''{SEND}''')
interpreters.destroy(interpreter)
print(2)
"""
    messages, said = outcome(udp, code)
    assert [message["type"] for message in messages] == ["counter", "oldstyle"]
    assert "Error sending" not in said
