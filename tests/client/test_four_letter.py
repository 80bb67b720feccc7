"""The texts are captured from Apache ZooKeeper 3.8.0 and 3.9.5, unless they say otherwise."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zk_sansio.client._four_letter import (
    FOUR_LETTER_WORDS,
    LatencyStats,
    ProposalSizes,
    ServerStats,
    SessionDump,
    WatchSummary,
    check_reply,
    parse_conf,
    parse_cons,
    parse_dirs,
    parse_dump,
    parse_envi,
    parse_isro,
    parse_mntr,
    parse_srvr,
    parse_wchc,
    parse_wchp,
    parse_wchs,
)
from zk_sansio.errors import FourLetterError, ZooKeeperError

NOT_SERVING = "This ZooKeeper instance is not currently serving requests\n"

STANDALONE_380 = """\
Zookeeper version: 3.8.0-${mvngit.commit.id}, built on 2024-12-29 17:54 UTC
Latency min/avg/max: 0/1.8889/5
Received: 12
Sent: 11
Connections: 2
Outstanding: 0
Zxid: 0x4
Mode: standalone
Node count: 8
"""

LEADER_395 = """\
Zookeeper version: 3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC
Latency min/avg/max: 0/0.0/0
Received: 2
Sent: 1
Connections: 1
Outstanding: 0
Zxid: 0x200000002
Mode: leader
Node count: 7
Proposal sizes last/min/max: 88/86/88
"""

READ_ONLY_395_STAT = """\
Zookeeper version: 3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC
READ-ONLY mode; serving only read-only clients
Clients:
 /127.0.0.1:51692[0](queued=0,recved=1,sent=0)

