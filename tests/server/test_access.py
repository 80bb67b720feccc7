"""Who may do what: every scheme, every permission."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.harness import (
    NULL,
    Client,
    Reply,
    World,
    acls,
    buffer,
    create_record,
    packed,
    repeatable,
    ustring,
    vector,
)
from zk_sansio.acl import ACL, ANYONE, CREATOR_ALL, Id, digest_acl, digest_id
from zk_sansio.server._access import allowed, is_address
from zk_sansio.wire import (
    Auth,
    Check,
    Create,
    Delete,
    Exists,
    GetACL,
    GetAllChildrenNumber,
    GetChildren,
    GetChildren2,
    GetData,
    Multi,
    MultiRead,
    OpCode,
    Request,
    SetACL,
    SetData,
    WhoAmI,
)

READ, WRITE, CREATE, DELETE, ADMIN = 1, 2, 4, 8, 16
BOB = digest_id("bob", "secret")
NO_AUTH, INVALID_ACL, AUTH_FAILED = -102, -114, -115


def login(client: Client, credential: bytes = b"bob:secret") -> None:
    assert client.code(Auth(0, "digest", credential)) == 0


def auth(scheme: str | None, data: bytes | None) -> bytes:
    return struct.pack(">i", 0) + ustring(scheme) + buffer(data)


def set_code(client: Client, *entries: tuple[int, str | None, str | None]) -> int:
    """Try to give a znode of one's own an ACL."""
    code = client.raw(OpCode.CREATE, create_record("/acl", acl=entries)).code
    if code == 0:
        client.world.ensemble.execute(Delete("/acl"), client.world.now)
    return code


# --- permissions


