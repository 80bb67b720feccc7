"""SASL on the wire; the exchange itself is in test_digest_md5.py."""

from __future__ import annotations

import struct

import pytest

from tests.server.harness import NULL, Client, Reply, World, buffer, packed
from zk_sansio.acl import CREATOR_ALL, Id, sasl_acl
from zk_sansio.session._sasl import DigestMD5
from zk_sansio.wire import Create, Exists, GetACL, GetData, OpCode, WhoAmI

USERS = {"bob": "bobsecret"}


def token(reply: Reply) -> bytes | None:
    (length,) = struct.unpack_from(">i", reply.body)
    return None if length < 0 else reply.body[4:]


def log_in(client: Client, password: str = "bobsecret") -> Reply:
    """Go through the exchange; return the last reply."""
    mechanism = DigestMD5("bob", password, lambda: b"0123456789abcdef")
    challenge = token(client.raw(OpCode.SASL, buffer(mechanism.start())))
    return client.raw(OpCode.SASL, buffer(mechanism.step(challenge)))


def test_login() -> None:
    world = World(sasl_users=USERS)
    client = world.client()
    reply = client.raw(OpCode.SASL, buffer(b""))
    assert (reply.xid, reply.zxid, reply.code) == (1, 0, 0)
    challenge = token(reply)
    assert challenge is not None
    assert challenge.startswith(b'realm="zk-sasl-md5",nonce="')
    assert client.do(WhoAmI()) == [Id("ip", "127.0.0.1")], "others are served meanwhile"
    client = world.client()
    reply = log_in(client)
    assert (reply.zxid, reply.code) == (0, 0)
    assert (token(reply) or b"").startswith(b"rspauth=")
    assert client.do(WhoAmI()) == [Id("ip", "127.0.0.1"), Id("sasl", "bob")]
    client.do(Create("/a", acl=CREATOR_ALL))
    assert client.do(GetACL("/a")).acl == (sasl_acl("bob"),)
    assert world.client().code(GetData("/a")) == -102


def test_nonces_differ() -> None:
    world = World(sasl_users=USERS)
    replies = [world.client().raw(OpCode.SASL, buffer(b"")).body for _ in range(3)]
    assert len(set(replies)) == 3


@pytest.mark.parametrize("required, code", [(False, -115), (True, -124)])
def test_wrong_password(required: bool, code: int) -> None:
    world = World(sasl_users=USERS, require_sasl=required)
    client = world.client()
    reply = log_in(client, "wrong")
    assert (reply.zxid, reply.code, reply.body) == (0, code, NULL)
    assert client.closed
    assert not world.resumed(client).closed, "the session lives on"


def test_one_token_too_many() -> None:
    client = World(sasl_users=USERS).client()
    log_in(client)
    assert client.raw(OpCode.SASL, buffer(b"")).code == -115
    assert client.closed


def test_server_without_sasl() -> None:
    client = World().client()
    reply = client.raw(OpCode.SASL, buffer(b""))
    assert reply == (1, 0, 0, NULL)
    assert client.raw(OpCode.SASL, buffer(b"anything")).body == NULL
    assert client.do(WhoAmI()) == [Id("ip", "127.0.0.1")]


@pytest.mark.parametrize("users", [{}, USERS])
@pytest.mark.parametrize("record", [NULL, b"", b"\0\0\0\5x"])
def test_token_that_is_none(users: dict[str, str], record: bytes) -> None:
    client = World(sasl_users=users).client()
    client.feed(packed(1, OpCode.SASL, record))
    assert client.receive() == []
    assert client.closed


@pytest.mark.parametrize(
    "opcode", [OpCode.GET_DATA, OpCode.CREATE, OpCode.PING, OpCode.CLOSE_SESSION, OpCode.SYNC, 999]
)
def test_enforced(opcode: int) -> None:
    world = World(sasl_users=USERS, require_sasl=True)
    client = world.client()
    client.feed(packed(-2, opcode) + packed(5, OpCode.PING))
    assert client.receive() == [Reply(-2, 0, -124)]
    assert client.closed
    assert client.session_id in world.ensemble.sessions
    client = world.client()
    log_in(client)
    assert client.code(Exists("/")) == 0


def test_auth_packets_come_before_the_login() -> None:
    client = World(sasl_users=USERS, require_sasl=True, super_password="super:admin").client()
    client.feed(packed(-4, OpCode.AUTH, bytes(4) + b"\0\0\0\6digest" + buffer(b"super:admin")))
    assert client.receive() == [Reply(-4, 0, 0)]
    client.send(Exists("/"))
    assert [reply.code for reply in client.receive()] == [-124], "not even super is spared"
