"""Moves bytes and time between a session and a socket.

While there is no connection, attempts run side by side, as the session names them. While there is one, three
tasks serve it: `_receive` reads, delivers replies and events in their order, `_send` writes what has gathered,
`_keep_time` sends pings and notices silence. They tell the session what happened and raise nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import trio

from zk_adapter import PROBE_LIMIT, TOO_LATE, TlsSource, addresses, unresolved
from zk_sansio.client import Engine, SocketOptions
from zk_sansio.errors import InvalidRequestError, TlsError
from zk_sansio.session import Attempt, Dial, HostPort, Probe, Resolve, Session, Waitable

from ._runtime import TrioRuntime
from ._stream import Stream, dial

__all__ = ["Driver", "resolve"]


class Driver:
    """Drives the sessions of one engine, one after the other.

    Args:
        engine: whose sessions.
        runtime: the one that the engine has; its ``flush`` and ``nudge`` become this driver's.
        options: how to set sockets up.
        tls: None for plain connections.
    """

    def __init__(self, engine: Engine, runtime: TrioRuntime, options: SocketOptions, tls: TlsSource) -> None:
        self._engine = engine
        self._runtime = runtime
        self._options = options
        self._tls = tls
        self._stream: Stream | None = None
        self._sender = Waitable()
        self._sending = False
        self._news = trio.Event()
        runtime.flush = self.flush
        runtime.nudge = self.nudge

    async def run(self) -> None:
        """Serve until the client is at its end; `end` it then, whatever this raises."""
        while self._engine.error is None:
            if self._stream is None:
                await self._connect(self._engine.session)
            else:
                await self._serve(self._engine.session, self._stream)

    def end(self, *, keep_session: bool) -> None:
        """Close the connection, and fail the calls that are left.

        Args:
            keep_session: see `Session.close`; a session that is still served is ended with what can be said to the
                server without waiting.
        """
        session, now = self._engine.session, trio.current_time()
        if self._engine.error is None:
            session.close(now, 0, keep_session=keep_session)
            if self._stream is not None and not self._stream.unsent:
                with suppress(OSError, TlsError):
                    self._stream.send(session.data_to_send(now))
            session.connection_lost(ConnectionAbortedError("the client was closed"), now)
            self._engine.deliver()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _tell(self) -> None:
        """After an input that may have changed more than replies."""
        self._engine.deliver()
        self.nudge()

    def nudge(self) -> None:
        """Let those who keep time look again."""
        self._news.set()

    # --- without a connection

    async def _connect(self, session: Session) -> None:
        """Carry out attempts until there is a connection, or the session is over."""
        async with trio.open_nursery() as nursery:
            while True:
                news = self._news = trio.Event()
                self._look(session, nursery)
                if self._stream is not None or session.state.over:
                    break
                with trio.move_on_at(session.next_timeout()):
                    await news.wait()
            nursery.cancel_scope.cancel()

    def _look(self, session: Session, nursery: trio.Nursery) -> None:
        """Do what is due now: deadlines, attempts, events."""
        now = trio.current_time()
        connected = session.connected
        session.handle_timeout(now)
        # A connection that has just ended takes its nursery with it: the attempts that follow need another one.
        while session.connected == connected and (attempt := session.next_attempt(now)) is not None:
            nursery.start_soon(self._try, session, attempt)
        self._engine.deliver()

    async def _try(self, session: Session, attempt: Attempt) -> None:
        match attempt:
            case Resolve():
                found, errors = await resolve(attempt.hosts, attempt.deadline)
                session.resolved(attempt, found, errors, trio.current_time())
            case Dial():
                await self._dial(session, attempt)
            case Probe():
                await self._probe(session, attempt)
        self._tell()

    async def _dial(self, session: Session, attempt: Dial) -> None:
        stream = None
        error: OSError | TlsError | InvalidRequestError | str = "no connection in time"
        with trio.move_on_at(attempt.deadline):
            try:
                stream = await dial(attempt.server, self._options, self._tls)
            except (OSError, TlsError, InvalidRequestError) as failure:
                error = failure
        now = trio.current_time()
        if stream is None:
            session.attempt_failed(attempt, error, now)
        elif session.connection_made(attempt, now):
            self._stream = stream
        else:
            stream.close()

    async def _probe(self, session: Session, attempt: Probe) -> None:
        answer = b""
        with trio.move_on_at(attempt.deadline):
            try:
                answer = await ask(attempt, self._options, self._tls)
            except (OSError, TlsError, InvalidRequestError) as failure:
                session.attempt_failed(attempt, failure, trio.current_time())
                return
        session.probed(attempt, answer, trio.current_time())

    # --- with a connection

    async def _serve(self, session: Session, stream: Stream) -> None:
        """Serve one connection until it is over."""
        self._sending = False
        try:
            async with trio.open_nursery() as nursery:
                for task in (self._receive, self._send, self._keep_time):
                    nursery.start_soon(task, session, stream, nursery)
        finally:
            self._hang_up()

    async def _receive(self, session: Session, stream: Stream, nursery: trio.Nursery) -> None:
        while session.connected:
            self._read(session, stream)
            if session.connected:
                await stream.wait_readable()
        nursery.cancel_scope.cancel()

    def _read(self, session: Session, stream: Stream) -> None:
        """Take what has arrived, once, so that a flood of replies leaves others their turn."""
        now = trio.current_time()
        serving = session.state.serving
        if not stream.receive_for(session, now):
            return
        self._engine.deliver()
        if not session.connected or not (serving and session.state.serving):
            # While a connection serves its deadlines only move away; before, and when it begins to, they come closer.
            self._news.set()
        if session.queued_bytes and not self._sending:
            self._wake_sender()

    async def _send(self, session: Session, stream: Stream, nursery: trio.Nursery) -> None:
        try:
            while True:
                if stream.unsent:
                    await stream.carry_out(stream.sending())
                data = session.data_to_send(trio.current_time())
                if data:
                    if stream.send(data):
                        # Others first: what they ask meanwhile goes out in one piece.
                        await trio.lowlevel.checkpoint()
                    self._engine.let_in()
                    continue
                self._sending = False
                await self._runtime.wait(self._sender)
        except (OSError, TlsError):
            # What the server said last is still to be read; then reading tells what is wrong, or silence does.
            await trio.sleep_forever()

    def _wake_sender(self) -> None:
        self._sending = True
        self._runtime.wake(self._sender)

    def flush(self) -> None:
        """Send what was submitted: at once if it is all there is, else together with what comes meanwhile."""
        stream = self._stream
        if stream is None or self._sending:
            return
        session = self._engine.session
        if session.in_flight != 1 or stream.unsent:
            if session.queued_bytes:
                self._wake_sender()
            return
        data = session.data_to_send(trio.current_time())
        if not data:
            return
        try:
            if not stream.send(data):
                self._wake_sender()
        except (OSError, TlsError):
            # As in _send: reading finds out.
            return

    async def _keep_time(self, session: Session, stream: Stream, nursery: trio.Nursery) -> None:
        while session.server is not None:
            news = self._news = trio.Event()
            with trio.move_on_at(session.next_timeout()):
                await news.wait()
            if trio.current_time() >= session.next_timeout():
                # A late look at the clock is no silence: what has arrived meanwhile comes first.
                self._read(session, stream)
            if not session.connected:
                break
            self._look(session, nursery)
            if session.queued_bytes and not self._sending:
                self._wake_sender()
        nursery.cancel_scope.cancel()


async def resolve(hosts: Sequence[HostPort], deadline: float) -> tuple[dict[HostPort, list[str]], dict[HostPort, str]]:
    """Look names up side by side.

    Args:
        hosts: the names.
        deadline: when to give up, on trio's clock.

    Returns:
        The numeric addresses that were found, and for the other names why there is none.
    """
    found: dict[HostPort, list[str]] = {}
    errors = dict.fromkeys(hosts, TOO_LATE)

    async def look_up(host: HostPort) -> None:
        try:
            infos = await trio.socket.getaddrinfo(host.host, host.port, type=trio.socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            errors[host] = unresolved(error)
        else:
            found[host] = addresses(infos)
            del errors[host]

    with trio.move_on_at(deadline):
        async with trio.open_nursery() as nursery:
            for host in hosts:
                nursery.start_soon(look_up, host)
    return found, errors


async def ask(attempt: Probe, options: SocketOptions, tls: TlsSource) -> bytes:
    """Open a connection, send what the probe says, and read to the end, or as much as anybody would want."""
    stream = await dial(attempt.server, options, tls)
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
