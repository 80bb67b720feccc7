"""Serves an ensemble in memory with tasks of trio: one for each connection over a socket, one that keeps time."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import Random
from typing import Unpack

import trio

from zk_adapter import TlsSource, plain_errors
from zk_adapter.serving import Gate as AnyGate
from zk_adapter.serving import ServedEnsemble, ServerSettings, SocketLink, accept_one, make_ensemble
from zk_sansio.client import ClientSettings, SocketOptions
from zk_sansio.recipes import Client
from zk_sansio.server import Connection, Ensemble
from zk_sansio.session import Server

from .._open import connected
from .._stream import Stream
from ._memory import MemoryStream

__all__ = ["Gate", "InMemoryServer", "open_server"]

_PAUSE = 0.05
"""Seconds to wait when the system has no room for another connection."""


class Gate(AnyGate):
    """A way to the server that can be broken. Faults last until `heal`, but traps spring once.

    Its methods are for the tasks of the server's event loop; faults are in effect when they return.
    """

    _served: InMemoryServer

    def open_client(self, **settings: Unpack[ClientSettings]) -> AbstractAsyncContextManager[Client]:
        """Connect a client in memory, through this gate; no socket is involved.

        Args:
            **settings: see `ClientSettings`.
        """
        return self._served._open_client(self, settings)


class InMemoryServer(ServedEnsemble[Gate]):
    """What `open_server` gives: an ensemble in memory, and a second way to look at it and to change it.

    Members are counted from 0. Its methods are for the tasks of its event loop; they answer at once.
    """

    def __init__(self, ensemble: Ensemble, nursery: trio.Nursery, random: Random, host: str, port: int) -> None:
        super().__init__(ensemble, trio.current_time, host, port)
        self._nursery = nursery
        self._random = random
        self._news = trio.Event()

    def open_client(self, **settings: Unpack[ClientSettings]) -> AbstractAsyncContextManager[Client]:
        """Connect a client in memory: no socket is involved, so that trio's autojump clock works.

        Args:
            **settings: see `ClientSettings`.
        """
        return self._open_client(self._door, settings)

    # --- inside

    def _open_client(self, gate: Gate, settings: ClientSettings) -> AbstractAsyncContextManager[Client]:
        return connected(self._memory_hosts, None, settings, partial(self._dial, gate), self._random)

    def _make_gate(self, port: int) -> Gate:
        return Gate(self, self._host, port)

    def _rearm(self) -> None:
        self._news.set()

    async def _keep_time(self) -> None:
        while True:
            news = self._news = trio.Event()
            self._armed = self.ensemble.next_timeout()
            with trio.move_on_at(self._armed):
                await news.wait()
            self._pump()

    # --- in memory

    async def _dial(self, gate: Gate, server: Server, options: SocketOptions, tls: TlsSource) -> MemoryStream:
        await trio.lowlevel.checkpoint()
        stream = self._accept(gate, self._member(server), self._make_memory_stream)
        if stream is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        self._pump()
        return stream

    def _make_memory_stream(self, connection: Connection) -> MemoryStream:
        return MemoryStream(connection, self._clock, self._pump, self._left)

    # --- over sockets

    def _listen(self, listener: socket.socket, gate: AnyGate, member: int) -> None:
        self._nursery.start_soon(self._let_in, listener, gate, member)

    def _unlisten(self, listener: socket.socket) -> None:
        trio.lowlevel.notify_closing(listener)
        listener.close()

    async def _let_in(self, listener: socket.socket, gate: AnyGate, member: int) -> None:
        while listener.fileno() != -1:
            try:
                await trio.lowlevel.wait_readable(listener)
                accepted = accept_one(listener)
            except trio.ClosedResourceError:
                break
            except OSError:
                await trio.sleep(_PAUSE)
                continue
            if accepted is not None:
                sock, address, port = accepted
                self._admit(Stream(sock), gate, member, address, port)

    def _admit(self, stream: Stream, gate: AnyGate, member: int, address: str, port: int) -> None:
        def make(connection: Connection) -> SocketLink:
            return SocketLink(connection, stream, self._clock, write, leave)

        def write(link: SocketLink) -> None:
            self._nursery.start_soon(self._write, link, stream)

        def leave(link: SocketLink) -> None:
            self._left(link)
            stream.close()

        link = self._accept(gate, member, make, address, port)
        if link is None:
            stream.close()
        else:
            self._nursery.start_soon(self._serve, link, stream)
        self._pump()

    async def _serve(self, link: SocketLink, stream: Stream) -> None:
        try:
            while link.serving:
                if not link.reading:
                    resumed = trio.Event()
                    link.resume = resumed.set
                    await resumed.wait()
                    continue
                if link.resumes:
                    await trio.lowlevel.checkpoint()
                else:
                    await stream.wait_readable()
                link.receive()
                self._pump()
        except trio.ClosedResourceError:
            pass  # somebody else has hung up

    async def _write(self, link: SocketLink, stream: Stream) -> None:
        try:
            while not link.flush():
                await trio.lowlevel.wait_writable(stream.sock)
        except trio.ClosedResourceError:
            pass
        finally:
            link.writing = False
        self._pump()  # not earlier: what it adds to the queue begins to be written only if nobody is writing


@asynccontextmanager
async def open_server(
    size: int = 1, *, host: str = "127.0.0.1", port: int = 0, seed: int = 0, **options: Unpack[ServerSettings]
) -> AsyncIterator[InMemoryServer]:
    """Serve an ensemble in memory, for tests and demos, for as long as the scope lasts. Nothing is kept on disk.

    Leaving the scope closes all connections. The server goes on to the last line of its scope, even when that is
    cancelled, so that clients inside can end their sessions.

    A test under trio's autojump clock, which takes milliseconds (``autojump_clock`` is pytest-trio's)::

        async def test_expiry(autojump_clock):
            async with zk_trio.testing.open_server() as server, server.open_client(session_timeout=30) as client:
                await client.create("/here", ephemeral=True)
                server.faults.black_hole()
                await trio.sleep(60)
                assert server.exists("/here") is None

    Connections over the ports of ``server.hosts`` are for other programs: the autojump clock does not know that
    something is on its way through the kernel.

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
    ensemble = make_ensemble(size, random, options, trio.current_time())
    with plain_errors():
        async with trio.open_nursery() as nursery:
            service = trio.CancelScope()

            async def serve(task_status: trio.TaskStatus[InMemoryServer]) -> None:
                with service, plain_errors():
                    async with trio.open_nursery() as tasks:
                        server = InMemoryServer(ensemble, tasks, random, host, port)
                        tasks.start_soon(server._keep_time)
                        task_status.started(server)

            server = await nursery.start(serve)
            # From here on it outlives the body's clean-up, and is not cancelled with it.
            service.shield = True
            try:
                if port:
                    _ = server.hosts
                yield server
            finally:
                server._close()
                service.cancel()
