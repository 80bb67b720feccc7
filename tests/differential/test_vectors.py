"""The captures of `tests.wire.vectors`, sent to the in-memory server: it answers as the real ones did, byte for byte.

The captures of one server belong together: most zxids in them are those of a fresh server, to which every write adds
one. So they are played in their order, with what happened in between, and their zxids are compared as they are.
Mapped are times, session ids, passwords, and the order of children (see `mapping`).
"""

import base64
import re
import struct
from collections.abc import Callable
from random import Random

import pytest

from tests.differential import mapping
from tests.differential.mapping import Answer, Mapper, Start
from tests.differential.memory import MemorySide
from tests.differential.sides import Link
from tests.differential.steps import BOB, LAYOUTS, OPEN, READ, Op, handshake, request
from tests.wire.vectors import VECTORS, Vector
from zk_sansio.server import PROFILES, ServerOptions, ServerState

NAMES = {opcode: name for name, (opcode, _) in LAYOUTS.items()}
BOB_ALL = (31, "digest", BOB)
SASL_USERS = {"bob": "bobsecret"}

MAIN = [v for v in VECTORS if v.server in ("3.8.0", "3.9.5") and not v.name.startswith("connect_")]
FIRST = "ping"
"""The main part begins with it, as soon as there is `/vec`."""
SECOND = "multi_with_read_op"
"""A second part begins with it, on another server, below `/v2`."""
ZXIDS = {("3.8.0", FIRST): 39, ("3.9.5", FIRST): 13, ("3.8.0", SECOND): 426, ("3.9.5", SECOND): 373}
"""The zxid before each part."""

NOT_PLAYED = {
    "ensemble_connect_negative_session_id": "its server has the number 200, ours are numbered from 1 on",
    "ensemble_local_session_upgrade": "our sessions are global from the start (local ones are an option of 3.5)",
    "ensemble_local_session_moved": "likewise",
    "ensemble_get_config": "names the hosts and ports of that ensemble; `test_ensemble` compares the form",
    "ensemble_reconfig_ok": "likewise",
}


PLAYED_BY_NAME = ("ensemble", "readonly", "enforce_sasl", "sasl_", "who_am_i_sasl")


def version_of(vector: Vector) -> str:
    """The version of the server of a capture."""
    return vector.server.split()[0]


def fresh() -> Mapper:
    """A mapper that leaves zxids as they are."""
    return Mapper(Start(0, 0, 0, 0), "~")


def mapped(vector: Vector, frames: list[bytes], mapper: Mapper) -> list[Answer]:
    """Replies and notifications with what differs taken out."""
    opcode = int.from_bytes(vector.request[8:12], "big", signed=True)
    op = Op("raw", opcode, b"-")
    return [mapping.reply(f, None if f[:4] == b"\xff\xff\xff\xff" else op, mapper) for f in frames]


class Bench:
    """The in-memory server, and the connections that the captures were made on.

    Args:
        version: Of the real server.
        options: More options.
        random: Where its secrets come from.
    """

    def __init__(
        self, version: str, *, random: Random | None = None, size: int = 1, **options: bool | str | dict[str, str]
    ) -> None:
        profile = "3.8" if version.startswith("3.8") else "3.9"
        made = ServerOptions(profile=PROFILES[profile], **options)  # type: ignore[arg-type]
        self.side = MemorySide(profile, made, random=random, size=size)
        self.links: dict[str, Link] = {}
        self.tickets: dict[str, tuple[int, bytes]] = {}

    @property
    def zxid(self) -> int:
        """The server's last zxid."""
        return self.side.ensemble.servers[self.side.member].tree.last_zxid

    def link(self, name: str) -> Link:
        """A connection with a session of its own, by name."""
        if name not in self.links:
            link = self.links[name] = self.side.connect()
            link.send([handshake(0, 10_000, 0, bytes(16), False)])
            answer = link.next()
            assert answer is not None
            self.tickets[name] = struct.unpack_from(">q", answer, 8)[0], answer[20:36]
        return self.links[name]

    def burn(self, zxid: int) -> None:
        """Use up zxids with writes that fail."""
        while self.zxid < zxid:
            self.do(Op("delete", "/none", -1))
        assert self.zxid == zxid

    def do(self, *ops: Op, who: str = "other") -> None:
        """Requests of a client; the answers are read away, notifications too."""
        link = self.link(who)
        for op in ops:
            link.send([request(op, 1, "", 0)])
            while (frame := link.next()) is not None and frame[:4] == b"\xff\xff\xff\xff":
                pass

    def send(self, data: bytes, who: str = "main") -> list[bytes]:
        """Send a captured request, and return what comes up to its reply."""
        link = self.link(who)
        link.send([data])
        frames: list[bytes] = []
        while not frames or frames[-1][:4] == b"\xff\xff\xff\xff":
            frame = link.next()
            if frame is None:
                break
            frames.append(frame)
        return frames

    def events(self, count: int, who: str = "main") -> list[bytes]:
        """Notifications that have come meanwhile."""
        frames = [self.links[who].next() for _ in range(count)]
        return [frame for frame in frames if frame is not None]


