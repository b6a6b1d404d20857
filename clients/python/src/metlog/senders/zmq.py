"""Messages over ZeroMQ PUB sockets, which need ``pyzmq`` (the extra ``zeromqpub``).

Under gevent, ``gevent.monkey`` makes locks and queues cooperative, and ``zmq.green`` takes the place of ``zmq``.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from metlog import _process
from metlog.senders.base import Sender

zmq: Any
try:
    if "gevent.monkey" in sys.modules:
        import zmq.green as zmq
    else:
        import zmq
except ImportError:
    zmq = None

# Messages that a PUB socket keeps for a subscriber that is slow or not there.
MAX_MESSAGES = 1000

# Seconds that a message waits for a socket, while other threads use all of them.
POOL_PATIENCE = 0.05


def _to_stderr(msg: str) -> None:
    """Write a message that is dropped to stderr, so that it is not lost without a trace."""
    if sys.stderr is not None:
        sys.stderr.write(f"{msg}\n")
        sys.stderr.flush()


def _pub_socket(context: Any, addresses: Iterable[str], hwm: int) -> Any:
    """Return a PUB socket that is connected. Its end waits for nothing."""
    pub = context.socket(zmq.PUB)
    pub.setsockopt(zmq.LINGER, 0)
    # Before it is connected: afterwards it would have no effect.
    pub.set_hwm(hwm)
    for address in addresses:
        pub.connect(address)
    return pub


class BaseClient:
    """A socket, and whether it may be used."""

    def __init__(self, context: Any) -> None:
        """Begin without a connection.

        :param context: Makes sockets.
        """
        self.context = context
        self._connected = False

    def set_connected(self, state: bool) -> bool:
        """Note whether there is a connection, and return that."""
        self._connected = state
        return state

    def connected(self) -> bool:
        """Return whether there is a connection."""
        return self._connected

    def connect(self) -> bool:
        """Connect if needed; return whether there is a connection."""
        raise NotImplementedError

    def send(self, msg: str) -> None:
        """Publish a message."""
        raise NotImplementedError


class SimpleClient(BaseClient):
    """Publishes without asking whether anybody listens."""

    def __init__(self, context: Any, connect_bind: Iterable[str], hwm: int = 200) -> None:
        """Make a client.

        :param context: Makes sockets.
        :param connect_bind: The addresses to connect to.
        :param hwm: Messages that are kept for a slow subscriber.
        """
        super().__init__(context)
        self.connect_bind = connect_bind
        self.hwm = hwm
        self.socket: Any = _pub_socket(context, connect_bind, hwm)
        self.set_connected(True)

    def connect(self) -> bool:
        """Do nothing: ZeroMQ connects and reconnects by itself."""
        return True

    def send(self, msg: str) -> None:
        """Publish a message."""
        self.socket.send(msg.encode())


class HandshakingClient(BaseClient):
    """Publishes once a subscriber has answered on another socket; until then, messages go to stderr."""

    def __init__(
        self, context: Any, handshake_bind: str, connect_bind: str, handshake_timeout: int = 200, hwm: int = 200
    ) -> None:
        """Make a client, without asking the subscriber yet.

        :param context: Makes sockets.
        :param handshake_bind: The address that answers.
        :param connect_bind: The address that takes messages.
        :param handshake_timeout: Milliseconds to wait for the answer.
        :param hwm: Messages that are kept for a slow subscriber.
        """
        super().__init__(context)
        self.handshake_bind = handshake_bind
        self.connect_bind = connect_bind
        self.handshake_timeout = handshake_timeout
        self.hwm = hwm
        self.socket: Any = _pub_socket(context, [connect_bind], hwm)

    def connect(self) -> bool:
        """Ask the subscriber, and return whether it has answered in time."""
        request = self.context.socket(zmq.REQ)
        try:
            request.setsockopt(zmq.LINGER, 0)
            request.connect(self.handshake_bind)
            request.send(b"")
            answered = bool(request.poll(self.handshake_timeout, zmq.POLLIN))
            if answered:
                request.recv()
            return self.set_connected(answered)
        except zmq.ZMQError:
            return self.set_connected(False)
        finally:
            request.close()

    def send(self, msg: str) -> None:
        """Publish a message, or write it to stderr."""
        if self.connected():
            try:
                self.socket.send(msg.encode())
                return
            except zmq.ZMQError:
                pass
        _to_stderr(msg)


class Pool:
    """Sockets that threads take turns with; a ZeroMQ socket serves one thread at a time.

    A forked child has sockets of its own.
    """

    def __init__(self, client_factory: Callable[[], BaseClient], size: int = 10, livecheck: float = 10) -> None:
        """Make a pool.

        :param client_factory: Makes a client; is called anew in forked children.
        :param size: How many clients there are.
        :param livecheck: Seconds between two looks, on a thread of its own, whether clients are connected.
        """
        self._client_factory = client_factory
        self._size = size
        self._livecheck = livecheck
        self._is_stopped = False
        # Held while a process's sockets are made, and only by threads of its own.
        self._filling: dict[tuple[int, int], threading.Lock] = {}
        self._fill()
        self.start_reconnecting()

    def _fill(self) -> None:
        # In a child, a thread of the parent's may hold the lock of the one before.
        self._stopped = threading.Event()
        if self._is_stopped:
            self._stopped.set()
        self._all_clients = [self._client_factory() for _ in range(self._size)]
        self._clients: queue.SimpleQueue[BaseClient] = queue.SimpleQueue()
        for client in self._all_clients:
            self._clients.put(client)
        self._connect_thread: threading.Thread | None = None
        self._home = _process.identity()

    def _fill_in_child(self) -> None:
        here = _process.identity()
        with self._filling.setdefault(here, threading.Lock()):
            # Another thread may have been here.
            if self._home != here:
                self._fill()
                self.start_reconnecting()
        for other in [key for key in self._filling if key != here]:
            self._filling.pop(other, None)

    def start_reconnecting(self) -> None:
        """Start the thread that keeps clients connected, unless it runs."""
        if self._connect_thread is None:
            self._connect_thread = threading.Thread(
                target=self._keep_connected, args=(self._home,), name="metlog-zmq", daemon=True
            )
            self._connect_thread.start()

    def _keep_connected(self, home: tuple[int, int]) -> None:
        while self._home == home:
            for client in self._all_clients:
                if self._is_stopped:
                    return
                client.connect()
            if self._stopped.wait(self._livecheck):
                return

    def send(self, msg: str) -> None:
        """Send a message, from any thread; where every socket is in use, it goes to stderr."""
        if self._home != _process.identity():
            self._fill_in_child()
        try:
            client = self.socket()
        except queue.Empty:
            _to_stderr(msg)
            return
        try:
            client.send(msg)
        finally:
            self._clients.put(client)

    def stop(self) -> None:
        """End the thread that keeps clients connected."""
        self._is_stopped = True
        self._stopped.set()

    def is_stopped(self) -> bool:
        """Return whether `stop` was called."""
        return self._is_stopped

    def socket(self) -> BaseClient:
        """Take a client out of the pool."""
        return self._clients.get(timeout=POOL_PATIENCE)


class ZmqSender(Sender):
    """The base of the two senders."""

    # Set by tests; otherwise there is one context in each process, made when it is needed.
    _zmq_context: Any = None

    _contexts: dict[tuple[int, int], Any] = {}  # noqa: RUF012  shared by all senders, as contexts are meant to be

    pool: Any
    debug_stderr: bool = False

    def __new__(cls, *args: Any, **kwargs: Any) -> ZmqSender:
        """Refuse to make a sender where there is no pyzmq."""
        if zmq is None:
            raise ValueError(f"{cls.__name__} needs pyzmq: pip install 'metlog-py[zeromqpub]'")
        return super().__new__(cls)

    def context(self) -> Any:
        """Return this process's context; one from before a fork must not be used."""
        if self._zmq_context is not None:
            return self._zmq_context
        here = _process.identity()
        context = self._contexts.get(here)
        if context is None:
            context = self._contexts.setdefault(here, zmq.Context())
        return context

    def send_message(self, msg: Any) -> None:
        """Publish a message."""
        text = self.encode(msg)
        if self.debug_stderr:
            _to_stderr(text)
        self.pool.send(text)

    def close(self, timeout: float = 2.0) -> bool:
        """End the pool's thread."""
        self.pool.stop()
        return True


