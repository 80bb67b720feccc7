"""What servers of different versions, and of different makers, do differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..wire import OpCode

__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A kind of server.

    Attributes:
        name: how it is asked for.
        version: what it says that it is.
        unknown: requests that it does not know; it answers -6 and closes the connection.
        answers_unknown: whether it answers those at all before it closes.
        keeps_watch_modes: whether watches of several kinds may be at one path; without, the last one counts
            (ZOOKEEPER-4466).
        removes_by_kind: whether removeWatches and checkWatches tell lasting watches from others (types 4 and 5).
        tells_zxids: whether a notification says which change it is about.
        guards_exists: whether exists needs READ.
        guards_events: whether events are kept from those who may not READ the znode (CVE-2024-23944).
        create2_in_multi: whether the result of a create2 in a multi has a Stat (ZOOKEEPER-4026).
        strict_multi: whether a create mode that does not exist spoils a whole multi.
        numbers_garbage: whether a write that cannot be read takes a zxid.
        ipv6: whether ACLs may name IPv6 addresses.
        resumes: whether a session can be resumed; without, a new one is handed out in silence.
    """

    name: str
    version: tuple[int, int, int]
    unknown: frozenset[OpCode] = frozenset()
    answers_unknown: bool = True
    keeps_watch_modes: bool = True
    removes_by_kind: bool = True
    tells_zxids: bool = True
    guards_exists: bool = True
    guards_events: bool = True
    create2_in_multi: bool = True
    strict_multi: bool = True
    numbers_garbage: bool = False
    ipv6: bool = True
    resumes: bool = True


_3_9 = Profile(name="3.9", version=(3, 9, 5), unknown=frozenset({OpCode.CHECK}))
_3_8 = Profile(
    name="3.8",
    version=(3, 8, 0),
    keeps_watch_modes=False,
    removes_by_kind=False,
    tells_zxids=False,
    guards_exists=False,
    create2_in_multi=False,
    strict_multi=False,
    numbers_garbage=True,
    ipv6=False,
)
_3_5 = replace(
    _3_8,
    name="3.5",
    version=(3, 5, 10),
    guards_events=False,
    unknown=frozenset(
        {
            OpCode.MULTI_READ,
            OpCode.GET_EPHEMERALS,
            OpCode.GET_ALL_CHILDREN_NUMBER,
            OpCode.SET_WATCHES2,
            OpCode.ADD_WATCH,
            OpCode.WHO_AM_I,
        }
    ),
)
_KEEPER = replace(
    _3_9,
    name="keeper",
    unknown=frozenset(
        {
            OpCode.CHECK,
            OpCode.CREATE2,
            OpCode.CREATE_CONTAINER,
            OpCode.CREATE_TTL,
            OpCode.CHECK_WATCHES,
            OpCode.REMOVE_WATCHES,
            OpCode.SET_WATCHES,
            OpCode.SET_WATCHES2,
            OpCode.ADD_WATCH,
            OpCode.GET_EPHEMERALS,
            OpCode.GET_ALL_CHILDREN_NUMBER,
            OpCode.WHO_AM_I,
        }
    ),
    answers_unknown=False,
    resumes=False,
)

PROFILES: Mapping[str, Profile] = MappingProxyType({each.name: each for each in (_3_5, _3_8, _3_9, _KEEPER)})
"""``3.5`` (no persistent watches), ``3.8``, ``3.9``, and ``keeper``: ClickHouse Keeper as it is known to differ.

``3.8`` is Debian's 3.8.0, which filters events by ACL as upstream does from 3.8.4 on.
"""
