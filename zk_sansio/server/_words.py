"""Four-letter words: what a server says about itself (org.apache.zookeeper.server.command).

Requests take no time here, so latencies are 0; and there is neither a Java to describe nor a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from math import floor
from typing import TYPE_CHECKING

from ..wire import OpCode
from ._states import ServerState

if TYPE_CHECKING:
    from ._connection import Connection
    from ._server import Server

__all__ = ["KNOWN", "answer"]

_NOT_SERVING = "This ZooKeeper instance is not currently serving requests"
_LATENCY = "0/0.0/0"
_CONNECTION_TICK = 10.0
"""Connections without a session are said to expire at multiples of it, in seconds (NIOServerCnxnFactory)."""

_TRACE_MASK = 0b1_0011_0010
"""Requests, packets of servers, sessions and warnings, which are not traced here (ZooTrace)."""

_OPERATIONS: dict[int, str] = {
    OpCode.PING: "PING",
    OpCode.MULTI: "MULT",
    OpCode.MULTI_READ: "MLTR",
    OpCode.CREATE: "CREA",
    OpCode.CREATE2: "CREA",
    OpCode.CREATE_TTL: "CREA",
    OpCode.CREATE_CONTAINER: "CREA",
    OpCode.DELETE: "DELE",
    OpCode.SET_DATA: "SETD",
    OpCode.RECONFIG: "RECO",
    OpCode.SET_ACL: "SETA",
    OpCode.CLOSE_SESSION: "CLOS",
    OpCode.SYNC: "SYNC",
    OpCode.CHECK: "CHEC",
    OpCode.EXISTS: "EXIS",
    OpCode.GET_DATA: "GETD",
    OpCode.SET_WATCHES: "SETW",
    OpCode.SET_WATCHES2: "STW2",
    OpCode.ADD_WATCH: "ADDW",
    OpCode.GET_ACL: "GETA",
    OpCode.GET_CHILDREN: "GETC",
    OpCode.GET_CHILDREN2: "GETC",
    OpCode.GET_ALL_CHILDREN_NUMBER: "GETACN",
    OpCode.CHECK_WATCHES: "CHKW",
    OpCode.REMOVE_WATCHES: "REMW",
    OpCode.WHO_AM_I: "HOMI",
    OpCode.GET_EPHEMERALS: "GETE",
}
"""What cons calls the requests (FinalRequestProcessor)."""


def answer(word: str, server: Server, now: float, rest: bytes = b"") -> bytes:
    """Answer a word; the connection is closed behind the answer.

    Args:
        word: one of those `KNOWN`.
        server: who is asked.
        now: the time.
        rest: what came behind the word; only stmk takes something.
    """
    allowed = server.options.words
    if allowed is not None and word not in allowed | _always(server):
        return f"{word} is not executed because it is not in the whitelist.\n".encode()
    if word == "stmk":
        return str(int.from_bytes(rest[:8], "big", signed=True)).encode() if len(rest) >= 8 else b""
    if word in _ANY_TIME:
        return _ANY_TIME[word](server).encode()
    if not server.state.serving:
        return _NOT_SERVING.encode() if word == "hash" else f"{_NOT_SERVING}\n".encode()
    return _SERVING[word](server, now).encode("utf-8", "replace")


def _always(server: Server) -> set[str]:
    """What is answered whatever the options say: tools of ZooKeeper's own need it."""
    return {"srvr", "isro"} if server.options.read_only_mode else {"srvr"}


# --- whether there is a quorum or not


def _ruok(server: Server) -> str:
    return "imok"


def _isro(server: Server) -> str:
    if not server.state.serving:
        return "null"
    return "ro" if server.state is ServerState.READ_ONLY else "rw"


def _gtmk(server: Server) -> str:
    return str(_TRACE_MASK)


def _envi(server: Server) -> str:
    names = (
        *("host.name", "java.version", "java.vendor", "java.home", "java.class.path", "java.library.path"),
        *("java.io.tmpdir", "java.compiler", "os.name", "os.arch", "os.version", "user.name", "user.home", "user.dir"),
    )
    lines = [f"zookeeper.version={_version(server)}", *(f"{name}=<NA>" for name in names)]
    return "".join(f"{line}\n" for line in ["Environment:", *lines])


# --- the server


def _version(server: Server) -> str:
    return ".".join(map(str, server.options.profile.version)) + "-in-memory, built on 2026-01-01 00:00 UTC"


def _srvr(server: Server, now: float) -> str:
    return _statistics(server, "")


def _stat(server: Server, now: float) -> str:
    clients = "".join(f"{_connection(each)})\n" for each in server.connections)
    return _statistics(server, f"Clients:\n{clients}\n")