def create(path: str, data: bytes = b"", acl: object = OPEN) -> Op:
    """A create of a persistent node."""
    return Op("create", path, data, acl, 0)


def delete(path: str) -> Op:
    """A delete of any version."""
    return Op("delete", path, -1)


def change(path: str, data: bytes = b"x") -> Op:
    """A change of the data."""
    return Op("setData", path, data, -1)


def _prepare_set_watches(bench: Bench) -> None:
    bench.do(Op("ping"), who="rearming")  # its session takes a zxid
    for path in ("/vec/d", "/vec/d2", "/vec/del", "/vec/cdel", "/vec/pw", "/vec/rw"):
        bench.do(create(path))
    bench.do(change("/vec/d"), delete("/vec/del"), create("/vec/ne"), create("/vec/c/x"), delete("/vec/cdel"))
    bench.do(change("/vec/pw"), change("/vec/rw"))


BEFORE: dict[str, Callable[[Bench], None]] = {
    "get_data_noauth": lambda bench: bench.do(
        create("/vec/priv", b"top", (BOB_ALL,)), create("/vec/mask", b"m", (BOB_ALL, *READ))
    ),
    "watch_all_kinds_then_deleted": lambda bench: bench.do(
        Op("getData", "/vec/w1/k", 1), Op("getChildren", "/vec/w1/k", 1), who="main"
    ),
    "watch_own_write_order": lambda bench: bench.do(Op("getData", "/vec/w1", 1), who="main"),
    "remove_watches_recursive_type5": lambda bench: bench.do(Op("addWatch", "/vec/r", 1), who="main"),
    "set_watches_missed_events": _prepare_set_watches,
    SECOND: lambda bench: bench.do(create("/v2/a")),
}
"""What was done before a capture, by name."""

AFTER: dict[str, tuple[Op, ...]] = {
    "watch_exists_nonode_then_created": (create("/vec/w1"),),
    "watch_data_then_changed": (change("/vec/w1", b"1"),),
    "watch_children_then_changed": (create("/vec/w1/k"),),
    "watch_all_kinds_then_deleted": (delete("/vec/w1/k"),),
    "add_watch_persistent": (
        create("/vec/p"),
        change("/vec/p"),
        create("/vec/p/k"),
        delete("/vec/p/k"),
        delete("/vec/p"),
    ),
    "add_watch_persistent_recursive": (
        create("/vec/r"),
        create("/vec/r/k"),
        create("/vec/r/k/l"),
        change("/vec/r/k/l"),
        delete("/vec/r/k/l"),
    ),
}
"""What somebody else did after the reply, by name."""

OTHERS = {
    "close_session": "closing",
    "auth_other_xid": "fresh",
    "sasl_not_configured": "fresh",
    "unknown_opcode": "unknown",
    "check_outside_multi": "checking",
    "frame_too_long": "too long",
}
"""The connection, where it was not the main one; its session is there from the start."""
LATER = {
    "auth_unknown_scheme": "unknown scheme",
    "set_watches_missed_events": "rearming",
    "set_watches2_missed_events": "rearming",
}
"""The same, where the session is new."""

CLOSED = {"auth_unknown_scheme", "close_session", "unknown_opcode", "check_outside_multi", "frame_too_long"}
"""Where the server closed the connection."""


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
@pytest.mark.parametrize("part", [FIRST, SECOND])
def test_standalone(version: str, part: str) -> None:
    vectors = [each for each in MAIN if each.server == version]
    begin = next(index for index, each in enumerate(vectors) if each.name == SECOND)
    vectors = vectors[:begin] if part == FIRST else vectors[begin:]
    bench = Bench(version)
    zxid = ZXIDS[version, part]
    bench.burn(zxid - 10)
    if part == FIRST:
        bench.do(create("/vec", b"root"))
    for name in ("main", *OTHERS.values()):
        bench.link(name)
    bench.burn(zxid)
    if part == SECOND:
        bench.do(create("/v2"))
    theirs, ours = fresh(), fresh()
    for vector in vectors:
        if vector.name in BEFORE:
            BEFORE[vector.name](bench)
        who = (OTHERS | LATER).get(vector.name, "main")
        frames = bench.send(vector.request, who)
        if vector.name in AFTER:
            bench.do(*AFTER[vector.name])
            frames += bench.events(len(vector.frames) - 1)
        assert mapped(vector, frames, ours) == mapped(vector, vector.frames, theirs), vector
        if vector.name in CLOSED:
            assert bench.links[who].next() is None


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS if v.server in ("3.8.0", "3.9.5") and v.name.startswith("connect_")],
    ids=str,
)
def test_handshake(vector: Vector) -> None:
    bench = Bench(version_of(vector))
    bench.burn(ZXIDS[vector.server, FIRST])
    owner = bench.link("owner")
    session_id, password = bench.tickets["owner"]
    if vector.name == "connect_expired_session":
        bench.do(Op("closeSession"), who="owner")
    data = bytearray(vector.request)
    if vector.name in ("connect_reattach", "connect_expired_session", "connect_wrong_password"):
        struct.pack_into(">q", data, 20, session_id)
        data[32:48] = password if vector.name != "connect_wrong_password" else data[32:48]
    link = bench.side.connect()
    link.send([bytes(data)])
    frame = link.next()
    frames = [frame] if frame is not None else []
    assert [mapping.greeting(each, fresh())[0] for each in frames] == [
        mapping.greeting(each, fresh())[0] for each in vector.frames
    ]
    if vector.name in ("connect_reattach", "connect_wrong_password"):
        assert owner.next() is None
    if vector.name in ("connect_expired_session", "connect_zxid_ahead", "connect_wrong_password"):
        assert link.next() is None


