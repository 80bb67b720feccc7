"""The members of an ensemble, as /zookeeper/config tells them, and how a reconfig changes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ErrorCode
from ..wire import Reconfig
from ._refused import RefusedError

__all__ = ["Config"]

_MEMBER = re.compile(r"\s*server\.(?P<id>[^\s=]*)\s*=\s*(?P<spec>\S+)\s*")
_SPEC = re.compile(
    r"(?P<host>[^:;]+|\[[^\]]+\]):(?P<quorum>[0-9]+):(?P<election>[0-9]+)(:(?P<role>participant|observer))?"
    r";((?P<address>[^:;]+|\[[^\]]+\]):)?(?P<client>[0-9]+)"
)
_VERSION = re.compile(r"\s*version\s*=\s*[0-9a-fA-F]{1,15}\s*")
"""Part of what /zookeeper/config holds, and so of what clients send back; it means nothing there."""


@dataclass(frozen=True, slots=True)
class Config:
    """The members and the version of their list.

    Attributes:
        members: for each server's number where it listens, ``host:quorum:election:role;host:port``.
        version: the zxid of the change that made the list.
    """

    members: Mapping[int, str]
    version: int

    @property
    def voters(self) -> frozenset[int]:
        """The numbers of those that make up a quorum."""
        return frozenset(number for number, spec in self.members.items() if ":observer;" not in spec)

    def has_quorum(self, servers: frozenset[int]) -> bool:
        """Tell whether these are more than half of the voters."""
        return len(self.voters & servers) * 2 > len(self.voters)

    def encode(self) -> bytes:
        """The content of /zookeeper/config."""
        lines = [f"server.{number}={spec}" for number, spec in sorted(self.members.items())]
        return "\n".join([*lines, f"version={self.version:x}"]).encode()

    def changed(self, request: Reconfig, zxid: int, synced: frozenset[int]) -> Config:
        """Work out the list after a reconfig, in the order of ZooKeeper's checks.

        Args:
            request: what is asked for.
            zxid: of the change.
            synced: the servers that follow the leader, itself included.

        Raises:
            RefusedError: it cannot be done.
        """
        if request.config_version not in (-1, self.version):
            raise RefusedError(ErrorCode.BAD_VERSION)
        if request.new_members is not None:
            lines = [line for line in re.split("[,\n]", request.new_members) if line.strip()]
            members = dict(_member(line) for line in lines if not _VERSION.fullmatch(line))
        else:
            members = dict(self.members)
            for number in _split(request.leaving):
                members.pop(_id(number), None)
            members |= dict(map(_member, _split(request.joining)))
        config = Config(members, zxid)
        if not config.voters:
            raise RefusedError(ErrorCode.BAD_ARGUMENTS)
        if not config.has_quorum(synced):
            raise RefusedError(ErrorCode.NEW_CONFIG_NO_QUORUM)
        return config


def _split(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _id(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise RefusedError(ErrorCode.MARSHALLING_ERROR)  # a number that Java cannot read
    return int(text)


def _member(text: str) -> tuple[int, str]:
    found = _MEMBER.fullmatch(text)
    if found is None:
        raise RefusedError(ErrorCode.BAD_ARGUMENTS)
    number, spec = _id(found["id"]), _SPEC.fullmatch(found["spec"])
    if spec is None:
        raise RefusedError(ErrorCode.BAD_ARGUMENTS)
    where = f"{spec['host']}:{spec['quorum']}:{spec['election']}:{spec['role'] or 'participant'}"
    address = spec["address"] or "0.0.0.0"  # noqa: S104 -- what ZooKeeper writes there
    return number, f"{where};{address}:{spec['client']}"
