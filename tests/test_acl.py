"""Access control: permissions, identities and the usual lists."""

from __future__ import annotations

import pytest

from zk_sansio import acl
from zk_sansio.acl import ACL, Id, Perms


def test_perms() -> None:
    assert {perm.name: perm.value for perm in Perms} == {"READ": 1, "WRITE": 2, "CREATE": 4, "DELETE": 8, "ADMIN": 16}
    assert Perms.READ | Perms.WRITE | Perms.CREATE | Perms.DELETE | Perms.ADMIN == Perms.ALL
    assert (int(Perms.ALL), int(Perms.NONE)) == (31, 0)


def test_identity_with_a_password() -> None:
    assert acl.digest_id("bob", "secret") == Id("digest", "bob:fyVmFCwVbTJYrznoSu1koqYEYF0=")
    assert acl.digest_id("bob", "other") != acl.digest_id("bob", "secret")


def test_identity_beyond_ascii() -> None:
    scheme, name = acl.digest_id("björn", "pässword:x")
    assert scheme == "digest"
    assert name.startswith("björn:")
    assert len(name) == len("björn:") + 28


def test_no_password_in_an_identity() -> None:
    assert "secret" not in repr(acl.digest_acl("bob", "secret"))


@pytest.mark.parametrize(
    "entry, identity",
    [
        (acl.digest_acl("bob", "secret"), acl.digest_id("bob", "secret")),
        (acl.ip_acl("10.0.0.0/8"), Id("ip", "10.0.0.0/8")),
        (acl.sasl_acl("bob"), Id("sasl", "bob")),
        (acl.x509_acl("CN=bob,O=x"), Id("x509", "CN=bob,O=x")),
    ],
)
def test_entries(entry: ACL, identity: Id) -> None:
    assert entry == ACL(Perms.ALL, identity)


def test_entries_with_fewer_permissions() -> None:
    for entry in (
        acl.digest_acl("bob", "secret", Perms.READ),
        acl.ip_acl("::1", Perms.READ),
        acl.sasl_acl("bob", Perms.READ),
        acl.x509_acl("CN=bob", Perms.READ),
    ):
        assert entry.perms == Perms.READ


def test_lists() -> None:
    assert acl.OPEN == ((31, ("world", "anyone")),)
    assert acl.READ_ONLY == ((1, ("world", "anyone")),)
    assert acl.CREATOR_ALL == ((31, ("auth", "")),)


def test_what_is_public() -> None:
    made_here = {name for name, thing in vars(acl).items() if isinstance(thing, tuple) or name.endswith("_acl")}
    assert made_here | {"ACL", "Id", "Perms", "digest_id"} == set(acl.__all__)
