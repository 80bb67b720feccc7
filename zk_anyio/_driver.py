"""Moves bytes and time between a session and a socket.

While there is no connection, attempts run side by side, as the session names them. While there is one, three
tasks serve it: `_receive` reads, delivers replies and events in their order, `_send` writes what has gathered,
`_keep_time` sends pings and notices silence. They tell the session what happened and raise nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from socket import SOCK_STREAM

import anyio
from anyio.abc import TaskGroup

from zk_adapter import PROBE_LIMIT, TOO_LATE, TaskDriver, TlsSource, addresses, numeric, unresolved
from zk_sansio.client import Engine, SocketOptions
from zk_sansio.errors import InvalidRequestError, TlsError
from zk_sansio.session import Attempt, Dial, HostPort, Probe, Resolve, Session

from ._runtime import AnyioRuntime
from ._stream import Dialer, Stream, dial

__all__ = ["Driver", "resolve"]


class Driver(TaskDriver[Stream]):
    """Drives the sessions of one engine, one after the other.

    Args:
        engine: whose sessions.
        runtime: the one that the engine has; its ``flush`` and ``nudge`` become this driver's.
        options: how to set sockets up.
        tls: None for plain connections.
        dialer: opens connections in place of `dial`; None for `dial` itself.
    """

    def __init__(
        self,
        engine: Engine,
        runtime: AnyioRuntime,
        options: SocketOptions,
        tls: TlsSource,
        dialer: Dialer | None = None,
    ) -> None:
        super().__init__(engine, runtime, anyio.Event())
        self._runtime = runtime
        self._options = options
        self._tls = tls
        self._dialer: Dialer = dial if dialer is None else dialer

    async def run(self) -> None:
        """Serve until the client is at its end; `end` it then, whatever this raises."""
        while self._engine.error is None:
            if self._stream is None:
                await self._connect(self._engine.session)
            else:
                await self._serve(self._engine.session, self._stream)

    # --- without a connection

    async def _connect(self, session: Session) -> None:
        """Carry out attempts until there is a connection, or the session is over."""
        async with anyio.create_task_group() as group:
            while True:
                news = self._news = anyio.Event()
                self._look(session, lambda attempt: group.start_soon(self._try, session, attempt))
                if self._stream is not None or session.state.over:
                    break
                with anyio.CancelScope(deadline=session.next_timeout()):
                    await news.wait()
            group.cancel_scope.cancel()

    async def _try(self, session: Session, attempt: Attempt) -> None:
        match attempt:
            case Resolve():
                found, errors = await resolve(attempt.hosts, attempt.deadline)
                session.resolved(attempt, found, errors, self._runtime.now())
            case Dial():
                await self._dial(session, attempt)
            case Probe():
                await self._probe(session, attempt)
        self._tell()

    async def _dial(self, session: Session, attempt: Dial) -> None:
        stream = None
        error: OSError | TlsError | InvalidRequestError | str = "no connection in time"
        with anyio.CancelScope(deadline=attempt.deadline):
            try:
                stream = await self._dialer(attempt.server, self._options, self._tls)
            except (OSError, TlsError, InvalidRequestError) as failure:
                error = failure
        now = self._runtime.now()
        if stream is None:
            session.attempt_failed(attempt, error, now)
        elif session.connection_made(attempt, now):
            self._stream = stream
        else:
            stream.close()

    async def _probe(self, session: Session, attempt: Probe) -> None:
        answer = b""
        with anyio.CancelScope(deadline=attempt.deadline):
            try:
                answer = await ask(attempt, self._options, self._tls, self._dialer)
            except (OSError, TlsError, InvalidRequestError) as failure:
                session.attempt_failed(attempt, failure, self._runtime.now())
                return
        session.probed(attempt, answer, self._runtime.now())

    # --- with a connection

    async def _serve(self, session: Session, stream: Stream) -> None:
        """Serve one connection until it is over. When this is cancelled, `end` closes it."""
        self._sending = False
        async with anyio.create_task_group() as group:
            for task in (self._receive, self._send, self._keep_time):
                group.start_soon(task, session, stream, group)
        if session.connected:
            session.connection_lost(_cut_short(), self._runtime.now())
            self._engine.deliver()
        self._hang_up()

    async def _receive(self, session: Session, stream: Stream, group: TaskGroup) -> None:
        await stream.keep_reading(partial(self._read, session, stream))
        group.cancel_scope.cancel()

    async def _send(self, session: Session, stream: Stream, group: TaskGroup) -> None:
        try:
            while True:
                if stream.unsent:
                    await stream.carry_out(stream.sending())
                data = session.data_to_send(self._runtime.now())
                if data:
                    if stream.send(data):
                        # Others first: what they ask meanwhile goes out in one piece.
                        await self._runtime.checkpoint()
                    self._engine.let_in()
                    continue
                self._sending = False
                await self._runtime.wait(self._sender)
        except (OSError, TlsError):
            # What the server said last is still to be read; then reading tells what is wrong, or silence does.
            await anyio.sleep_forever()

    async def _keep_time(self, session: Session, stream: Stream, group: TaskGroup) -> None:
        while session.server is not None:
            news = self._news = anyio.Event()
            with anyio.CancelScope(deadline=session.next_timeout()):
                await news.wait()
            if self._runtime.now() >= session.next_timeout():
                # A late look at the clock is no silence: what has arrived meanwhile comes first.
                self._read(session, stream)
            if not session.connected:
                break
            self._look(session, lambda attempt: group.start_soon(self._try, session, attempt))
            if session.queued_bytes and not self._sending:
                self._wake_sender()
        group.cancel_scope.cancel()


def _cut_short() -> ConnectionAbortedError:
    """The error for a connection whose tasks were cancelled one by one, which asyncio lets anybody do."""
    return ConnectionAbortedError("the tasks of this connection were cancelled")


async def resolve(hosts: Sequence[HostPort], deadline: float) -> tuple[dict[HostPort, list[str]], dict[HostPort, str]]:
    """Look names up side by side.

    Args:
        hosts: the names.
        deadline: when to give up, on the clock of the event loop.

    Returns:
        The numeric addresses that were found, and for the other names why there is none.
    """
    found: dict[HostPort, list[str]] = {}
    errors = dict.fromkeys(hosts, TOO_LATE)

    async def look_up(host: HostPort) -> None:
        try:
            # Asking for a number would cost asyncio a thread.
            there = numeric(host) or addresses(await anyio.getaddrinfo(host.host, host.port, type=SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            errors[host] = unresolved(error)
        else:
            found[host] = there
            del errors[host]

    with anyio.CancelScope(deadline=deadline):
        async with anyio.create_task_group() as group:
            for host in hosts:
                group.start_soon(look_up, host)
    return found, errors


async def ask(attempt: Probe, options: SocketOptions, tls: TlsSource, dialer: Dialer | None = None) -> bytes:
    """Open a connection, send what the probe says, and read to the end, or as much as anybody would want."""
    stream = await (dialer or dial)(attempt.server, options, tls)
    try:
        answer = b""
        if not stream.send(attempt.data):
            await stream.carry_out(stream.sending())
        while len(answer) < PROBE_LIMIT:
            data = stream.receive()
            if data == b"":
                break
            if data is None:
                await stream.wait_readable()
            else:
                answer += data
        return answer
    finally:
        stream.close()
