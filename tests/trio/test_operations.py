"""Every operation: the bytes that it sends, and what it makes of answers; the test is the server, packed by hand."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import zk_trio
from tests.support.peer import AUTH_XID, ScriptedServer, buffer, stat, string, strings
from zk_sansio.session import Server
from zk_trio import (
    ACL,
    Children,
    Client,
    Created,
    EnsembleConfig,
    Id,
    InvalidPathError,
    InvalidRequestError,
    NoNodeError,
    Perms,
    RequestTooLargeError,
    ServerError,
    Stat,
    WatcherType,
    Znode,
    ZnodeAcl,
    ip_acl,
)
from zk_trio._stream import Stream

pytestmark = pytest.mark.trio

STAT = Stat(5, 6, 0, 0, 2, 0, 0, 0, 0, 0, 7)
S = stat(czxid=5, mzxid=6, pzxid=7, version=2)
WORLD = struct.pack(">ii", 1, 31) + string("world") + string("anyone")
ANY = struct.pack(">i", -1)
NULL = struct.pack(">i", -1)


def integer(number: int) -> bytes:
    return struct.pack(">i", number)


def long(number: int) -> bytes:
    return struct.pack(">q", number)


def element(kind: int, record: bytes = b"") -> bytes:
    return struct.pack(">i?i", kind, False, -1) + record


END = struct.pack(">i?i", -1, True, -1)


@dataclass(frozen=True)
class Case:
    """One operation.

    Attributes:
        name: for the test's id.
        call: calls it.
        op: the opcode that goes out.
        body: the record that goes out; ``@`` is put in front of paths that are below the chroot.
        reply: the record that comes back, likewise.
        result: what the caller gets.
        path: the path that errors name; None if they name none.
    """

    name: str
    call: Callable[[Client], Awaitable[Any]]
    op: int
    body: Callable[[Callable[[str], bytes]], bytes]
    reply: Callable[[Callable[[str], bytes]], bytes]
    result: Any
    path: str | None = "/a"


def bare(_: Callable[[str], bytes]) -> bytes:
    return b""


CASES = [
    Case("get", lambda c: c.get("/a"), 4, lambda p: p("/a") + b"\0", lambda p: buffer(b"x") + S, Znode(b"x", STAT)),
    Case("get null", lambda c: c.get("/a"), 4, lambda p: p("/a") + b"\0", lambda p: NULL + S, Znode(None, STAT)),
    Case("get root", lambda c: c.get("/"), 4, lambda p: p("/") + b"\0", lambda p: NULL + S, Znode(None, STAT), "/"),
    Case("exists", lambda c: c.exists("/a"), 3, lambda p: p("/a") + b"\0", lambda p: S, STAT),
    Case(
        "get_children",
        lambda c: c.get_children("/a"),
        8,
        lambda p: p("/a") + b"\0",
        lambda p: strings(["b", "c"]),
        ["b", "c"],
    ),
    Case(
        "get_children_with_stat",
        lambda c: c.get_children_with_stat("/a"),
        12,
        lambda p: p("/a") + b"\0",
        lambda p: strings(["b"]) + S,
        Children(["b"], STAT),
    ),
    Case(
        "get_acl",
        lambda c: c.get_acl("/a"),
        6,
        lambda p: p("/a"),
        lambda p: WORLD + S,
        ZnodeAcl((ACL(Perms.ALL, Id("world", "anyone")),), STAT),
    ),
    Case("count_descendants", lambda c: c.count_descendants("/a"), 104, lambda p: p("/a"), lambda p: integer(7), 7),
    Case("count all", lambda c: c.count_descendants(), 104, lambda p: p("/"), lambda p: integer(7), 7, "/"),
    Case(
        "get_ephemerals",
        lambda c: c.get_ephemerals("/a"),
        103,
        lambda p: p("/a"),
        lambda p: integer(2) + p("/a1") + p("/a/b"),
        ["/a1", "/a/b"],
        None,
    ),
    Case("sync", lambda c: c.sync("/a"), 9, lambda p: p("/a"), lambda p: p("/a"), None),
    Case("sync all", lambda c: c.sync(), 9, lambda p: p("/"), lambda p: p("/"), None, "/"),
    Case(
        "create",
        lambda c: c.create("/a", b"x"),
        1,
        lambda p: p("/a") + buffer(b"x") + WORLD + integer(0),
        lambda p: p("/a"),
        "/a",
    ),
    Case(
        "create null",
        lambda c: c.create("/a", None, acl=[ip_acl("10.0.0.0/8", Perms.READ)]),
        1,
        lambda p: p("/a") + NULL + integer(1) + integer(1) + string("ip") + string("10.0.0.0/8") + integer(0),
        lambda p: p("/a"),
        "/a",
    ),
    Case(
        "create sequential",
        lambda c: c.create("/a/", ephemeral=True, sequential=True),
        1,
        lambda p: p("/a/") + buffer(b"") + WORLD + integer(3),
        lambda p: p("/a/0000000005"),
        "/a/0000000005",
        "/a/",
    ),
    Case(
        "create container",
        lambda c: c.create("/a", container=True),
        19,
        lambda p: p("/a") + buffer(b"") + WORLD + integer(4),
        lambda p: p("/a") + S,
        "/a",
    ),
    Case(
        "create ttl",
        lambda c: c.create("/a", ttl=1.5, sequential=True),
        21,
        lambda p: p("/a") + buffer(b"") + WORLD + integer(6) + long(1500),
        lambda p: p("/a0000000001") + S,
        "/a0000000001",
    ),
    Case(
        "create protected",
        lambda c: c.create("/a/n-", protected=True, sequential=True),
        1,
        lambda p: p("/a/_c_00010203-0405-0607-0809-0a0b0c0d0e0f-n-") + buffer(b"") + WORLD + integer(2),
        lambda p: p("/a/_c_00010203-0405-0607-0809-0a0b0c0d0e0f-n-0000000001"),
        "/a/_c_00010203-0405-0607-0809-0a0b0c0d0e0f-n-0000000001",
        "/a/n-",
    ),
    Case(
        "create protected at the top",
        lambda c: c.create("/", protected=True, sequential=True, ephemeral=True),
        1,
        lambda p: p("/_c_00010203-0405-0607-0809-0a0b0c0d0e0f-") + buffer(b"") + WORLD + integer(3),
        lambda p: p("/_c_00010203-0405-0607-0809-0a0b0c0d0e0f-0000000001"),
        "/_c_00010203-0405-0607-0809-0a0b0c0d0e0f-0000000001",
        "/",
    ),
    Case(
        "create_with_stat",
        lambda c: c.create_with_stat("/a", b"x", ephemeral=True),
        15,
        lambda p: p("/a") + buffer(b"x") + WORLD + integer(1),
        lambda p: p("/a") + S,
        ("/a", STAT),
    ),
    Case(
        "create_with_stat container",
        lambda c: c.create_with_stat("/a", container=True),
        19,
        lambda p: p("/a") + buffer(b"") + WORLD + integer(4),
        lambda p: p("/a") + S,
        ("/a", STAT),
    ),
    Case("set", lambda c: c.set("/a", b"x"), 5, lambda p: p("/a") + buffer(b"x") + ANY, lambda p: S, STAT),
    Case(
        "set version",
        lambda c: c.set("/a", None, version=3),
        5,
        lambda p: p("/a") + NULL + integer(3),
        lambda p: S,
        STAT,
    ),
    Case("delete", lambda c: c.delete("/a"), 2, lambda p: p("/a") + ANY, bare, None),
    Case("delete version", lambda c: c.delete("/a", version=3), 2, lambda p: p("/a") + integer(3), bare, None),
    Case(
        "set_acl",
        lambda c: c.set_acl("/a", [ACL(Perms.ALL, Id("world", "anyone"))], version=4),
        7,
        lambda p: p("/a") + WORLD + integer(4),
        lambda p: S,
        STAT,
    ),
    Case(
        "transaction",
        lambda c: c.transaction().check("/a", version=1).create("/b").commit(),
        14,
        lambda p: element(13, p("/a") + integer(1)) + element(15, p("/b") + buffer(b"") + WORLD + integer(0)) + END,
        lambda p: element(13) + element(15, p("/b") + S) + END,
        [None, Created("/b", STAT)],
        None,
    ),
    Case(
        "multi_read",
        lambda c: c.multi_read().get("/a").get_children("/").run(),
        22,
        lambda p: element(4, p("/a") + b"\0") + element(8, p("/") + b"\0") + END,
        lambda p: element(4, NULL + S) + element(8, strings([])) + END,
        [Znode(None, STAT), []],
        None,
    ),
    Case("check_watches", lambda c: c.check_watches("/a"), 17, lambda p: p("/a") + integer(3), bare, True),
    Case(
        "check_watches of a type",
        lambda c: c.check_watches("/a", WatcherType.CHILDREN),
        17,
        lambda p: p("/a") + integer(1),
        bare,
        True,
    ),
    Case(
        "whoami",
        lambda c: c.whoami(),
        107,
        bare,
        lambda p: integer(1) + string("ip") + string("127.0.0.1"),
        [Id("ip", "127.0.0.1")],
        None,
    ),
    Case(
        "get_config",
        lambda c: c.get_config(),
        4,
        lambda p: string("/zookeeper/config") + b"\0",
        lambda p: buffer(b"version=1f") + S,
        EnsembleConfig(members=(), version=31, text="version=1f"),
        "/zookeeper/config",
    ),
    Case(
        "reconfig incremental",
        lambda c: c.reconfig(joining=["server.5=h:1:2;3", "server.6=h:4:5;6"], leaving="3,4", version=0x100),
        16,
        lambda p: string("server.5=h:1:2;3,server.6=h:4:5;6") + string("3,4") + NULL + long(0x100),
        lambda p: buffer(b"version=2") + S,
        EnsembleConfig(members=(), version=2, text="version=2"),
        None,
    ),
    Case(
        "reconfig all",
        lambda c: c.reconfig(new_members="server.1=h:1:2;3"),
        16,
        lambda p: NULL + NULL + string("server.1=h:1:2;3") + long(-1),
        lambda p: NULL + S,
        EnsembleConfig(members=(), version=None, text=""),
        None,
    ),
    Case(
        "pipeline",
        lambda c: c.get_many(["/a"]),
        4,
        lambda p: p("/a") + b"\0",
        lambda p: NULL + S,
        [Znode(None, STAT)],
    ),
]


def below(chroot: str) -> Callable[[str], bytes]:
    """Pack the path on the server of a path of the client."""
    return lambda path: string(chroot if path == "/" and chroot else chroot + path)


class Scripted:
    """Gives one client a server that the test plays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server: ScriptedServer
        monkeypatch.setattr("zk_trio._driver.dial", self.dial)
        monkeypatch.setattr("zk_trio._runtime.os.urandom", lambda count: bytes(range(count)))

    async def dial(self, server: Server, *_: object) -> Stream:
        await trio.lowlevel.checkpoint()
        ours, self.server = ScriptedServer.pair()
        return Stream(ours)

    @asynccontextmanager
    async def client(self, chroot: str = "", **settings: Any) -> AsyncIterator[tuple[Client, ScriptedServer]]:
        """A client, and the server's end of its connection; at the end the client must have asked nothing more."""
        try:
            async with trio.open_nursery() as nursery:

                async def shake_hands() -> None:
                    while not hasattr(self, "server"):
                        await trio.lowlevel.checkpoint()
                    await self.server.accept_session()

                nursery.start_soon(shake_hands)
                # The server is the test, so nobody answers closeSession.
                async with zk_trio.open_client("10.0.0.1:2181" + chroot, keep_session=True, **settings) as client:
                    yield client, self.server
            await self.server.read_end()
        finally:
            await self.server.aclose()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    return Scripted(monkeypatch)


