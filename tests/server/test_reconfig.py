"""The members: /zookeeper/config, and how they change."""

from __future__ import annotations

import struct

import pytest

from tests.server.harness import CHANGED, NULL, Client, World
from zk_sansio.acl import ACL, ANYONE
from zk_sansio.wire import Auth, Exists, GetACL, GetData, OpCode, Reconfig, SetACL, SetData, Stat

SPEC = "127.0.0.1:{}:{}:participant;127.0.0.1:{}"
FOUR = "server.4=" + SPEC.format(2900, 3900, 2184)


def chief(world: World) -> Client:
    client = world.client(world.leader)
    assert client.code(Auth(0, "digest", b"super:admin")) == 0
    return client


def ensemble(size: int = 3) -> tuple[World, Client]:
    world = World(size, super_password="super:admin")
    return world, chief(world)


def members(data: bytes | None) -> tuple[dict[str, str], int]:
    assert data is not None
    *lines, version = data.decode().split("\n")
    assert version.startswith("version=")
    return dict(line.split("=", 1) for line in lines), int(version[8:], 16)


def test_config_node() -> None:
    world, client = ensemble()
    data, stat = client.do(GetData("/zookeeper/config"))
    found, version = members(data)
    assert list(found) == ["server.1", "server.2", "server.3"]
    assert found["server.1"] == "127.0.0.1:2888:3888:participant;127.0.0.1:0"
    assert version == 0
    assert (stat.version, stat.aversion) == (-1, -1)
    assert client.do(GetACL("/zookeeper/config")).acl == (ACL(1, ANYONE),)
    assert world.client().code(SetData("/zookeeper/config", b"")) == -102


def test_servers_tell_where_they_listen() -> None:
    world, client = ensemble()
    for server in world.ensemble.servers:
        world.ensemble.listens(server, 2180 + server.id)
    for server in world.ensemble.servers:
        found, version = members(server.tree.nodes["/zookeeper/config"].data)
        assert [spec[-4:] for spec in found.values()] == ["2181", "2182", "2183"]
        assert version == 0
    client.do(Reconfig(FOUR, None, None))
    before = client.do(GetData("/zookeeper/config"))
    world.ensemble.listens(world.leader, 9999)
    assert client.do(GetData("/zookeeper/config")) == before, "it has been said otherwise"
    world.check()
    single = World()
    single.ensemble.listens(single.leader, 2181)
    assert single.client().do(GetData("/zookeeper/config")).data == b""


def test_incremental() -> None:
    world, client = ensemble()
    client.do(GetData("/zookeeper/config", True))
    reader = world.client(world.followers[0])
    data, stat = client.do(Reconfig(FOUR, None, None))
    found, version = members(data)
    assert list(found) == ["server.1", "server.2", "server.3", "server.4"]
    assert found["server.4"] == FOUR[9:]
    assert version == world.zxid == stat.mzxid
    assert (stat.version, stat.aversion) == (-1, -1)
    assert client.fired() == [(CHANGED, "/zookeeper/config", world.zxid)]
    assert reader.do(GetData("/zookeeper/config")) == (data, stat)
    data, _ = client.do(Reconfig(None, "4,1", None))
    assert list(members(data)[0]) == ["server.2", "server.3"]
    data, _ = client.do(Reconfig(FOUR.replace("participant", "observer"), "3, 77", None, version + 1))
    found, _ = members(data)
    assert list(found) == ["server.2", "server.4"]
    world.check()


def test_whole_list() -> None:
    world, client = ensemble()
    lines = [f"server.{number}=" + SPEC.format(number, number, number) for number in (1, 2, 3)]
    for separator in (",", "\n"):
        data, _ = client.do(Reconfig(None, None, separator.join(lines)))
        assert members(data) == (dict(line.split("=", 1) for line in lines), world.zxid)


def test_what_was_read_can_be_sent_back() -> None:
    world, client = ensemble()
    data = client.do(GetData("/zookeeper/config")).data
    assert data is not None
    found, version = members(client.do(Reconfig(None, None, data.decode(), 0)).data)
    assert (found, 0) == members(data)
    assert version == world.zxid


def test_nothing_at_all_is_a_new_version() -> None:
    world, client = ensemble()
    data, _ = client.do(Reconfig(None, None, None))
    found, version = members(data)
    assert list(found) == ["server.1", "server.2", "server.3"]
    assert version == world.zxid


@pytest.mark.parametrize(
    "text, spec",
    [
        ("server.4=h:1:2:observer;5", "h:1:2:observer;0.0.0.0:5"),
        ("server.4=h:1:2;5", "h:1:2:participant;0.0.0.0:5"),
        (" server.4 = h:1:2;a:5 ", "h:1:2:participant;a:5"),
        ("server.4=[::1]:1:2:participant;[::1]:5", "[::1]:1:2:participant;[::1]:5"),
    ],
)
def test_forms_of_a_member(text: str, spec: str) -> None:
    _, client = ensemble()
    found, _ = members(client.do(Reconfig(text, None, None)).data)
    assert found["server.4"] == spec