Latency min/avg/max: 0/0.0/0
Received: 2
Sent: 1
Connections: 1
Outstanding: 0
Zxid: 0x100000000
Mode: read-only
Node count: 5
"""


# --- srvr and stat ---


def test_srvr() -> None:
    stats = parse_srvr(STANDALONE_380)
    assert stats == ServerStats(
        version="3.8.0-${mvngit.commit.id}, built on 2024-12-29 17:54 UTC",
        mode="standalone",
        zxid=4,
        connections=2,
        outstanding=0,
        node_count=8,
        latency=LatencyStats(min=0, avg=1.8889, max=5),
        received=12,
        sent=11,
        read_only=False,
    )
    assert stats.version_info == (3, 8, 0)


def test_srvr_of_a_leader() -> None:
    stats = parse_srvr(LEADER_395)
    assert (stats.mode, stats.zxid, stats.version_info) == ("leader", 0x200000002, (3, 9, 5))
    assert stats.proposal_sizes == ProposalSizes(last=88, min=86, max=88)
    before = parse_srvr(LEADER_395.replace("88/86/88", "-1/-1/-1"))
    assert before.proposal_sizes == ProposalSizes(-1, -1, -1)


def test_stat_of_a_read_only_server() -> None:
    stats = parse_srvr(READ_ONLY_395_STAT)
    assert stats.read_only
    assert stats.mode == "read-only"
    assert parse_cons(READ_ONLY_395_STAT) == [{"address": "127.0.0.1:51692", "queued": 0, "recved": 1, "sent": 0}]


def test_srvr_of_other_servers() -> None:
    # Not captured: the lines as ClickHouse Keeper has them in its source, and 3.5 with whole milliseconds.
    keeper = STANDALONE_380.replace("Zookeeper version: 3.8.0-${mvn", "ClickHouse Keeper version: v23.8.1.94-${mvn")
    stats = parse_srvr(keeper.replace("0/1.8889/5", "0/1/5").replace("0x4", "34").replace("\n", "\r\n"))
    assert stats.version_info == (23, 8, 1, 94)
    assert stats.latency == (0, 1.0, 5)
    assert stats.zxid == 34
    assert parse_srvr(STANDALONE_380.replace("3.8.0", "unknown")).version_info == ()


@pytest.mark.parametrize(
    "text",
    [
        "imok",
        STANDALONE_380.replace("Mode: standalone\n", ""),
        STANDALONE_380.replace("version", "x"),
        STANDALONE_380.replace("Zxid: 0x4", "Zxid: four"),
        STANDALONE_380.replace("0/1.8889/5", "0/1"),
        LEADER_395.replace("88/86/88", "88/86"),
        LEADER_395.replace("88/86/88", "88/86/88/1"),
        "HTTP/1.1 400 Bad Request\r\n\r\n" + "x" * 100,
    ],
)
def test_srvr_of_something_else(text: str) -> None:
    with pytest.raises(FourLetterError, match="not the answer of a ZooKeeper server") as caught:
        parse_srvr(text)
    assert len(str(caught.value)) < 150


# --- mntr ---


def test_mntr() -> None:
    text = (
        "zk_version\t3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC\n"
        "zk_server_state\tfollower\n"
        "zk_peer_state\tfollowing - broadcast\n"
        "zk_ephemerals_count\t0\n"
        "zk_avg_latency\t3.2857\n"
        "zk_min_client_response_size\t-1\n"
        "zk_connection_drop_probability\t0.0\n"
    )
    metrics = parse_mntr(text)
    assert metrics == {
        "zk_version": "3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC",
        "zk_server_state": "follower",
        "zk_peer_state": "following - broadcast",
        "zk_ephemerals_count": 0,
        "zk_avg_latency": 3.2857,
        "zk_min_client_response_size": -1,
        "zk_connection_drop_probability": 0.0,
    }
    assert isinstance(metrics["zk_ephemerals_count"], int)
    assert isinstance(metrics["zk_connection_drop_probability"], float)


def test_mntr_is_lenient() -> None:
    # Not captured.
    metrics = parse_mntr(
        "a line without a value\n\nx\tNaN\r\ny\t1.5E-4\nz\t1_000\nbig\t" + "9" * 5000 + "\nold\t3.4.14\n"
    )
    assert metrics.keys() == {"x", "y", "z", "big", "old"}
    assert isinstance(metrics["x"], float)
    assert math.isnan(metrics["x"])
    assert metrics["y"] == 1.5e-4
    assert metrics["z"] == "1_000"
    assert metrics["big"] == "9" * 5000
    assert metrics["old"] == "3.4.14"


# --- conf, envi, dirs, isro ---


def test_conf() -> None:
    text = (
        "clientPort=24403\n"
        "secureClientPort=-1\n"
        "dataDir=/var/lib/zookeeper/version-2\n"
        "tickTime=500\n"
        "peerType=0\n"
        "membership: \n"
        "server.1=127.0.0.1:24501:24601:participant;127.0.0.1:24401\n"
        "server.3=127.0.0.1:24503:24603:participant;127.0.0.1:24403\n"
        "version=100000000"
    )
    assert parse_conf(text) == {
        "clientPort": "24403",
        "secureClientPort": "-1",
        "dataDir": "/var/lib/zookeeper/version-2",
        "tickTime": "500",
        "peerType": "0",
        "server.1": "127.0.0.1:24501:24601:participant;127.0.0.1:24401",
        "server.3": "127.0.0.1:24503:24603:participant;127.0.0.1:24403",
        "version": "100000000",
    }


def test_envi() -> None:
    text = (
        "Environment:\n"
        "zookeeper.version=3.8.0-${mvngit.commit.id}, built on 2024-12-29 17:54 UTC\n"
        "host.name=localhost\n"
        "java.compiler=<NA>\n"
        "os.memory.free=103MB\n"
    )
    assert parse_envi(text) == {
        "zookeeper.version": "3.8.0-${mvngit.commit.id}, built on 2024-12-29 17:54 UTC",
        "host.name": "localhost",
        "java.compiler": "<NA>",
        "os.memory.free": "103MB",
    }


def test_dirs() -> None:
    assert parse_dirs("datadir_size: 67109337\nlogdir_size: 67109338\nodd: x\n") == {
        "datadir_size": 67109337,
        "logdir_size": 67109338,
    }


def test_isro() -> None:
    assert parse_isro("rw") == "rw"
    assert parse_isro("ro\n") == "ro"
    with pytest.raises(FourLetterError, match="not serving"):
        parse_isro("null")
    with pytest.raises(FourLetterError, match="not the answer"):
        parse_isro("imok")


# --- connections, watches, sessions ---


def test_cons() -> None:
    text = (
        " /127.0.0.1:44138[0](queued=0,recved=1,sent=0)\n"
        " /127.0.0.1:44078[1](queued=0,recved=9,sent=9,sid=0x100001336050000,lop=EXIS,est=1795227299181,to=10000,"
        "lcxid=0x8,lzxid=0x4,lresp=1261954,llat=0,minlat=0,avglat=1,maxlat=6)\n"
        "\n\n"
    )
    assert parse_cons(text) == [
        {"address": "127.0.0.1:44138", "queued": 0, "recved": 1, "sent": 0},
        {
            "address": "127.0.0.1:44078",
            "queued": 0,
            "recved": 9,
            "sent": 9,
            "sid": 0x100001336050000,
            "lop": "EXIS",
            "est": 1795227299181,
            "to": 10000,
            "lcxid": 8,
            "lzxid": 4,
            "lresp": 1261954,
            "llat": 0,
            "minlat": 0,
            "avglat": 1,
            "maxlat": 6,
        },
    ]


def test_cons_of_other_clients() -> None:
    # Not captured: an IPv6 client, a name that was looked up, a session of a server with a large id, and junk.
    text = (
        " /[0:0:0:0:0:0:0:1]:4321[1](queued=0,sid=0xc800000000000001,lzxid=0xffffffffffffffff)\n"
        " localhost/127.0.0.1:4322[1](queued=0)\n"
        " /127.0.0.1:4323(queued=0)\n"
        "](\n"
    )
    assert parse_cons(text) == [
        {"address": "[0:0:0:0:0:0:0:1]:4321", "queued": 0, "sid": 0xC800000000000001 - 2**64, "lzxid": -1},
        {"address": "127.0.0.1:4322", "queued": 0},
    ]


def test_wchs() -> None:
    assert parse_wchs("1 connections watching 2 paths\nTotal watches:2\n") == WatchSummary(1, 2, 2)
    with pytest.raises(FourLetterError, match="not the answer"):
        parse_wchs("imok")


def test_wchc() -> None:
    text = "0x100001126ea0000\n\t/app/none\n\t/app/config\n0x100001126ea0001\n\t/a\u2028b\n\n"
    assert parse_wchc(text) == {
        0x100001126EA0000: ("/app/none", "/app/config"),
        0x100001126EA0001: ("/a\u2028b",),
    }
    assert parse_wchc("\n") == {}


def test_wchp() -> None:
    text = "/app/none\n\t0x100001126ea0000\n/app/config\n\t0x100001126ea0000\n\tjunk\n\n"
    assert parse_wchp(text) == {"/app/none": (0x100001126EA0000,), "/app/config": (0x100001126EA0000,)}
    assert parse_wchp("\t0x1\n") == {}


def test_dump() -> None:
    text = """\
