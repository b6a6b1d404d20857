"""The core in plain Python: a bounded queue, and a thread that sends what is in it.

`PlainCore` is what senders hold. Everything that must not outlive a fork is in a `_Line`, of which each process makes
its own. One lock guards a line. It is reentrant, because a signal handler or a finaliser may send a message while its
own thread sends one, and it is never held while anything waits for a network or while code of the application runs.
"""

from __future__ import annotations

import _thread
import atexit
import json
import os
import socket
import threading
import time
import weakref
from collections import deque
from datetime import datetime, timezone
from itertools import islice

from metlog import _diagnostics, _exit, _interpreter, _process
from metlog._core import CLOSED, QUEUE_FULL, REFUSED, SHUTDOWN, TOO_LARGE, UNREACHABLE, CoreStats, Destination
from metlog._sending import PATIENCE, Settled, Transport, UnreachableError
from metlog._transports import open_transport, shortened

# What a message in the queue costs beside its bytes.
OVERHEAD_BYTES = 64

# Messages that a transport is given at once.
BATCH = 256

# Bytes of one message; the router takes no more. The payload of a longer one is cut.
LARGEST_MESSAGE = 1024 * 1024

# What metlog_seq and metlog_src take of these.
NUMBER_BYTES = 80

# Seconds that a core which nobody has any more waits for its lock.
RETIRE_PATIENCE = 0.1

# Seconds that the end of an interpreter waits for a thread which is in the middle of an attempt, beside those of that.
END_PATIENCE = 0.5

# Seconds between two messages that tell of drops.
REPORT_EVERY = 1.0

# The reasons that are told of; the others are the application's own doing.
_REPORTED = (QUEUE_FULL, TOO_LARGE, REFUSED)


class PlainCore:
    """A core as described in `metlog._core`."""

    def __init__(self, destination: Destination) -> None:
        """Make a core; nothing is started before the first message."""
        _process.watch()
        # Now, so that what the application does at its end, if it says so later, is done before.
        _ending.prepare()
        self._destination = destination
        self._lines: dict[tuple[int, int], _Line] = {}
        self._finalizers: dict[tuple[int, int], weakref.finalize[..., PlainCore]] = {}
        self._closed = False

    def submit(self, encoded: bytes) -> bool:
        """Queue one message; False if it was dropped."""
        return self._line().submit(encoded)

    def stats(self) -> CoreStats:
        """Return the ledger of this process."""
        return self._line().stats()

    def flush(self, timeout: float) -> bool:
        """Wait until everything is sent or dropped."""
        return self._line().flush(timeout)

    def close(self, timeout: float) -> bool:
        """Send what waits, then end."""
        self._closed = True
        return self._line().close(timeout)

    def _line(self) -> _Line:
        here = _process.identity()
        line = self._lines.get(here)
        if line is None:
            # Two threads may come here at once; both go on with the line of the first.
            line = self._lines.setdefault(here, _Line(self._destination, here, self._closed))
            for other in [key for key in self._lines if key != here]:
                # What was inherited over a fork belongs to the parent.
                inherited = self._lines.pop(other, None)
                if inherited is not None:
                    inherited.abandon()
            self._retire_at_the_end(here, line)
        return line

    def _retire_at_the_end(self, here: tuple[int, int], line: _Line) -> None:
        """Have a line send what it has and end once the core is gone, for nobody can use it any more."""
        finalizer = weakref.finalize(self, line.retire)
        finalizer.atexit = False
        if self._finalizers.setdefault(here, finalizer) is not finalizer:
            finalizer.detach()
        for other in [key for key in self._finalizers if key != here]:
            # It would keep the parent's line.
            inherited = self._finalizers.pop(other, None)
            if inherited is not None:
                inherited.detach()


