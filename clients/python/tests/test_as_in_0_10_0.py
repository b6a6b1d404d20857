"""What the originals had is here: every public name with its arguments and defaults, and ways that are easily lost.

`original/api.txt` lists the public names of metlog-py 0.10.0, metlog-cef 0.2, metlog-raven 0.5 and metlog-psutils 0.1.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
import logging
import os
import socket
import threading
import types
from pathlib import Path
from typing import Any

import pytest

from metlog.client import MetlogClient
from metlog.config import client_from_dict_config, client_from_text_config
from metlog.decorators import incr_count
from metlog.handler import LogHandler
from metlog.logging import MetlogHandler
from metlog.path import caller_module, caller_package, resolve_name
from metlog.senders import DebugCaptureSender, FileSender, StdOutSender

# What is not here, or not as it was. The pages about the differences say why.
GONE = {
    "metlog.path ignore_types",
    "metlog.path init_names",
    "metlog_raven.raven_plugin RavenClient",
    "metlog_raven.raven_plugin RavenClient.capture",
}
OTHER_ARGUMENTS = {"metlog.client MetlogClient.exception"}

LINES = (Path(__file__).parent / "original" / "api.txt").read_text().splitlines()


def _found(name: str) -> Any:
    module, path = name.split(" ")
    if module == "metlog.senders.zmq":
        pytest.importorskip("zmq")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("line", LINES)
def test_every_name_of_the_originals_is_here_with_its_arguments(line: str) -> None:
    name, has_arguments, arguments = line.partition("(")
    if name in GONE:
        with pytest.raises(AttributeError):
            _found(name)
        return
    found = _found(name)
    if not has_arguments or name in OTHER_ARGUMENTS:
        return
    definition = ast.parse(f"def f({arguments}: pass").body[0]
    assert isinstance(definition, ast.FunctionDef)
    ours = list(inspect.signature(found).parameters.values())
    theirs = definition.args
    # From the back, as defaults stand.
    defaults = [None] * (len(theirs.args) - len(theirs.defaults)) + list(theirs.defaults)
    module = vars(importlib.import_module(name.split(" ")[0]))
    for place, (argument, default) in enumerate(zip(theirs.args, defaults)):
        parameter = ours[place]
        assert (parameter.name, parameter.kind) == (argument.arg, parameter.POSITIONAL_OR_KEYWORD)
        if default is not None:
            expected = eval(ast.unparse(default), dict(module))
            # In the place of an empty list, which calls would share.
            assert parameter.default == expected or (expected == [] and parameter.default is None)
    further = ours[len(theirs.args) :]
    assert all(parameter.default is not parameter.empty or "VAR" in parameter.kind.name for parameter in further)


def test_the_table_of_names_is_whole() -> None:
    assert len(LINES) == len(set(LINES)) > 150
    assert {line.partition("(")[0] for line in LINES} >= GONE | OTHER_ARGUMENTS


def test_the_list_of_filters_stays_the_applications(captured: Any) -> None:
    filters: list[Any] = []
    client = MetlogClient(captured.sender, "tests", filters=filters)
    filters.append(lambda msg: msg["payload"] != "no")
    client.info("no")
    client.info("yes")
    assert captured.message()["payload"] == "yes"
    client.setup(captured.sender, filters=(filter_ for filter_ in filters))
    assert client.filters == filters


def test_a_traceback_loses_no_more_than_its_last_line_break(captured: Any) -> None:
    try:
        raise ValueError("bad\n\n")
    except ValueError:
        captured.client.error("it broke\n", exc_info=True)
    payload = captured.message()["payload"]
    assert payload.startswith("it broke\nTraceback")
    assert payload.endswith("ValueError: bad\n\n")


def test_an_exception_that_is_named_is_the_one_that_is_shown(captured: Any) -> None:
    try:
        raise KeyError("the one being handled")
    except KeyError:
        captured.client.error("it broke", exc_info=ValueError("the one that is named"))
    assert captured.message()["payload"] == "it broke\nValueError: the one that is named"


def test_the_holders_lock_is_the_applications(holder: Any) -> None:
    with holder.lock:
        client = holder.get_client("shop")
        holder.set_client("other", client)
    assert holder.get_client("other") is client


def test_relative_names_in_a_configuration_start_from_the_package() -> None:
    config = {
        "sender_class": ".senders.DebugCaptureSender",
        "filters": [(".filters:severity_max_provider", {"severity": 3})],
    }
    client = client_from_dict_config(config)
    assert isinstance(client.sender, DebugCaptureSender)
    assert client.filters[0].__name__ == "severity_max"


def test_comments_are_those_of_python_3() -> None:
    text = """
    [metlog]
    logger = shop
    sender_class = metlog.senders.DebugCaptureSender
    sender_names = one
        # no name
        two
    """
    assert client_from_text_config(text, "metlog").sender.names == ["one", "two"]
    with pytest.raises(Exception, match="rem"):
        client_from_text_config("[metlog]\nrem a comment of old", "metlog")


def test_what_is_not_there_is_an_import_error_in_both_kinds_of_names() -> None:
    for name in ("metlog.config.nothing", "metlog.config:nothing"):
        with pytest.raises(ImportError):
            resolve_name(name)


def test_modules_and_packages_of_callers_can_be_put_in_by_tests() -> None:
    here = types.ModuleType("here")
    frames = types.SimpleNamespace(f_globals={"__name__": "here"})
    assert caller_module(sys=types.SimpleNamespace(_getframe=lambda level: frames, modules={"here": here})) is here
    assert caller_package(caller_module=lambda level: importlib.import_module("metlog.senders.udp")).__name__ == (
        "metlog.senders"
    )


def test_the_stream_of_a_file_sender_has_no_buffer_and_no_lock(tmp_path: Path) -> None:
    sender = FileSender(str(tmp_path / "log"))
    stream: Any = sender.stream
    assert stream.name == str(tmp_path / "log")
    stream.write("é\n")
    assert os.fstat(stream.fileno()).st_size == 3
    sender.close()
    assert stream.closed


def test_a_formatter_may_be_given_by_position_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    StdOutSender(lambda msg: "formatted").send_message({})
    assert capsys.readouterr().out == "formatted\n"
    sender = FileSender(str(tmp_path / "log"), lambda msg: "formatted")
    sender.send_message({})
    sender.close()
    assert (tmp_path / "log").read_text() == "formatted\n"


def test_a_decorated_method_is_a_method(captured: Any) -> None:
    class Works:
        @incr_count("calls", client=captured.client)
        def work(self) -> Works:
            return self

    works = Works()
    bound = works.work
    assert isinstance(bound, types.MethodType) and not isinstance(bound, functools.partial)
    assert bound.__self__ is bound() is works
    assert isinstance(Works.__dict__["work"], incr_count) and isinstance(bound.__func__, incr_count)


def test_a_handler_of_0_10_0_that_fails_stays_inside_logging(capsys: pytest.CaptureFixture[str]) -> None:
    class Failing(MetlogClient):
        def metlog(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("gone")

    MetlogHandler(Failing(None, "tests")).emit(logging.makeLogRecord({"msg": "line"}))
    assert "OSError: gone" in capsys.readouterr().err


@pytest.mark.parametrize("handler", [LogHandler, MetlogHandler])
def test_a_record_without_a_name_is_sent(captured: Any, capsys: pytest.CaptureFixture[str], handler: Any) -> None:
    handler(captured.client).handle(logging.makeLogRecord({"msg": "line", "levelno": 20}))
    assert captured.message()["payload"] == "line"
    assert capsys.readouterr().err == ""


class TestZmq:
    """The senders' parts."""

    @pytest.fixture
    def ours(self) -> Any:
        pytest.importorskip("zmq")
        from metlog.senders import zmq

        return zmq

    def test_clients_show_what_they_were_made_with(self, ours: Any) -> None:
        import zmq

        context = zmq.Context()
        simple = ours.SimpleClient(context, ["tcp://127.0.0.1:1"], 7)
        shaking = ours.HandshakingClient(context, "tcp://127.0.0.1:1", "tcp://127.0.0.1:2", 30, 8)
        assert (simple.connect_bind, simple.hwm) == (["tcp://127.0.0.1:1"], 7)
        assert (shaking.handshake_bind, shaking.connect_bind) == ("tcp://127.0.0.1:1", "tcp://127.0.0.1:2")
        assert (shaking.handshake_timeout, shaking.hwm) == (30, 8)
        simple.socket.close()
        shaking.socket.close()
        context.term()

    def test_the_high_water_mark_is_set_before_connecting(self, ours: Any) -> None:
        from unittest import mock

        context = mock.Mock()
        ours.SimpleClient(context, ["tcp://127.0.0.1:1"], 7)
        names = [call[0] for call in context.socket.return_value.method_calls]
        assert names.index("set_hwm") < names.index("connect")

    def test_a_message_for_which_no_socket_is_free_goes_to_stderr(
        self, ours: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class Client(ours.BaseClient):  # type: ignore[misc, name-defined]
            def connect(self) -> bool:
                return True

            def send(self, msg: str) -> None:
                raise AssertionError("it is in use")

        pool = ours.Pool(lambda: Client(None), size=1)
        pool.socket()
        done = threading.Thread(target=pool.send, args=("lost",))
        done.start()
        done.join(30)
        pool.stop()
        assert not done.is_alive()
        assert capsys.readouterr().err == "lost\n"


def test_the_usage_of_mb_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    from metlog.command import mb, mb_doc

    assert "mb HOST PORT [--metlogcfg=FILE] [--raw]" in mb_doc
    with pytest.raises(SystemExit) as ended:
        mb(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == mb_doc


class TestPlugIns:
    """What the plug-ins' originals took and gave."""

    def test_plug_ins_name_their_method(self) -> None:
        from metlog_cef import cef_plugin
        from metlog_psutils import psutil_plugin
        from metlog_raven import raven_plugin

        made = [module.config_plugin({}) for module in (cef_plugin, raven_plugin, psutil_plugin)]
        assert [method.metlog_name for method in made] == [  # type: ignore[attr-defined]
            cef_plugin.METLOG_METHOD_NAME,
            raven_plugin.METLOG_PLUGIN_NAME,
            psutil_plugin.METLOG_METHOD_NAME,
        ]

    def test_what_raven_does_not_know_is_told(self, captured: Any) -> None:
        from metlog_raven.raven_plugin import config_plugin

        captured.client.add_method(config_plugin({}), override="raven")
        with pytest.raises(TypeError):
            captured.client.raven("it broke", None, "logger", 3, "one too many")

    def test_handled_is_part_of_the_event(self, captured: Any) -> None:
        from metlog_raven.raven_plugin import config_plugin

        captured.client.add_method(config_plugin({}), override="raven")
        captured.client.raven("it broke", ValueError("bad"), handled=False)
        message = captured.message()
        assert "handled" not in message["fields"]
        assert json.loads(message["payload"])["exception"]["values"][0]["mechanism"]["handled"] is False

    def test_a_process_with_sockets_for_datagrams_can_be_read(self, captured: Any) -> None:
        from metlog_psutils.psutil_plugin import LazyPSUtil

        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            socket.create_server(("127.0.0.1", 0)) as tcp,
        ):
            datagrams.bind(("127.0.0.1", 0))
            process = LazyPSUtil(os.getpid())
            connections = process.get_connections()
            port = tcp.getsockname()[1]
            names = [reading["key"] for reading in process.summarize_network(connections)]
        assert {connection["type"] for connection in connections} == {"TCP"}
        assert f"127_0_0_1:{port}.LISTEN" in names

    def test_a_system_that_does_not_count_input_and_output_has_no_such_readings(
        self, captured: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from metlog_psutils import psutil_plugin

        monkeypatch.setattr(psutil_plugin, "supports_iocounters", lambda: False)
        captured.client.add_method(psutil_plugin.config_plugin({}))
        captured.client.procinfo(io=True)
        assert captured.messages() == []
