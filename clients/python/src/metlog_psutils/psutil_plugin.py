"""The plug-in behind ``client.procinfo``: each reading of a process becomes a message of type ``procinfo``.

A statsd endpoint sends each as a gauge ``psutil.GROUP.HOST.PID.NAME``. The readings come from the package ``psutil``
(``pip install metlog-py[psutils]``), which is imported by the first call that needs it.
"""

from __future__ import annotations

import collections
import ipaddress
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any, Callable

METLOG_METHOD_NAME = "procinfo"
"""The name of the client's method."""

GROUPS = ("net", "io", "cpu", "mem", "threads", "busy")
"""What can be asked for."""

_ANY_ADDRESS = ("0.0.0.0", "::")

logger: logging.Logger = logging.getLogger("metlog.internal")


class InvalidPIDError(Exception):
    """There is no such process, or it may not be looked at."""


class OSXPermissionFailure(InvalidPIDError):  # noqa: N818  the name of old
    """macOS shows other processes to root alone."""


def check_osx_perm() -> bool:
    """Return whether this system lets us look at other processes: macOS lets root alone."""
    return sys.platform != "darwin" or os.getuid() == 0


def supports_iocounters() -> bool:
    """Return whether this system counts what a process reads and writes."""
    import psutil

    return os.name == "posix" and hasattr(psutil.Process, "io_counters")


