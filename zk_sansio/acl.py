"""Access control: permissions, identities and the usual lists."""

from __future__ import annotations

import base64
import hashlib
from enum import IntFlag
from typing import NamedTuple

__all__ = [
    "ACL",
    "ANYONE",
    "AUTHENTICATED",
    "CREATOR_ALL",
    "OPEN",
    "READ_ONLY",
    "Id",
    "Perms",
    "digest_acl",
    "digest_id",
    "ip_acl",
    "sasl_acl",
    "x509_acl",
]


class Perms(IntFlag):
    """What an ACL entry allows on one znode; it says nothing about the znode's children.

    A delete asks for DELETE on the parent, a create for CREATE on the parent.
    """

    NONE = 0
    READ = 1
    WRITE = 2
    CREATE = 4
    DELETE = 8
    ADMIN = 16
    ALL = 31


class Id(NamedTuple):
    """An identity: a scheme (``world``, ``auth``, ``digest``, ``ip``, ``sasl``, ``x509``) and a name in it."""

    scheme: str
    id: str


class ACL(NamedTuple):
    """One entry of an access control list: who may do what.

    Servers take any number for the permissions; one that is not a `Perms` comes back as it is.
    """

    perms: Perms | int
    id: Id


ANYONE = Id("world", "anyone")
AUTHENTICATED = Id("auth", "")
"""Stands for every identity that the connection has when the ACL is set, except its address."""

OPEN = (ACL(Perms.ALL, ANYONE),)
READ_ONLY = (ACL(Perms.READ, ANYONE),)
CREATOR_ALL = (ACL(Perms.ALL, AUTHENTICATED),)


def digest_id(user: str, password: str) -> Id:
    """The identity that ``add_auth("digest", b"user:password")`` gives to a connection."""
    # SHA-1 is what the server compares with (DigestAuthenticationProvider).
    digest = hashlib.sha1(f"{user}:{password}".encode(), usedforsecurity=False).digest()
    return Id("digest", f"{user}:{base64.b64encode(digest).decode('ascii')}")


def digest_acl(user: str, password: str, perms: Perms = Perms.ALL) -> ACL:
    """Allow *perms* to who knows this user's password."""
    return ACL(perms, digest_id(user, password))


def ip_acl(address: str, perms: Perms = Perms.ALL) -> ACL:
    """Allow *perms* to an address, or to a network as ``address/bits``."""
    return ACL(perms, Id("ip", address))


def sasl_acl(name: str, perms: Perms = Perms.ALL) -> ACL:
    """Allow *perms* to who logged in as *name* through SASL."""
    return ACL(perms, Id("sasl", name))


def x509_acl(subject: str, perms: Perms = Perms.ALL) -> ACL:
    """Allow *perms* to who showed a certificate of this subject, in the order of RFC 2253."""
    return ACL(perms, Id("x509", subject))
