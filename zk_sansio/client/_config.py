"""The ensemble's configuration, as ``/zookeeper/config`` tells it."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["CONFIG_PATH", "EnsembleConfig", "EnsembleMember", "parse_config"]

CONFIG_PATH = "/zookeeper/config"

_MEMBER = re.compile(r"server\.([0-9]{1,10})=([^;]*)(?:;(.*))?")
_VERSION = re.compile(r"version=([0-9a-fA-F]{1,16})")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleMember:
    """One server of the ensemble.

    Attributes:
        id: its number, ``myid``.
        spec: the addresses of quorum and election, and the role, as they were configured.
        role: ``participant`` or ``observer``.
        client_address: ``host:port`` for clients; None if it is not part of the configuration.
    """

    id: int
    spec: str
    role: str
    client_address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleConfig:
    """Who belongs to the ensemble; empty on a standalone server.

    Attributes:
        members: the servers.
        version: the configuration's version, for `Client.reconfig`; None on a standalone server.
        text: the configuration as the server tells it.
    """

    members: tuple[EnsembleMember, ...]
    version: int | None
    text: str


def parse_config(data: bytes | None) -> EnsembleConfig:
    """Read the data of ``/zookeeper/config``; lines that are not known are left to `EnsembleConfig.text`."""
    text = (data or b"").decode("utf-8", "replace")
    members = []
    version = None
    for line in text.splitlines():
        if found := _MEMBER.fullmatch(line.strip()):
            number, spec, client = found.groups()
            role = "observer" if spec.endswith(":observer") else "participant"
            address = client if client is None or ":" in client else f"0.0.0.0:{client}"
            members.append(EnsembleMember(id=int(number), spec=spec, role=role, client_address=address))
        elif found := _VERSION.fullmatch(line.strip()):
            # The version of the node's Stat is always -1; this one is hexadecimal.
            version = int(found[1], 16)
    return EnsembleConfig(members=tuple(members), version=version, text=text)
