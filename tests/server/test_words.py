"""Four-letter words of the in-memory server: read by our client's parsers and by the tools of the integration tests.

The texts that are spelt out here are what Apache ZooKeeper 3.9.5 answered after the same requests, with its ids, times
and counts of packets put in.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

import pytest

from tests.integration import tools
from tests.support.servers import ZooKeeperServer
from zk_sansio.acl import ACL, ANYONE
from zk_sansio.client import _four_letter as parsers
from zk_sansio.errors import FourLetterError
from zk_sansio.server import PROFILES, Connection, Ensemble, Server, ServerOptions, ServerState
from zk_sansio.server._words import _OPERATIONS, KNOWN, answer
from zk_sansio.wire import (
    XID_PING,
    AddWatch,
    AddWatchMode,
    CloseSession,
    ConnectRequest,
    Create,
    CreateMode,
    GetChildren2,
    GetData,
    OpCode,
    Ping,
    Request,
)

OPEN = [ACL(31, ANYONE)]
EPOCH = 1_000_000_000.0  # 2001-09-09 01:46:40 UTC


def ensemble(size: int = 1, *, read_only_mode: bool = False, words: frozenset[str] | None = None) -> Ensemble:
    options = ServerOptions(read_only_mode=read_only_mode, words=words, clock_offset=EPOCH)
    return Ensemble(size, options, random=Random(1), now=0.0)


def standalone() -> Server:
    return ensemble().servers[0]


def connect(
    server: Server, *requests: Request[Any], port: int = 5, address: str = "127.0.0.1", read_only: bool = False
) -> Connection:
    """A client with a session of 10 s that has made some requests."""
    connection = server.accept(0.0, address=address, port=port)
    assert connection is not None
    handshake = ConnectRequest(
        timeout_ms=10_000, last_zxid=0, session_id=0, password=bytes(16), read_only=read_only
    ).encode()
    connection.receive_data(handshake, 1.0)
    for xid, request in enumerate(requests, 1):
        connection.receive_data(request.encode(xid), 1.0)
    connection.data_to_send()
    assert connection.session_id
    return connection


def ask(server: Server, word: str, rest: bytes = b"") -> str:
    """Ask as a client does, by a connection of its own."""
    connection = server.accept(1.0, port=6)
    assert connection is not None
    connection.receive_data(word.encode() + rest, 1.0)
    assert connection.closed
    return connection.data_to_send().decode()


def hexadecimal(connection: Connection) -> str:
    return f"0x{connection.session_id & (2**64 - 1):x}"


def busy() -> list[Request[Any]]:
    return [
        Create("/a", b"x", OPEN, CreateMode.EPHEMERAL),
        GetData("/a", True),
        GetChildren2("/", True),
        AddWatch("/b", AddWatchMode.PERSISTENT_RECURSIVE),
    ]


class Texts:
    def __init__(self, server: Server) -> None:
        self._server = server

    def four_letter(self, word: str) -> str:
        return ask(self._server, word)


def texts_of(server: Server) -> ZooKeeperServer:
    """For the tools of the integration tests, which ask a server by a method of its own."""
    return cast("ZooKeeperServer", Texts(server))


# --- which are known, and which are answered


def test_our_client_knows_the_same_words() -> None:
    assert {word.decode() for word in KNOWN} == {*parsers.FOUR_LETTER_WORDS, "stmk"}


@pytest.mark.parametrize("split", range(1, 4))
@pytest.mark.parametrize("word", sorted(KNOWN))
def test_every_word_is_answered_however_it_comes(word: bytes, split: int) -> None:
    server = standalone()
    connection = server.accept(0.0)
    assert connection is not None
    rest = bytes(8) if word == b"stmk" else b"\n"
    connection.receive_data(word[:split], 0.0)
    assert not connection.closed
    connection.receive_data(word[split:] + rest, 0.0)
    assert connection.closed
    assert connection.data_to_send() or word in (b"hash", b"stmk")


@pytest.mark.parametrize("word", ["none", "RUOK", "Srvr", "kill", "lsnp"])
def test_other_words_are_no_words(word: str) -> None:
    assert ask(standalone(), word) == ""


def test_no_word_behind_the_handshake() -> None:
    server = standalone()
    connection = connect(server)
    connection.receive_data(b"srvr", 1.0)
    assert connection.closed
    assert connection.data_to_send() == b""


def test_the_list_of_words() -> None:
    (server,) = ensemble(words=frozenset({"ruok", "stat"})).servers
    assert ask(server, "ruok") == "imok"
    assert ask(server, "srvr").startswith("Zookeeper version: ")
    for word in ("mntr", "isro", "stmk", "gtmk"):
        assert ask(server, word) == f"{word} is not executed because it is not in the whitelist.\n"
        with pytest.raises(FourLetterError, match="whitelist"):
            parsers.check_reply(word, ask(server, word))
    (server,) = ensemble(words=frozenset(), read_only_mode=True).servers
    assert ask(server, "isro") == "rw"
    assert "whitelist" in ask(server, "ruok")


# --- in each state of a server


def leaderless(*, read_only_mode: bool = False) -> Server:
    whole = ensemble(3, read_only_mode=read_only_mode)
    for server in whole.servers[1:]:
        server.stop(1.0)
    return whole.servers[0]


def test_without_a_quorum() -> None:
    server = leaderless()
    assert server.state is ServerState.LOOKING
    assert (ask(server, "ruok"), ask(server, "isro"), ask(server, "gtmk")) == ("imok", "null", "306")
    assert ask(server, "envi").startswith("Environment:\n")
    with pytest.raises(FourLetterError, match="quorum"):
        parsers.parse_isro(ask(server, "isro"))
    for word in sorted({word.decode() for word in KNOWN} - {"ruok", "isro", "gtmk", "envi", "stmk"}):
        end = "" if word == "hash" else "\n"
        assert ask(server, word) == f"This ZooKeeper instance is not currently serving requests{end}"
        with pytest.raises(FourLetterError, match="quorum"):
            parsers.check_reply(word, ask(server, word))


def test_read_only() -> None:
    server = leaderless(read_only_mode=True)
    connection = connect(server, read_only=True)
    assert ask(server, "isro") == "ro"
    text = ask(server, "stat")
    assert text.split("\n")[1:4] == [
        "READ-ONLY mode; serving only read-only clients",
        "Clients:",
        " /127.0.0.1:5[1](queued=0,recved=1,sent=1)",
    ]
    stats = parsers.parse_srvr(text)
    assert stats.read_only
    assert (stats.mode, stats.connections) == ("read-only", 2)
    assert f"\t{hexadecimal(connection)}\nGlobal Sessions(0):\n" in ask(server, "dump")
    assert parsers.parse_mntr(ask(server, "mntr"))["zk_local_sessions"] == 1


def test_leader_and_followers() -> None:
    whole = ensemble(3)
    leader = whole.leader
    assert leader is not None
    follower = next(each for each in whole.servers if each is not leader)
    connection = connect(follower, *busy())
    stats = parsers.parse_srvr(ask(leader, "srvr"))
    assert (stats.mode, stats.proposal_sizes) == ("leader", parsers.ProposalSizes(-1, -1, -1))
    assert stats.zxid == leader.tree.last_zxid
    metrics = parsers.parse_mntr(ask(leader, "mntr"))
    assert (metrics["zk_synced_followers"], metrics["zk_quorum_size"]) == (2, 3)
    assert (metrics["zk_server_state"], metrics["zk_peer_state"]) == ("leader", "leading - broadcast")
    stats = parsers.parse_srvr(ask(follower, "srvr"))
    assert (stats.mode, stats.proposal_sizes) == ("follower", None)
    metrics = parsers.parse_mntr(ask(follower, "mntr"))
    assert (metrics["zk_server_state"], metrics["zk_peer_state"]) == ("follower", "following - broadcast")
    assert "zk_synced_followers" not in metrics
    for server in whole.servers:
        assert ask(server, "isro") == "rw"
        dump = parsers.parse_dump(ask(server, "dump"))
        assert dump.sessions == (connection.session_id,)
        assert dump.ephemerals == {connection.session_id: ("/a",)}
        settings = parsers.parse_conf(ask(server, "conf"))
        assert settings["serverId"] == str(server.id)
        assert settings["server.3"].startswith("127.0.0.1:")
        assert settings["version"] == "0"
    assert f"Global Sessions(1):\n{hexadecimal(connection)}\t10000ms\n" in ask(follower, "dump")


def test_down() -> None:
    server = standalone()
    server.stop(1.0)
    assert server.accept(1.0) is None


# --- what they say


def test_srvr_and_stat() -> None:
    server = standalone()
    connect(server, *busy(), Ping())
    text = ask(server, "srvr")
    version, rest = text.split("\n", 1)
    assert version == "Zookeeper version: 3.9.5-in-memory, built on 2026-01-01 00:00 UTC"
    assert [line for line in rest.split("\n") if not line.startswith(("Received", "Sent"))] == [
        "Latency min/avg/max: 0/0.0/0",
        "Connections: 2",
        "Outstanding: 0",
        "Zxid: 0x2",
        "Mode: standalone",
        "Node count: 6",
        "",
    ]
    text = ask(server, "stat")
    clients = text.split("\n")[1:5]
    assert clients == [
        "Clients:",
        " /127.0.0.1:5[1](queued=0,recved=6,sent=6)",
        clients[2].replace(":5[1]", ":6[0]").replace("recved=6,sent=6", clients[2].partition("(queued=0,")[2][:-1]),
        "",
    ]
    stats = parsers.parse_srvr(text)
    assert stats.version_info == (3, 9, 5)
    assert stats.received >= 6
    assert stats.sent >= 6
    assert len(parsers.parse_cons(text)) == 2


@pytest.mark.parametrize("name", PROFILES)
def test_versions(name: str) -> None:
    whole = Ensemble(1, ServerOptions(profile=PROFILES[name]), random=Random(1), now=0.0)
    assert parsers.parse_srvr(ask(whole.servers[0], "srvr")).version_info == PROFILES[name].version
    assert parsers.parse_envi(ask(whole.servers[0], "envi"))["zookeeper.version"].startswith("3.")


def test_cons() -> None:
    server = standalone()
    first = connect(server, *busy())
    second = connect(server, address="::1", port=7)
    lines = ask(server, "cons").split("\n")
    assert lines[0] == (
        f" /127.0.0.1:5[1](queued=0,recved=5,sent=5,sid={hexadecimal(first)},lop=ADDW,est=1000000000000,to=10000,"
        "lcxid=0x4,lzxid=0x2,lresp=1000,llat=0,minlat=0,avglat=0,maxlat=0)"
    )
    assert lines[1].startswith(f" /[::1]:7[1](queued=0,recved=1,sent=1,sid={hexadecimal(second)},lop=SESS,")
    assert lines[2].startswith(" /127.0.0.1:6[0](queued=0,recved=")
    assert lines[3:] == ["", ""]
    found = parsers.parse_cons("\n".join(lines))
    assert [each.get("sid") for each in found] == [first.session_id, second.session_id, None]
    assert found[0]["to"] == 10_000
    texts = texts_of(server)
    assert tools.open_connections(texts) == 2
    assert tools.connections_of(texts, first.session_id) == 1
    first.receive_data(b"", 2.0)
    assert tools.connections_of(texts, first.session_id) == 0


def test_cons_tells_the_operation() -> None:
    server = standalone()
    connection = connect(server)
    connection.receive_data(Ping().encode(XID_PING), 1.0)
    assert ",lop=PING," in ask(server, "cons")
    missing = {OpCode.AUTH, OpCode.SASL}
    assert {op for op in OpCode if op > 0 and op not in _OPERATIONS} <= missing


def test_watches() -> None:
    server = standalone()
    first = connect(server, *busy())
    second = connect(server, GetData("/a", True), port=7)
    connect(server, GetChildren2("/", True), port=8)  # invisible, as on real servers
    a, b = hexadecimal(first), hexadecimal(second)
    assert ask(server, "wchs") == "2 connections watching 2 paths\nTotal watches:3\n"
    assert ask(server, "wchc") == f"{a}\n\t/a\n\t/b\n{b}\n\t/a\n\n"
    assert ask(server, "wchp") == f"/a\n\t{a}\n\t{b}\n/b\n\t{a}\n\n"
    assert parsers.parse_wchs(ask(server, "wchs")) == (2, 2, 3)
    assert parsers.parse_wchc(ask(server, "wchc")) == {first.session_id: ("/a", "/b"), second.session_id: ("/a",)}
    assert parsers.parse_wchp(ask(server, "wchp")) == {
        "/a": (first.session_id, second.session_id),
        "/b": (first.session_id,),
    }
    assert tools.watches_of(texts_of(server), first.session_id) == {"/a", "/b"}
    assert tools.watches_of(texts_of(server), 17) == set()


def test_no_watches() -> None:
    server = standalone()
    assert ask(server, "wchs") == "0 connections watching 0 paths\nTotal watches:0\n"
    assert ask(server, "wchc") == ask(server, "wchp") == "\n"
    assert parsers.parse_wchc(ask(server, "wchc")) == {}


def test_dump() -> None:
    server = standalone()
    first = connect(server, *busy())
    second = connect(server, Create("/a b\u2028c", b"", OPEN, CreateMode.EPHEMERAL), port=7)
    a, b = hexadecimal(first), hexadecimal(second)
    assert ask(server, "dump") == (
        "SessionTracker dump:\n"
        "Session Sets (1)/(2):\n"
        "2 expire at Sun Sep 09 01:46:52 UTC 2001:\n"
        f"\t{a}\n"
        f"\t{b}\n"
        "ephemeral nodes dump:\n"
        "Sessions with Ephemerals (2):\n"
        f"{a}:\n"
        "\t/a\n"
        f"{b}:\n"
        "\t/a b\u2028c\n"
        "Connections dump:\n"
        "Connections Sets (1)/(3):\n"
        "3 expire at Sun Sep 09 01:47:00 UTC 2001:\n"
        f"\tip: /127.0.0.1:5 sessionId: {a}\n"
        f"\tip: /127.0.0.1:7 sessionId: {b}\n"
        "\tip: /127.0.0.1:6 sessionId: 0x0\n"
    )
    dump = parsers.parse_dump(ask(server, "dump"))
    assert dump.sessions == (first.session_id, second.session_id)
    assert dump.ephemerals == {first.session_id: ("/a",), second.session_id: ("/a b\u2028c",)}
    assert tools.ephemerals_of(texts_of(server), first.session_id) == {"/a"}
    first.receive_data(CloseSession().encode(9), 1.0)
    assert parsers.parse_dump(ask(server, "dump")).sessions == (second.session_id,)
    assert tools.ephemerals_of(texts_of(server), first.session_id) == set()


def test_sessions_that_expire_at_other_times() -> None:
    server = standalone()
    first, second = connect(server), connect(server, port=7)
    server.ensemble.handle_timeout(3.0)
    second.receive_data(Ping().encode(XID_PING), 5.0)
    text = ask(server, "dump")
    assert "Session Sets (2)/(2):\n1 expire at Sun Sep 09 01:46:52 UTC 2001:\n" in text
    assert parsers.parse_dump(text).sessions == (first.session_id, second.session_id)


def test_mntr() -> None:
    server = standalone()
    connect(server, *busy())
    metrics = parsers.parse_mntr(ask(server, "mntr"))
    assert str(metrics["zk_version"]).startswith("3.9.5-")
    expected = {
        "zk_server_state": "standalone",
        "zk_avg_latency": 0.0,
        "zk_num_alive_connections": 2,
        "zk_outstanding_requests": 0,
        "zk_uptime": 1000,
        "zk_znode_count": 6,
        "zk_ephemerals_count": 1,
        "zk_approximate_data_size": 47,
        "zk_global_sessions": 1,
        "zk_local_sessions": 0,
    }
    assert metrics.items() >= expected.items()
    assert "zk_peer_state" not in metrics


def test_conf_envi_and_dirs() -> None:
    server = standalone()
    settings = parsers.parse_conf(ask(server, "conf"))
    assert (settings["tickTime"], settings["minSessionTimeout"], settings["maxSessionTimeout"]) == (
        "2000",
        "4000",
        "40000",
    )
    assert "clientPort" in settings
    assert "membership" not in ask(server, "conf")
    assert parsers.parse_envi(ask(server, "envi"))["java.version"] == "<NA>"
    assert parsers.parse_dirs(ask(server, "dirs")) == {"datadir_size": 0, "logdir_size": 0}
    assert parsers.check_reply("hash", ask(server, "hash")) == ""


def test_resets() -> None:
    server = standalone()
    connection = connect(server, *busy())
    assert ask(server, "crst") == "Connection stats reset.\n"
    (line,) = [line for line in ask(server, "cons").split("\n") if "sid=" in line]
    assert line.startswith(f" /127.0.0.1:5[1](queued=0,recved=0,sent=0,sid={hexadecimal(connection)},lop=NA,est=")
    assert ",to=10000,lzxid=0xffffffffffffffff,lresp=" in line
    connection.receive_data(GetData("/a", False).encode(9), 1.0)
    assert "recved=1,sent=1," in ask(server, "cons")
    assert ask(server, "srst") == "Server stats reset.\n"
    stats = parsers.parse_srvr(ask(server, "srvr"))
    assert (stats.received, stats.sent) <= (1, 1)


@pytest.mark.parametrize(
    "rest, text", [(b"", b""), (bytes(7), b""), (b"\xff" * 8, b"-1"), (bytes(7) + b"\x11more", b"17")]
)
def test_trace_mask(rest: bytes, text: bytes) -> None:
    assert answer("stmk", standalone(), 0.0, rest) == text


@pytest.mark.parametrize(
    "parse", [parsers.parse_cons, parsers.parse_wchc, parsers.parse_wchp, parsers.parse_mntr, parsers.parse_dump]
)
def test_parsers_read_the_answers_of_a_new_server(parse: Callable[[str], object]) -> None:
    assert parse(ask(standalone(), parse.__name__.removeprefix("parse_"))) is not None
