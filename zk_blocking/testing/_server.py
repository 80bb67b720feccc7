"""Serves an ensemble in memory in a thread of its own, with one lock around all of it."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from random import Random
from typing import TypeAlias, Unpack

from zk_adapter import TlsSource, Transport
from zk_adapter.serving import Gate as AnyGate
from zk_adapter.serving import ServedEnsemble, ServerSettings, SocketLink, accept_one, make_ensemble
from zk_sansio.client import ClientSettings, SocketOptions
from zk_sansio.server import Connection, Ensemble
from zk_sansio.session import Server

from .._bell import Bell
from .._client import Client
from .._open import connected
from .._stream import Stop, Stream

__all__ = ["Gate", "InMemoryServer", "open_server"]

_PAUSE = 0.05
"""Seconds to wait when the system has no room for another connection."""

_LONGEST = 3600.0
"""Seconds; waiting longer than this is waiting again."""

Listener: TypeAlias = "tuple[socket.socket, AnyGate, int]"


class Gate(AnyGate):
    """A way to the server that can be broken. Faults last until `heal`, but traps spring once.

    Its methods may be called from any thread; faults are in effect when they return.
    """

    _served: InMemoryServer

    def open_client(self, **settings: Unpack[ClientSettings]) -> AbstractContextManager[Client]:
        """Connect a client through this gate, by a pair of sockets: there is no port, and no name to look up.

        Args:
            **settings: see `ClientSettings`.
        """
        return self._served._open_client(self, settings)


class InMemoryServer(ServedEnsemble[Gate]):
    """What `open_server` gives: an ensemble in memory, and a second way to look at it and to change it.

    Members are counted from 0. Its methods may be called from any thread, those of event loops among them; they
    answer at once.
    """

    def __init__(self, ensemble: Ensemble, random: Random, host: str, port: int) -> None:
        super().__init__(ensemble, time.monotonic, host, port)
        self._random = random
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._bell = Bell()
        self._selector.register(self._bell.fd, selectors.EVENT_READ)
        # What the thread has to look at, since only it touches the selector, and closes what is in there.
        self._changed: dict[SocketLink, None] = {}
        self._opened: list[Listener] = []
        self._ended: list[socket.socket] = []
        self._pausing: list[Listener] = []
        self._again = False
        self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="zk-server", daemon=True)

    def open_client(self, **settings: Unpack[ClientSettings]) -> AbstractContextManager[Client]:
        """Connect a client by a pair of sockets: there is no port, and no name to look up.

        Args:
            **settings: see `ClientSettings`.
        """
        return self._open_client(self._door, settings)

    # --- from any thread

    def _open_client(self, gate: Gate, settings: ClientSettings) -> AbstractContextManager[Client]:
        return connected(self._memory_hosts, None, settings, partial(self._dial, gate), self._random)

    def _make_gate(self, port: int) -> Gate:
        return Gate(self, self._host, port)

    @contextmanager
    def _acting(self) -> Iterator[float]:
        with self._lock:
            if self._failure is not None:
                raise RuntimeError("the server's thread has failed; this is a defect") from self._failure
            with super()._acting() as now:
                yield now

    def _nudge(self) -> None:
        if threading.current_thread() is not self._thread:
            self._bell.ring()

    def _rearm(self) -> None:
        self._nudge()

    def _listen(self, listener: socket.socket, gate: AnyGate, member: int) -> None:
        self._opened.append((listener, gate, member))
        self._nudge()

    def _unlisten(self, listener: socket.socket) -> None:
        self._ended.append(listener)
        self._nudge()

    def _dial(
        self, gate: Gate, server: Server, options: SocketOptions, tls: TlsSource, deadline: float, stop: Stop
    ) -> Stream:
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        try:
            with self._acting():
                accepted = self._admit(ours, gate, self._member(server))
        except BaseException:
            ours.close()
            theirs.close()
            raise
        if not accepted:
            theirs.close()
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        return Stream(theirs)

    def _admit(
        self, sock: socket.socket, gate: AnyGate, member: int, address: str = "127.0.0.1", port: int = 0
    ) -> bool:
        """Take a connection, or close it."""

        def make(connection: Connection) -> SocketLink:
            return SocketLink(connection, Transport(sock), self._clock, self._look_at, self._leave)

        link = self._accept(gate, member, make, address, port)
        if link is None:
            sock.close()
            return False
        self._look_at(link)
        return True

    def _leave(self, link: SocketLink) -> None:
        self._left(link)
        self._look_at(link)

    def _look_at(self, link: SocketLink) -> None:
        self._changed[link] = None
        self._nudge()

    def _start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def _end(self) -> None:
        """Close everything.

        Raises:
            RuntimeError: the thread had failed.
        """
        with self._lock:
            self._stopped = True
        self._bell.ring()
        self._thread.join()
        if self._failure is not None:
            raise RuntimeError("the server's thread has failed; this is a defect") from self._failure

    # --- the thread

    def _run(self) -> None:
        with self._lock:
            try:
                while not self._stopped:
                    self._round()
            except BaseException as error:  # noqa: BLE001 - it is raised where the scope is left
                self._failure = error
            finally:
                self._close()
                self._tidy_up()
                self._selector.close()
                self._bell.close()

    def _round(self) -> None:
        self._tidy_up()
        self._armed = self.ensemble.next_timeout()
        seconds = min(max(self._armed - time.monotonic(), 0), _LONGEST)
        if self._pausing:
            seconds = min(seconds, _PAUSE)
        if self._again:
            seconds, self._again = 0, False  # there is something for others to be sent, perhaps
        self._lock.release()
        try:
            found = self._selector.select(seconds)
        finally:
            self._lock.acquire()
        if self._pausing:
            self._opened += self._pausing
            self._pausing.clear()
        for key, events in found:
            if key.data is None:
                self._bell.heard()
            else:
                key.data(events)
        self._pump()

    def _tidy_up(self) -> None:
        """Bring the selector up to date, and close what has ended."""
        while self._opened or self._ended or self._changed:
            opened, self._opened = self._opened, []
            for listener, gate, member in opened:
                if listener.fileno() != -1:  # it may have ended while it paused
                    self._watch(listener, selectors.EVENT_READ, partial(self._let_in, (listener, gate, member)))
            ended, self._ended = self._ended, []
            for listener in ended:
                self._watch(listener, 0)
                listener.close()
            changed, self._changed = self._changed, {}
            for link in changed:
                self._update(link)

    def _update(self, link: SocketLink) -> None:
        sock = link.transport.sock
        if sock.fileno() == -1:
            return
        if link.ended:
            self._watch(sock, 0)
            sock.close()
            return
        if link.resumes:
            self._again = True
            self._resume(link)
        link.writing = link.queued > 0
        wanted = selectors.EVENT_WRITE if link.writing else 0
        if link.reading:
            wanted |= selectors.EVENT_READ
        elif link.serving:
            link.resume = partial(self._resume, link)
        self._watch(sock, wanted, partial(self._ready, link))

    def _resume(self, link: SocketLink) -> None:
        link.receive()
        self._look_at(link)

    def _watch(self, sock: socket.socket, events: int, call: Callable[[int], object] | None = None) -> None:
        known = sock.fileno() in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(sock)
        elif known:
            self._selector.modify(sock, events, call)
        else:
            self._selector.register(sock, events, call)

    def _let_in(self, what: Listener, _: int) -> None:
        listener, gate, member = what
        for _ in range(100):
            try:
                accepted = accept_one(listener)
            except OSError:
                self._watch(listener, 0)
                self._pausing.append(what)
                return
            if accepted is None:
                return
            sock, address, port = accepted
            self._admit(sock, gate, member, address, port)

    def _ready(self, link: SocketLink, events: int) -> None:
        if events & selectors.EVENT_WRITE and not link.ended and link.flush():
            self._changed[link] = None  # nothing more to write
        if events & selectors.EVENT_READ and link.reading:
            link.receive()
        if link.resumes or not link.reading:
            self._changed[link] = None


@contextmanager
def open_server(
    size: int = 1, *, host: str = "127.0.0.1", port: int = 0, seed: int = 0, **options: Unpack[ServerSettings]
) -> Iterator[InMemoryServer]:
    """Serve an ensemble in memory, for tests and demos, for as long as the scope lasts. Nothing is kept on disk.

    It is served by a thread, so that tests of any kind can use it. Leaving the scope closes all connections. With
    pytest the fixtures ``zk_server`` and ``zk_client`` do this.

    A test::

        def test_expiry():
            with zk_blocking.testing.open_server() as server, server.open_client() as client:
                client.create("/here", ephemeral=True)
                server.expire(client)
                assert server.exists("/here") is None

    A client that does not read holds up nobody: no more is read from it while 1 MiB waits for it, and it is cut off
    when 64 MiB do.

    Args:
        size: how many members; from 3 on there is a quorum to lose.
        host: the address to listen on, once somebody asks for ``server.hosts``.
        port: the first member's port, the others follow; 0 for free ones. If it is given, it is taken at once.
        seed: what session ids, passwords, and the order in which memory clients try members come from.
        **options: see `ServerSettings`. Times are short, so that sessions of a tenth of a second are possible.

    Raises:
        OSError: *port* is taken.
        InvalidRequestError: an option that makes no sense.
    """
    random = Random(seed)  # noqa: S311 - a test is to be repeatable
    server = InMemoryServer(make_ensemble(size, random, options, time.monotonic()), random, host, port)
    server._start()
    try:
        if port:
            _ = server.hosts
        yield server
    finally:
        server._end()
