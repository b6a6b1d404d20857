"""``metlog.init``: two lines, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest
from receivers import UdpReceiver

import metlog
from metlog import _target
from metlog.senders import FileSender, StdOutSender, TcpSender, UdpSender, UnixSender


class Outcome:
    """What a process wrote, and what it sent."""

    def __init__(self, code: str, *, status: int = 0, **environment: str) -> None:
        self.receiver = UdpReceiver()
        target = {"METLOG_URL": f"udp://127.0.0.1:{self.receiver.port}"}
        run = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **target, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode == status, run.stderr
        self.stdout, self.stderr = run.stdout, run.stderr
        self.receiver.socket.setblocking(False)
        # The process has ended and flushed: what it sent is here.
        self.messages: list[dict[str, Any]] = []
        while True:
            try:
                self.messages.append(self.receiver.message())
            except BlockingIOError:
                break
        self.receiver.close()

    def payloads(self) -> list[str]:
        return [message["payload"] for message in self.messages]


BEGIN = "import logging, threading, sys, os\nimport metlog\nclient = metlog.init(logger='myapp')\n"


def test_two_lines_send_what_is_logged_counted_and_timed():
    outcome = Outcome(
        BEGIN + "logging.getLogger('my.part').warning('only %d left', 3)\n"
        "client.incr('hits')\n"
        "with metlog.CLIENT_HOLDER.default_client.timer('took'): pass\n"
        "@metlog.timeit\ndef work(): pass\n"
        "work()"
    )
    line, counter, timer, decorated = outcome.messages
    assert (line["logger"], line["severity"], line["payload"]) == ("myapp", 4, "only 3 left")
    assert line["fields"]["logger_name"] == "my.part"
    assert (counter["type"], counter["payload"]) == ("counter", "1")
    assert (timer["type"], float(timer["payload"]) < 1000, "." in timer["payload"]) == ("timer", True, True)
    assert decorated["fields"]["name"] == "__main__.work"


def test_the_applications_own_logging_stays_as_it_was():
    outcome = Outcome(
        BEGIN + "logging.getLogger('part').warning('last resort')\n"
        "assert not logging.getLogger().handlers\n"
        "logging.basicConfig(format='own: %(message)s', level=logging.INFO)\n"
        "logging.info('configured')\n"
        "from logging.config import dictConfig\n"
        "dictConfig({'version': 1, 'handlers': {'h': {'class': 'logging.StreamHandler', 'formatter': 'f'}},\n"
        "    'formatters': {'f': {'format': 'again: %(message)s'}}, 'root': {'handlers': ['h'], 'level': 'INFO'},\n"
        "    'disable_existing_loggers': False})\n"
        "logging.info('configured again')\n"
    )
    assert outcome.stderr.splitlines() == ["last resort", "own: configured", "again: configured again"]
    assert outcome.payloads() == ["last resort", "configured", "configured again"]


def test_only_what_reaches_the_root_logger_is_sent():
    outcome = Outcome(
        BEGIN + "logging.getLogger('apart').propagate = False\n"
        "logging.getLogger('apart').error('no')\n"
        "logging.getLogger('apart.below').error('no')\n"
        "logging.getLogger('metlog.internal').error('no')\n"
        "logging.getLogger('quiet').info('no')\n"
        "logging.getLogger('part').error('yes')\n"
    )
    assert outcome.payloads() == ["yes"]


def test_a_handler_of_ours_on_the_way_sends_a_record_only_once():
    outcome = Outcome(
        BEGIN + "from metlog.logging import hook_logger\n"
        "hook_logger('hooked', client)\n"
        "logging.getLogger('hooked').error('once')\n"
        "logging.getLogger('hooked.below').error('once')\n"
    )
    assert outcome.payloads() == ["once", "once"]


def test_a_level_holds_for_what_is_sent_alone():
    code = BEGIN.replace("'myapp'", "'myapp', level='ERROR'")
    outcome = Outcome(code + "logging.warning('no')\nlogging.error('yes')\n")
    assert outcome.payloads() == ["yes"]
    assert outcome.stderr.splitlines() == ["WARNING:root:no", "ERROR:root:yes"]


def test_a_level_that_the_root_logger_does_not_let_through_is_told_with_what_to_do():
    code = BEGIN.replace("'myapp'", "'myapp', level='INFO'")
    outcome = Outcome(code + "logging.info('held back')\n")
    assert outcome.payloads() == []
    (said,) = outcome.stderr.splitlines()
    assert said.startswith("metlog: records below WARNING do not come here whatever `level` says (INFO)")
    assert "logging.basicConfig(level=logging.INFO) before metlog.init()" in said
    outcome = Outcome("import logging\nlogging.basicConfig(level=logging.INFO)\n" + code + "logging.info('sent')\n")
    assert outcome.payloads() == ["sent"]
    assert outcome.stderr.splitlines() == ["INFO:root:sent"]


@pytest.mark.parametrize("severity", [8, -1, True, 4.0, "warn", None])
def test_what_is_no_severity_is_told(severity):
    with pytest.raises(ValueError, match="a severity is a number from 0"):
        metlog.init("no severity", severity=severity)


def test_uncaught_exceptions_are_sent_and_shown():
    outcome = Outcome(
        BEGIN + "def fail(): raise ValueError('in a thread')\n"
        "thread = threading.Thread(target=fail, name='worker'); thread.start(); thread.join()\n"
        "thread = threading.Thread(target=sys.exit); thread.start(); thread.join()\n"
        "raise KeyError('at the end')",
        status=1,
    )
    lines = [message for message in outcome.messages if message["type"] == "oldstyle"]
    events = [message for message in outcome.messages if message["type"] == "sentry"]
    assert len(outcome.messages) == 4
    first, second = lines
    assert (first["severity"], first["payload"]) == (3, "Uncaught exception in thread worker: ValueError: in a thread")
    assert (first["fields"]["exc_type"], first["fields"]["exc_message"]) == ("ValueError", "in a thread")
    assert second["payload"] == "Uncaught exception: KeyError: 'at the end'"
    assert "Traceback (most recent call last):" in second["fields"]["stack"]
    assert "ValueError: in a thread" in outcome.stderr
    assert "KeyError: 'at the end'" in outcome.stderr
    exceptions = [json.loads(event["payload"])["exception"]["values"][0] for event in events]
    assert [one["type"] for one in exceptions] == ["ValueError", "KeyError"]
    assert [one["mechanism"]["handled"] for one in exceptions] == [False, False]


@pytest.mark.parametrize("disabled", ["0", "1"])
def test_security_events_and_exceptions_can_be_sent_at_once(disabled: str):
    outcome = Outcome(
        BEGIN + "client.cef('login failed', 5, {}, {})\n"
        "client.raven('there is none')\n"
        "try: {}['sku']\nexcept KeyError: client.raven('not found')\n"
        "assert metlog.init() is client\n"
        "client.raven(payload='{}')",
        METLOG_DISABLED=disabled,
    )
    types = [message["type"] for message in outcome.messages]
    assert types == ([] if disabled == "1" else ["cef", "sentry", "sentry"])


def test_plug_ins_are_imported_when_they_are_called():
    outcome = Outcome(BEGIN + "print([name for name in sys.modules if name.startswith(('metlog_', 'uuid'))])")
    assert outcome.stdout == "[]\n"


def test_the_hooks_of_others_are_called_and_an_interrupt_is_no_report():
    outcome = Outcome(
        "import sys\nsys.excepthook = lambda kind, error, trace: print('mine', kind.__name__)\n"
        + BEGIN
        + "raise KeyboardInterrupt",
        status=-signal.SIGINT,
    )
    assert outcome.stdout == "mine KeyboardInterrupt\n"
    assert outcome.messages == []


def test_a_second_call_is_harmless():
    outcome = Outcome(
        BEGIN + "assert metlog.init(logger='another', target='tcp://127.0.0.1:1') is client\nlogging.error('once')\n"
    )
    assert outcome.payloads() == ["once"]


def test_a_client_that_was_taken_before_is_the_one_that_is_configured():
    outcome = Outcome("import metlog\nearly = metlog.get_client('myapp')\n" + BEGIN + "early.info('hello')\n")
    assert outcome.payloads() == ["hello"]


def test_the_environment_can_turn_everything_off():
    code = BEGIN + "client.info('no')\nlogging.error('shown')\nassert not client.is_active\nraise ValueError\n"
    outcome = Outcome(code, status=1, METLOG_DISABLED="1")
    assert outcome.messages == []
    assert outcome.stderr.startswith("ERROR:root:shown\nTraceback")
    assert len(Outcome(BEGIN + "client.info('yes')\n", METLOG_DISABLED="0").messages) == 1


def test_a_wrong_target_in_the_environment_does_not_stop_the_application():
    outcome = Outcome(BEGIN + "client.info('x')\nprint('goes on')\n", METLOG_URL="carrier://pigeon")
    assert outcome.stdout == "goes on\n"
    assert outcome.stderr == (
        "metlog: METLOG_URL: 'carrier://pigeon' is no target; there are udp://HOST:PORT, tcp://HOST:PORT, "
        "unix:///PATH, stdout: and file:PATH; nothing is sent\n"
    )


def test_sigterm_sends_what_waits_and_ends_the_process_on_request():
    code = BEGIN.replace("'myapp'", "'myapp', flush_on_sigterm=True")
    send = "client.info('last words')\nos.kill(os.getpid(), 15)\nprint('never')\n"
    outcome = Outcome(code + send, status=-signal.SIGTERM)
    assert (outcome.stdout, outcome.payloads()) == ("", ["last words"])


def test_sigterm_goes_on_to_the_handler_that_was_there():
    code = "import signal, sys\nsignal.signal(15, lambda number, frame: sys.exit(7))\n"
    code += BEGIN.replace("'myapp'", "'myapp', flush_on_sigterm=True")
    assert Outcome(code + "client.info('x')\nos.kill(os.getpid(), 15)\n", status=7).payloads() == ["x"]


def test_sigterm_goes_on_to_be_ignored_where_it_was():
    code = "import signal\nsignal.signal(15, signal.SIG_IGN)\n"
    code += BEGIN.replace("'myapp'", "'myapp', flush_on_sigterm=True")
    code += "client.info('x')\nos.kill(os.getpid(), 15)\nprint(client.stats()['queued'])\n"
    assert Outcome(code).stdout == "0\n"


def test_a_process_ends_at_sigterm_whatever_its_sender_does():
    code = BEGIN.replace("'myapp'", "'myapp', flush_on_sigterm=True")
    code += (
        "from metlog.senders import UdpSender\n"
        "class Mine(UdpSender):\n"
        "    def flush(self, timeout=2.0): raise OSError('mine')\n"
        "client.sender = Mine('127.0.0.1', 1)\n"
        "os.kill(os.getpid(), 15)\nprint('never')\n"
    )
    outcome = Outcome(code, status=-signal.SIGTERM)
    assert outcome.stdout == ""
    assert outcome.stderr == "metlog: could not send what waits: OSError('mine')\n"


def test_a_forked_child_sends_its_own_at_sigterm():
    code = BEGIN.replace("'myapp'", "'myapp', flush_on_sigterm=True")
    outcome = Outcome(
        code + "client.info('parent')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    client.info('child')\n"
        "    os.kill(os.getpid(), 15)\n"
        "    os._exit(3)\n"
        "assert os.waitpid(child, 0)[1] == 15\n"
    )
    assert sorted(outcome.payloads()) == ["child", "parent"]


@pytest.mark.parametrize(
    ("begin", "complaint"),
    [
        (
            "thread = threading.Thread(target=lambda: metlog.init(logger='myapp', flush_on_sigterm=True))\n"
            "thread.start(); thread.join()\n",
            "init was not called in the main thread",
        ),
        (
            "import signal\nsignal.getsignal = lambda number: None\n"
            "metlog.init(logger='myapp', flush_on_sigterm=True)\n",
            "SIGTERM has a handler that is not Python's",
        ),
    ],
    ids=["another thread", "not Python's"],
)
def test_where_sigterm_cannot_be_watched_it_is_left_alone(begin: str, complaint: str):
    outcome = Outcome(
        "import logging, os, threading, metlog\nfrom _signal import getsignal\n" + begin + "logging.warning('sent')\n"
        "print(getsignal(15))\n"
    )
    assert outcome.stdout == "0\n"
    assert outcome.payloads() == ["sent"]
    assert outcome.stderr.splitlines()[0] == f"metlog: flush_on_sigterm has no effect: {complaint}"


def test_without_a_request_there_is_no_signal_handler():
    Outcome(BEGIN + "import signal\nassert signal.getsignal(15) is signal.SIG_DFL\n")


def test_standard_output_gets_lines_that_a_router_reads():
    outcome = Outcome(BEGIN + "client.info('hello')\nclient.info('again')\n", METLOG_URL="stdout:")
    assert [json.loads(line)["payload"] for line in outcome.stdout.splitlines()] == ["hello", "again"]


def test_targets_are_senders(tmp_path):
    def udp(target):
        sender = _target.sender_for(target)
        assert isinstance(sender, UdpSender)
        return sender._destinations

    assert udp("udp://example.org") == (("example.org", 5565),)
    assert udp("udp://[::1]:1") == (("::1", 1),)
    assert udp("udp://a,b:1") == (("a", 5565), ("b", 1))
    sender = _target.sender_for("tcp://a:1?seq=false")
    assert isinstance(sender, TcpSender)
    assert not sender.destination.seq
    sender = _target.sender_for("unix:///run/socket?mode=datagram")
    assert isinstance(sender, UnixSender)
    assert (sender.destination.transport, sender.destination.path) == ("unix-datagram", "/run/socket")
    assert isinstance(_target.sender_for("stdout:"), StdOutSender)
    for form in ("file:", "file://"):
        path = tmp_path / "log"
        sender = _target.sender_for(f"{form}{path}")
        assert isinstance(sender, FileSender)
        assert path.exists()
        sender.close()
        path.unlink()


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("localhost:5565", "is no target; there are udp://"),
        ("udp://", "there is no host"),
        ("udp://a:port", "is not right"),
        ("tcp://a:1?seq=maybe", "seq is true or false"),
        ("tcp://a:1?speed=9", "it takes no speed"),
        ("unix:", "there is no path"),
        ("file:", "there is no path"),
        ("unix:///x?mode=tube", "'stream' or 'datagram'"),
        ("udp://a:1/path", "it takes no path, such as '/path'"),
        ("tcp://a:1/path", "it takes no path, such as '/path'"),
        ("udp://[::1", "is not right"),
        (5565, "a target is a text, not 5565"),
        (b"udp://a:1", "a target is a text, not b'udp"),
        (["udp://a:1"], "a target is a text"),
    ],
)
def test_what_is_no_target_is_told(target, complaint):
    with pytest.raises(ValueError, match=complaint):
        _target.sender_for(target)


@pytest.mark.parametrize(
    "target", ["udp://ann:secret@a:1", "tcp://secret@a:1", "udp://b,ann:secret@a:1", "x://a:secret@b"]
)
def test_a_password_in_a_target_is_an_error_that_does_not_show_it(target):
    with pytest.raises(ValueError, match=r"takes no user and no password|is no target") as failure:
        _target.sender_for(target)
    assert "secret" not in str(failure.value)
    assert "[Filtered]" in str(failure.value)


def test_white_space_around_a_target_does_not_matter():
    assert _target.sender_for(" udp://a:1\n")._destinations == (("a", 1),)


def test_a_handler_of_ours_that_leaves_a_record_alone_does_not_keep_it_from_being_sent():
    outcome = Outcome(
        BEGIN + "from metlog.handler import LogHandler\n"
        "from metlog.logging import hook_logger\n"
        "from metlog.client import MetlogClient\n"
        "from metlog.testing import Capture\n"
        "shop = logging.getLogger('shop'); shop.setLevel('DEBUG')\n"
        "shop.addHandler(LogHandler(client, level=logging.ERROR))\n"
        "shop.info('below its level'); shop.error('once')\n"
        "filtered = logging.getLogger('filtered'); handler = LogHandler(client); filtered.addHandler(handler)\n"
        "handler.addFilter(lambda record: 'no' not in record.msg)\n"
        "filtered.error('not by it'); filtered.error('by it')\n"
        "audit = MetlogClient(Capture(), 'audit'); hook_logger('audited', audit)\n"
        "logging.getLogger('audited').error('by both')\n"
        "print(audit.sender.lines)\n"
    )
    assert outcome.stdout == "['by both']\n"
    assert sorted(outcome.payloads()) == ["below its level", "by both", "by it", "not by it", "once"]


def test_what_a_handler_logs_is_a_record_of_its_own():
    outcome = Outcome(
        BEGIN + "from metlog.handler import LogHandler\n"
        "class Telling(logging.Handler):\n"
        "    def emit(self, record):\n"
        "        logging.getLogger('told').error('told of %s', record.msg)\n"
        "        logging.getLogger('told.ours').error('ours of %s', record.msg)\n"
        "logging.getLogger('told.ours').addHandler(LogHandler(client))\n"
        "shop = logging.getLogger('shop')\n"
        "shop.addHandler(LogHandler(client, level=60))\n"
        "shop.addHandler(Telling())\n"
        "shop.error('a sale')\n"
    )
    assert sorted(outcome.payloads()) == ["a sale", "ours of a sale", "told of a sale"]


def test_of_several_calls_at_once_one_is_the_first():
    outcome = Outcome(
        "import logging, os, sys, threading, metlog\n"
        "sys.setswitchinterval(1e-6)\n"
        "begin, clients = threading.Barrier(8), []\n"
        "def work(number):\n"
        "    begin.wait(60)\n"
        "    clients.append(metlog.init(logger=f'app{number}'))\n"
        "    clients[-1].info('of %d', number)\n"
        "threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "assert len(set(map(id, clients))) == 1\n"
        "assert metlog.CLIENT_HOLDER.default_client is clients[0]\n"
        "logging.error('once')\n"
    )
    assert outcome.payloads().count("once") == 1
    assert sorted(outcome.payloads())[:8] == [f"of {number}" for number in range(8)]


def test_a_child_of_a_call_that_goes_on_makes_its_own():
    Outcome(
        "import os, metlog\n"
        "from metlog import _init, _plugins\n"
        "def fork(client):\n"
        "    pid = os.fork()\n"
        "    if pid: assert os.waitpid(pid, 0)[1] == 0; return\n"
        "    _plugins.add_to = lambda client: None\n"
        "    metlog.init(logger='child'); os._exit(0 if metlog.CLIENT_HOLDER.default_client.logger == 'child' else 1)\n"
        "_plugins.add_to = fork\n"
        "metlog.init(logger='parent')\n"
        "assert metlog.CLIENT_HOLDER.default_client.logger == 'parent'\n"
    )


def test_a_call_with_a_wrong_argument_is_not_the_first():
    outcome = Outcome(
        "import logging, metlog\n"
        "for wrong in ({'level': 'LOUD'}, {'target': 'carrier://pigeon'}):\n"
        "    try: metlog.init(logger='myapp', **wrong)\n"
        "    except ValueError: pass\n"
        "    else: raise AssertionError(wrong)\n"
        "metlog.init(logger='myapp')\n"
        "logging.error('once')\n"
    )
    assert outcome.payloads() == ["once"]


def test_a_second_call_makes_the_client_the_default_again():
    outcome = Outcome(
        BEGIN + "metlog.CLIENT_HOLDER.delete_client('myapp')\n"
        "assert metlog.CLIENT_HOLDER.default_client is None\n"
        "assert metlog.init() is client\n"
        "assert metlog.CLIENT_HOLDER.default_client is client\n"
        "metlog.CLIENT_HOLDER.default_client.info('again')\n"
    )
    assert outcome.payloads() == ["again"]


def test_what_a_test_captures_stays_captured_when_the_application_is_made_in_it():
    outcome = Outcome(
        "import logging, metlog\n"
        "from metlog.testing import capturing\n"
        "def make_application():\n"
        "    client = metlog.init(logger='myapp')\n"
        "    metlog.get_client('parts', {'sender': {'class': 'metlog.senders.StdOutSender'}})\n"
        "    return client\n"
        "for number in range(2):\n"
        "    with capturing() as capture:\n"
        "        client = make_application()\n"
        "        metlog.CLIENT_HOLDER.default_client.incr('hits')\n"
        "        metlog.get_client('parts').incr('parts')\n"
        "        metlog.get_client(f'late{number}').incr('late')\n"
        "        logging.error('logged')\n"
        "    assert metlog.CLIENT_HOLDER.default_client is client, metlog.CLIENT_HOLDER.default_client\n"
        "    assert capture.lines == ['logged'], capture\n"
        "    assert [capture.count(name) for name in ('hits', 'parts', 'late')] == [1, 1, 1], capture\n"
        "assert type(client.sender).__name__ == 'UdpSender'\n"
        "client.info('sent')\n"
    )
    assert outcome.payloads() == ["sent"]
    assert outcome.stdout == ""


def test_an_application_may_have_the_name_of_the_captures_own_client():
    outcome = Outcome(
        "import metlog\n"
        "from metlog.testing import capturing\n"
        "with capturing(): client = metlog.init(logger='test')\n"
        "metlog.CLIENT_HOLDER.default_client.info('sent')\n"
    )
    assert outcome.payloads() == ["sent"]


def test_a_capture_hooks_nothing_where_all_is_disabled():
    outcome = Outcome(
        "import logging, sys, metlog\n"
        "from metlog.testing import capturing\n"
        "before = logging.Logger.callHandlers, sys.excepthook\n"
        "with capturing() as capture:\n"
        "    metlog.init(logger='myapp').info('captured')\n"
        "assert capture.lines == ['captured']\n"
        "assert (logging.Logger.callHandlers, sys.excepthook) == before\n",
        METLOG_DISABLED="1",
    )
    assert outcome.messages == []


def test_after_a_close_the_next_call_makes_a_new_client_that_is_hooked_once():
    outcome = Outcome(
        BEGIN + "client.close()\n"
        "for _ in range(3):\n"
        "    another = metlog.init(logger='myapp')\n"
        "    assert another is not client and another is metlog.CLIENT_HOLDER.default_client\n"
        "    assert metlog.init(logger='myapp') is another\n"
        "    another.info('called')\n"
        "    logging.error('logged')\n"
        "    assert another.flush(10) and another.stats()['dropped'] == {}, another.stats()\n"
        "    another.close()\n"
        "assert client.stats()['dropped'] == {}, client.stats()\n"
    )
    assert outcome.payloads() == ["called", "logged"] * 3


def test_a_second_call_with_other_arguments_is_told_once():
    again = "metlog.init(logger='myapp')\n"
    assert "metlog:" not in Outcome(BEGIN + again).stderr
    other = "metlog.init(logger='myapp', level='ERROR')\n"
    assert Outcome(BEGIN + other + other).stderr.count("metlog: init was called again with other arguments") == 1


@pytest.mark.parametrize("native", ["0", "1"])
def test_what_is_given_up_at_the_end_is_told(native: str):
    with socket.socket() as nobody:
        # Bound, and nobody listens.
        nobody.bind(("127.0.0.1", 0))
        target = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        code = "import metlog\nclient = metlog.init()\nfor _ in range(30): client.incr('hits')\n"
        at_exit = Outcome(code, METLOG_URL=target, METLOG_NATIVE=native)
        assert (
            at_exit.stderr.count("metlog: messages given up because they still waited at the end of the process: 30\n")
            == 1
        )
        closed = Outcome(code + "assert not client.close(0.1)\n", METLOG_URL=target, METLOG_NATIVE=native)
        assert closed.stderr.count("when the time for closing was over: 30\n") == 1, closed.stderr


@pytest.mark.parametrize("native", ["0", "1"])
def test_a_router_that_does_not_run_is_told_and_its_messages_are_counted(native: str):
    with socket.socket(type=socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    # The system tells of one loss at a time, and when is its own affair: some are counted, and none twice.
    code = (
        "import time, metlog\nclient = metlog.init()\nuntil = time.monotonic() + 60\n"
        "while client.stats()['dropped'].get('unreachable', 0) < 3 and time.monotonic() < until:\n"
        "    client.incr('hits')\n    client.flush(10)\n"
        "stats = client.stats()\n"
        "assert set(stats['dropped']) == {'unreachable'} and stats['dropped']['unreachable'] >= 3, stats\n"
        "assert stats['accepted'] == stats['sent'] + stats['queued'] + sum(stats['dropped'].values()), stats\n"
    )
    told = Outcome(code, METLOG_URL=f"udp://127.0.0.1:{port}", METLOG_NATIVE=native).stderr
    assert told.count(f"metlog: udp 127.0.0.1:{port}: nobody listens there") == 1, told


def test_what_the_environment_turns_off_is_counted_as_that():
    code = BEGIN + "client.info('no')\nprint(client.stats()['dropped'])\n"
    assert Outcome(code, METLOG_DISABLED="1").stdout == "{'disabled': 1}\n"
    assert Outcome(code, METLOG_URL="gopher://x").stdout == "{'no-sender': 1}\n"