def _statistics(server: Server, clients: str) -> str:
    lines = [
        f"Latency min/avg/max: {_LATENCY}",
        f"Received: {server.received}",
        f"Sent: {server.sent}",
        f"Connections: {len(server.connections)}",
        f"Outstanding: {_outstanding(server)}",
        f"Zxid: {_hexadecimal(server.tree.last_zxid)}",
        f"Mode: {server.state.value}",
        f"Node count: {_node_count(server)}",
    ]
    if server.state is ServerState.LEADER:
        lines.append("Proposal sizes last/min/max: -1/-1/-1")
    read_only = "READ-ONLY mode; serving only read-only clients\n" if server.state is ServerState.READ_ONLY else ""
    head = f"Zookeeper version: {_version(server)}\n{read_only}{clients}"
    return head + "".join(f"{line}\n" for line in lines)


def _outstanding(server: Server) -> int:
    return sum(each.outstanding for each in server.connections)


def _node_count(server: Server) -> int:
    return len(server.tree.nodes) + 1  # DataTree has the root twice, as "" and as "/"


def _reset(server: Server, now: float) -> str:
    server.received = server.sent = 0
    return "Server stats reset.\n"


def _reset_connections(server: Server, now: float) -> str:
    for connection in server.connections:
        connection.received = connection.sent = 0
        connection.last_operation = 0  # which has no name
        connection.last_xid = connection.last_zxid = -1
    return "Connection stats reset.\n"


def _mntr(server: Server, now: float) -> str:
    tree, ensemble = server.tree, server.ensemble
    roles = {ServerState.LEADER: "leading - broadcast", ServerState.FOLLOWER: "following - broadcast"}
    followers = [each for each in ensemble.servers if each.state is ServerState.FOLLOWER]
    metrics: dict[str, str | int | float] = {"version": _version(server), "server_state": server.state.value}
    if server.state in roles:
        metrics |= {"peer_state": roles[server.state], "quorum_size": len(ensemble.config.voters)}
    metrics |= {
        "avg_latency": 0.0,
        "max_latency": 0,
        "min_latency": 0,
        "packets_received": server.received,
        "packets_sent": server.sent,
        "num_alive_connections": len(server.connections),
        "outstanding_requests": _outstanding(server),
        "uptime": floor((now - server.started) * 1000),
        "znode_count": _node_count(server),
        "watch_count": server.watches.count,
        "ephemerals_count": sum(map(len, tree.ephemerals.values())),
        "approximate_data_size": sum(len(path) + len(node.data or b"") for path, node in tree.nodes.items()),
        "global_sessions": len(ensemble.sessions),
        "local_sessions": len(server.local_sessions),
    }
    if server.state is ServerState.LEADER:
        metrics |= {"learners": len(followers), "synced_followers": len(followers), "synced_observers": 0}
    return "".join(f"zk_{name}\t{value}\n" for name, value in metrics.items())


def _conf(server: Server, now: float) -> str:
    options, config = server.options, server.ensemble.config
    member = server.id in config.members
    low, high = options.session_timeouts
    settings: dict[str, str | int] = {
        "clientPort": server.port,
        "secureClientPort": -1,
        "dataDir": "",
        "dataDirSize": 0,
        "dataLogDir": "",
        "dataLogSize": 0,
        "tickTime": floor(options.tick * 1000),
        "maxClientCnxns": 0,
        "minSessionTimeout": low,
        "maxSessionTimeout": high,
        "clientPortListenBacklog": -1,
        "serverId": server.id if member else 0,
    }
    text = "".join(f"{name}={value}\n" for name, value in settings.items())
    return f"{text}membership: \n{config.encode().decode()}" if member else text


def _dirs(server: Server, now: float) -> str:
    return "datadir_size: 0\nlogdir_size: 0\n"


def _hash(server: Server, now: float) -> str:
    return ""  # no digests are kept


# --- connections, sessions and watches


def _cons(server: Server, now: float) -> str:
    return "".join(f"{_full(each)}\n" for each in server.connections) + "\n"


def _connection(connection: Connection) -> str:
    """A connection in short, without the last parenthesis."""
    counts = f"queued={connection.outstanding},recved={connection.received},sent={connection.sent}"
    # A connection with a session is read from (1); the one that asks is not (0).
    return f" {_address(connection)}[{1 if connection.session_id else 0}]({counts}"


def _address(connection: Connection) -> str:
    host = f"[{connection.address}]" if ":" in connection.address else connection.address
    return f"/{host}:{connection.port}"


def _full(connection: Connection) -> str:
    session = connection.session
    if session is None:
        return f"{_connection(connection)})"
    facts = [
        f"sid={_hexadecimal(connection.session_id)}",
        f"lop={_operation(connection)}",
        f"est={floor((connection.established + connection.options.clock_offset) * 1000)}",
        f"to={connection.session_timeout_ms}",
        *([f"lcxid={_hexadecimal(connection.last_xid)}"] if connection.last_xid >= 0 else []),
        f"lzxid={_hexadecimal(connection.last_zxid)}",
        f"lresp={floor(session.touched * 1000)}",
        "llat=0,minlat=0,avglat=0,maxlat=0",
    ]
    return f"{_connection(connection)},{','.join(facts)})"