@pytest.mark.parametrize(
    "perms, request_",
    [
        (READ, Exists("/a")),
        (READ, GetData("/a")),
        (READ, GetChildren("/a")),
        (READ, GetChildren2("/a")),
        (READ, GetAllChildrenNumber("/a")),
        (READ | ADMIN, GetACL("/a")),
        (WRITE, SetData("/a", b"")),
        (ADMIN, SetACL("/a", [ACL(31, ANYONE)])),
        (CREATE, Create("/a/x")),
        (DELETE, Delete("/a/b")),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_each_request_needs_its_permission(perms: int, request_: Request[Any]) -> None:
    for single in (READ, WRITE, CREATE, DELETE, ADMIN):
        client = World().client()
        client.do(Create("/a"))
        client.do(Create("/a/b", acl=[ACL(0, ANYONE)]))
        client.do(SetACL("/a", [ACL(single, ANYONE)]))
        assert client.code(request_) == (0 if single & perms else NO_AUTH)


@pytest.mark.parametrize("perms", [READ, WRITE, CREATE, DELETE, ADMIN])
def test_operations_of_multis_too(perms: int) -> None:
    client = World().client()
    client.do(Create("/a"))
    client.do(Create("/a/b", acl=[ACL(0, ANYONE)]))
    client.do(SetACL("/a", [ACL(perms, ANYONE)]))
    for needed, op in (
        (READ, Check("/a", -1)),
        (WRITE, SetData("/a", b"")),
        (CREATE, Create("/a/x")),
        (DELETE, Delete("/a/b")),
    ):
        (result,) = client.do(Multi([op]))
        assert (getattr(result, "code", 0) == NO_AUTH) is (needed != perms)
    for result in client.do(MultiRead([GetData("/a"), GetChildren("/a")])):
        assert (getattr(result, "code", 0) == NO_AUTH) is (perms != READ)


def test_exists_of_old_versions_needs_nothing() -> None:
    client = World(profile="3.8").client()
    client.do(Create("/a", acl=[ACL(0, ANYONE)]))
    assert client.code(Exists("/a")) == 0
    assert client.code(GetData("/a")) == NO_AUTH


def test_permissions_are_not_checked() -> None:
    world = World()
    client = world.client()
    for perms in (0, 64, -1, 2**31 - 1, -(2**31)):
        client.raw(OpCode.CREATE, create_record(f"/p{perms}", acl=[(perms, "world", "anyone")]))
        assert world.node(f"/p{perms}").acl == (ACL(perms, ANYONE),)
    assert client.code(GetData("/p0")) == NO_AUTH
    assert client.code(GetData("/p64")) == NO_AUTH
    assert client.do(GetACL("/p-1")).acl == (ACL(-1, ANYONE),)
    client.do(Delete("/p0"))


# --- lists that are refused


@pytest.mark.parametrize(
    "entry, code",
    [
        (("world", "anyone"), 0),
        (("world", "someone"), INVALID_ACL),
        (("world", ""), INVALID_ACL),
        (("nosuch", "x"), INVALID_ACL),
        (("", ""), INVALID_ACL),
        (("super", ""), INVALID_ACL),
        (("super", "bob"), INVALID_ACL),
        (("auth", ""), INVALID_ACL),
        (("auth", "ignored"), INVALID_ACL),
        (("sasl", "bob"), INVALID_ACL),
        (("x509", "CN=bob"), INVALID_ACL),
        (("digest", "bob:hash"), 0),
        (("digest", "bob"), INVALID_ACL),
        (("digest", "bob:x:y"), INVALID_ACL),
        (("digest", ""), INVALID_ACL),
        (("ip", "127.0.0.1"), 0),
        (("ip", "10.0.0.0/8"), 0),
        (("ip", "10.0.0.0/0"), 0),
        (("ip", "10.0.0.0/32"), 0),
        (("ip", "10.0.0.0/33"), INVALID_ACL),
        (("ip", "10.0.0.0/-1"), INVALID_ACL),
        (("ip", "10.0.0.0/x"), INVALID_ACL),
        (("ip", "10.0.0"), INVALID_ACL),
        (("ip", "10.0.0.256"), INVALID_ACL),
        (("ip", "host"), INVALID_ACL),
        (("ip", ""), INVALID_ACL),
        (("ip", "1.2.3." + "0" * 5000), INVALID_ACL),
        (("ip", "1.2.3.4/" + "1" * 5000), INVALID_ACL),
        (("ip", "::1"), 0),
        (("ip", "fe80::/10"), 0),
        (("ip", ":::"), INVALID_ACL),
        ((None, "x"), INVALID_ACL),
    ],
    ids=lambda value: str(value)[:40],
)
def test_entries(entry: tuple[str | None, str], code: int) -> None:
    client = World().client()
    assert set_code(client, (31, *entry)) == code
    assert set_code(client, (31, "world", "anyone"), (1, *entry)) == code, "one bad entry spoils the list"
    assert not client.closed


def test_entry_of_an_ipv6_address_in_old_versions() -> None:
    assert set_code(World(profile="3.8").client(), (31, "ip", "::1")) == INVALID_ACL


@pytest.mark.parametrize("count", [NULL, bytes(4)], ids=["null", "empty"])
def test_list_that_is_missing(count: bytes) -> None:
    client = World().client()
    record = ustring("/a") + buffer(b"") + count + bytes(4)
    assert client.raw(OpCode.CREATE, record).code == INVALID_ACL
    assert client.raw(OpCode.SET_ACL, ustring("/") + count + NULL).code == INVALID_ACL


def test_duplicates_are_merged_and_the_order_is_kept() -> None:
    client = World().client()
    entries = [(1, "world", "anyone"), (31, "digest", "b:x"), (1, "world", "anyone"), (2, "world", "anyone")]
    client.raw(OpCode.CREATE, create_record("/a", acl=entries))
    found = client.do(GetACL("/a")).acl
    assert [entry.perms for entry in found] == [1, 31, 2]


# --- digest


def test_digest() -> None:
    world = World()
    client, other = world.client(), world.client()
    login(client)
    client.do(Create("/a", acl=[digest_acl("bob", "secret")]))
    assert client.code(GetData("/a")) == 0
    assert other.code(GetData("/a")) == NO_AUTH
    login(other, b"bob:wrong")
    assert other.code(GetData("/a")) == NO_AUTH
    login(other)
    assert other.code(GetData("/a")) == 0


def test_identity_of_a_digest() -> None:
    world = World()
    client = world.client()
    login(client)
    assert client.connection.identities[-1] == Id("digest", "bob:fyVmFCwVbTJYrznoSu1koqYEYF0=")
    login(client, b"nocolon")
    assert client.connection.identities[-1].id.startswith("nocolon:")
    login(client, "\xe9\u65e5:\U0001f600".encode())
    assert client.connection.identities[-1] == digest_id("\xe9\u65e5", "\U0001f600")
    login(client, b"")
    assert not client.closed


def test_credentials_add_up_and_stay_with_the_connection() -> None:
    world = World()
    client = world.client()
    for credential in (b"bob:secret", b"eve:x", b"bob:secret"):
        login(client, credential)
    assert client.do(WhoAmI()) == [Id("ip", "127.0.0.1"), Id("digest", "bob"), Id("digest", "eve")]
    new = world.resumed(client)
    assert new.do(WhoAmI()) == [Id("ip", "127.0.0.1")]


def test_auth_stands_for_all_of_them() -> None:
    client = World().client()
    login(client)
    login(client, b"eve:x")
    client.do(Create("/a", acl=CREATOR_ALL))
    assert client.do(GetACL("/a")).acl == (digest_acl("bob", "secret"), digest_acl("eve", "x"))


def test_get_acl_hides_secrets() -> None:
    world = World()
    client, other = world.client(), world.client()
    login(client)
    entries = [*CREATOR_ALL, ACL(1, ANYONE), ACL(31, Id("ip", "10.0.0.1")), ACL(1, Id("digest", "a:b"))]
    client.do(Create("/a", acl=entries))
    hidden = (ACL(31, Id("digest", "bob:x")), *entries[1:3], ACL(1, Id("digest", "a:x")))
    assert other.do(GetACL("/a")).acl == hidden
    assert client.do(GetACL("/a")).acl == (digest_acl("bob", "secret"), *entries[1:])


def test_ids_come_back_as_java_writes_them() -> None:
    client = World().client()
    client.raw(OpCode.CREATE, create_record("/a", acl=[(31, "digest", "\U0001f600:x"), (31, "world", "anyone")]))
    assert b"\xed\xa0\xbd\xed\xb8\x80:x" in client.raw(OpCode.GET_ACL, ustring("/a")).body


# --- addresses


@pytest.mark.parametrize(
    "address, entry, matches",
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("10.1.2.3", "10.1.0.0/16", True),
        ("10.2.2.3", "10.1.0.0/16", False),
        ("10.1.2.3", "11.0.0.0/7", True),
        ("10.1.2.3", "0.0.0.0/0", True),
        ("10.1.2.3", "::/0", False),
        ("::1", "::1", True),
        ("0:0:0:0:0:0:0:1", "::1", True),
        ("fe80::1", "fe80::/16", True),
        ("fec0::1", "fe80::/16", False),
        ("::1", "0.0.0.0/0", False),
        ("memory", "10.1.2.3", False),
    ],
)
def test_addresses(address: str, entry: str, matches: bool) -> None:
    world = World()
    client = world.client(address=address)
    world.client().raw(OpCode.CREATE, create_record("/a", acl=[(1, "ip", entry)]))
    assert client.code(GetData("/a")) == (0 if matches else NO_AUTH)


@repeatable
@given(st.text(alphabet="0123456789abcdef.:/-+ ", max_size=30), st.booleans())
def test_any_text_is_an_address_or_not(text: str, ipv6: bool) -> None:
    is_address(text, ipv6=ipv6)


# --- super


def test_super_may_do_everything() -> None:
    world = World(super_password="super:admin")
    client, chief = world.client(), world.client()
    client.do(Create("/a", acl=[ACL(0, ANYONE)]))
    login(chief, b"super:admin")
    assert chief.do(WhoAmI()) == [Id("ip", "127.0.0.1"), Id("super", ""), Id("digest", "super")]
    assert chief.code(GetData("/a")) == 0
    assert chief.code(SetACL("/a", [digest_acl("bob", "secret")])) == 0
    assert chief.do(GetACL("/a")).acl == (digest_acl("bob", "secret"),)
    assert chief.code(Create("/a/b")) == 0
    assert chief.code(Delete("/zookeeper")) == -8
    login(client, b"super:wrong")
    assert client.code(GetData("/a")) == NO_AUTH


def test_nobody_is_super_without_a_password() -> None:
    client = World().client()
    login(client, b"super:")
    client.do(Create("/a", acl=[ACL(0, ANYONE)]))
    assert client.code(GetData("/a")) == NO_AUTH


def test_empty_list_allows_all() -> None:
    assert allowed((), READ, [])


# --- auth packets


def test_bytes_of_an_auth_packet() -> None:
    world = World()
    client = world.client()
    for xid in (-4, 78):
        client.feed(packed(xid, OpCode.AUTH, auth("digest", b"bob:secret")))
        assert client.receive() == [Reply(xid, 0, 0)]


@pytest.mark.parametrize(
    "scheme, data",
    [
        ("nosuch", b"x"),
        ("sasl", b"bob"),
        ("auth", b""),
        ("world", b"anyone"),
        ("super", b""),
        (None, b"x"),
        ("digest", None),
    ],
)
def test_auth_that_fails_closes_the_connection_and_not_the_session(scheme: str | None, data: bytes | None) -> None:
    world = World()
    client = world.client()
    client.feed(packed(-4, OpCode.AUTH, auth(scheme, data)) + Create("/lost").encode(1))
    assert client.receive() == [Reply(-4, 0, AUTH_FAILED)]
    assert client.closed
    assert "/lost" not in world.tree.nodes
    assert not world.resumed(client).closed


def test_address_needs_no_proof() -> None:
    client = World().client()
    assert client.raw(OpCode.AUTH, auth("ip", b"")).code == 0
    assert client.do(WhoAmI()) == [Id("ip", "127.0.0.1")]


def test_auth_that_cannot_be_read() -> None:
    client = World().client()
    client.feed(packed(-4, OpCode.AUTH, b"\0\0\0\0\0\0\0\x09x"))
    assert client.receive() == []
    assert client.closed


def test_auth_overtakes_what_waits() -> None:
    world = World(3)
    follower = world.followers[0]
    client = world.client(follower)
    follower.lag = 1.0
    client.send(Create("/a"))
    client.send(SetData("/a", b""))
    client.feed(packed(-4, OpCode.AUTH, auth("digest", b"bob:secret")))
    client.send(Create("/b", acl=CREATOR_ALL))
    assert client.receive() == [Reply(-4, 0, 0)]
    world.advance(3.0)
    assert [reply.code for reply in client.receive()] == [0, 0, 0]
    assert world.node("/b").acl == (digest_acl("bob", "secret"),)


def test_whoami_entries() -> None:
    client = World().client()
    login(client)
    body = client.raw(OpCode.WHO_AM_I).body
    assert body == vector([ustring("ip") + ustring("127.0.0.1"), ustring("digest") + ustring("bob")])
    assert acls([]) == bytes(4)