class _Line:
    """The queue, the ledger and the thread of one process."""

    def __init__(self, destination: Destination, home: tuple[int, int], closed: bool) -> None:
        self._destination = destination
        self.home = home
        # Guards everything below; notified when there is something to do, and when something is done.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._accepted = 0
        self._sent = 0
        self._truncated = 0
        self._dropped: dict[str, int] = {}
        self._sequence = 0
        self._source = os.urandom(8).hex()
        # Whether there is a thread, or somebody is about to start one; where it has to be joined, which one it is.
        self._running = False
        self._thread: threading.Thread | None = None
        self._resting = False
        self._closed = closed
        self._ends = False
        # When the thread has to give up what is left; None as long as nobody waits for its end.
        self._deadline: float | None = None
        self._reported: dict[str, int] = {}
        self._reported_at = float("-inf")
        # What is to be said as soon as the lock is not held.
        self._untold: list[str] = []
        # A message that was sent: reports have its logger.
        self._last = b""

    # The side of the application.

    def submit(self, encoded: bytes) -> bool:
        shorter = None
        if len(encoded) > LARGEST_MESSAGE - NUMBER_BYTES:
            # Before the lock is taken, because it takes its time.
            shorter = shortened(encoded, LARGEST_MESSAGE - NUMBER_BYTES)
            encoded = shorter or encoded
        with self._changed:
            self._accepted += 1
            if self._closed:
                return self._drop(CLOSED)
            if self._destination.seq:
                self._sequence += 1
                encoded = self._numbered(encoded)
            size = len(encoded) + OVERHEAD_BYTES
            if len(encoded) > LARGEST_MESSAGE or size > self._destination.queue_bytes:
                return self._drop(TOO_LARGE)
            if self._queued_bytes + size > self._destination.queue_bytes:
                return self._drop(QUEUE_FULL)
            self._queue.append(encoded)
            self._queued_bytes += size
            self._truncated += shorter is not None
            starts = not self._running and not _ending.is_over
            if starts:
                self._running = True
            elif self._resting:
                self._changed.notify_all()
        if starts:
            self._start()
        until = _ending.begun()
        if until is not None:
            # Nobody comes after this to send what waits.
            self.flush(max(0.0, until - time.monotonic()))
        return True

    def stats(self) -> CoreStats:
        with self._changed:
            return {
                "accepted": self._accepted,
                "sent": self._sent,
                "queued": len(self._queue),
                "truncated": self._truncated,
                "filtered": 0,
                "dropped": dict(self._dropped),
                "src": self._source if self._destination.seq and self._accepted else None,
            }

    def flush(self, timeout: float) -> bool:
        until = time.monotonic() + timeout
        with self._changed:
            target = self._accepted
            while self._settled() < target and self._running:
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
        if self._settled() < target:
            self._send_here(until)
        return self._settled() >= target

    def close(self, timeout: float) -> bool:
        until = time.monotonic() + timeout
        with self._changed:
            self._closed = True
            self._deadline = until
            self._changed.notify_all()
            while self._queue and self._running:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            # The thread may be in the middle of an attempt: what it settles from now on is counted already.
            if self._queue:
                self._drop_all(SHUTDOWN)
            untold, self._untold = self._untold, []
            left_nothing = self._dropped.get(SHUTDOWN, 0) == 0
        _diagnostics.say_aside(untold)
        return left_nothing

    def retire(self) -> None:
        """End without waiting: the core is gone."""
        if self.home != _process.identity():
            return
        self._deadline = time.monotonic() + _exit.TIMEOUT
        self._closed = True
        # At the end of the interpreter, threads are stopped that hold the lock: it is not waited for without a bound.
        if self._changed.acquire(timeout=RETIRE_PATIENCE):
            self._changed.notify_all()
            self._changed.release()

    def abandon(self) -> None:
        """Let go of what waits: this is a child, and its parent sends it.

        Nothing here is used any more. The lock may be held for ever by a thread of the parent's, whose frames keep all
        this in memory.
        """
        self._queue = deque()

    def end_thread(self) -> None:
        """Have the thread end, and wait for that; what comes later is sent by the thread that it comes from."""
        with self._changed:
            thread = self._thread
            self._ends = True
            # What is left by now has had its time.
            self._deadline = time.monotonic()
            self._changed.notify_all()
        if thread is not None:
            thread.join(PATIENCE + END_PATIENCE)

    def _start(self) -> None:
        """Start the thread, without the lock.

        Whoever waits for a lock of `threading`'s must not have ours: a finaliser that logs may interrupt, in another
        thread, the very code of `threading` that has its lock. And in the thread of such a finaliser nothing that takes
        that lock would ever end, so the thread is started in the one way that takes none.
        """
        _ending.watch(self)
        try:
            if _ending.joins_threads:
                # Refused here already by an interpreter that has no such threads.
                thread = threading.Thread(target=self._run, name="metlog", daemon=True)
                thread.start()
                self._thread = thread
            else:
                _thread.start_new_thread(self._run, ())
        except RuntimeError as error:
            with self._changed:
                self._running = False
                self._changed.notify_all()
            # No more threads, or the interpreter is about to end. The next message tries again; a flush sends itself.
            _diagnostics.once("thread", "cannot start the sending thread: %s", error)

    # Called with the lock held.

    def _settled(self) -> int:
        return self._accepted - len(self._queue)

    def _drop(self, reason: str) -> bool:
        self._dropped[reason] = self._dropped.get(reason, 0) + 1
        return False

    def _drop_all(self, reason: str) -> None:
        if self._queue:
            self._untold.append(
                f"messages given up because they still waited when the time for closing was over: {len(self._queue)}"
            )
        self._dropped[reason] = self._dropped.get(reason, 0) + len(self._queue)
        self._queue.clear()
        self._queued_bytes = 0

    def _take(self) -> None:
        self._queued_bytes -= len(self._queue.popleft()) + OVERHEAD_BYTES

    def _numbered(self, encoded: bytes) -> bytes:
        if not encoded.endswith(b"}"):
            return encoded
        comma = b"" if len(encoded) == len(b"{}") else b", "
        tail = b'%s"metlog_seq": %d, "metlog_src": "%s"}' % (comma, self._sequence, self._source.encode())
        return encoded[:-1] + tail

    # The sending thread.

    def _run(self) -> None:
        transport = open_transport(self._destination)
        try:
            while True:
                batch = self._next_batch()
                self._tell()
                if not batch:
                    return
                delay = self._send(transport, batch)
                if delay > 0:
                    self._rest(delay)
        finally:
            transport.close()
            with self._changed:
                # Before another one is started, which is not to be forgotten.
                _ending.forget(self)
                self._running = False
                self._changed.notify_all()

    def _tell(self) -> None:
        """Say what is to be said. The lock is not held: a handler may wait for whatever it likes."""
        with self._changed:
            untold, self._untold = self._untold, []
        for line in untold:
            _diagnostics.say("%s", line)

    def _next_batch(self) -> list[bytes]:
        """Wait for messages; none means the end."""
        with self._changed:
            while not self._queue:
                # Drops that no message has told of are told before the end, or when it is time for that.
                if self._has_news() and (self._closed or time.monotonic() >= self._reported_at + REPORT_EVERY):
                    self._report_drops()
                    break
                if self._closed or self._ends:
                    return []
                self._resting = True
                self._changed.wait(REPORT_EVERY if self._has_news() else None)
                self._resting = False
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._drop_all(SHUTDOWN)
                return []
            self._last = self._queue[0]
            if time.monotonic() >= self._reported_at + REPORT_EVERY:
                self._report_drops()
            return list(islice(self._queue, BATCH))

    def _send(self, transport: Transport, batch: list[bytes]) -> float:
        """Send a batch, and return how long to wait before the next."""
        delay = 0.0
        try:
            settled = transport.send(batch)
        except UnreachableError as failure:
            settled = failure.settled
            delay = failure.delay
        except Exception as error:
            # Not foreseen: the message that may be at fault goes, so that the next ones have a chance.
            _diagnostics.once("send", "a message was refused: %r", error)
            settled = Settled(dropped=REFUSED)
        with self._changed:
            # After the deadline somebody else may have dropped and counted all of this.
            if self._queue and self._queue[0] is batch[0]:
                for _ in range(settled.sent):
                    self._take()
                self._sent += settled.sent
                self._truncated += settled.truncated
                if settled.dropped is not None:
                    self._take()
                    self._drop(settled.dropped)
            lost = min(transport.lost(), self._sent)
            if lost > 0:
                self._sent -= lost
                self._dropped[UNREACHABLE] = self._dropped.get(UNREACHABLE, 0) + lost
            self._changed.notify_all()
        return delay

    def _send_here(self, until: float) -> None:
        """Send what waits on the calling thread, for there is no other."""
        transport = open_transport(self._destination)
        try:
            while time.monotonic() < until:
                with self._changed:
                    batch = list(islice(self._queue, BATCH))
                if not batch:
                    return
                delay = self._send(transport, batch)
                time.sleep(max(0.0, min(delay, until - time.monotonic())))
        finally:
            transport.close()

    def _rest(self, delay: float) -> None:
        """Wait before the next try, but not beyond the deadline."""
        until = time.monotonic() + delay
        with self._changed:
            while True:
                end = until if self._deadline is None else min(until, self._deadline)
                left = end - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(left)

    def _has_news(self) -> bool:
        return any(self._dropped.get(reason, 0) > self._reported.get(reason, 0) for reason in _REPORTED)

    def _report_drops(self) -> None:
        """Put a message about drops that no message has told of at the end of the queue."""
        for reason in _REPORTED:
            news = self._dropped.get(reason, 0) - self._reported.get(reason, 0)
            if news <= 0:
                continue
            if reason not in self._reported:
                self._untold.append(
                    f"a message was dropped: {reason}; this is said once, the statistics count them all"
                )
            self._reported[reason] = self._dropped[reason]
            self._reported_at = time.monotonic()
            encoded = _report(self._last, reason, news)
            self._accepted += 1
            if self._destination.seq:
                self._sequence += 1
                encoded = self._numbered(encoded)
            self._queue.append(encoded)
            self._queued_bytes += len(encoded) + OVERHEAD_BYTES


