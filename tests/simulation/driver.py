"""Serves the sessions of one client over the simulated network, as an adapter serves them over sockets."""

from __future__ import annotations

from math import inf
from typing import Any

from zk_sansio.client import Engine
from zk_sansio.session import Attempt, Dial, Probe, Resolve, Session, SessionState

from .loop import Loop, Process, Timer
from .network import Link, Network, Route
from .runtime import SimRuntime
from .trace import Trace

_LOOK_UP = 0.02
_PROBE_LIMIT = 4096


class SimDriver:
    """Moves bytes and time.

    Args:
        process: where the client runs.
        engine: whose sessions.
        runtime: the one that the engine has.
        network: what carries the bytes.
        routes: the way to each address.
        names: for each name its addresses; the others are addresses.
        patience: the most seconds that what was submitted waits to be written.

    Attributes:
        link: the connection in use.
        ended: whether the client is at its end.
        made: the true time of the latest connection.
    """

    def __init__(
        self,
        process: Process,
        engine: Engine,
        runtime: SimRuntime,
        network: Network,
        routes: dict[str, Route],
        names: dict[str, list[str]],
        trace: Trace,
        patience: float,
        on_end: Any,
    ) -> None:
        self.link: Link | None = None
        self.ended = False
        self.made = 0.0
        self._process = process
        self._engine = engine
        self._network = network
        self._routes = routes
        self._names = names
        self._trace = trace
        self._patience = patience
        self._on_end = on_end
        self._session: Session = engine.session
        self._inbox: list[bytes] = []
        self._broken = False
        self._looking = False
        self._reading = False
        self._sending = False
        self._timer: Timer | None = None
        self._due = inf
        runtime.flush = self.flush
        runtime.nudge = self.nudge

    # --- time

    def nudge(self) -> None:
        """Deadlines have moved: look again."""
        if not self._looking:
            self._looking = True
            self._process.soon(self._look)

    def _look(self) -> None:
        self._looking = False
        if self.ended:
            return
        if self._inbox or self._broken:
            self._read()  # a late look at the clock is no silence: what has arrived meanwhile comes first
        if self.ended:
            return
        self._engine.session.handle_timeout(self._process.clock())
        self._engine.deliver()
        self._settle()
        self._send_soon()

    def _settle(self) -> None:
        """Follow the session: hang up, try servers, keep its deadline."""
        engine = self._engine
        while True:
            session = engine.session
            if self.link is not None and (session is not self._session or not session.connected):
                self._hang_up()
            self._session = session
            if engine.error is not None:
                self._end()
                return
            attempt = session.next_attempt(self._process.clock())
            if attempt is None:
                break
            self._try(session, attempt)
        self._arm()

    def _arm(self) -> None:
        due = self._engine.session.next_timeout()
        if due < self._due:
            Loop.stop(self._timer)
            self._due = due
            self._timer = self._process.at(self._process.true_time(due), self._time)

    def _time(self) -> None:
        self._due = inf
        self._timer = None
        if self.ended:
            return
        if self._process.clock() < self._engine.session.next_timeout() and not self._inbox:
            self._arm()  # while a connection serves, its deadlines move away all the time
        else:
            self._look()

    # --- attempts

    def _try(self, session: Session, attempt: Attempt) -> None:
        process, random = self._process, self._network.loop.random
        now = process.loop.now
        due = process.true_time(attempt.deadline)
        match attempt:
            case Resolve():
                found = {host: self._names[host.host] for host in attempt.hosts if host.host in self._names}
                late = _LOOK_UP * random.random()
                if random.random() < 0.05:
                    found, late = {}, due - now
                errors = {host: "no answer in time" for host in attempt.hosts if host not in found}
                process.at(min(now + late, due), self._resolved, session, attempt, found, errors)
            case Dial():
                route = self._routes[attempt.server.address]
                timer = process.at(due, self._failed, session, attempt, "no connection in time")
                self._trace(process.name, "dials", str(attempt.server))

                def made(link: Link) -> None:
                    if timer[3] is None:
                        link.close()
                        return
                    Loop.stop(timer)
                    self._made(session, attempt, link)

                def failed(why: str) -> None:
                    if timer[3] is not None:
                        Loop.stop(timer)
                        self._failed(session, attempt, why)

                self._network.dial(route, self, made, failed)
            case Probe():
                _Probing(self, session, attempt, self._network, self._routes[attempt.server.address])

    def _resolved(self, session: Session, attempt: Resolve, found: Any, errors: Any) -> None:
        session.resolved(attempt, found, errors, self._process.clock())
        self._tell()

    def _failed(self, session: Session, attempt: Dial | Probe, why: str) -> None:
        self._trace(self._process.name, "failed", str(attempt.server), why)
        session.attempt_failed(attempt, why, self._process.clock())
        self._tell()

    def _made(self, session: Session, attempt: Dial, link: Link) -> None:
        if (
            not self.ended
            and session is self._engine.session
            and session.connection_made(attempt, self._process.clock())
        ):
            assert self.link is None
            self.link = link
            self.made = self._process.loop.now
            self._inbox = []
            self._broken = False
            self._sending = False
            self._tell()
            self._send()
        else:
            link.close()

    def probed(self, session: Session, attempt: Probe, answer: bytes | None) -> None:
        """A probe has come to its end."""
        if answer is None:
            session.attempt_failed(attempt, "Connection refused", self._process.clock())
        else:
            session.probed(attempt, answer, self._process.clock())
        self._tell()

    def _tell(self) -> None:
        if self.ended:
            return
        self._engine.deliver()
        self._settle()

    # --- the connection

    def arrived(self, link: Link, data: bytes) -> None:
        """Bytes for the client; the process may not run just now."""
        if link is self.link:
            self._inbox.append(data)
            if not self._reading:
                self._reading = True
                self._process.soon(self._wake_reader)

    def broken(self, link: Link) -> None:
        """The connection was reset; what had arrived before can still be read."""
        if link is self.link:
            self._broken = True
            if not self._reading:
                self._reading = True
                self._process.soon(self._wake_reader)

    def _wake_reader(self) -> None:
        self._reading = False
        self._read()

    def _read(self) -> None:
        if self.ended or self.link is None:
            return
        session, engine = self._session, self._engine
        serving = session.state.serving
        inbox, self._inbox = self._inbox, []
        end = bool(inbox) and inbox[-1] == b""
        data = b"".join(inbox)
        if data:
            session.receive_data(data, self._process.clock())
            engine.deliver()
        if session.connected and (end or self._broken):
            if end:
                session.receive_data(b"", self._process.clock())
            else:
                session.connection_lost(ConnectionResetError(104, "Connection reset by peer"), self._process.clock())
            engine.deliver()
        if not (serving and session.state.serving and session.connected) or session.state is SessionState.READ_ONLY:
            self._settle()
        self._send_soon()

    def flush(self) -> None:
        """What was submitted is sent: at once if it is all there is, else together with what comes meanwhile."""
        if self._engine.session.in_flight == 1 and self.link is not None and not self._sending:
            self._send()
        else:
            self._send_soon()

    def _send_soon(self) -> None:
        if self.link is not None and not self._sending and self._engine.session.queued_bytes:
            self._sending = True
            process = self._process
            late = self._patience * process.loop.random.random() if self._patience else 0.0
            process.at(process.loop.now + late, self._carry_out, self.link)

    def _carry_out(self, link: Link) -> None:
        if link is self.link:
            self._sending = False
            self._send()
            self._engine.let_in()

    def _send(self) -> None:
        link = self.link
        if link is None or link.full:
            return  # `room` comes back to it
        data = self._session.data_to_send(self._process.clock())
        if data:
            link.send(data)

    def room(self, link: Link) -> None:
        """What was sent has left."""
        if link is self.link and not self._process.dead:
            self._send_soon()

    def _hang_up(self) -> None:
        if self.link is not None:
            self.link.close()
            self.link = None
        self._inbox = []
        self._broken = False

    # --- the end

    def end(self, *, keep_session: bool) -> None:
        """The scope of the client is left: close the connection, and fail the calls that are left."""
        if self.ended:
            return
        session, now = self._engine.session, self._process.clock()
        if self._engine.error is None:
            session.close(now, 0, keep_session=keep_session)
            if self.link is not None:
                self._session = session
                self._send()
            session.connection_lost(ConnectionAbortedError("the client was ended"), now)
            self._engine.deliver()
        self._end()

    def _end(self) -> None:
        self._hang_up()
        self.ended = True
        Loop.stop(self._timer)
        self._on_end()

    def vanish(self, *, silent: bool) -> None:
        """The process was killed: its sockets are closed, or, with its machine, just gone."""
        self.ended = True
        if self.link is not None:
            if silent:
                self.link.cut(client=False, server=False)
                self.link.receiver = None
            else:
                self.link.close()
            self.link = None


class _Probing:
    """One short connection that asks a question."""

    def __init__(self, driver: SimDriver, session: Session, attempt: Probe, network: Network, route: Route) -> None:
        self._driver = driver
        self._session = session
        self._attempt = attempt
        self._answer = b""
        self._link: Link | None = None
        self._over = False
        process = route.process
        self._timer = process.at(process.true_time(attempt.deadline), self._finish, b"")
        network.dial(route, self, self._made, self._refused)

    def _made(self, link: Link) -> None:
        if self._over:
            link.close()
            return
        self._link = link
        link.raw = True
        link.send(self._attempt.data)

    def _refused(self, why: str) -> None:
        self._finish(None)

    def arrived(self, link: Link, data: bytes) -> None:
        self._answer += data
        if not data or len(self._answer) >= _PROBE_LIMIT:
            self._finish(self._answer)

    def broken(self, link: Link) -> None:
        self._finish(None)

    def room(self, link: Link) -> None:
        """There was room all the time."""

    def _finish(self, answer: bytes | None) -> None:
        if not self._over:
            self._over = True
            Loop.stop(self._timer)
            if self._link is not None:
                self._link.close()
            self._driver.probed(self._session, self._attempt, answer)
