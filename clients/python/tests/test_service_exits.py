"""Services that end in an orderly way, each in its own: what they accepted is with a router when they are gone."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator

import pytest
import reporting
from accounts import Archive, Settlement, reports, settle
from real_router import wait_for

# Seconds that are waited for what is sure to come, also on a machine that is busy with other things.
PATIENCE = 120.0

# What is sent at the very end, so that the end has something to send.
LAST_WORDS = 500

TESTS = str(pathlib.Path(__file__).parent)


class Stage:
    """A folder with a program, and a router that its processes send to and write reports beside."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.archive = Archive(folder)
        self.log = folder / "service.log"
        self._reports = folder / "reports"
        self._reports.mkdir()
        self._started: list[subprocess.Popen[bytes]] = []

    def write(self, name: str, program: str) -> None:
        (self.folder / name).write_text(textwrap.dedent(program))

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[bytes]:
        """Start a Python program that sends to the router."""
        command = [sys.executable, *map(str, arguments)]
        variables = {
            **os.environ,
            "METLOG_URL": self.archive.url("tcp"),
            "PYTHONPATH": os.pathsep.join([str(self.folder), TESTS, *sys.path]),
            "LAST_WORDS": str(LAST_WORDS),
            reporting.FOLDER: str(self._reports),
            **environment,
        }
        with self.log.open("a") as log:
            # With a session of its own, so that nothing of it is left behind by a test that fails.
            process = subprocess.Popen(
                command, cwd=self.folder, env=variables, stdout=log, stderr=log, start_new_session=True
            )
        self._started.append(process)
        return process

    def said(self, process: subprocess.Popen[bytes], pattern: str) -> list[str]:
        """Wait until a running program has said something, and return what it was."""

        def look() -> list[str]:
            assert process.poll() is None, self.log.read_text()
            return re.findall(pattern, self.log.read_text())

        return wait_for(f"it says {pattern}", look)

    def settle(self, killed_at_most: int = 0) -> Settlement:
        """Compare what all processes said with what came, when they are gone.

        :param killed_at_most: how many of them may have been killed before they could say anything.
        """
        said = reports(self._reports)
        self.archive.wait_for(sum(report["sent"] for report in said.values()))
        settlement = settle(set(), said, self.archive.messages())
        assert not settlement.wrong, settlement
        assert len(settlement.unknown) <= killed_at_most, settlement
        assert settlement.queued == 0, settlement
        return settlement

    def end(self) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.archive.end()


@pytest.fixture
def stage(tmp_path: pathlib.Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.end()


CHILDREN = """
    import reporting
    import metlog
    client = metlog.init(logger="children")

    import concurrent.futures, logging, multiprocessing, os, sys

    WORK = int(os.environ["LAST_WORDS"])

    def work(number):
        for _ in range(WORK - 1):
            client.incr("work")
        logging.warning("child %d is done", number)

    def by_processes(context):
        children = [context.Process(target=work, args=(number,)) for number in range(4)]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0

    def by_pool(context):
        with context.Pool(4, maxtasksperchild=1) as pool:
            pool.map(work, range(4), chunksize=1)
            pool.close()
            pool.join()

    def by_executor(context):
        with concurrent.futures.ProcessPoolExecutor(4, mp_context=context) as pool:
            list(pool.map(work, range(4)))

    if __name__ == "__main__":
        method, way = sys.argv[1:]
        client.incr("parent")
        globals()[way](multiprocessing.get_context(method))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("way", ["by_processes", "by_pool", "by_executor"])
def test_children_of_multiprocessing_end_with_everything_sent(stage: Stage, way: str, method: str) -> None:
    stage.write("service.py", CHILDREN)
    assert stage.start("service.py", method, way).wait(PATIENCE) == 0, stage.log.read_text()
    # The children of `spawn` import the program, too, and multiprocessing has helpers of its own that say nothing.
    sent = stage.settle().passed
    assert sum(sent.values()) == 4 * LAST_WORDS + 1
    assert len([process for process, count in sent.items() if count >= LAST_WORDS]) >= (4 if way == "by_pool" else 1)


TASKS = """
    import celery
    import celery.signals
    import reporting
    import metlog
    client = metlog.init(logger="tasks")

    import logging, os, pathlib
    import metlog.celery
    metlog.celery.connect()

    app = celery.Celery("tasks", broker="filesystem://")
    app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}
    # Celery kills a process that takes longer to begin, which is four seconds if nothing is said.
    app.conf.worker_proc_alive_timeout = 60

    @app.task(name="tasks.work")
    def work(number):
        client.incr("work")

    @celery.signals.worker_process_shutdown.connect
    def last_words(**_):
        for _ in range(int(os.environ["LAST_WORDS"])):
            client.incr("last words")

    # No exit function of Python runs in Celery's worker processes. What is connected in the process comes last.
    @celery.signals.worker_process_init.connect
    def begin(**_):
        celery.signals.worker_process_shutdown.connect(lambda **_: reporting.write(), weak=False)
        pathlib.Path("begun", str(os.getpid())).touch()