async def outcome(call: Callable[[Client], Awaitable[Any]], client: Client) -> Any:
    try:
        return await call(client)
    except zk_trio.ZooKeeperError as error:
        return error


async def answered(
    scripted: Scripted, case: Case, chroot: str, code: int = 0, *, view: bool = False
) -> tuple[Any, list[tuple[int, bytes]]]:
    """Make the call of *case* and answer once; return its outcome and the requests that came."""
    requests = []
    results = []
    async with scripted.client("" if view else chroot) as (client, server):
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                results.append(await outcome(case.call, client.at(chroot) if view else client))

            nursery.start_soon(call)
            request = await server.read_request()
            requests.append((request.op, request.body))
            await server.reply(request.xid, 99, code, b"" if code else case.reply(below(chroot)))
        assert client.last_zxid == 99
    return results[0], requests


@pytest.mark.parametrize("chroot", ["", "/app", "/a"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_bytes_and_result(scripted: Scripted, case: Case, chroot: str, autojump_clock: MockClock) -> None:
    result, requests = await answered(scripted, case, chroot)
    assert requests == [(case.op, case.body(below(chroot)))]
    assert result == case.result
    assert type(result) is type(case.result)


async def test_a_view_is_the_same_as_a_chroot(scripted: Scripted, autojump_clock: MockClock) -> None:
    case = CASES[0]
    result, requests = await answered(scripted, case, "/a", view=True)
    assert requests == [(4, string("/a/a") + b"\0")]
    assert result == case.result


@pytest.mark.parametrize("code", [-101, -102, -110, -999])
@pytest.mark.parametrize("chroot", ["", "/app", "/a"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_errors(scripted: Scripted, case: Case, chroot: str, code: int, autojump_clock: MockClock) -> None:
    result, _ = await answered(scripted, case, chroot, code)
    if case.name == "exists" and code == -101:
        assert result is None
        return
    (error,) = result if isinstance(result, list) else [result]
    assert isinstance(error, ServerError)
    assert error.code == code
    assert isinstance(error, NoNodeError) is (code == -101)
    assert error.path == case.path
    assert error.zxid == 99
    assert not error.maybe_applied


async def test_no_such_watch_is_an_answer(scripted: Scripted, autojump_clock: MockClock) -> None:
    case = next(case for case in CASES if case.name == "check_watches")
    result, _ = await answered(scripted, case, "", -121)
    assert result is False


@pytest.mark.parametrize("credential", ["bob:secret", b"bob:secret"])
async def test_add_auth(scripted: Scripted, credential: bytes | str, autojump_clock: MockClock) -> None:
    async with scripted.client() as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.add_auth, "digest", credential)
        request = await server.read_request(100)
        assert request.xid == AUTH_XID
        assert request.body == integer(0) + string("digest") + buffer(b"bob:secret")
        await server.reply(AUTH_XID)


@pytest.mark.parametrize("chroot", ["", "/app"])
@pytest.mark.parametrize(
    "call, message",
    [
        (lambda c: c.get("a"), "invalid path 'a': it must start with '/'"),
        (lambda c: c.get("/a/"), "invalid path '/a/': it must not end with '/'"),
        (lambda c: c.exists(""), "invalid path '': it is empty"),
        (lambda c: c.create("a"), "invalid path 'a': it must start with '/'"),
        (lambda c: c.create("/a/"), "invalid path '/a/': it must not end with '/'"),
        (lambda c: c.create("a", protected=True), "invalid path 'a': it must start with '/'"),
        (lambda c: c.create("", protected=True), "invalid path '': it is empty"),
        (lambda c: c.create("/a//b", protected=True), "invalid path '/a//b': it has an empty component ('//')"),
        (lambda c: c.create("/a/", protected=True), "invalid path '/a/': it must not end with '/'"),
        (lambda c: c.create("a", sequential=True, protected=True), "invalid path 'a': it must start with '/'"),
        (lambda c: c.create("/a", acl=[]), "an ACL needs at least one entry"),
        (
            lambda c: c.create("/a", ttl=1, ephemeral=True),
            "an ephemeral znode has no TTL; it goes away with its session",
        ),
        (lambda c: c.set("/a//b", b""), "invalid path '/a//b': it has an empty component ('//')"),
        (lambda c: c.delete("/a/../b"), "invalid path '/a/../b': relative components ('.', '..') are not allowed"),
        (lambda c: c.delete("/a", recursive=True, version=1), "a recursive delete takes no version"),
        (lambda c: c.delete("a", recursive=True), "invalid path 'a': it must start with '/'"),
        (lambda c: c.set_acl("/a", []), "an ACL needs at least one entry"),
        (lambda c: c.get_ephemerals("a"), "a prefix of paths starts with '/', not 'a'"),
        (lambda c: c.ensure_path("a"), "invalid path 'a': it must start with '/'"),
        (lambda c: c.check_watches("/a", 9), "9 is not one of WatcherType"),
        (lambda c: c.wait_for("a"), "invalid path 'a': it must start with '/'"),
        (
            lambda c: c.reconfig(joining="server.1=a", new_members="server.1=b"),
            "give either new_members, or joining and leaving",
        ),
    ],
)
async def test_wrong_arguments_are_never_sent(
    scripted: Scripted,
    chroot: str,
    call: Callable[[Client], Awaitable[Any]],
    message: str,
    autojump_clock: MockClock,
) -> None:
    async with scripted.client(chroot) as (client, _):
        with pytest.raises(InvalidRequestError) as caught:
            await call(client)
        assert str(caught.value) == message
        assert client._engine.session.queued_bytes == client._engine.session.in_flight == 0


async def test_the_root_stays(scripted: Scripted, autojump_clock: MockClock) -> None:
    async with scripted.client() as (client, _):
        with pytest.raises(InvalidRequestError, match="the root cannot be deleted"):
            await client.delete("/", recursive=True)


async def test_what_raises_at_once(scripted: Scripted, autojump_clock: MockClock) -> None:
    async with scripted.client("/app") as (client, _):
        for make in (client.watch_data, client.watch_children, client.watch_exists, client.watch, client.at):
            with pytest.raises(InvalidPathError):
                make("a")
        with pytest.raises(InvalidRequestError, match="the chroot cannot be changed; give the servers only"):
            client.set_hosts("b:1/x")


@pytest.mark.parametrize("chroot", ["", "/app"])
async def test_a_request_over_the_limit(scripted: Scripted, chroot: str, autojump_clock: MockClock) -> None:
    async with scripted.client(chroot, max_request=100) as (client, _):
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: client.set("/a", bytes(100)),
            lambda: client.create("/a", bytes(100)),
            lambda: client.create("/a", bytes(100), protected=True),
        ]
        for call in calls:
            with pytest.raises(RequestTooLargeError) as caught:
                await call()
            assert caught.value.path == "/a"
            assert "split it, or raise jute.maxbuffer" in str(caught.value)
        pipeline = client.pipeline()
        pipeline.set("/a", bytes(100))
        with pytest.raises(RequestTooLargeError) as caught:
            await pipeline.run()
        assert caught.value.path == "/a"
        with pytest.raises(RequestTooLargeError):
            await client.transaction().set("/a", bytes(100)).commit()


async def test_a_reply_over_the_limit(scripted: Scripted, autojump_clock: MockClock) -> None:
    async with scripted.client("/app", max_reply=1000) as (client, server), trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(zk_trio.ReplyTooLargeError) as caught:
                await client.get("/a")
            assert caught.value.path == "/a"
            assert not caught.value.maybe_applied

        nursery.start_soon(call)
        request = await server.read_request()
        await server.send_raw(struct.pack(">i", 1001))
        assert request.op == 4


async def test_facts(scripted: Scripted, autojump_clock: MockClock) -> None:
    async with scripted.client("/app") as (client, _):
        assert client.state is zk_trio.SessionState.CONNECTED
        assert client.session_id == 0x1234
        assert client.session_timeout == 10.0
        assert client.server == "10.0.0.1:2181"
        assert client.last_zxid == 0
        assert client.chroot == "/app"
        assert client.at("/b").chroot == "/app/b"
        assert client.at("/").chroot == "/app"
        ticket = client.ticket
        assert ticket is not None
        assert ticket.session_id == 0x1234
        assert repr(client) == "<Client connected, session 0x1234, server 10.0.0.1:2181>"
    assert client.server is None
    assert repr(client) == "<Client closed, session 0x1234, server None>"
