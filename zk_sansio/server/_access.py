"""Who may do what: identities, and the lists that they are compared with."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from ..acl import ACL, ANYONE, Id
from ..errors import ErrorCode
from ._refused import RefusedError

__all__ = ["SUPER", "allowed", "digest_identity", "is_address", "masked", "public", "settle_acl"]

SUPER = Id("super", "")
"""May do everything."""

_AUTHENTICATED = ("digest", "sasl")
"""The schemes whose identities stand for ``auth`` in a list; an address does not."""

_MOST_ENTRIES = 10_000
_NUMBER = re.compile(r"[+-]?[0-9]{1,20}\Z")


def allowed(acl: Sequence[ACL], perms: int, identities: Sequence[Id]) -> bool:
    """Tell whether a list allows one of *perms* to one of the identities; an empty list allows all."""
    for entry in acl:
        if entry.perms & perms and (entry.id == ANYONE or any(_matches(entry.id, identity) for identity in identities)):
            return True
    return not acl or SUPER in identities


def _matches(wanted: Id, identity: Id) -> bool:
    if wanted.scheme != identity.scheme:
        return False
    return _in_network(identity.id, wanted.id) if wanted.scheme == "ip" else wanted.id == identity.id


def settle_acl(acl: Sequence[ACL], identities: Sequence[Id], *, sasl: bool, ipv6: bool) -> tuple[ACL, ...]:
    """Check a list that is to be set, and put the connection's identities in place of ``auth``.

    The permissions become plain numbers, since every request compares them.

    Raises:
        RefusedError: it is empty, or has an entry that no server accepts.
    """
    settled: list[ACL] = []
    for perms, who in dict.fromkeys(acl):
        entry = ACL(int(perms), who)
        scheme, name = who
        if who == ANYONE:
            settled.append(entry)
        elif scheme == "auth":
            own = [each for each in identities if each.scheme in _AUTHENTICATED]
            if not own:
                raise RefusedError(ErrorCode.INVALID_ACL)
            settled += [ACL(entry.perms, each) for each in own]
            if len(settled) > _MOST_ENTRIES:  # real servers would go on
                raise RefusedError(ErrorCode.INVALID_ACL)
        elif (
            (scheme == "digest" and _is_digest(name))
            or (scheme == "ip" and is_address(name, ipv6=ipv6))
            or (scheme == "sasl" and sasl)
        ):
            settled.append(entry)
        else:
            raise RefusedError(ErrorCode.INVALID_ACL)
    if not settled:
        raise RefusedError(ErrorCode.INVALID_ACL)
    return tuple(settled)


def _is_digest(name: str) -> bool:
    """One colon, with something behind it; empty ends do not count, as Java splits."""
    return len(name.rstrip(":").split(":")) == 2


def digest_identity(credential: bytes) -> Id:
    """The identity of who knows *credential*, ``user:password``."""
    text = credential.decode("utf-8", "replace")
    # SHA-1 is what ZooKeeper compares with (DigestAuthenticationProvider).
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).digest()
    return Id("digest", f"{text.split(':', 1)[0]}:{base64.b64encode(digest).decode('ascii')}")


def masked(entry: ACL) -> ACL:
    """An entry as those see it who may not change the list: without the secret."""
    if entry.id.scheme != "digest":
        return entry
    user, colon, _ = entry.id.id.partition(":")
    return ACL(entry.perms, Id("digest", f"{user}:x" if colon else user))


def public(identity: Id) -> Id:
    """An identity as ``whoAmI`` tells it: without the secret."""
    return Id("digest", identity.id.split(":", 1)[0]) if identity.scheme == "digest" else identity


# --- addresses


def is_address(text: str, *, ipv6: bool) -> bool:
    """Tell whether this is an address, or a network as ``address/bits``."""
    return _network(text, ipv6=ipv6) is not None


def _in_network(address: str, network: str) -> bool:
    found, wanted = _network(address, ipv6=True), _network(network, ipv6=True)
    if found is None or wanted is None or len(found[0]) != len(wanted[0]):
        return False
    shift = len(wanted[0]) * 8 - wanted[1]
    return int.from_bytes(found[0], "big") >> shift == int.from_bytes(wanted[0], "big") >> shift


def _network(text: str, *, ipv6: bool) -> tuple[bytes, int] | None:
    """The bytes of an address and how many bits of them count; None if it is no address."""
    address, slash, bits_text = text.partition("/")
    raw = (_ipv6(address) if ipv6 else None) if ":" in address else _ipv4(address)
    if raw is None:
        return None
    bits = len(raw) * 8
    if slash:
        if not _NUMBER.match(bits_text) or not 0 <= int(bits_text) <= bits:
            return None
        bits = int(bits_text)
    return raw, bits


def _ipv4(text: str) -> bytes | None:
    parts = text.split(".")
    if len(parts) != 4 or not all(_NUMBER.match(part) and 0 <= int(part) <= 255 for part in parts):
        return None
    return bytes(map(int, parts))


def _ipv6(text: str) -> bytes | None:
    halves = [half.split(":") if half else [] for half in text.split("::")]
    groups = [group for half in halves for group in half]
    if len(halves) > 2 or (len(groups) != 8 if len(halves) == 1 else len(groups) >= 8):
        return None
    if not all(re.fullmatch(r"[0-9a-fA-F]{1,4}", group) for group in groups):
        return None
    zeros = ["0"] * (8 - len(groups))
    whole = halves[0] + zeros + (halves[1] if len(halves) == 2 else [])
    return b"".join(int(group, 16).to_bytes(2, "big") for group in whole)