SessionTracker dump:
Session Sets (1)/(1):
1 expire at Sat Nov 21 02:12:53 UTC 2026:
	0x100001126ea0000
ephemeral nodes dump:
Sessions with Ephemerals (1):
0x100001126ea0000:
	/app/e
Connections dump:
Connections Sets (1)/(2):
2 expire at Sat Nov 21 02:12:57 UTC 2026:
	ip: /127.0.0.1:60368 sessionId: 0x100001126ea0000
	ip: /127.0.0.1:60430 sessionId: 0x0
"""
    assert parse_dump(text) == SessionDump((0x100001126EA0000,), {0x100001126EA0000: ("/app/e",)})


def test_dump_of_a_follower() -> None:
    text = """\
SessionTracker dump:
Local Session Sets (1)/(1):
1 expire at Sat Nov 21 02:15:23 UTC 2026:
	0x300001369230000
Global Sessions(0):
ephemeral nodes dump:
Sessions with Ephemerals (0):
Connections dump:
Connections Sets (0)/(0):
"""
    assert parse_dump(text) == SessionDump((0x300001369230000,), {})
    # Not captured: a learner with a global session.
    text = text.replace("Global Sessions(0):\n", "Global Sessions(1):\n0x300001369230001\t10000ms\n")
    assert parse_dump(text).sessions == (0x300001369230000, 0x300001369230001)


# --- Refusals ---

PARSERS: list[Callable[[str], object]] = [
    parse_conf,
    parse_cons,
    parse_dirs,
    parse_dump,
    parse_envi,
    parse_isro,
    parse_mntr,
    parse_srvr,
    parse_wchc,
    parse_wchp,
    parse_wchs,
]


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "text, message",
    [
        ("", "closed without an answer"),
        ("mntr is not executed because it is not in the whitelist.\n", "add it to 4lw.commands.whitelist"),
        (NOT_SERVING, "running, but not serving"),
        (NOT_SERVING.strip(), "running, but not serving"),
    ],
)
def test_refusals(parse: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(FourLetterError, match=message) as caught:
        parse(text)
    assert isinstance(caught.value, ZooKeeperError)
    assert caught.value.word == parse.__name__.removeprefix("parse_")
    assert str(caught.value).startswith(caught.value.word + ": ")


def test_check_reply() -> None:
    assert check_reply("ruok", "imok") == "imok"
    assert check_reply("hash", "") == ""
    with pytest.raises(FourLetterError, match="ruok: closed without an answer"):
        check_reply("ruok", "")


def test_error_can_be_pickled() -> None:
    copy = pickle.loads(pickle.dumps(FourLetterError("srvr", "reason")))
    assert (copy.word, copy.reason, str(copy)) == ("srvr", "reason", "srvr: reason")


def test_words() -> None:
    assert list(FOUR_LETTER_WORDS) == sorted(FOUR_LETTER_WORDS)
    assert all(len(word) == 4 and help_ and "\n" not in help_ for word, help_ in FOUR_LETTER_WORDS.items())
    assert {parse.__name__.removeprefix("parse_") for parse in PARSERS} < FOUR_LETTER_WORDS.keys()


LINES = st.lists(
    st.sampled_from(
        [*STANDALONE_380.splitlines(), *LEADER_395.splitlines(), "", "0x1:", "\t0x1", "](", " /a[1](b=0x1)"]
    )
    | st.text(max_size=20)
).map("\n".join)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=LINES)
@example(text=STANDALONE_380.replace("Sent: 11", "Sent: " + "1" * 5000))
def test_parsers_are_total(parse: Callable[[str], object], text: str) -> None:
    with suppress(FourLetterError):
        parse(text)