"""

TASKS_SENT = 24
TASKS_PER_WORKER = 4
WORKERS = 2


@pytest.mark.parametrize("replaced", [False, True], ids=["stopped", "replaced"])
def test_celerys_worker_processes_end_with_everything_sent(stage: Stage, replaced: bool) -> None:
    stage.write("tasks.py", TASKS)
    (stage.folder / "queue").mkdir()
    (stage.folder / "begun").mkdir()
    sending = f"import tasks\nfor number in range({TASKS_SENT}): tasks.work.delay(number)"
    assert stage.start("-c", sending).wait(PATIENCE) == 0, stage.log.read_text()
    options = ["--max-tasks-per-child", TASKS_PER_WORKER] if replaced else []
    worker = stage.start(
        *["-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "-c", WORKERS, "-l", "INFO", *options]
    )

    def done() -> bool:
        assert worker.poll() is None, stage.log.read_text()
        # One process may do all the tasks before another one has begun.
        begun = len(list((stage.folder / "begun").iterdir()))
        return begun >= WORKERS and stage.log.read_text().count("Task tasks.work[") >= 2 * TASKS_SENT

    wait_for("all tasks are done", done)
    worker.terminate()
    assert worker.wait(PATIENCE) == 0, stage.log.read_text()
    # Celery asks Linux to kill a worker with its parent, which for Linux is the thread that started it. Those that take
    # the place of others are started by a thread that ends before Celery does, so the last of them, which wait for
    # tasks then, are killed while they end or before: at most as many as work at a time, none with all of its tasks.
    settlement = stage.settle(killed_at_most=WORKERS if replaced else 0)
    ended = [process for process, sent in settlement.passed.items() if sent >= LAST_WORDS]
    if replaced:
        least_replaced = TASKS_SENT // TASKS_PER_WORKER - WORKERS + 1
        assert len(ended) >= least_replaced, settlement
        assert sum(settlement.passed.values()) >= least_replaced * (TASKS_PER_WORKER + LAST_WORDS)
    else:
        assert len(ended) == WORKERS, settlement
        assert sum(settlement.passed.values()) >= TASKS_SENT + WORKERS * LAST_WORDS


WEB = """
    import reporting
    import metlog
    client = metlog.init(logger="web")

    import contextlib, logging, os
    import fastapi
    import metlog.asgi

    @contextlib.asynccontextmanager
    async def lifespan(app):
        yield
        for _ in range(int(os.environ["LAST_WORDS"])):
            client.incr("last words")

    app = fastapi.FastAPI(lifespan=lifespan)
    app.add_middleware(metlog.asgi.Middleware)

    @app.get("/pages/{page}")
    async def page(page: str):
        logging.getLogger("web.pages").warning("served %s", page)
        return page

    # uvicorn ends its process by the signal that it got, so nothing of Python's end comes to pass there.
    async def reported(scope, receive, send):
        async def sending(message):
            if message["type"] == "lifespan.shutdown.complete":
                reporting.write()
            await send(message)

        await app(scope, receive, sending)
"""

PAGES = 50


@pytest.mark.parametrize("workers", [1, 2])
def test_what_an_application_under_uvicorn_says_at_its_end_is_sent(stage: Stage, workers: int) -> None:
    stage.write("web.py", WEB)
    # Uvicorn kills a worker that takes longer to answer, also while it begins: five seconds if nothing is said.
    options = ["--port", "0", "--workers", workers, "--timeout-worker-healthcheck", 60]
    server = stage.start(*["-m", "uvicorn", *options, "web:reported"], PYTHONUNBUFFERED="1")
    (port,) = set(stage.said(server, r"running on http://127\.0\.0\.1:(\d+)"))
    wait_for(
        "all workers are there",
        lambda: stage.log.read_text().count("Application startup complete") == workers,
    )
    for number in range(PAGES):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/pages/{number}", timeout=PATIENCE) as answer:
            assert answer.status == 200
    server.terminate()
    assert server.wait(PATIENCE) in (0, -signal.SIGTERM), stage.log.read_text()
    settlement = stage.settle()
    # For each page a line, a counter and a timer. A supervisor of several workers does not import the application.
    assert len(settlement.passed) == workers, settlement
    assert sum(settlement.passed.values()) == 3 * PAGES + workers * LAST_WORDS
