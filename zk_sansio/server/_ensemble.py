"""The whole: one log of changes, the sessions, and the servers that follow the log.

With one server there is nothing to agree on. With more, one of them leads as long as a majority is connected
to it; a follower may lag. What is in the log is committed, so a new leader knows all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from typing import Any, Protocol, TypeVar

from ..acl import Id
from ..errors import ErrorCode, InvalidRequestError, LocalProtocolError, error_from_code
from ..wire import DECODE_ERRORS, HEADER, REQUESTS, Failed, Frame, OpCode, Reconfig, Request, Stat, Znode
from ._access import allowed, digest_identity
from ._config import Config
from ._connection import Connection
from ._faults import Faults
from ._handshake import answer_handshake
from ._options import ServerOptions
from ._prepare import Asker, prepare
from ._reads import READS
from ._refused import RefusedError
from ._server import Server
from ._sessions import Session, Sessions, next_tick
from ._states import ServerState
from ._tree import (
    CONFIG,
    Change,
    Checked,
    DataSet,
    Entry,
    Refusal,
    Removed,
    Result,
    SessionClosed,
    SessionOpened,
    weight,
)

__all__ = ["Ensemble", "RandomBits"]

R = TypeVar("R")

_MOST_LOG_BYTES = 64 * 1024 * 1024
"""Data that old changes may keep in memory."""


class RandomBits(Protocol):
    """Where secrets and ids come from, such as ``random.Random()``."""

    def getrandbits(self, count: int, /) -> int:
        """So many random bits."""


class Ensemble:
    """An in-memory ZooKeeper of one server or several, without I/O and without a clock.

    After any input, look at `take_ready` and `next_timeout`.

    Args:
        size: how many servers; one is a standalone server.
        options: how they behave.
        random: where secrets and ids come from.
        now: the time.

    Attributes:
        servers: all of them, by number.
        leader: who orders the writes; None while there is no quorum.
        log: the last changes that were committed, oldest first; see `ServerOptions.log_size`.
        log_start: how many older ones are gone.
        sessions: those that live, apart from those of read-only servers.
        config: the members.
        super_identity: what makes a client one that may do everything; None if nothing does.
    """

    def __init__(self, size: int = 1, options: ServerOptions | None = None, *, random: RandomBits, now: float) -> None:
        if size < 1:
            raise InvalidRequestError(f"an ensemble has at least one server, not {size}")
        self.options: ServerOptions = options or ServerOptions()
        self.log: list[Entry] = []
        self.log_start: int = 0
        self.leader: Server | None = None
        self._random = random
        self._secret = self.random_bytes(16)
        self.sessions: Sessions = self.make_sessions()
        self.servers: tuple[Server, ...] = tuple(Server(self, number, now) for number in range(1, size + 1))
        self.config: Config = Config({each.id: _spec(each.id, 0) for each in self.servers} if size > 1 else {}, 0)
        secret = self.options.super_password
        self.super_identity: Id | None = None if secret is None else digest_identity(secret.encode())
        self._zxid = self._log_bytes = 0
        self._ready: dict[Connection, None] = {}
        self._faults: dict[Faults, None] = {}
        self._election: float | None = None
        self._cleaned = now
        self._reconfigured = False
        if size > 1:
            self._write_config()
        self.reorganize(now, at_once=True)

    def random_bytes(self, count: int) -> bytes:
        """Bytes that nobody can guess, if the source of randomness is a good one."""
        return self._random.getrandbits(8 * count).to_bytes(count, "big")

    def make_sessions(self) -> Sessions:
        """An empty table of sessions whose ids nobody has had."""
        return Sessions(self._secret, self._random.getrandbits(40) << 16, self.options.tick)

    # --- time, and what is to be sent

    def next_timeout(self) -> float:
        """When to call `handle_timeout`; inf if nothing is to come."""
        due = min([each.next_timeout() for each in self.servers])
        due = min([due, *[each.next_timeout() for each in self._faults]])
        if self._election is not None:
            due = min(due, self._election)
        if self.leader is not None:
            due = min(due, self.sessions.next_timeout())
            if self.leader.tree.mortals:
                due = min(due, self._cleanup_due())
        return due

    def handle_timeout(self, now: float) -> None:
        """Do what is due: elections, expiries, changes that arrive, removals, delayed bytes."""
        for faults in list(self._faults):
            faults.handle_timeout(now)
        if self._election is not None and self._election <= now:
            self._elect(now)
        for server in self.servers:
            server.catch_up(now)
            if server.state is ServerState.READ_ONLY:
                for session in server.local_sessions.expired(now):
                    _end_local(server, session)
        if self.leader is not None:
            for session in self.sessions.expired(now):
                self.expire(session.session_id, now)
            if self._cleanup_due() <= now:
                self._clean_up(now)

    def take_ready(self) -> list[Connection]:
        """The connections that have bytes to send, or were closed, since the last time."""
        ready = list(self._ready)
        self._ready.clear()
        return ready

    def mark(self, connection: Connection) -> None:
        """A connection has something to send, or was closed."""
        self._ready[connection] = None

    def heed(self, faults: Faults) -> None:
        """Keep the time for these faults, too."""
        self._faults[faults] = None

    def forget(self, faults: Faults) -> None:
        """These faults have no connection any more, and will have none."""
        self._faults.pop(faults, None)

    def _cleanup_due(self) -> float:
        return next_tick(self._cleaned, self.options.cleanup_interval)

    def _clean_up(self, now: float) -> None:
        """Remove containers and znodes whose time to live is over (ContainerManager)."""
        self._cleaned = now
        assert self.leader is not None
        for path in self.leader.tree.perishable(self._time_ms(now)):
            self.commit(Removed(path), 0, now)

    def _time_ms(self, now: float) -> int:
        return floor((now + self.options.clock_offset) * 1000)

    # --- sessions

    def open_session(self, connection: Connection, timeout_ms: int, now: float) -> None:
        """Begin a session at a connection, which hears of it as soon as its server does."""
        session = self.sessions.make(timeout_ms, now, connection.server.id)
        session.holder = connection
        connection.blocked = True

        def answer(_: Result, later: float) -> None:
            answer_handshake(connection, session)
            connection.resume(later)

        self.commit(SessionOpened(timeout_ms), session.session_id, now, (connection.server, answer))

    def expire(self, session_id: int, now: float) -> bool:
        """End a session as its timeout does; False if there is none, or no leader, without which no session ends."""
        if session_id not in self.sessions or self.leader is None:
            return False
        self.commit(SessionClosed(), session_id, now)
        return True

    def move(self, session_id: int, server: Server, now: float) -> None:
        """Let a session be resumed at another server, as by somebody who knows its password.

        The connection that held it is closed at its next request, or at once if it is one of *server*.

        Raises:
            KeyError: there is no such session.
        """
        session = self.sessions[session_id]
        session.holder, session.touched = None, now
        for connection in server.connections:
            if connection.session_id == session_id:
                connection.close()

    # --- writes

    def write(self, connection: Connection, xid: int, opcode: int, frame: Frame, now: float) -> None:
        """Carry out a write; the connection goes on when its server knows the outcome."""
        server, session_id = connection.server, connection.session_id
        request: Request[Any] | None = None
        change: Change
        if opcode == OpCode.CLOSE_SESSION:
            if session_id in server.local_sessions:
                server.local_sessions.end(session_id)
                connection.reply(xid, server.tree.last_zxid, 0)
                connection.end()
                return
            change = SessionClosed()
        elif connection.session is not None and session_id not in self.sessions:
            change = Refusal(ErrorCode.SESSION_EXPIRED)  # this server has not heard of the end yet
        else:
            try:
                request, _ = REQUESTS[opcode].parse(frame, 8)
            except DECODE_ERRORS:
                # A multi takes a zxid even when it cannot be read; whether others do depends on the version.
                if opcode != OpCode.MULTI and (opcode == OpCode.RECONFIG or not self.options.profile.numbers_garbage):
                    connection.reply(xid, server.tree.last_zxid, ErrorCode.MARSHALLING_ERROR)
                    connection.resume(now)
                    return
                change = Refusal(ErrorCode.MARSHALLING_ERROR)
            else:
                change = self._prepare(request, connection)

        def answer(result: Result, later: float) -> None:
            if isinstance(change, Checked):  # outside of a multi it is never answered
                connection.resume(later)
                return
            code, body = 0, b""
            if isinstance(result, Failed):
                code = result.code
            elif isinstance(request, Reconfig):
                assert isinstance(change, DataSet)
                assert isinstance(result, Stat)
                body = request.encode_reply(Znode(change.data, result))
            elif request is not None:
                body = request.encode_reply(result)
            connection.reply(xid, server.tree.last_zxid, code, body)
            if request is None and code == 0:
                connection.end()
            connection.resume(later)

        self.commit(change, session_id, now, (server, answer))

    def _prepare(self, request: Request[Any], connection: Connection) -> Change:
        assert self.leader is not None
        asker = Asker(connection.session_id, connection.identities)
        try:
            if isinstance(request, Reconfig):
                return self._reconfigure(request, asker)
            return prepare(request, asker, self.leader.tree, self.options)
        except RefusedError as refused:
            return Refusal(refused.code)

    def commit(
        self,
        change: Change,
        session_id: int,
        now: float,
        asked: tuple[Server, Callable[[Result, float], None]] | None = None,
    ) -> None:
        """Add a change to the log; the leader applies it at once, followers as it reaches them."""
        assert self.leader is not None
        if not self.leader.tree.mortals:
            self._cleaned = max(self._cleaned, now)  # there was nothing to remove so far
        self._zxid += 1
        if asked is not None:
            server, answer = asked
            server.remember(self.log_end, answer)
        self.log.append(Entry(self._zxid, self._time_ms(now), session_id, change))
        self._log_bytes += weight(change)
        if isinstance(change, SessionClosed):
            self.sessions.end(session_id)
        for server in self.servers:
            if server.state is ServerState.FOLLOWER:
                server.expect(now)
        self.leader.apply_all(now)
        for server in self.servers:
            server.catch_up(now)
        if len(self.log) > 2 * self.options.log_size or self._log_bytes > _MOST_LOG_BYTES:
            self._forget_changes()

    @property
    def log_end(self) -> int:
        """How many changes there have ever been."""
        return self.log_start + len(self.log)

    def _forget_changes(self) -> None:
        """Drop old changes, but none that a follower still waits for."""
        needed = min(each.applied for each in self.servers if each.state.voting) - self.log_start
        dropped = 0
        while dropped < needed and (
            len(self.log) - dropped > self.options.log_size or self._log_bytes > _MOST_LOG_BYTES // 2
        ):
            self._log_bytes -= weight(self.log[dropped].change)
            dropped += 1
        del self.log[:dropped]
        self.log_start += dropped

    def execute(self, request: Request[R], now: float, *, session_id: int = 0, at: Server | None = None) -> R:
        """Carry out a request, as somebody else's doing who may do everything.

        Args:
            request: which; one that sets a watch leaves none.
            now: the time.
            session_id: the session that ephemerals are to belong to; 0 for none.
            at: the server to read from, in whatever state it is; None for the leader, who alone can write.

        Raises:
            ServerError: with the error code of the reply.
            LocalProtocolError: there is no leader, or no such session.
        """
        server = at if at is not None and request.opcode in READS else self.leader
        if server is None:
            raise LocalProtocolError("no member leads; start the servers, or let them meet, and let the election end")
        if session_id and session_id not in self.sessions:
            raise LocalProtocolError(f"there is no session {session_id:#x}")
        connection = Connection.inside(server, session_id, now)
        frame = request.encode(1)
        connection.receive_frame(frame[4:], now)
        reply = connection.data_to_send()
        connection.close()
        self._ready.pop(connection, None)
        if not reply:  # some servers do not answer what they do not know
            raise error_from_code(ErrorCode.UNIMPLEMENTED, request.target, operation=request.name)
        _, zxid, code = HEADER.unpack_from(reply, 4)
        if code:
            raise error_from_code(code, request.target, operation=request.name, zxid=zxid)
        return request.decode(reply, 4 + HEADER.size)

    # --- the members

    def listens(self, server: Server, port: int, host: str = "127.0.0.1") -> None:
        """Take note of where a server can be reached, for /zookeeper/config; an IPv6 address comes in brackets."""
        server.port = port
        if len(self.servers) > 1 and not self._reconfigured:
            spec = _spec(server.id, port, host)
            self.config = Config({**self.config.members, server.id: spec}, self.config.version)
            self._write_config()

    def _write_config(self) -> None:
        for server in self.servers:
            node = server.tree.nodes[CONFIG]
            node.data, node.version = self.config.encode(), -1

    def _reconfigure(self, request: Reconfig, asker: Asker) -> Change:
        if not self.options.reconfig:
            raise RefusedError(ErrorCode.RECONFIG_DISABLED)
        if len(self.servers) == 1:
            raise RefusedError(ErrorCode.UNIMPLEMENTED)
        synced = frozenset(each.id for each in self.servers if each.state.voting)
        config = self.config.changed(request, self._zxid + 1, synced)
        assert self.leader is not None
        if not allowed(self.leader.tree.nodes[CONFIG].acl, 2, asker.identities):
            raise RefusedError(ErrorCode.NO_AUTH)
        self.config, self._reconfigured = config, True
        return DataSet(CONFIG, config.encode(), -1)

    def reorganize(self, now: float, *, at_once: bool = False) -> None:
        """Find out who can lead, now that servers came or went."""
        for server in self.servers:
            if not server.up:
                server.turn(ServerState.DOWN)
        connected = [each for each in self.servers if each.up and not each.isolated]
        if len(self.servers) == 1:
            connected = [each for each in self.servers if each.up]
            has_quorum = bool(connected)
        else:
            has_quorum = self.config.has_quorum(frozenset(each.id for each in connected))
        if self.leader is not None and not (has_quorum and self.leader in connected):
            self.leader = None
        for server in self.servers:
            if server.up and (server not in connected or not has_quorum):
                alone = ServerState.READ_ONLY if self.options.read_only_mode else ServerState.LOOKING
                server.turn(alone)
        if not has_quorum:
            self._election = None
        elif self.leader is not None:
            for server in connected:
                self._follow(server, now)
        elif at_once or len(self.servers) == 1:
            self._elect(now)
        else:
            for server in connected:
                server.turn(ServerState.LOOKING)
            if self._election is None:
                self._election = now + self.options.election_time

    def _elect(self, now: float) -> None:
        self._election = None
        voters = self.config.voters
        candidates = [each for each in self.servers if each.up and not each.isolated and each.id in voters]
        if len(self.servers) == 1:
            candidates = list(self.servers)
        leader = max(candidates, key=lambda each: (each.applied, each.id))
        leader.turn(ServerState.STANDALONE if len(self.servers) == 1 else ServerState.LEADER)
        self.leader = leader
        if len(self.servers) > 1:
            self._zxid = ((self._zxid >> 32) + 1) << 32
        self.sessions.touch_all(now)
        leader.apply_all(now)
        for server in self.servers:
            if server.up and not server.isolated:
                self._follow(server, now)

    def _follow(self, server: Server, now: float) -> None:
        """Let a server follow the leader; what it has missed is sent to it before it serves anybody."""
        if server is not self.leader and server.state is not ServerState.FOLLOWER:
            server.turn(ServerState.LOOKING)
            server.apply_all(now)
            server.turn(ServerState.FOLLOWER)


def _spec(number: int, port: int, host: str = "127.0.0.1") -> str:
    return f"{host}:{2887 + number}:{3887 + number}:participant;{host}:{port}"


def _end_local(server: Server, session: Session) -> None:
    """A session of a read-only server is over."""
    server.local_sessions.end(session.session_id)
    for connection in server.connections:
        if connection.session_id == session.session_id:
            connection.end()
