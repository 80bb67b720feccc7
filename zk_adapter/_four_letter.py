"""What is the same for every adapter about asking a server one of the four-letter words."""

from __future__ import annotations

from zk_sansio.errors import FourLetterError
from zk_sansio.session import HostPort, Probe, Server, parse_hosts

__all__ = ["PROBE_LIMIT", "probes", "server_to_ask"]

PROBE_LIMIT = 64 * 1024
"""Bytes of an answer that anybody would want."""


def server_to_ask(host: str, word: str) -> HostPort:
    """The one server that is meant.

    Raises:
        FourLetterError: it is not one server, or not a word.
    """
    servers, chroot = parse_hosts(host)
    if len(servers) != 1 or chroot:
        raise FourLetterError(word, f"asks one server, given as host:port, not {host!r}")
    if len(word) != 4 or not word.isascii():
        raise FourLetterError(word, "is not a word of four letters")
    return servers[0]


def probes(server: HostPort, addresses: list[str], word: str, deadline: float) -> list[Probe]:
    """What to try, one after the other, until one answers."""
    return [Probe(Server(server, address), deadline, word.encode()) for address in addresses]
