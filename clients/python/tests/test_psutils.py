"""``client.procinfo`` sends readings of real processes and sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
import real_router

from metlog.client import MetlogClient
from metlog.testing import Capture
from metlog_psutils import psutil_plugin


def client(**settings: bool) -> MetlogClient:
    made = MetlogClient(Capture(), "shop")
    made.add_method(psutil_plugin.config_plugin(settings))
    return made


def readings(made: MetlogClient) -> dict[str, float]:
    return {f"{m['fields']['logger']}.{m['fields']['name']}": m["payload"] for m in made.sender.of(type="procinfo")}


def test_every_group_has_its_names() -> None:
    made = client()
    made.procinfo(io=True, cpu=True, mem=True, busy=True)
    place = f"{socket.gethostname().replace('.', '_')}.{os.getpid()}"
    names = {
        "cpu": ["user", "sys"],
        "io": ["read_bytes", "write_bytes", "read_count", "write_count"],
        "meminfo": ["pcnt", "rss", "vms"],
        "busy": ["total_cpu", "uptime", "pcnt"],
    }
    expected = {f"psutil.{group}.{place}.{name}" for group, members in names.items() for name in members}
    found = readings(made)
    assert set(found) == expected
    assert all(isinstance(value, (int, float)) for value in found.values())
    memory = psutil.Process().memory_info().rss
    assert found[f"psutil.meminfo.{place}.rss"] == pytest.approx(memory, rel=0.5)
    assert made.sender.messages[0]["fields"]["rate"] == 1


def test_another_process_can_be_asked_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        made = client()
        made.procinfo(pid=child.pid, mem=True)
        child.communicate(b"\n")
    assert all(f".{child.pid}." in name for name in readings(made))


def test_each_thread_has_its_times() -> None:
    made = client()
    made.procinfo(threads=True)
    names = [name.split(".", 4)[-1] for name in readings(made)]
    assert f"{os.getpid()}.sys" in names
    assert f"{os.getpid()}.user" in names


def test_nothing_that_was_not_asked_for_is_sent() -> None:
    made = client()
    made.procinfo()
    made.procinfo(pid=1)
    assert made.sender.messages == []


def test_operators_have_the_last_word() -> None:
    made = client(mem=False, cpu=True)
    made.procinfo(mem=True, cpu=True)
    assert {name.split(".")[1] for name in readings(made)} == {"cpu"}
    made.sender.clear()
    made.procinfo(cpu=False, mem=True)
    assert made.sender.messages == []


@pytest.mark.parametrize("settings", [{"colour": True}, {"net": "perhaps"}])
def test_an_unknown_setting_is_an_error(settings: dict) -> None:
    with pytest.raises(SyntaxError):
        psutil_plugin.config_plugin(settings)


def test_without_psutil_the_log_says_where_to_get_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    capture = Capture()
    psutil_plugin.config_plugin({})(MetlogClient(capture, "shop"), mem=True)
    assert capture.messages == []
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.endswith("; pip install 'metlog-py[psutils]' brings it")


def test_a_process_that_is_gone_does_not_fail_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    made = client()
    made.procinfo(pid=child.pid, mem=True)
    assert made.sender.messages == []
    assert caplog.messages == [f"procinfo: there is no process {child.pid}"]
    with pytest.raises(psutil_plugin.InvalidPIDError):
        psutil_plugin.process_details(child.pid, mem=True)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def states(made: MetlogClient) -> dict[str, float]:
    return {m["fields"]["name"]: m["payload"] for m in made.sender.of(type="procinfo")}


def name(address: tuple, state: str) -> str:
    return f"{address[0].replace('.', '_')}:{address[1]}.{state}"


def test_connections_are_counted_under_the_address_of_the_server(server: socket.socket) -> None:
    made = client()
    clients = [socket.create_connection(server.getsockname()) for _ in range(3)]
    taken = [server.accept()[0] for _ in clients]
    made.procinfo(net=True)
    found = states(made)
    assert found[name(server.getsockname(), "LISTEN")] == 1
    # Both ends are of this process.
    assert found[name(server.getsockname(), "ESTABLISHED")] == 6
    for one in clients:
        one.close()

    def are_closing() -> bool:
        made.sender.clear()
        made.procinfo(net=True)
        return states(made).get(name(server.getsockname(), "CLOSE_WAIT")) == 3

    real_router.wait_for("the kernel has seen all of them closed", are_closing)
    for one in taken:
        one.close()


def test_a_server_that_listens_everywhere_gets_no_name_for_each_peer() -> None:
    with socket.create_server(("0.0.0.0", 0)) as listening:
        port = listening.getsockname()[1]
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        taken = [listening.accept()[0] for _ in clients]
        made = client()
        made.procinfo(net=True)
        found = states(made)
        assert found[f"0_0_0_0:{port}.ESTABLISHED"] == 3
        assert not any(str(one.getsockname()[1]) in key for one in clients for key in found)
        for one in [*clients, *taken]:
            one.close()


def test_a_server_can_be_named(server: socket.socket) -> None:
    port = server.getsockname()[1]
    details = psutil_plugin.LazyPSUtil(os.getpid(), f"localhost:{port}")
    assert details._server_addr == [f"127.0.0.1:{port}"]
    connection = {"type": "TCP", "status": "ESTABLISHED", "local": f"127.0.0.1:{port}", "remote": "192.0.2.1:4"}
    (reading,) = details.summarize_network([connection])
    assert reading["key"] == f"127_0_0_1:{port}.ESTABLISHED"
    assert psutil_plugin.LazyPSUtil(1, [":::80"])._server_addr == [":::80"]


def test_nothing_is_kept_from_one_call_to_the_next(server: socket.socket) -> None:
    made = client()
    made.procinfo(net=True)
    address = name(server.getsockname(), "LISTEN")
    assert address in states(made)
    made.sender.clear()
    server.close()
    made.procinfo(net=True)
    assert address not in states(made)


def test_the_uptime_of_a_process_that_is_days_old_has_the_days() -> None:
    class Old:
        def create_time(self) -> float:
            return time.time() - 3 * 86_400

        def cpu_times(self) -> SimpleNamespace:
            return SimpleNamespace(user=1.0, system=2.0)

    details = psutil_plugin.LazyPSUtil(1)
    details._process = Old()
    found = {reading["key"]: reading["value"] for reading in details.get_busy_stats()}
    assert found["uptime"] == pytest.approx(3 * 86_400, abs=60)
    assert found["pcnt"] == pytest.approx(3 / (3 * 86_400), rel=0.01)
