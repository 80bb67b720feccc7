"""The session: everything that outlives a connection, and every rule over time.

Inputs are what happened: bytes, connections made and lost, time. Outputs are bytes to send, events, the next
deadline and the next attempt. Inputs never raise for what a server or the network did; that becomes state
and events. After any input, look at all outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, TypeVar

from ..errors import (
    AuthFailedError,
    ClosedError,
    ConnectError,
    ConnectionLossError,
    ErrorCode,
    LocalProtocolError,
    RemoteProtocolError,
    ReplyTooLargeError,
    SessionExpiredError,
    ZooKeeperError,
)
from ..wire import (
    CloseSession,
    ConnectRequest,
    ConnectResponse,
    EventType,
    Request,
    Sasl,
)
from ._book import CallBook, Then
from ._calls import Call
from ._connection import Connection, Fired, Received, loss_reason
from ._dialer import Attempt, Dial, Dialer, Probe, Resolve
from ._establish import Establishment, refusal
from ._events import Event, Notice, Notification, Rearmed, StateChanged, WatchersLost, WatchEvent
from ._hosts import Backoff, HostPort, RandomSource, Server, ServerList
from ._options import SessionOptions, SessionTicket
from ._orphans import Orphans
from ._probe import Prober
from ._states import SESSION_RULES, ConnectionInput, ConnectionState, SessionInput, SessionState, next_state
from ._watches import Watcher, WatchKind, WatchTable

__all__ = ["Session"]

R = TypeVar("R")

_NO_PASSWORD = bytes(16)


class Session:
    """One ZooKeeper session, without I/O and without a clock.

    Args:
        hosts: the servers, at least one.
        options: how it behaves.
        random: where shuffles and jitter come from, such as ``random.Random()``.
        credentials: what ``add_auth`` would be given, as pairs of scheme and secret.
        ticket: a session to resume; None for a new one.

    Attributes:
        state: see `SESSION_RULES`.
        session_id: 0 while there is none. It may be negative; print it as unsigned hexadecimal.
        timeout: seconds, as negotiated, or as asked for until then.
        last_zxid: the newest state seen.
        error: why the session is over; None while it is not.
        resuming: whether it was to be resumed by a ticket, and no server has accepted that yet.
    """

    def __init__(
        self,
        hosts: Iterable[HostPort],
        options: SessionOptions,
        random: RandomSource,
        *,
        credentials: Iterable[tuple[str, bytes]] = (),
        ticket: SessionTicket | None = None,
    ) -> None:
        self.options = options
        self.state: SessionState = SessionState.CONNECTING
        self.session_id: int = ticket.session_id if ticket else 0
        self.timeout: float = options.timeout
        self.last_zxid: int = ticket.last_zxid if ticket else 0
        self.error: ZooKeeperError | None = None
        self._password = ticket.password if ticket else _NO_PASSWORD
        # A session that a read-only server has made is known to that server alone and cannot be resumed elsewhere.
        self._resumable = ticket is not None
        self.resuming: bool = ticket is not None
        self._random = random
        self._dialer = Dialer(ServerList(hosts, random), Backoff(random), options.connect_timeout)
        self._prober = Prober()
        self._connection: Connection | None = None
        self._served_since = -inf
        self._served = False  # whether self._connection is serving: the one question of the hot path
        self._closing = False
        self._establishment: Establishment | None = None
        self._answered_sent: float | None = None
        self._events: list[Event] = []
        self._book = CallBook(options.max_request, tuple(credentials))
        self._watches = WatchTable()
        self._adopted = False
        self._received: list[Received] = []  # what is being processed
        self._orphans = Orphans(self._submit_own, self._behind)

    # --- what is known

    @property
    def server(self) -> Server | None:
        """The server in use, or None."""
        return self._connection.server if self._connection else None

    @property
    def connected(self) -> bool:
        """Whether the session holds a connection. When this turns false, the adapter closes its socket."""
        return self._connection is not None

    @property
    def ticket(self) -> SessionTicket | None:
        """What it takes to resume this session; None while no server has given it an identity."""
        if not self._resumable or self.session_id == 0 or len(self._password) != len(_NO_PASSWORD):
            return None
        return SessionTicket(session_id=self.session_id, password=self._password, last_zxid=self.last_zxid)

    @property
    def in_flight(self) -> int:
        """Requests without an outcome, on their way or waiting for a connection."""
        return (len(self._connection.pending) if self._connection else 0) + len(self._book.waiting)

    @property
    def queued_bytes(self) -> int:
        """Bytes of requests that were not handed over for sending; some may have to wait for the handshake first."""
        return (self._connection.queued_bytes if self._connection else 0) + self._book.waiting_bytes

    @property
    def congested(self) -> bool:
        """Whether callers should wait before they submit more."""
        options = self.options
        in_flight, queued = len(self._book.waiting), self._book.waiting_bytes
        if self._connection is not None:  # written out, since every call asks this
            in_flight += len(self._connection.pending)
            queued += self._connection.queued_bytes
        return in_flight >= options.max_in_flight or queued >= options.high_water

    @property
    def has_room(self) -> bool:
        """Whether callers that wait may go on; the low water mark, so that they do not come one by one."""
        options = self.options
        return self.in_flight < options.max_in_flight and self.queued_bytes <= options.low_water

    @property
    def deadline(self) -> float | None:
        """When the session is presumed lost unless a server answers; None while no server has ever answered.

        It is the time when the last answered request or ping was *sent*, plus the timeout: until then the
        server cannot have dropped the session.
        """
        return None if self._answered_sent is None else self._answered_sent + self.timeout

    @property
    def failures(self) -> dict[str, str]:
        """For each server that was tried since the last success, what happened last."""
        return self._dialer.servers.failures

    @property
    def trying(self) -> list[str]:
        """The names and servers that have been asked and have not answered yet."""
        here = [str(self.server)] if self.server and not self._served else []
        return here + self._dialer.trying

    @property
    def credentials(self) -> Sequence[tuple[str, bytes]]:
        """What a new connection is authenticated with."""
        return tuple(self._book.credentials)

    # --- outputs

    def events(self) -> list[Event]:
        """Everything that happened since the last time, in order; an answered `Call` is an event itself."""
        events = self._events
        if events:
            self._events = []
        return events

    def data_to_send(self, now: float) -> bytes:
        """Bytes for the connection; from here on the requests among them count as sent."""
        return self._connection.data_to_send(now) if self._connection else b""

    def next_timeout(self) -> float:
        """When to call `handle_timeout`, and then `next_attempt`; `inf` once it is over, in the past if at once.

        The deadlines of attempts are not among these: they are the driver's, who reports an attempt that is late.
        """
        if self.state.over:
            return inf
        due = self._connection.next_timeout() if self._connection is not None else self._dialer.next_time()
        if self.state is SessionState.READ_ONLY:
            due = min(due, self._prober.due)
        if self.state is SessionState.SUSPENDED and self._answered_sent is not None:
            due = min(due, self._answered_sent + self.timeout)
        if self.state is SessionState.PRESUMED_LOST and self.options.expire_locally:
            due = min(due, self._local_expiry())
        return due

    def next_attempt(self, now: float) -> Attempt | None:
        """The next thing to try, if any; call again until there is none. Each one is to be reported back."""
        if self.state.over or self._closing:
            return None
        if self._connection is not None:
            if self.state is SessionState.READ_ONLY:
                return self._prober.next_probe(self._dialer.servers, self._connection.server, now)
            return None
        return self._dialer.next_attempt(now, self._remaining(now), self.timeout)

    def _remaining(self, now: float) -> float:
        deadline = self.deadline
        return deadline - now if deadline is not None and deadline > now else self.timeout

    # --- inputs: attempts

    def resolved(
        self,
        attempt: Resolve,
        addresses: Mapping[HostPort, Sequence[str]],
        errors: Mapping[HostPort, str],
        now: float,
    ) -> None:
        """Report the addresses of names, and for the others why they have none."""
        if self._connection is not None:
            self._prober.resolved(attempt, addresses, self._dialer.servers)
        else:
            self._dialer.resolved(attempt, addresses, errors)

    def attempt_failed(self, attempt: Dial | Probe, error: OSError | ZooKeeperError | str, now: float) -> None:
        """Report that there is no connection, and why; one that took too long included."""
        why = error if isinstance(error, str) else loss_reason(error)
        if isinstance(attempt, Probe):
            self._prober.answered(attempt, b"", now)
        elif self._dialer.outstanding(attempt):
            self._dialer.failed(attempt.server, why, now, self.timeout)

    def probed(self, attempt: Probe, answer: bytes, now: float) -> None:
        """Report all that a probed server answered."""
        if not self._prober.answered(attempt, answer, now) or self.state is not SessionState.READ_ONLY:
            return
        self._dialer.servers.prefer(attempt.server)
        self._end("moving to a read/write server", now)
        self._dialer.start()

    def connection_made(self, attempt: Dial, now: float) -> bool:
        """Report a connection, ready for bytes.

        Returns:
            Whether it is wanted; if not, because another one was faster, close it.
        """
        if self._connection is not None or self.state.over or not self._dialer.outstanding(attempt):
            return False
        self._dialer.won(attempt)
        resume = self._resumable
        request = ConnectRequest(
            last_zxid=self.last_zxid,
            timeout_ms=round(self.options.timeout * 1000),
            session_id=self.session_id if resume else 0,
            password=self._password if resume else _NO_PASSWORD,
            read_only=self.options.read_only,
        )
        self._connection = Connection(
            attempt.server, request, max_reply=self.options.max_reply, deadline=attempt.deadline, now=now
        )
        return True

    # --- inputs: a connection

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes from the connection; ``b""`` is its end."""
        connection = self._connection
        if connection is None:
            return
        if data:
            self._process(connection, connection.receive_data(data, now), now)
        else:
            self._ended_by_server(None, now)

    def receive_buffer(self) -> memoryview | None:
        """While a large reply is incomplete, its memory: read into it and call `receive_buffer_filled`."""
        return self._connection.buffer if self._connection else None

    def receive_buffer_filled(self, count: int, now: float) -> None:
        """Take note of *count* bytes, more than 0, read into `receive_buffer`."""
        if self._connection is not None:
            self._process(self._connection, self._connection.buffer_filled(count, now), now)

    def connection_lost(self, error: OSError | ZooKeeperError, now: float) -> None:
        """Report that reading or writing failed."""
        self._ended_by_server(error, now)

    def _ended_by_server(self, error: OSError | ZooKeeperError | None, now: float) -> None:
        connection = self._connection
        if connection is None:
            return
        if connection.state is ConnectionState.SERVING and connection.sent_pending and connection.pending:
            connection.pending[0].blamed += 1
        self._end(loss_reason(error), now, silent=connection.state is ConnectionState.HANDSHAKE)

    def _process(self, connection: Connection, received: list[Received], now: float) -> None:
        """Act on what a connection received. The order of events is the order of frames."""
        self._received = received
        events = self._events
        own = self._book.own
        for item in received:
            if type(item) is Call:
                if own and item in own:
                    self._answered_own(item, own.pop(item), now)
                elif self._served and item.watcher is None and item.error is None and not item.abandoned:
                    events.append(item)
                else:
                    self._answered(item, now)
            elif type(item) is Fired:
                self._fired(item)
            else:
                assert isinstance(item, ConnectResponse)
                self._accepted(connection, item, now)
            if self._connection is not connection:
                # What was just processed has ended the connection; the rest is void but for its calls.
                self._after_the_end(received, item, now)
                break
        else:
            if self._served:
                # Not before: setWatches of the same zxid may still be to come, and its events with it.
                self.last_zxid = connection.last_zxid
            self._answered_sent = connection.answered_sent if connection.timeout else self._answered_sent
            if connection.error is not None:
                self._broken(connection, connection.error, now)
        self._received = []

    def _behind(self, call: Call[Any]) -> list[Call[Any]]:
        """The calls that were submitted after *call*, whose answer may be being processed; some may be answered."""
        received = self._received[self._received.index(call) + 1 :] if call in self._received else []
        pending = self._connection.pending if self._connection else ()
        return [*(item for item in received if isinstance(item, Call)), *pending]

    def _after_the_end(self, received: list[Received], last: Received, now: float) -> None:
        """Deliver the answers behind *last*; if the session is over, the watches that they set are lost at once."""
        position = next(i for i, item in enumerate(received) if item is last)
        for item in received[position + 1 :]:
            if isinstance(item, Call) and self._book.own.pop(item, None) is None:
                self._answered(item, now)
        if self.error is not None:
            self._lose_watchers(self.error)

    def _broken(self, connection: Connection, error: RemoteProtocolError, now: float) -> None:
        """Give up a connection whose bytes make no sense."""
        if isinstance(error, ReplyTooLargeError) and connection.pending:
            # The answer has come, only it is not wanted: no loss, and no use in asking again.
            call = connection.take_head()
            refused = ReplyTooLargeError(error.size, error.limit, call.request.target)
            refused.maybe_applied = not call.request.idempotent
            call.fail(refused)
            then = self._book.own.pop(call, None)
            if then is None:
                self._answered(call, now)
            else:
                self._answered_own(call, then, now)
        if self._connection is connection:
            self._end(str(error), now)

    # --- the handshake and what follows it

    def _accepted(self, connection: Connection, response: ConnectResponse, now: float) -> None:
        asked = self.session_id if self._resumable else 0
        if asked and (response.timeout_ms <= 0 or response.session_id != asked):
            # Another id than the one asked for: a server that cannot restore sessions made a new one.
            self._finish(SessionInput.EXPIRY, SessionExpiredError("the server does not know the session any more"), now)
            return
        if response.timeout_ms <= 0 or (response.read_only and not self.options.read_only):
            connection.error = RemoteProtocolError("the server refused a new session")
            return
        connection.timeout = self.timeout = response.timeout_ms / 1000
        self.session_id = response.session_id
        self._password = response.password
        connection.read_only = response.read_only
        self._resumable = self._resumable or not response.read_only
        self._answered_sent = connection.answered_sent
        connection.advance(ConnectionInput.ACCEPTED)
        establishment = self._establishment = Establishment(self.options.sasl, connection.server.host)
        try:
            token = establishment.first_token()
        except AuthFailedError as error:
            self._finish(SessionInput.AUTH_REFUSED, error, now)
            return
        except ConnectError as error:
            self._end(str(error), now)
            return
        self._go_on(connection, establishment, token, now)

    def _go_on(self, connection: Connection, establishment: Establishment, token: Sasl | None, now: float) -> None:
        """Send the next token, or, if there is none, credentials and watches all in one go."""
        if token is not None:
            self._send_own(token, self._sasl_answered)
            return
        connection.advance(ConnectionInput.AUTHENTICATED)
        for call, users in self._book.auth_calls():
            if not users:
                self._book.own[call] = self._restored
            establishment.expect(call)
            connection.send_auth(call)
        for request in self._watches.restoration(self.last_zxid, self.options.max_request):
            establishment.expect(self._send_own(request, self._restored))
        if establishment.complete:
            self._serve(connection, now)

    def _sasl_answered(self, call: Call[bytes | None], now: float) -> None:
        if self._closing:
            return
        connection, establishment = self._connection, self._establishment
        assert connection is not None
        assert establishment is not None
        if call.error is not None:
            self._end(str(call.error), now)
            return
        try:
            token = establishment.next_token(call)
        except AuthFailedError as error:
            self._finish(SessionInput.AUTH_REFUSED, error, now)
            return
        self._go_on(connection, establishment, token, now)

    def _restored(self, call: Call[Any], now: float) -> None:
        """One of the calls that restore something is answered, a user's auth call included."""
        if call.error is not None:
            self._end(f"what the connection needs cannot be restored: {call.error}", now)
        else:
            self._settle(call, now)

    def _settle(self, call: Call[Any], now: float) -> None:
        connection, establishment = self._connection, self._establishment
        assert connection is not None
        assert establishment is not None
        establishment.settle(call)
        if establishment.complete and connection.state is ConnectionState.RESTORING:
            self._serve(connection, now)

    def _serve(self, connection: Connection, now: float) -> None:
        """Announce the connection, and let the requests go that waited for it."""
        connection.advance(ConnectionInput.RESTORED)
        self._establishment = None
        self._dialer.succeeded(connection.server)
        self._served = True
        self._served_since = now
        if lasting := self._watches.watchers(WatchKind.PERSISTENT, WatchKind.RECURSIVE):
            self._events.append(Rearmed(lasting, self._adopted))
            self._adopted = False
        self.resuming = False
        if connection.read_only:
            self._change(SessionInput.SERVED_READ_ONLY)
            self._prober.start(now)
        else:
            self._change(SessionInput.SERVED)
            self._orphans.look(self.session_id, self._book.waiting)
        for path in self._watches.unused_paths():
            self._remove_watch(path, WatchKind.PERSISTENT)  # its watcher has gone while it was being restored
        self._book.release(connection)

    # --- inputs: time

    def handle_timeout(self, now: float) -> None:
        """Do what is due; early calls do nothing. Read what has arrived first, or a late call looks like silence."""
        connection = self._connection
        if connection is not None:
            self._check_connection(connection, now)
        if self._orphans.postponed:
            self._look_for_orphans()
        deadline = self.deadline
        if self.state is SessionState.SUSPENDED and deadline is not None and now >= deadline:
            self._change(SessionInput.DEADLINE)
        if self.options.expire_locally and self.state is SessionState.PRESUMED_LOST and now >= self._local_expiry():
            error = SessionExpiredError(f"no server was reached for {self.timeout * 4 / 3:.3g} s")
            self._finish(SessionInput.EXPIRY, error, now)

    def _check_connection(self, connection: Connection, now: float) -> None:
        if now >= connection.silence_due():
            if connection.state is ConnectionState.HANDSHAKE:
                self._end("no answer to the handshake in time", now, silent=True)
            else:
                self._end(f"nothing heard for {now - connection.last_heard:.3g} s", now, silent=True)
            return
        due = connection.ping_due()
        if now >= due:
            if now - due > self.timeout / 6:
                late = f"a ping was due {now - due:.3g} s ago: something keeps this program from running"
                self._events.append(Notice(f"{late}; the session timeout is {self.timeout:.3g} s"))
            connection.ping(now)

    def _local_expiry(self) -> float:
        return inf if self._answered_sent is None else self._answered_sent + self.timeout * 4 / 3

    # --- inputs: requests

    def submit(self, request: Request[R], watcher: Watcher | None = None) -> Call[R]:
        """Queue a request, encoded at once, so that the order of calls is the order on the wire.

        Args:
            request: what to ask.
            watcher: who is to hear of the watch that the request sets; None if it sets none.

        Returns:
            The call. It appears among the events when it has an outcome; without a connection it waits for
            one, and if the session is over it has failed already.

        Raises:
            InvalidRequestError: an argument that no server accepts.
            RequestTooLargeError: over the frame limit. Nothing was sent in either case.
        """
        xid, frame = self._book.encode(request)
        if watcher is not None:  # what is refused is not noted
            request = self._watches.prepare(request, watcher)
            frame = request.encode(xid)
        call = Call(request, xid, b"", watcher)
        if self._served:
            assert self._connection is not None
            self._connection.send(call, frame)
        elif self.error is not None or self._closing:
            # The caller sees it at once; an event would find nobody to take it.
            call.fail(self._over_error(call))
            if watcher is not None:
                self._watches.settle(request, watcher, ErrorCode.CONNECTION_LOSS, wanted=False)
        else:
            self._book.keep(call, frame)
        return call

    def abandon(self, call: Call[Any], after: int | None = None) -> None:
        """The caller of *call* is gone. If it was not sent, it never will be; else its reply is dropped.

        An ephemeral znode that it made nevertheless, answered or not, is removed again, a watch that it set likewise.

        Args:
            call: the call.
            after: the last zxid seen before it was made; None if nothing was answered since.
        """
        if call.done:
            if not call.abandoned:
                call.abandoned = True
                if call.error is None:
                    self._orphans.answered(call, 0)
                elif call.error.maybe_applied and not call.request.idempotent:
                    self.disown(call.request, self.last_zxid if after is None else after)
            if call.watcher is not None:
                self.unwatch(call.watcher)
            return
        call.abandoned = True
        if self._book.withdraw(call):
            self._fail(call, ConnectionLossError("abandoned", call.request.target))

    def disown(self, request: Request[Any], after: int) -> None:
        """Nobody cares any more what became of *request*, whose reply was lost: remove the ephemerals it made.

        Args:
            request: a create, or a multi with creates.
            after: the last zxid seen before it was made.
        """
        self._orphans.disown(request, after)
        self._look_for_orphans()

    def remove_later(self, path: str) -> None:
        """Remove an ephemeral znode of this session, which its owner could not remove in time.

        Args:
            path: of the server, unique: as long as this session lives, the name is not used again.
        """
        self._orphans.remove_later(path)
        self._look_for_orphans()

    def _look_for_orphans(self) -> None:
        if self._served and self.state is SessionState.CONNECTED:
            self._orphans.look(self.session_id, self._book.waiting)

    def add_auth(self, scheme: str, credential: bytes) -> Call[None]:
        """Add an identity, now and on every later connection.

        Returns:
            The call; without a connection it waits for one. A refusal ends the session.
        """
        call = self._book.make_auth(scheme, credential)
        if self.error is not None or self._closing:
            call.fail(self._over_error(call))
            return call
        if (scheme, credential) not in self._book.credentials:
            self._book.credentials.append((scheme, credential))
        connection = self._connection
        if connection is not None and connection.state in (ConnectionState.RESTORING, ConnectionState.SERVING):
            connection.send_auth(call)
        else:
            self._book.auth_waiting.append(call)
        return call

    def unwatch(self, watcher: Watcher) -> None:
        """*watcher* waits no more; the server's watch is removed when nobody else needs it."""
        if watcher.armed:
            self._watches.discard(watcher)
            self._remove_watch(watcher.path, watcher.kind)

    def update_servers(self, hosts: Iterable[HostPort], now: float) -> None:
        """Use another list of servers. The client may move, so that the load stays even (ZOOKEEPER-1355)."""
        if self.state.over or self._closing or not self._dialer.servers.update(hosts, self.server):
            return
        if self._connection is not None:
            self._end("moving to another server, as the list of servers has changed", now)
        self._dialer.start()

    def close(self, now: float, grace: float, *, keep_session: bool = False) -> None:
        """End the session in order: requests submitted so far are still sent.

        Args:
            now: the time.
            grace: seconds to wait for the server's word.
            keep_session: leave the session to its timeout, or to be resumed by its ticket.
        """
        if self.state.over or self._closing:
            return
        connection = self._connection
        if keep_session or connection is None or connection.state is ConnectionState.HANDSHAKE:
            self._finish(SessionInput.CLOSE, ClosedError(), now)
            return
        connection.advance(ConnectionInput.CLOSE)
        connection.deadline = now + grace
        self._send_own(CloseSession(), self._session_closed)
        self._closing = True
        self._served = False
        self._prober.stop()
        for call in self._book.take_waiting():
            self._fail(call, ClosedError(path=call.request.target))

    def _session_closed(self, call: Call[None], now: float) -> None:
        self._finish(SessionInput.CLOSE, ClosedError(), now)

    def successor(self) -> Session:
        """A new session in place of one that expired, with its servers, credentials and lasting watches.

        One-shot watches ended with the old session. The new one begins without a last zxid, since the
        ensemble may have been set up anew.
        """
        if self.state is not SessionState.EXPIRED:
            raise LocalProtocolError(f"only an expired session has a successor, this one is {self.state.value}")
        session = Session(self._dialer.servers.hosts, self.options, self._random, credentials=self._book.credentials)
        session._dialer = self._dialer
        session._dialer.start()
        session._watches.adopt(self._watches.take(WatchKind.PERSISTENT, WatchKind.RECURSIVE))
        session._adopted = len(session._watches) > 0
        return session

    def release_watchers(self) -> list[Watcher]:
        """The watchers that an expired session leaves behind when no successor takes them over."""
        return self._watches.take(*WatchKind)

    # --- outcomes

    def _answered(self, call: Call[Any], now: float) -> None:
        """Take a call's answer; the way for all that are not plain successes."""
        error = call.error
        if call.watcher is not None:
            code = 0 if error is None else getattr(error, "code", -1)
            stranded = self._watches.settle(call.request, call.watcher, code, wanted=not call.abandoned)
            if stranded:
                event = WatchEvent(EventType.NONE, call.watcher.path, None)
                self._events.append(call)
                self._events.append(Notification(event, (call.watcher,)))
                return
            if call.abandoned and code in (0, ErrorCode.NO_NODE):
                self._remove_watch(call.watcher.path, call.watcher.kind)
        if call.abandoned:
            if error is None:
                self._orphans.answered(call, self.last_zxid)
        else:
            self._events.append(call)
        if not self._heed(call, now) and self._establishment is not None:
            self._settle(call, now)

    def _answered_own(self, call: Call[Any], then: Then, now: float) -> None:
        """Go on after the answer to a request of the session's own."""
        if self._closing or not self._heed(call, now):
            then(call, now)

    def _heed(self, call: Call[Any], now: float) -> bool:
        """End the session if the answer to *call* says that it is over; return whether it is."""
        if self.error is None:
            if isinstance(call.error, AuthFailedError):
                self._finish(SessionInput.AUTH_REFUSED, refusal(call), now)
            elif isinstance(call.error, SessionExpiredError):
                self._finish(SessionInput.EXPIRY, call.error, now)
        return self.error is not None

    def _fired(self, fired: Fired) -> None:
        kind, _, path = fired.event
        zxid = fired.zxid if fired.zxid > 0 else None
        restoring = self._establishment is not None
        for event, where, watchers in self._watches.fire(kind, path):
            # Until the connection is announced, lasting watchers have missed more than this: a Gap tells them of all.
            heard = [each for each in watchers if each.kind.one_shot] if restoring else watchers
            if heard:
                self._events.append(Notification(WatchEvent(event, where, zxid), heard))
            if self._watches.unused(where):
                self._remove_watch(where, WatchKind.PERSISTENT)

    def _fail(self, call: Call[Any], error: ZooKeeperError) -> None:
        """Give a call that got no answer its error, and tell the caller if there is one."""
        call.fail(error)
        if call.watcher is not None:
            self._watches.settle(call.request, call.watcher, ErrorCode.CONNECTION_LOSS, wanted=False)
        if not call.abandoned:
            self._events.append(call)

    def _over_error(self, call: Call[Any], *, sent: bool = False) -> ZooKeeperError:
        """The error of a call that the end of the session leaves without an answer."""
        path = call.request.target
        match self.error:
            case SessionExpiredError(reason=reason):
                return SessionExpiredError(reason, path, maybe_applied=sent)
            case AuthFailedError() as refused:
                error = AuthFailedError(str(refused))
                error.path, error.maybe_applied = path, sent
                return error
            case _:
                return ClosedError(path=path, maybe_applied=sent)

    # --- ends

    def _end(self, reason: str, now: float, *, silent: bool = False) -> None:
        """The connection is over, the session is not."""
        connection = self._connection
        assert connection is not None
        if connection.state is ConnectionState.CLOSING:
            self._finish(SessionInput.CLOSE, ClosedError(), now)
            return
        if connection.state is ConnectionState.SERVING:
            if silent:
                self._dialer.servers.avoid(connection.server)
            self._dialer.pause(now, self.timeout, healthy=now - self._served_since > connection.read_timeout)
        else:
            self._dialer.failed(connection.server, reason, now, self.timeout, silent=silent)
        self._drop(connection)
        lost = self._book.take_pending(connection)
        self._orphans.lost(lost, self.last_zxid)
        for call, sent in lost:
            path = call.request.target
            self._fail(call, ConnectionLossError(reason, path, maybe_applied=sent, server=str(connection.server)))
        self._change(SessionInput.LOST, ConnectionLossError(reason, server=str(connection.server)))
        self.handle_timeout(now)

    def _finish(self, happened: SessionInput, error: ZooKeeperError, now: float) -> None:
        """The session is over."""
        connection = self._connection
        self.error = error
        lost: list[tuple[Call[Any], bool]] = []
        if connection is not None:
            self._drop(connection)
            lost = self._book.take_pending(connection)
        lost += [(call, False) for call in [*self._book.take_waiting(), *self._book.auth_waiting]]
        self._book.auth_waiting.clear()
        for call, sent in lost:
            self._fail(call, self._over_error(call, sent=sent))
        self._lose_watchers(error)
        self._change(happened, error)

    def _lose_watchers(self, error: ZooKeeperError) -> None:
        """Tell those who wait for watches that the session is over; lasting ones may have a successor of it."""
        kinds = [kind for kind in WatchKind if kind.one_shot or not isinstance(error, SessionExpiredError)]
        if watchers := self._watches.take(*kinds):
            self._events.append(WatchersLost(watchers, error))

    def _drop(self, connection: Connection) -> None:
        if connection.state is ConnectionState.SERVING:
            self.last_zxid = connection.last_zxid
        connection.advance(ConnectionInput.END)
        if connection.timeout:
            self._answered_sent = connection.answered_sent
        self._connection = None
        self._served = False
        self._establishment = None
        self._prober.stop()

    def _change(self, happened: SessionInput, error: ZooKeeperError | None = None) -> None:
        old = self.state
        self.state = next_state(SESSION_RULES, old, happened)
        if self.state is not old:
            self._events.append(StateChanged(old, self.state, error))

    # --- requests of its own

    def _send_own(self, request: Request[Any], then: Then) -> Call[Any]:
        """Send a request of the session's own on the connection, whatever its state."""
        assert self._connection is not None
        xid, frame = self._book.encode(request, own=True)
        call = Call(request, xid, b"")
        self._book.own[call] = then
        self._connection.send(call, frame)
        return call

    def _submit_own(self, request: Request[Any], then: Then) -> None:
        """Send a request of the session's own if it is served; without a connection nobody needs it."""
        if self._served:
            self._send_own(request, then)

    def _remove_watch(self, path: str, kind: WatchKind) -> None:
        for request in self._watches.removals(path, kind) if self._served else ():
            self._submit_own(request, self._watch_removed)

    def _watch_removed(self, call: Call[None], now: float) -> None:
        """Nothing is left to do; that there was no such watch is as good an answer."""
