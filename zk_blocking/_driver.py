"""Moves bytes and time between a session and a socket.

One thread, the keeper, belongs to a client. While there is no connection, attempts run side by side, as the session
names them, each in a thread of its own that ends with it. While there is one, the keeper sends pings and notices
silence. Who reads? A thread that waits for a reply reads for itself and for all others (the leader; the others are
parked until a reply is theirs, or it is their turn to lead), so that a call in sequence costs no change of threads.
When nobody has waited for a while, the keeper reads.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import inf

from zk_adapter import PROBE_LIMIT, TOO_LATE, TlsSource, Want, addresses, numeric, unresolved
from zk_sansio.client import Engine, SocketOptions
from zk_sansio.errors import InvalidRequestError, TlsError
from zk_sansio.session import Attempt, Dial, HostPort, Probe, Resolve, Session

from ._bell import Bell, Poll, wait_for
from ._runtime import BlockingRuntime, Waiter
from ._stream import Dialer, Stop, Stream, dial

__all__ = ["Driver", "ask", "resolve"]

_IDLE = 0.05
"""Seconds without a leader after which the keeper reads. Nobody waits for what comes meanwhile."""


class _Attempts:
    """Threads that look names up and dial, for as long as they are wanted."""

    def __init__(self) -> None:
        self._stop: Stop | None = None
        self._threads: list[threading.Thread] = []

    def start(self, function: Callable[[Stop], None]) -> None:
        """Run *function* in a thread.

        Raises:
            OSError: there is no file descriptor left.
            RuntimeError: there is no thread left, or the interpreter is about to end.
        """
        if self._stop is None:
            self._stop = Stop()
        thread = threading.Thread(target=function, args=(self._stop,), name="zk-attempt", daemon=True)
        thread.start()
        self._threads.append(thread)

    def end(self) -> None:
        """Stop them all, and wait until they have. The mutex must not be held."""
        if self._stop is None:
            return
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._stop.close()


class Driver:
    """Drives the sessions of one engine, one after the other.

    Args:
        engine: whose sessions.
        runtime: the one that the engine has.
        options: how to set sockets up.
        tls: None for plain connections.
        dialer: opens connections in place of `dial`; None for `dial` itself.
    """

    def __init__(
        self,
        engine: Engine,
        runtime: BlockingRuntime,
        options: SocketOptions,
        tls: TlsSource,
        dialer: Dialer | None = None,
    ) -> None:
        self._engine = engine
        self._runtime = runtime
        self._mutex = runtime.mutex
        self._options = options
        self._tls = tls
        self._dialer: Dialer = dial if dialer is None else dialer
        self._stream: Stream | None = None
        self._poll: Poll | None = None  # the leader's, of this stream
        self._leader: Waiter | None = None
        self._leader_blocks = False
        self._appointed: Waiter | None = None
        self._leads = 0  # how often somebody has led
        self._relied_on = False  # whether the keeper sleeps because there is a leader
        self._stopped = False
        self._say_goodbye = False
        self._news = Bell()  # for the keeper
        self._bell = Bell()  # for the leader
        self._keeper = threading.Thread(target=self._run, name="zk-keeper", daemon=True)
        runtime.flush = self.flush
        runtime.nudge = self.nudge
        runtime.lead = self._lead
        runtime.recall = self._recall
        runtime.step_down = self._appoint

    # --- from any thread, without the mutex

    def start(self) -> None:
        """Start the keeper."""
        self._keeper.start()

    def stop(self, *, goodbye: bool = False) -> None:
        """Tell the keeper to hang up and to end. It does not wait, and may be called by a finalizer.

        Args:
            goodbye: end the session too, if that is possible at once.
        """
        self._say_goodbye = goodbye
        self._stopped = True
        if self._keeper.ident is None:
            self._close_bells()  # nobody else will
        self._news.ring()

    def join(self, seconds: float | None = None) -> None:
        """Wait until the keeper has ended."""
        if self._keeper.ident is not None:
            self._keeper.join(seconds)

    def forget(self) -> None:
        """This is a forked child: drop the parent's connection without touching it."""
        self._stopped = True
        self._close_bells()
        if self._stream is not None:
            self._stream.sock.close()  # a farewell of TLS would be the parent's
            self._stream = None

    def _close_bells(self) -> None:
        for bell in (self._news, self._bell):
            bell.close()

    # --- the keeper

    def _run(self) -> None:
        """Serve until the client is at its end."""
        self._runtime.thread.inside = True
        with self._mutex:
            try:
                while self._engine.error is None and not self._stopped:
                    if self._stream is None:
                        self._connect(self._engine.session)
                    else:
                        self._serve(self._engine.session, self._stream)
                if self._engine.error is None and self._runtime.failure is None:
                    self._give_up(self._engine.session)
            except BaseException as error:
                self._runtime.failure = error
                raise
            finally:
                self._stopped = True
                self._hang_up()
                for waiter in list(self._runtime.parked):
                    waiter.unpark()
                while self._leader is not None:
                    self._relied_on = True
                    self._listen(inf)
                self._close_bells()

    def _give_up(self, session: Session) -> None:
        """End what nobody has closed, without the server's word.

        Who comes later hears of it. Who is in a call does not: it is a daemon thread at the end of the interpreter.
        """
        session.close(time.monotonic(), 0, keep_session=not self._say_goodbye)
        self.flush()
        session.handle_timeout(inf)

    def _hang_up(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = self._poll = None
            if self._leader_blocks:
                self._bell.ring()

    def _tell(self) -> None:
        """After an input that may have changed more than replies."""
        self._engine.deliver()
        self.nudge()

    def nudge(self) -> None:
        """Let the keeper look again."""
        if threading.current_thread() is not self._keeper:
            self._news.ring()

    def _listen(self, seconds: float, stream: Stream | None = None, *, reading: bool = False) -> bool:
        """Let the keeper wait for news, and for its socket; return whether the socket is ready."""
        sock, writing = -1, False
        if stream is not None:
            writing = bool(stream.unsent)
            sock = stream.sock.fileno() if reading or writing else -1
        self._mutex.release()
        try:
            news, ready = wait_for(seconds, self._news.fd, sock, readable=reading, writable=writing)
        finally:
            self._mutex.acquire()
        if news:
            self._news.heard()
        return ready

    # --- without a connection

    def _connect(self, session: Session) -> None:
        """Carry out attempts until there is a connection, or the session is over."""
        attempts = _Attempts()
        try:
            while True:
                self._look(session, attempts)
                if self._stream is not None or session.state.over or self._stopped:
                    break
                self._listen(session.next_timeout() - time.monotonic())
        finally:
            self._end(attempts)

    def _end(self, attempts: _Attempts) -> None:
        self._mutex.release()
        try:
            attempts.end()
        finally:
            self._mutex.acquire()

    def _look(self, session: Session, attempts: _Attempts) -> None:
        """Do what is due now: deadlines, attempts, events."""
        now = time.monotonic()
        connected = session.connected
        session.handle_timeout(now)
        # A connection that has just ended takes its attempts with it: those that follow need other ones.
        while session.connected == connected and (attempt := session.next_attempt(now)) is not None:
            try:
                attempts.start(partial(self._try, session, attempt))
            except (OSError, RuntimeError) as error:
                if isinstance(attempt, Resolve):
                    session.resolved(attempt, {}, dict.fromkeys(attempt.hosts, str(error)), now)
                else:
                    session.attempt_failed(attempt, str(error), now)
        self._engine.deliver()
        self.flush()

    def _try(self, session: Session, attempt: Attempt, stop: Stop) -> None:
        self._runtime.thread.inside = True
        try:
            match attempt:
                case Resolve():
                    found, errors = resolve(attempt.hosts, attempt.deadline, stop)
                    with self._mutex:
                        session.resolved(attempt, found, errors, time.monotonic())
                        self._tell()
                case Dial():
                    self._dial(session, attempt, stop)
                case Probe():
                    self._probe(session, attempt, stop)
        except BaseException as error:
            with self._mutex:
                self._runtime.failure = error
                self.stop()
            raise

    def _dial(self, session: Session, attempt: Dial, stop: Stop) -> None:
        try:
            stream = self._dialer(attempt.server, self._options, self._tls, attempt.deadline, stop)
        except (OSError, TlsError, InvalidRequestError) as failure:
            with self._mutex:
                error = str(failure) if isinstance(failure, TimeoutError) else failure
                session.attempt_failed(attempt, error, time.monotonic())
                self._tell()
            return
        with self._mutex:
            if not stop.is_set and session.connection_made(attempt, time.monotonic()):
                self._stream = stream
            else:
                stream.close()
            self._tell()

    def _probe(self, session: Session, attempt: Probe, stop: Stop) -> None:
        answer = b""
        failure: Exception | None = None
        try:
            answer = ask(attempt, self._options, self._tls, stop, self._dialer)
        except TimeoutError:
            pass
        except (OSError, TlsError, InvalidRequestError) as error:
            failure = error
        with self._mutex:
            if isinstance(failure, (OSError, TlsError, InvalidRequestError)):
                session.attempt_failed(attempt, failure, time.monotonic())
            else:
                session.probed(attempt, answer, time.monotonic())
            self._tell()

    # --- with a connection

    def _serve(self, session: Session, stream: Stream) -> None:
        """Keep time for one connection, and read while nobody else does, until it is over."""
        attempts = _Attempts()
        seen = self._leads
        try:
            self._read(session, stream)  # of TLS there may be some already
            while session.connected and self._stream is stream and not self._stopped:
                now = time.monotonic()
                if now >= session.next_timeout():
                    # A late look at the clock is no silence: what has arrived meanwhile comes first.
                    self._read(session, stream)
                    if session.connected:
                        self._look(session, attempts)
                    continue
                # Since the last look: did nobody read, or one thread all the time, or are they coming and going?
                steady = self._leads == seen
                idle = steady and self._leader is None
                seen = self._leads
                self._relied_on = steady and not idle
                due = session.next_timeout() - now
                ended = idle and stream.ended
                ready = self._listen(0 if ended else due if steady else min(due, _IDLE), stream, reading=idle)
                if (ready or ended) and self._stream is stream:
                    if stream.unsent:
                        self._send_more(stream)
                    if idle:
                        self._read(session, stream)
            if self._stream is stream and not self._stopped:
                self._hang_up()
        finally:
            self._end(attempts)

    def _read(self, session: Session, stream: Stream) -> None:
        """Take what has arrived, once."""
        serving = session.state.serving
        if not stream.receive_for(session, time.monotonic()):
            return
        self._engine.deliver()
        if not (serving and session.state.serving):
            # While a connection serves its deadlines only move away; before, and when it begins to, they come closer.
            if not session.connected:
                self._hang_up()
            self.nudge()
        if session.queued_bytes:
            self.flush()

    def flush(self) -> None:
        """Send what was submitted."""
        stream = self._stream
        if stream is None:
            return
        session = self._engine.session
        try:
            while not stream.unsent and (data := session.data_to_send(time.monotonic())):
                stream.send(data)
        except (OSError, TlsError):
            return  # What the server said last is still to be read; then reading tells what is wrong, or silence does.
        if stream.unsent:
            self.nudge()  # the keeper sends the rest

    def _send_more(self, stream: Stream) -> None:
        with suppress(OSError):  # as in flush: reading finds out
            stream.send_more()
        if not stream.unsent:
            self.flush()
            self._engine.let_in()

    # --- leader and followers

    def _lead(self, waiter: Waiter, deadline: float) -> bool:
        """Read for everybody, until *waiter* is woken or the time comes; not if somebody else does."""
        stream = self._stream
        if stream is None or self._leader is not None:
            return False
        runtime, session = self._runtime, self._engine.session
        poll = self._poll
        if poll is None:
            poll = self._poll = Poll(self._bell.fd, stream.sock.fileno())
        self._leader = waiter
        self._leads += 1
        if self._appointed is waiter:
            self._appointed = None
        try:
            while not waiter.woken and self._stream is stream and runtime.failure is None:
                left = deadline - time.monotonic() if deadline != inf else inf
                if left <= 0:
                    break
                self._leader_blocks = True
                if not runtime.give_up(self._bell.ring):
                    self._leader_blocks = False
                    break
                try:
                    rung, ready = poll.wait(0 if stream.ended else left)
                finally:
                    runtime.take_back()
                    self._leader_blocks = False
                if rung:
                    self._bell.heard()
                if (ready or stream.ended) and self._stream is stream:
                    self._read(session, stream)
        finally:
            self._leader = None
            if self._relied_on or stream.ended:
                self._relied_on = False
                self._news.ring()
        return True

    def _recall(self, waiter: Waiter) -> None:
        """Wake *waiter*, which is not parked; only the leader can be blocked then."""
        if self._leader_blocks and self._leader is waiter:
            self._bell.ring()

    def _appoint(self) -> None:
        """Nobody leads: let one of those who are parked do it, if there is something to read."""
        if self._leader is not None or self._stream is None:
            return
        parked = self._runtime.parked
        if self._appointed is not None and self._appointed in parked and self._appointed.lock is None:
            return  # it is on its way; should another one lead before it comes, it parks again, and has a lock again
        for waiter in parked:
            if waiter.reads and not waiter.woken:
                self._appointed = waiter
                waiter.unpark()
                return


def resolve(
    hosts: Sequence[HostPort], deadline: float, stop: Stop
) -> tuple[dict[HostPort, list[str]], dict[HostPort, str]]:
    """Look names up side by side.

    A name that the system goes on looking up is left behind, in a thread that ends with it: there is no way to
    interrupt it.

    Args:
        hosts: the names.
        deadline: when to give up, on the monotonic clock.
        stop: tells to give up earlier.

    Returns:
        The numeric addresses that were found, and for the other names why there is none.
    """
    found: dict[HostPort, list[str]] = {}
    errors: dict[HostPort, str] = {}
    missing: set[HostPort] = set()

    def look_up(host: HostPort) -> None:
        answer: list[str] | str
        try:
            answer = addresses(socket.getaddrinfo(host.host, host.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer = unresolved(error)
        with stop.changed:
            if host in missing:
                missing.discard(host)
                if isinstance(answer, str):
                    errors[host] = answer
                else:
                    found[host] = answer
                stop.changed.notify_all()

    for host in hosts:
        if (known := numeric(host)) is not None:
            found[host] = known
        else:
            missing.add(host)
    for host in list(missing):
        try:
            threading.Thread(target=look_up, args=(host,), name="zk-resolve", daemon=True).start()
        except RuntimeError as error:  # there is no thread left, or the interpreter is about to end
            with stop.changed:
                missing.discard(host)
                errors[host] = str(error)
    with stop.changed:
        stop.changed.wait_for(lambda: stop.is_set or not missing, deadline - time.monotonic())
        errors.update(dict.fromkeys(missing, TOO_LATE))
        missing.clear()
    return found, errors


def ask(attempt: Probe, options: SocketOptions, tls: TlsSource, stop: Stop, dialer: Dialer | None = None) -> bytes:
    """Open a connection, send what the probe says, and read to the end, or as much as anybody would want."""
    deadline = attempt.deadline
    stream = (dialer or dial)(attempt.server, options, tls, deadline, stop)
    try:
        answer = b""
        if not stream.send(attempt.data):
            stream.carry_out(stream.sending(), deadline, stop)
        while len(answer) < PROBE_LIMIT:
            data = stream.receive()
            if data == b"":
                break
            if data is None:
                stream.carry_out([Want.READABLE], deadline, stop)
            else:
                answer += data
        return answer
    finally:
        stream.close()
