"""Servers in an event loop, with clients in memory and over ports."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tests.testing.kinds import Kind, until
from zk_conformance import stopped_at
from zk_sansio.acl import digest_acl
from zk_sansio.errors import (
    ConnectError,
    ConnectionLossError,
    InvalidRequestError,
    LocalProtocolError,
    NodeExistsError,
    NoNodeError,
    SessionExpiredError,
)
from zk_sansio.server import ServerState
from zk_sansio.session import SessionState
from zk_sansio.wire import OpCode

GET, SET, CREATE = OpCode.GET_DATA, OpCode.SET_DATA, OpCode.CREATE2


@pytest.fixture(params=["memory", "port"])
def way(request: pytest.FixtureRequest) -> str:
    """How clients get to the server."""
    name: str = request.param
    return name


@asynccontextmanager
async def client_of(kind: Kind, gate: Any, way: str, **settings: Any) -> AsyncIterator[Any]:
    """A client of a server, or of a way to it."""
    scope = gate.open_client(**settings) if way == "memory" else kind.zk.open_client(gate.hosts, **settings)
    async with scope as client:
        yield client


# --- what clients and tests see


def test_a_client_works(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as client:
            assert await client.create("/a", b"1") == "/a"
            assert (await client.get("/a")).data == b"1"
            async with client.watch("/a") as changes:
                assert server.watches(client) == {"/a"}
                server.set("/a", b"2")
                assert (await anext(changes)).path == "/a"
            await client.create("/a/e-", ephemeral=True, sequential=True)
            assert server.ephemerals(client) == server.ephemerals(client.session_id) == {"/a/e-0000000000"}
            assert server.sessions() == [client.session_id]
            assert server.connections() == 1
            big = bytes(range(256)) * 3000
            await client.set("/a", big)
            assert (await client.get("/a")).data == big
            replies = [client.get("/a") for _ in range(5)]
            assert [(await reply).data for reply in replies] == [big] * 5
        assert server.sessions() == []
        assert server.connections() == 0

    kind.run(main)


def test_somebody_else(kind: Kind) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, server.open_client() as client:
            assert server.create("/a") == "/a"
            assert server.create("/a/b", None) == "/a/b"
            assert server.create("/a/s-", b"", sequential=True) == "/a/s-0000000001"
            assert server.create("/a/e", b"", ephemeral_of=client) == "/a/e"
            assert server.create("/a/z-", ephemeral_of=client.session_id, sequential=True) == "/a/z-0000000003"
            assert server.create("/a/t", ephemeral_of=client.ticket) == "/a/t"
            assert server.children("/a") == ["b", "e", "s-0000000001", "t", "z-0000000003"]
            assert server.children() == ["a", "zookeeper"]
            assert server.ephemerals(client) == {"/a/e", "/a/z-0000000003", "/a/t"}
            assert server.get("/a/b") is None
            assert server.set("/a/b", b"x", version=0).version == 1
            assert (await client.get("/a/b")).data == b"x"
            assert server.exists("/a/b").data_length == 1
            server.delete("/a/b", version=1)
            assert server.exists("/a/b") is None
            server.create("/secret", b"s", acl=[digest_acl("user", "password")])
            assert server.get("/secret") == b"s"
            with pytest.raises(NoNodeError):
                server.get("/none")
            with pytest.raises(NodeExistsError):
                server.create("/a")
            with pytest.raises(LocalProtocolError):
                server.create("/x", ephemeral_of=77)

    kind.run(main)


def test_the_session_of_a_client_is_ended(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as client:
            await client.create("/e", ephemeral=True)
            before = client.session_id
            assert server.expire(client)
            assert server.exists("/e") is None
            assert not server.expire(before)
            await until(lambda: client.session_id != before and client.state is SessionState.CONNECTED)
            assert await client.exists("/e") is None
        async with kind.testing.open_server() as server:
            with pytest.raises(SessionExpiredError):
                async with client_of(kind, server, way, on_expiry="raise") as client:
                    server.expire(client.ticket)
                    await anyio.sleep_forever()

    kind.run(main, jumps=way == "memory")


def test_short_sessions(kind: Kind) -> None:
    async def main() -> None:
        async with kind.testing.open_server(tick=0.01) as server:
            async with server.open_client(session_timeout=0.02) as client:
                assert client.session_timeout == 0.02
                await client.create("/e", ephemeral=True)
                server.faults.black_hole()
                await until(lambda: server.exists("/e") is None)
                assert server.sessions() == []
                server.faults.heal()
                await until(lambda: client.state is SessionState.CONNECTED)
            async with server.open_client() as client:
                assert client.session_timeout == 10

    kind.run(main, jumps=True)


def test_options(kind: Kind) -> None:
    async def main() -> None:
        async with kind.testing.open_server(profile="3.5", max_session_timeout=2.0) as server:
            async with server.open_client(session_timeout=60) as client:
                assert client.session_timeout == 2
                assert server.ensemble.options.profile.name == "3.5"
        for wrong in {"profile": "4"}, {"tick": 0}, {"require_sasl": True}, {"port": 65536}, {"port": -1}:
            with pytest.raises(InvalidRequestError):
                async with kind.testing.open_server(**wrong):
                    pass
        for size in 0, -1, 100:
            with pytest.raises(InvalidRequestError, match="members"):
                async with kind.testing.open_server(size):
                    pass
        with pytest.raises(TypeError, match="does not know nonsense"):
            async with kind.testing.open_server(nonsense=1):
                pass

    kind.run(main)


def test_the_same_seed_gives_the_same_session(kind: Kind) -> None:
    async def main() -> None:
        tickets = []
        for seed in 1, 1, 2:
            async with kind.testing.open_server(seed=seed) as server, server.open_client() as client:
                tickets.append((client.ticket.session_id, client.ticket.password))
        assert tickets[0] == tickets[1] != tickets[2]

    kind.run(main)


def test_times_are_those_of_the_world(kind: Kind) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server:
            server.create("/a")
            assert abs(server.exists("/a").ctime / 1000 - time.time()) < 10

    kind.run(main)


def test_what_is_done_by_hand_takes_effect(kind: Kind) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, server.open_client() as client:
            (connection,) = server.ensemble.servers[0].connections
            connection.close()
            server.touch()
            assert server.connections() == 0
            await until(lambda: client.state is SessionState.CONNECTED)

    kind.run(main, jumps=True)


def test_many_large_replies_in_memory(kind: Kind) -> None:
    big = bytes(1_000_000)
    done = []

    async def main() -> None:
        async with kind.testing.open_server() as server, server.open_client() as client:
            server.create("/big", big)

            async def get() -> None:
                done.append((await client.get("/big")).data == big)

            async with anyio.create_task_group() as group:
                for _ in range(60):
                    group.start_soon(get)
        assert done == [True] * 60

    kind.run(main)


# --- ports


def test_nothing_listens_before_somebody_asks(kind: Kind) -> None:
    async def main() -> None:
        async with kind.testing.open_server(3) as server:
            assert server.faults._listeners is None
            hosts = server.hosts
            assert len({*hosts.split(",")}) == 3
            assert server.hosts == server.faults.hosts == hosts
            for entry in hosts.split(","):
                async with kind.zk.open_client(entry) as client:
                    assert client.server == entry
                    assert entry.partition(":")[2] in (await client.get("/zookeeper/config")).data.decode()
            assert "follower" in await kind.zk.four_letter_word(hosts.partition(",")[0], "srvr")

    kind.run(main)


def test_a_port_is_taken_at_once(kind: Kind) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as first:
            port = int(first.hosts.partition(":")[2])
            with pytest.raises(OSError, match="cannot listen on"):
                async with kind.testing.open_server(port=port):
                    pass
        for _ in range(2):  # and is free at once
            async with kind.testing.open_server(port=port) as server, kind.zk.open_client(server.hosts) as client:
                assert client.server == f"127.0.0.1:{port}"

    kind.run(main)


def test_ipv6(kind: Kind) -> None:
    async def main() -> None:
        try:
            async with kind.testing.open_server(host="::1") as server:
                hosts = server.hosts
                async with kind.zk.open_client(hosts) as client:
                    assert await client.get_children("/") == ["zookeeper"]
        except OSError:
            pytest.skip("there is no IPv6 here")

    kind.run(main)


# --- faults


@pytest.mark.parametrize(
    "name, outcome, value",
    [
        ("cut_before_request", ConnectionLossError, b"0"),
        ("cut_after_request", ConnectionLossError, b"1"),
        ("cut_before_reply", ConnectionLossError, b"1"),
        ("cut_after_reply", None, b"1"),
    ],
)
def test_cuts(kind: Kind, way: str, name: str, outcome: type[Exception] | None, value: bytes) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as client:
            server.create("/a", b"0")
            faults = server.faults
            getattr(faults, name)(op=SET)
            with pytest.raises(outcome) if outcome else nullcontext():
                await client.set("/a", b"1")
            assert server.get("/a") == value
            await until(lambda: faults.connections == 2 and client.state is SessionState.CONNECTED)
            assert faults.cuts == 1
            assert faults.opcodes == [SET]
            assert faults.requests == 1

    kind.run(main, jumps=way == "memory")


def test_a_read_is_repeated(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as client:
            server.faults.cut_before_reply(op=GET)
            assert (await client.get("/")).data == b""
            server.faults.cut()
            assert (await client.get("/")).data == b""
            assert server.faults.connections == 3

    kind.run(main, jumps=way == "memory")


def test_a_cut_at_the_handshake(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server:
            server.faults.cut_before_reply(0)
            async with client_of(kind, server, way) as client:
                assert server.faults.cuts == 1
                assert await client.get_children("/") == ["zookeeper"]

    kind.run(main, jumps=way == "memory")


def test_drops(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as client:
            server.create("/a", b"0")
            server.faults.drop_request(op=SET)
            with anyio.move_on_after(0.02):
                await client.set("/a", b"1")
            assert server.get("/a") == b"0"
            server.faults.cut()
            await until(lambda: server.faults.connections == 2 and client.state is SessionState.CONNECTED)
            server.faults.drop_reply(op=SET)
            with anyio.move_on_after(0.02):
                await client.set("/a", b"2")
            assert server.get("/a") == b"2"
            server.faults.cut()

    kind.run(main, jumps=way == "memory")


def test_corruption(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as client:
            server.create("/a", b"0")
            for arm in server.faults.corrupt_request, server.faults.corrupt_reply:
                before = server.faults.connections
                arm(op=GET)
                assert (await client.get("/a")).data == b"0"
                assert server.faults.connections == before + 1
            server.faults.corrupt_reply(op=GET, at=-1)  # of the Stat, which has no checksum
            assert (await client.get("/a")).stat.pzxid != (await client.get("/a")).stat.pzxid

    kind.run(main, jumps=way == "memory")


def test_black_holes_and_delays(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as client:
            for direction in "both", "requests", "replies":
                server.faults.black_hole(direction)
                with anyio.move_on_after(0.02) as scope:
                    await client.create(f"/{direction}")
                assert scope.cancelled_caught
                assert (server.exists(f"/{direction}") is not None) == (direction == "replies")
                server.faults.heal()
                assert await client.exists(f"/{direction}")
            server.faults.delay(0.02, "replies")
            start = anyio.current_time()
            await client.get_children("/")
            assert anyio.current_time() - start >= 0.02
            server.faults.delay(0.02)
            start = anyio.current_time()
            await client.get_children("/")
            assert anyio.current_time() - start >= 0.04

    kind.run(main, jumps=way == "memory")


def test_refusing(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as client:
            server.faults.refuse()
            assert await client.get_children("/") == ["zookeeper"]
            with pytest.raises(ConnectError):
                async with client_of(kind, server, way, open_timeout=0.05):
                    pass
            server.faults.listen_again()
            async with client_of(kind, server, way):
                pass

    kind.run(main, jumps=way == "memory")


def test_a_proxy_has_faults_of_its_own(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server, client_of(kind, server, way) as direct:
            with server.proxy() as proxy:
                assert way == "memory" or proxy.hosts != server.hosts
                async with client_of(kind, proxy, way) as client:
                    proxy.black_hole()
                    assert await direct.get_children("/") == ["zookeeper"]
                    proxy.heal()
                    assert await client.get_children("/") == ["zookeeper"]
                    assert proxy.connections == 1
                    assert proxy.opcodes == [OpCode.GET_CHILDREN]
                scope = client_of(kind, proxy, way, close_grace=0.05)
                client = await scope.__aenter__()
            try:
                # Its end cuts those who came through it, and nobody comes any more.
                await until(lambda: client.state is SessionState.SUSPENDED)
                assert await direct.get_children("/") == ["zookeeper"]
                with pytest.raises(ConnectError):
                    async with proxy.open_client(open_timeout=0.02):
                        pass
            finally:
                await scope.__aexit__(None, None, None)
            with server.proxy() as proxy:
                pass
            with pytest.raises(OSError, match="closed"):
                _ = proxy.hosts

    kind.run(main)


def test_a_proxy_ends_whatever_it_holds_back(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server() as server:
            with server.proxy() as proxy:
                async with client_of(kind, proxy, way, close_grace=0.05) as client:
                    proxy.black_hole()
                    with anyio.move_on_after(0.02):
                        await client.create("/never")
            assert server.connections() == 0
            assert server.ensemble.servers[0].connections == []
            assert server.exists("/never") is None
            assert server.sessions() == [client.session_id]  # nobody has told the server

    kind.run(main)


# --- members


def test_quorum(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server(3, read_only_mode=True, election_time=0.01) as server:
            async with client_of(kind, server, way) as client:
                await client.create("/a", b"0")
                server.lose_quorum()
                assert server.ensemble.leader is None
                await until(lambda: client.state is SessionState.SUSPENDED)
                async with client_of(kind, server, way, read_only=True) as reader:
                    assert reader.state is SessionState.READ_ONLY
                    assert (await reader.get("/a")).data == b"0"
                    server.regain_quorum()
                await until(lambda: client.state is SessionState.CONNECTED)
                assert server.ensemble.leader is not None
                await client.set("/a", b"1")
        async with kind.testing.open_server() as server:
            with pytest.raises(InvalidRequestError, match="single server"):
                server.lose_quorum()

    kind.run(main, jumps=way == "memory")


def test_members_stop_start_and_lag(kind: Kind) -> None:
    async def main() -> None:
        async with kind.testing.open_server(3, election_time=0.01) as server, server.open_client() as client:
            for member in range(3):
                server.stop(member)
                assert server.ensemble.servers[member].state is ServerState.DOWN
                assert (await client.get_children("/")) == ["zookeeper"]
                server.start(member)
                await until(lambda: server.ensemble.leader is not None)
            server.stop()
            server.start()
            follower = next(i for i, each in enumerate(server.ensemble.servers) if each is not server.ensemble.leader)
            server.lag(follower, 0.02)
            server.create("/late")
            assert "/late" not in server.ensemble.servers[follower].tree.nodes
            await until(lambda: "/late" in server.ensemble.servers[follower].tree.nodes)
            for member in -1, 3:
                with pytest.raises(InvalidRequestError, match="counted from 0 to 2"):
                    server.stop(member)

    kind.run(main, jumps=True)


def test_a_session_moves(kind: Kind, way: str) -> None:
    async def main() -> None:
        async with kind.testing.open_server(3) as server, client_of(kind, server, way) as client:
            before = server.faults.connections
            server.move(client, 1)
            assert await client.get_children("/") == ["zookeeper"]
            assert server.faults.connections == before + 1
            with pytest.raises(InvalidRequestError, match="no session"):
                server.move(77, 0)
            with pytest.raises(InvalidRequestError, match="no 3"):
                server.move(client, 3)

    kind.run(main, jumps=way == "memory")


# --- ends


def test_the_server_ends_before_its_clients(kind: Kind, way: str) -> None:
    async def main() -> None:
        ended = anyio.Event()
        servers: list[Any] = []

        async def serve() -> None:
            async with kind.testing.open_server() as server:
                servers.append(server)
                await ended.wait()

        async with anyio.create_task_group() as group:
            group.start_soon(serve)
            await until(lambda: servers)
            (server,) = servers
            async with client_of(kind, server, way, close_grace=0.05) as client:
                await client.create("/a")
                ended.set()
                await until(lambda: client.state is SessionState.SUSPENDED)
                with pytest.raises(ConnectError):
                    async with server.open_client(open_timeout=0.02):
                        pass
                if way == "memory":
                    with pytest.raises(OSError, match="closed"):
                        _ = server.hosts

    kind.run(main)


def test_what_the_body_raises_leaves_as_it_is(kind: Kind) -> None:
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with kind.testing.open_server() as server, server.open_client():
                raise ZeroDivisionError

    kind.run(main)


def test_it_serves_to_the_last_line_of_its_scope(kind: Kind, way: str) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with kind.testing.open_server() as server:
                async with client_of(kind, server, way) as client:
                    await client.create("/e", ephemeral=True)
                    scope.cancel()
                    try:
                        await anyio.sleep_forever()
                    finally:
                        with anyio.CancelScope(shield=True):
                            await client.create("/last")
                assert server.sessions() == []  # closed in order
                assert server.children() == ["last", "zookeeper"]

    kind.run(main, jumps=way == "memory")


def test_it_can_be_cancelled_at_any_time(kind: Kind) -> None:
    async def scene() -> None:
        async with kind.testing.open_server(3) as server:
            hosts = server.hosts
            async with server.open_client(close_grace=0.5), kind.zk.open_client(hosts, close_grace=0.5) as client:
                await client.create("/a")
                with server.proxy() as proxy:
                    async with kind.zk.open_client(proxy.hosts, close_grace=0.5):
                        server.expire(client)
                        await anyio.lowlevel.checkpoint()

    async def main() -> None:
        step = 0
        while True:
            with anyio.CancelScope() as scope:
                if not await stopped_at(step, scene, scope.cancel):
                    break
            step += 1
        assert step > 10

    kind.run(main)
