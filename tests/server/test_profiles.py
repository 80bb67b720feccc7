"""What versions and makers do differently, as far as the other tests do not say it."""

from __future__ import annotations

import pytest

from tests.server.harness import Reply, World, create_record, packed, ustring
from zk_sansio.server import PROFILES
from zk_sansio.server._connection import KNOWN
from zk_sansio.wire import (
    AddWatch,
    AddWatchMode,
    Check,
    Create,
    CreateMode,
    Exists,
    GetData,
    Multi,
    MultiRead,
    OpCode,
    Ping,
    SetData,
    SetWatches,
    Sync,
)

OLD_UNKNOWN = [22, 103, 104, 105, 106, 107]
KEEPER_UNKNOWN = [13, 15, 17, 18, 19, 21, 101, 103, 104, 105, 106, 107]


def test_names() -> None:
    assert list(PROFILES) == ["3.5", "3.8", "3.9", "keeper"]
    assert [profile.name for profile in PROFILES.values()] == list(PROFILES)
    assert PROFILES["3.9"].version > PROFILES["3.8"].version > PROFILES["3.5"].version


@pytest.mark.parametrize("profile", ["3.5", "3.8", "3.9"])
@pytest.mark.parametrize("opcode", [-1, 0, 10, 20, 23, 99, 108, 999, -10, -100, 2**31 - 1, -(2**31)])
def test_opcodes_that_nobody_knows(profile: str, opcode: int) -> None:
    world = World(profile=profile)
    client = world.client()
    client.feed(packed(5, opcode, b"whatever") + Create("/lost").encode(6))
    assert client.receive() == [Reply(5, -1, -6)]
    assert client.closed
    assert "/lost" not in world.tree.nodes
    assert not world.resumed(client).closed


@pytest.mark.parametrize("opcode", OLD_UNKNOWN)
def test_opcodes_that_3_5_does_not_know(opcode: int) -> None:
    client = World(profile="3.5").client()
    client.feed(packed(5, opcode, ustring("/") + bytes(60)))
    assert client.receive() == [Reply(5, -1, -6)]
    assert client.closed
    assert OpCode(opcode) not in PROFILES["3.8"].unknown
    client = World(profile="3.8").client()
    client.feed(packed(5, opcode, ustring("/") + bytes(60)))
    assert not client.closed


def test_3_5_restores_one_shot_watches() -> None:
    client = World(profile="3.5").client()
    client.do(SetWatches(2**60, ["/"], [], []))
    client.do(SetData("/", b""))
    assert [event.zxid for event in client.fired()] == [-1]


@pytest.mark.parametrize("opcode", KEEPER_UNKNOWN)
def test_keeper_closes_without_a_word(opcode: int) -> None:
    client = World(profile="keeper").client()
    client.feed(packed(5, opcode, ustring("/") + bytes(60)))
    assert client.receive() == []
    assert client.closed


def test_keeper_does_the_rest() -> None:
    client = World(profile="keeper").client()
    client.do(Create("/a"))
    client.do(GetData("/a", True))
    client.do(Multi([SetData("/a", b"x"), Check("/a", 1)]))
    assert len(client.fired()) == 1
    client.do(MultiRead([GetData("/a")]))
    client.do(Sync("/"))


def test_keeper_hands_out_a_new_session_in_silence() -> None:
    world = World(profile="keeper")
    client = world.client()
    client.do(Create("/e", mode=CreateMode.EPHEMERAL))
    new = world.resumed(client)
    assert new.greeting is not None
    assert new.session_id not in (0, client.session_id)
    assert new.do(Exists("/e")).ephemeral_owner == client.session_id
    assert not client.closed, "nobody has touched it"
    client.hang_up()
    world.advance(6.0)
    new.ask(Ping())
    world.advance(6.0)
    assert new.code(Exists("/e")) == -101
    stranger = world.client(session_id=12345, password=b"wrong")
    assert stranger.session_id != 12345


@pytest.mark.parametrize("profile, answered", [("3.8", False), ("3.5", False), ("3.9", True)])
def test_check_alone(profile: str, answered: bool) -> None:
    world = World(profile=profile)
    client = world.client()
    client.send(Check("/", -1))
    if answered:
        assert client.receive() == [Reply(1, -1, -6)]
        assert client.closed
        assert world.zxid == 1
        return
    assert client.receive() == []
    assert client.ask(Ping()).zxid == 2, "it took a zxid, and the connection goes on"
    assert client.code(Check("/", 5)) == -103
    assert client.code(Check("/no", -1)) == -101


@pytest.mark.parametrize("profile, numbered", [("3.8", True), ("3.9", False)])
def test_whether_garbage_takes_a_zxid(profile: str, numbered: bool) -> None:
    world = World(profile=profile)
    client = world.client()
    reply = client.raw(OpCode.SET_DATA, b"\0")
    assert reply.code == -5
    assert reply.zxid == world.zxid == 1 + numbered
    assert client.raw(OpCode.RECONFIG, b"").code == -5
    assert world.zxid == 1 + numbered


@pytest.mark.parametrize("profile, tells", [("3.5", False), ("3.8", False), ("3.9", True), ("keeper", True)])
def test_zxids_of_notifications(profile: str, tells: bool) -> None:
    world = World(profile=profile)
    client = world.client()
    client.do(GetData("/", True))
    client.do(SetData("/", b""))
    assert [event.zxid for event in client.fired()] == [world.zxid if tells else -1]


@pytest.mark.parametrize("profile", ["3.8", "3.9"])
def test_every_known_request_is_answered_or_closed_on(profile: str) -> None:
    for opcode in sorted(KNOWN | {OpCode.AUTH, OpCode.SASL}):
        client = World(profile=profile).client()
        client.feed(packed(1, opcode))
        replies = client.receive()
        assert len(replies) == (0 if opcode in (OpCode.AUTH, OpCode.SASL) else 1)
        assert client.closed is (
            opcode in (OpCode.AUTH, OpCode.SASL, OpCode.CLOSE_SESSION) or (opcode, profile) == (OpCode.CHECK, "3.9")
        )


def test_lasting_watches_begin_with_3_6() -> None:
    client = World(profile="3.8").client()
    client.do(AddWatch("/", AddWatchMode.PERSISTENT))
    assert client.raw(OpCode.CREATE_CONTAINER, create_record("/c", 4)).code == 0