class LazyPSUtil:
    """Readings of one process; each is taken when it is asked for."""

    def __init__(self, pid: int, server_addr: str | Iterable[str] | None = None) -> None:
        """Note which process is meant; it is looked up when the first reading is taken.

        :param pid: which process.
        :param server_addr: ``host:port`` where it listens, one or several. Other sockets that listen are found.
        """
        self.pid = pid
        # Dots would divide a metric's name.
        self.host: str = socket.gethostname().replace(".", "_")
        self._process: Any = None
        addresses = [server_addr] if isinstance(server_addr, str) else list(server_addr or ())
        self._server_addr = [_numeric(address) for address in addresses]

    @property
    def process(self) -> Any:
        """The process as ``psutil`` knows it."""
        if self._process is None:
            import psutil

            self._process = psutil.Process(self.pid)
        return self._process

    def get_connections(self) -> list[dict[str, str]]:
        """Return each TCP connection: its ``type``, ``status``, ``local`` and ``remote``.

        The last two are ``host:port``, and ``*:*`` where there is no other side.
        """
        # Newer versions of psutil have only the first name, older ones only the second.
        connections = getattr(self.process, "net_connections", None) or self.process.connections
        return [
            {
                "type": "TCP",
                "status": connection.status,
                "local": _address(connection.laddr),
                "remote": _address(connection.raddr),
            }
            for connection in connections(kind="tcp")
        ]

    def get_busy_stats(self) -> list[dict[str, Any]]:
        """Return seconds of CPU time, seconds since the start, and the ratio of the two."""
        times = self.process.cpu_times()
        total = times.user + times.system
        uptime = max(time.time() - self.process.create_time(), 1e-6)
        return self._readings("busy", {"total_cpu": total, "uptime": uptime, "pcnt": total / uptime})

    def get_io_counters(self) -> list[dict[str, Any]]:
        """Return bytes read and written, and how many system calls did it. Nothing on a system that does not count."""
        if not supports_iocounters():
            return []
        counters = self.process.io_counters()
        names = ("read_bytes", "write_bytes", "read_count", "write_count")
        return self._readings("io", {name: getattr(counters, name) for name in names})

    def get_memory_info(self) -> list[dict[str, Any]]:
        """Return per cent of the machine's memory, and bytes of resident and virtual memory."""
        memory = self.process.memory_info()
        readings = {"pcnt": self.process.memory_percent(), "rss": memory.rss, "vms": memory.vms}
        return self._readings("meminfo", readings)

    def get_cpu_info(self) -> list[dict[str, Any]]:
        """Return seconds of CPU time of the whole process, in itself and in the kernel."""
        times = self.process.cpu_times()
        return self._readings("cpu", {"user": times.user, "sys": times.system})

    def get_thread_cpuinfo(self) -> list[dict[str, Any]]:
        """Return seconds of CPU time of each thread, in itself and in the kernel."""
        readings = {}
        for thread in self.process.threads():
            readings[f"{thread.id}.sys"] = thread.system_time
            readings[f"{thread.id}.user"] = thread.user_time
        return self._readings("thread", readings)

    def summarize_network(self, network_data: Iterable[dict[str, str]]) -> list[dict[str, Any]]:
        """Return how many connections are in which state, by the address of the server's side.

        That of a peer would be a metric of its own for each.
        """
        connections = list(network_data)
        listening = set(self._server_addr)
        listening.update(connection["local"] for connection in connections if connection["remote"] == "*:*")
        # A socket that listens everywhere has its connections under the address that each came to.
        everywhere = {_port(address): address for address in listening if _host(address) in _ANY_ADDRESS}
        states: collections.Counter[tuple[str, str]] = collections.Counter()
        for connection in connections:
            local = connection["local"]
            server = local if local in listening else everywhere.get(_port(local), connection["remote"])
            states[server, connection["status"]] += 1
        return self._readings(
            "net", {f"{server.replace('.', '_')}.{status}": count for (server, status), count in states.items()}
        )

    def write_json(
        self,
        net: bool = False,
        io: bool = False,
        cpu: bool = False,
        mem: bool = False,
        threads: bool = False,
        busy: bool = False,
        output_stdout: bool = True,
    ) -> dict[str, list[dict[str, Any]]] | None:
        """Take the readings of these groups; write them to standard output as JSON, or return them."""
        wanted = {"net": net, "io": io, "cpu": cpu, "mem": mem, "threads": threads, "busy": busy}
        readers: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "net": lambda: self.summarize_network(self.get_connections()),
            "io": self.get_io_counters,
            "cpu": self.get_cpu_info,
            "busy": self.get_busy_stats,
            "mem": self.get_memory_info,
            "threads": self.get_thread_cpuinfo,
        }
        data = {group: read() for group, read in readers.items() if wanted[group]}
        if not output_stdout:
            return data
        sys.stdout.write(json.dumps(data))
        sys.stdout.flush()
        return None

    def _readings(self, group: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        namespace = f"psutil.{group}.{self.host}.{self.pid}"
        return [{"ns": namespace, "key": key, "value": value, "rate": 1} for key, value in values.items()]


def _address(pair: Any) -> str:
    return f"{pair[0]}:{pair[1]}" if pair else "*:*"


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def _numeric(address: str) -> str:
    """Return an address by numbers, as connections are known, looking its name up."""
    host, port = _host(address), _port(address)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return f"{socket.gethostbyname(host)}:{port}"
    return address


def process_details(
    pid: int | None = None,
    net: bool = False,
    io: bool = False,
    cpu: bool = False,
    mem: bool = False,
    threads: bool = False,
    busy: bool = False,
    server_addr: str | Iterable[str] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Return the readings of a process, by group.

    :param pid: which process; this one by default.
    :raises InvalidPIDError: if there is no such process, or it may not be looked at.
    """
    import psutil

    pid = os.getpid() if pid is None else pid
    try:
        details = LazyPSUtil(pid, server_addr).write_json(net, io, cpu, mem, threads, busy, output_stdout=False)
    except psutil.AccessDenied as error:
        failure = InvalidPIDError if check_osx_perm() else OSXPermissionFailure
        raise failure(f"process {pid} may not be looked at") from error
    except (psutil.Error, ValueError) as error:
        raise InvalidPIDError(f"there is no process {pid}") from error
    return details or {}


def config_plugin(config: dict[str, Any]) -> Callable[..., None]:
    """Make the method ``procinfo`` from the settings of its section.

    :param config: a group set to false is never sent, whatever the application asks for.
    :raises SyntaxError: for anything else.
    """
    unknown = [name for name, value in config.items() if name not in GROUPS or not isinstance(value, bool)]
    if unknown:
        given = ", ".join(f"{name}={config[name]!r}" for name in unknown)
        raise SyntaxError(f"Invalid arguments: {given}; there are {', '.join(GROUPS)}, each true or false")
    allowed = {group: config.get(group, True) for group in GROUPS}

    def procinfo(
        self: Any,
        pid: int | None = None,
        net: bool = False,
        io: bool = False,
        cpu: bool = False,
        mem: bool = False,
        threads: bool = False,
        busy: bool = False,
        server_addr: str | Iterable[str] | None = None,
    ) -> None:
        """Send readings of a process, each as a message of its own.

        :param pid: which process; this one by default.
        :param net: how many TCP connections are in which state, by the server's address.
        :param io: bytes and system calls, read and written.
        :param cpu: seconds of CPU time.
        :param mem: per cent of the machine's memory, resident and virtual bytes.
        :param threads: seconds of CPU time by thread.
        :param busy: seconds of CPU time, seconds since the start, and their ratio.
        :param server_addr: ``host:port`` where the process listens, one or several, for ``net``.
        """
        asked = {"net": net, "io": io, "cpu": cpu, "mem": mem, "threads": threads, "busy": busy}
        wanted = {group: bool(asked[group]) and allowed[group] for group in GROUPS}
        if not any(wanted.values()):
            return
        try:
            details = process_details(pid, server_addr=server_addr, **wanted)
        except ModuleNotFoundError as error:
            # Of another module it is somebody else's to say.
            remedy = "; pip install 'metlog-py[psutils]' brings it" if error.name == "psutil" else ""
            logger.warning(f"procinfo: {error}{remedy}")
            return
        except (ImportError, InvalidPIDError, OSError) as error:
            # Readings that cannot be taken are no reason for the application to fail.
            logger.warning(f"procinfo: {error}")
            return
        for readings in details.values():
            for reading in readings:
                fields = {"logger": reading["ns"], "name": reading["key"], "rate": reading["rate"]}
                self.metlog("procinfo", fields=fields, payload=reading["value"])

    procinfo.metlog_name = METLOG_METHOD_NAME  # type: ignore[attr-defined]
    return procinfo