def _report(like: bytes, reason: str, count: int) -> bytes:
    """Return a message about drops, with the logger of another message."""
    try:
        logger = json.loads(like)["logger"]
    except (ValueError, TypeError, KeyError, RecursionError):
        logger = ""
    report = {
        "type": "metlog.dropped",
        "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "logger": logger,
        "severity": 4,
        "payload": str(count),
        "fields": {"reason": reason},
        "env_version": "0.8",
        "metlog_pid": os.getpid(),
        "metlog_hostname": socket.gethostname(),
    }
    return json.dumps(report).encode("ascii")


class _Ending:
    """Sends what waits when a process ends, in a bounded time, however many lines there are."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}
        # The process that has begun to end, and until when it may take.
        self._begun: tuple[tuple[int, int], float] | None = None
        #: Whether no thread may be started any more.
        self.is_over = False
        #: Whether threads have to have ended before the interpreter does; those of the main one are stopped by it.
        self.joins_threads = not _interpreter.is_main()
        self._is_prepared = not self.joins_threads

    def prepare(self) -> None:
        """Be called at the end of this process and of those that it forks."""
        if not self._is_prepared:
            self._is_prepared = True
            # Behind the flush, as what is registered first is called last.
            atexit.register(self._end_threads)
        _exit.call(self.flush)

    def _end_threads(self) -> None:
        """End what must not be there at the end of an interpreter that is not the main one."""
        self.is_over = True
        for line in list(self._lines.values()):
            line.end_thread()

    def watch(self, line: _Line) -> None:
        """Remember a line that has begun to send."""
        self.prepare()
        self._lines[id(line)] = line
        for key, other in list(self._lines.items()):
            # Inherited over a fork.
            if other.home != line.home:
                self._lines.pop(key, None)

    def forget(self, line: _Line) -> None:
        """Forget a line that has nothing more to send."""
        self._lines.pop(id(line), None)

    def begun(self) -> float | None:
        """Return until when this process may go on to end, once it has begun to."""
        if self._begun is None or self._begun[0] != _process.identity():
            return None
        return self._begun[1]

    def flush(self, timeout: float) -> None:
        """Wait for everything that waits, for `timeout` seconds in all."""
        here = _process.identity()
        until = time.monotonic() + timeout
        self._begun = (here, until)
        for line in list(self._lines.values()):
            if line.home == here:
                line.flush(max(0.0, until - time.monotonic()))
        waiting = sum(line.stats()["queued"] for line in list(self._lines.values()) if line.home == here)
        _diagnostics.say_aside(_exit.given_up(waiting), max(_diagnostics.PATIENCE, until - time.monotonic()))


_ending = _Ending()