def _operation(connection: Connection) -> str:
    if connection.last_operation is None:
        return "SESS"
    return _OPERATIONS.get(connection.last_operation, "NA")


def _dump(server: Server, now: float) -> str:
    return "".join(
        (
            f"SessionTracker dump:\n{_sessions(server)}",
            f"ephemeral nodes dump:\n{_ephemerals(server)}",
            f"Connections dump:\nConnections {_connections(server)}",
        )
    )


def _sessions(server: Server) -> str:
    """A leader knows when they expire, the others only that they are there (LearnerSessionTracker)."""
    sessions = server.ensemble.sessions
    if server.state in (ServerState.STANDALONE, ServerState.LEADER):
        return "Session " + _sets(server, ((each.expires, _hexadecimal(number)) for number, each in sessions.items()))
    local = ""
    if server.state is ServerState.READ_ONLY:
        own = ((each.expires, _hexadecimal(number)) for number, each in server.local_sessions.items())
        local = f"Local Session {_sets(server, own)}"
    lines = [f"{_hexadecimal(number)}\t{sessions[number].timeout_ms}ms\n" for number in sorted(sessions)]
    return f"{local}Global Sessions({len(lines)}):\n{''.join(lines)}"


def _ephemerals(server: Server) -> str:
    owned = server.tree.ephemerals
    text = "".join(f"{_hexadecimal(owner)}:\n{_indented(paths)}" for owner, paths in owned.items())
    return f"Sessions with Ephemerals ({len(owned)}):\n{text}"


def _connections(server: Server) -> str:
    who = ((each, f"ip: {_address(each)} sessionId: {_hexadecimal(each.session_id)}") for each in server.connections)
    return _sets(server, ((_connection_expires(each), text) for each, text in who))


def _connection_expires(connection: Connection) -> float:
    session, due = connection.session, connection.established + _CONNECTION_TICK
    if session is not None:
        due = session.touched + session.timeout_ms / 1000
    return (floor(due / _CONNECTION_TICK) + 1) * _CONNECTION_TICK


def _sets(server: Server, elements: Iterable[tuple[float, str]]) -> str:
    """What expires when (ExpiryQueue)."""
    sets: dict[float, list[str]] = {}
    for expires, element in elements:
        sets.setdefault(expires, []).append(element)
    lines = [f"Sets ({len(sets)})/({sum(map(len, sets.values()))}):\n"]
    for expires, together in sorted(sets.items()):
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=expires + server.options.clock_offset)
        lines.append(f"{len(together)} expire at {when:%a %b %d %H:%M:%S} UTC {when.year}:\n{_indented(together)}")
    return "".join(lines)


def _wchs(server: Server, now: float) -> str:
    by_path = [watchers for _, watchers in server.watches.by_path()]
    connections = {watcher for watchers in by_path for watcher in watchers}
    total = sum(map(len, by_path))
    return f"{len(connections)} connections watching {len(by_path)} paths\nTotal watches:{total}\n"


def _wchc(server: Server, now: float) -> str:
    found = ((each, server.watches.paths(each)) for each in server.connections)
    return "".join(f"{_hexadecimal(each.session_id)}\n{_indented(paths)}" for each, paths in found if paths) + "\n"


def _wchp(server: Server, now: float) -> str:
    return (
        "".join(
            f"{path}\n{_indented(_hexadecimal(each.session_id) for each in watchers)}"
            for path, watchers in server.watches.by_path()
        )
        + "\n"
    )


def _indented(lines: Iterable[str]) -> str:
    return "".join(f"\t{line}\n" for line in lines)


def _hexadecimal(number: int) -> str:
    """As Java prints a long: negative ones as if they had no sign."""
    return f"0x{number & (2**64 - 1):x}"


_ANY_TIME: dict[str, Callable[[Server], str]] = {"envi": _envi, "gtmk": _gtmk, "isro": _isro, "ruok": _ruok}

_SERVING: dict[str, Callable[[Server, float], str]] = {
    "conf": _conf,
    "cons": _cons,
    "crst": _reset_connections,
    "dirs": _dirs,
    "dump": _dump,
    "hash": _hash,
    "mntr": _mntr,
    "srst": _reset,
    "srvr": _srvr,
    "stat": _stat,
    "wchc": _wchc,
    "wchp": _wchp,
    "wchs": _wchs,
}

KNOWN = frozenset(word.encode() for word in ("stmk", *_ANY_TIME, *_SERVING))
"""What is answered; any other first bytes of a connection are the length of a frame."""