# --- refusals


@pytest.mark.parametrize(
    "request_, code",
    [
        (Reconfig(FOUR, None, None, 7), -103),
        (Reconfig("garbage", None, None), -8),
        (Reconfig("garbage", None, None, 7), -103),
        (Reconfig("server.4=h:1", None, None), -8),
        (Reconfig("server.4=h:1:2", None, None), -8),
        (Reconfig("server.4=h:1:2:leader;5", None, None), -8),
        (Reconfig("server." + "4" * 5000 + "=h:1:2;5", None, None), -5),
        (Reconfig("server.x=h:1:2;5", None, None), -5),
        (Reconfig("server.x=nonsense", None, None), -5),
        (Reconfig(None, None, "server.=h:1:2;5"), -5),
        (Reconfig(None, "1,2,3", None), -8),
        (Reconfig(None, "x", None), -5),
        (Reconfig(None, "9" * 5000, None), -5),
        (Reconfig(None, None, ""), -8),
        (Reconfig(None, None, "server.1=nonsense"), -8),
        (Reconfig(",".join(FOUR.replace(".4=", f".{number}=") for number in range(4, 8)), None, None), -13),
        (Reconfig(None, None, FOUR), -13),
    ],
)
def test_refusals(request_: Reconfig, code: int) -> None:
    world, client = ensemble()
    before = client.do(GetData("/zookeeper/config"))
    zxid = world.zxid
    assert client.code(request_) == code
    assert world.zxid == zxid + 1
    assert client.do(GetData("/zookeeper/config")) == before
    assert not client.closed
    for other in ("-1", "2"):  # nothing is left of it
        assert client.code(Reconfig(None, other, None)) == 0


def test_permission_is_asked_for_at_last() -> None:
    world, _ = ensemble()
    client = world.client()
    assert client.code(Reconfig(None, "2", None)) == -102
    assert client.code(Reconfig(None, "2", None, 7)) == -103
    assert client.code(Reconfig("garbage", None, None)) == -8
    world.ensemble.execute(SetACL("/zookeeper/config", [ACL(3, ANYONE)]), world.now)
    assert client.code(Reconfig(None, "2", None)) == 0


def test_members_that_do_not_follow_do_not_count() -> None:
    world, client = ensemble(5)
    one, two = world.ensemble.servers[:2]
    one.stop(world.now)
    two.isolate(world.now)
    assert client.code(Reconfig(None, "3,4", None)) == -13
    two.rejoin(world.now)
    assert client.code(Reconfig(None, "3,4", None)) == 0


def test_standalone_and_disabled() -> None:
    client = World().client()
    reply = client.ask(Reconfig(FOUR, None, None))
    assert (reply.zxid, reply.code) == (2, -6)
    assert not client.closed
    assert World(reconfig=False).client().code(Reconfig(FOUR, None, None)) == -123
    assert World(3, reconfig=False).client().code(Reconfig(FOUR, None, None)) == -123


def test_request_that_cannot_be_read() -> None:
    world, client = ensemble()
    zxid = world.zxid
    assert client.raw(OpCode.RECONFIG, NULL + NULL).code == -5
    assert world.zxid == zxid
    assert client.code(Exists("/")) == 0


# --- what follows from it


def test_quorum_is_that_of_the_new_members() -> None:
    world, client = ensemble()
    one, two, three = world.ensemble.servers
    assert world.leader is three
    client.do(Reconfig(None, "1", None))
    one.stop(world.now)
    assert world.ensemble.leader is three
    two.stop(world.now)
    assert world.ensemble.leader is None, "one of two is no majority"
    two.start(world.now)
    world.advance(0.2)
    assert world.leader.id in (2, 3)


def test_each_reply_has_its_own_version() -> None:
    world, _ = ensemble()
    follower = world.followers[0]
    clients = [world.client(follower) for _ in range(2)]
    for client in clients:
        client.ask(Auth(0, "digest", b"super:admin"))
    follower.lag = 1.0
    clients[0].send(Reconfig(FOUR, None, None))
    clients[1].send(Reconfig(None, "4", None))
    world.advance(1.0)
    versions = []
    for client in clients:
        (reply,) = client.receive()
        (length,) = struct.unpack_from(">i", reply.body)
        found, version = members(reply.body[4 : 4 + length])
        assert ("server.4" in found) is (client is clients[0])
        assert Stat(*struct.unpack_from(">qqqqiiiqiiq", reply.body, 4 + length)).mzxid == version
        versions.append(version)
    assert versions == [world.zxid - 1, world.zxid]
    world.check()