class Nonce(Random):
    """Gives the nonce of a capture to whoever asks for as many bits."""

    bits = 0

    def getrandbits(self, k: int) -> int:
        return self.bits if k == 240 else super().getrandbits(k)


@pytest.mark.parametrize("version", ["3.8.0", "3.9.5"])
def test_sasl(version: str) -> None:
    vectors = {v.name: v for v in VECTORS if version_of(v) == version and "SASL DIGEST-MD5" in v.server}
    random = Nonce(1)
    bench = Bench(version, random=random, sasl_users=SASL_USERS)
    for who, names in {
        "good": ("sasl_digest_md5_step1", "sasl_digest_md5_step2", "who_am_i_sasl"),
        "bad": ("sasl_digest_md5_step1", "sasl_digest_md5_wrong_password"),
    }.items():
        request = vectors[names[1]].request
        nonce = request.split(b'nonce="')[1].split(b'"')[0]
        random.bits = int.from_bytes(base64.b64decode(nonce), "big")
        for name in names:
            vector = vectors.pop(name) if who == "good" or name in vectors else None
            frames = bench.send(vector.request if vector else b"\0\0\0\x0c\0\0\0\1\0\0\0\x66\0\0\0\0", who)
            if vector is not None:
                assert mapped(vector, frames, fresh()) == mapped(vector, vector.frames, fresh()), vector
    assert bench.links["bad"].next() is None
    assert not vectors


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.name.startswith("enforce_sasl")], ids=str)
def test_enforced_sasl(vector: Vector) -> None:
    bench = Bench("3.9.5", sasl_users=SASL_USERS, require_sasl=True)
    assert bench.send(vector.request) == vector.frames
    assert bench.links["main"].next() is None


def shapes(answers: list[Answer]) -> list[str]:
    """The answers without their zxids."""
    return [" ".join(word for word in each.text.split() if not word.startswith("zxid=")) for each in answers]


def test_ensemble() -> None:
    bench = Bench("3.9.5", size=3, super_password="super:secret")
    for vector in (v for v in VECTORS if v.name.startswith("ensemble") and v.name not in NOT_PLAYED):
        who = "plain" if vector.name == "ensemble_reconfig_noauth" else "super"
        if who == "super":
            bench.do(Op("auth", 0, "digest", b"super:secret"), who=who)
        frames = bench.send(vector.request, who)
        assert shapes(mapped(vector, frames, fresh())) == shapes(mapped(vector, vector.frames, fresh())), vector
    (config,) = bench.send(next(v.request for v in VECTORS if v.name == "ensemble_get_config"))
    theirs = next(v.frames[0] for v in VECTORS if v.name == "ensemble_get_config")
    line = rb"server\.\d+=[\w.]+:\d+:\d+:participant;[\w.]+:\d+\n"
    for frame in (config, theirs):
        assert re.search(rb"(?:%s){3}version=[0-9a-f]+" % line, frame)


def test_all_are_played() -> None:
    names = {v.name for v in VECTORS}
    assert names >= NOT_PLAYED.keys()
    assert all(v.server in ("3.8.0", "3.9.5") or v.name.startswith(PLAYED_BY_NAME) for v in VECTORS)


def test_read_only() -> None:
    vectors = {v.name: v for v in VECTORS if v.name.startswith("readonly")}
    bench = Bench("3.9.5", size=3, read_only_mode=True)
    side = bench.side
    for server in side.ensemble.servers[1:]:
        server.isolate(side.tick())
    assert side.ensemble.servers[0].state is ServerState.READ_ONLY
    link = side.connect()
    link.send([vectors.pop("readonly_connect_refused").request])
    assert link.next() is None
    vector = vectors.pop("readonly_connect")
    link = bench.links["main"] = side.connect()
    link.send([vector.request])
    frame = link.next()
    assert frame is not None
    assert mapping.greeting(frame, fresh())[0] == mapping.greeting(vector.frames[0], fresh())[0]
    for name in ("readonly_create", "readonly_sync"):
        vector = vectors.pop(name)
        frames = bench.send(vector.request)
        assert shapes(mapped(vector, frames, fresh())) == shapes(mapped(vector, vector.frames, fresh()))
    vector = vectors.pop("readonly_exists")  # the Stat is that of another tree
    frames = bench.send(vector.request)
    assert [len(frame) for frame in frames] == [len(frame) for frame in vector.frames]
    assert struct.unpack_from(">i", frames[0], 12) == struct.unpack_from(">i", vector.frames[0], 12) == (0,)
    assert not vectors
