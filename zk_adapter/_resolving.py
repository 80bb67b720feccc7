"""Names and addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from zk_sansio.session import HostPort

__all__ = ["TOO_LATE", "addresses", "numeric", "unresolved"]

TOO_LATE = "the name was not resolved in time"


def numeric(host: HostPort) -> list[str] | None:
    """The address, if *host* is one already; None if somebody has to be asked."""
    try:
        infos = socket.getaddrinfo(host.host, host.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return addresses(infos)


def addresses(infos: Iterable[tuple[Any, ...]]) -> list[str]:
    """The numeric addresses in what ``getaddrinfo`` has answered."""
    return [str(info[4][0]) for info in infos]


def unresolved(error: OSError | UnicodeError) -> str:
    """Why a name has no address, in words."""
    if isinstance(error, OSError):
        return f"the name cannot be resolved: {error.strerror or error}"
    return "this is no name that can be resolved"