class ZmqPubSender(ZmqSender):
    """Publishes messages over ZeroMQ. What nobody takes is dropped by ZeroMQ beyond `queue_length` messages."""

    def __init__(
        self,
        bindstrs: str | Iterable[str],
        pool_size: int = 10,
        queue_length: int = MAX_MESSAGES,
        livecheck: float = 10,
        debug_stderr: bool = False,
    ) -> None:
        """Make a sender.

        :param bindstrs: The address to connect to, or several.
        :param pool_size: How many sockets there are for threads to take turns with.
        :param queue_length: Messages that each socket keeps for a slow subscriber.
        :param livecheck: Seconds between two looks whether sockets are connected.
        :param debug_stderr: Writes every message to stderr, too.
        """
        addresses = [bindstrs] if isinstance(bindstrs, str) else list(bindstrs)
        self.debug_stderr = debug_stderr
        self.pool: Any = Pool(lambda: SimpleClient(self.context(), addresses, queue_length), pool_size, livecheck)


class ZmqHandshakePubSender(ZmqSender):
    """Publishes messages over ZeroMQ once a subscriber has answered; what is dropped is written to stderr."""

    def __init__(
        self,
        handshake_bind: str,
        connect_bind: str,
        handshake_timeout: int,
        pool_size: int = 10,
        hwm: int = 200,
        livecheck: float = 10,
        debug_stderr: bool = False,
    ) -> None:
        """Make a sender.

        :param handshake_bind: The address that answers.
        :param connect_bind: The address that takes messages.
        :param handshake_timeout: Milliseconds to wait for the answer.
        :param pool_size: How many sockets there are for threads to take turns with.
        :param hwm: Messages that each socket keeps for a slow subscriber.
        :param livecheck: Seconds between two looks whether the subscriber answers.
        :param debug_stderr: Writes every message to stderr, too.
        """
        self.debug_stderr = debug_stderr
        # When one was not answered, the others need not wait for that as well: the pool's thread asks again.
        unanswered_until = 0.0

        def client() -> HandshakingClient:
            nonlocal unanswered_until
            made = HandshakingClient(self.context(), handshake_bind, connect_bind, handshake_timeout, hwm)
            if time.monotonic() >= unanswered_until and not made.connect():
                unanswered_until = time.monotonic() + livecheck
            return made

        self.pool: Any = Pool(client, pool_size, livecheck)
