"""The servers of an ensemble: how they are named, in what order they are tried, and how long each may take.

Nothing here resolves a name or waits: addresses, randomness and the time that is left come in as arguments.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import InvalidRequestError
from ..paths import check_path

__all__ = [
    "DEFAULT_PORT",
    "Backoff",
    "HostPort",
    "RandomSource",
    "Server",
    "ServerList",
    "connect_timeout",
    "parse_hosts",
]

DEFAULT_PORT = 2181

_NOT_IN_A_HOST = re.compile(r"[\s;\[\]\x00-\x1f\x7f]")
_PORT = re.compile(r"[0-9]{1,5}")
_HOST_AFTER_CHROOT = re.compile(r",[^/,]+:[0-9]+")


class RandomSource(Protocol):
    """What is needed of a ``random.Random``."""

    def random(self) -> float:
        """A number from 0 up to, but not including, 1."""
        ...

    def shuffle(self, x: list[Any], /) -> None:
        """Put *x* in random order, in place."""
        ...


@dataclass(frozen=True, slots=True)
class HostPort:
    """A server as it was configured: a name or an address, and a port."""

    host: str
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server to connect to.

    Attributes:
        host: the server as it was configured; certificates and Kerberos principals carry this name.
        address: a numeric address; the host itself where that is one.
    """

    host: HostPort
    address: str

    def __str__(self) -> str:
        return str(self.host) if self.address == self.host.host else f"{self.host} ({self.address})"


def parse_hosts(hosts: str | Sequence[str]) -> tuple[tuple[HostPort, ...], str]:
    """Read a connect string, such as ``zk1:2181,zk2:2181,[2001:db8::1]:2181/app``.

    Args:
        hosts: the connect string, or its entries; then the chroot follows the last one.

    Returns:
        The servers, each named once, and the chroot, empty if there is none.

    Raises:
        InvalidRequestError: the message says what is wrong, and how it should be.
    """
    text = hosts if isinstance(hosts, str) else _join_entries(hosts)
    # Neither of these two repeats the text: there may be a password in it.
    if "://" in text:
        raise InvalidRequestError("name the servers without a scheme, as host:port,host:port/chroot")
    listed, slash, rest = text.partition("/")
    if "@" in listed:
        raise InvalidRequestError("a server is named as host:port, without a user; give credentials with add_auth")
    chroot = slash + rest if rest else ""
    if _HOST_AFTER_CHROOT.search(chroot):
        raise InvalidRequestError(f"{text!r}: the chroot is the same for all servers; write it once, at the end")
    if chroot:
        check_path(chroot)
    servers = tuple(dict.fromkeys(_parse_entry(entry) for part in listed.split(",") if (entry := part.strip())))
    if not servers:
        raise InvalidRequestError(f"{text!r} names no server; give host:port, several of them separated by commas")
    return servers, chroot


def _join_entries(entries: Sequence[str]) -> str:
    for entry in entries:
        if not isinstance(entry, str):
            raise TypeError(f"a server is named by a str, not {type(entry).__name__}")
    if any("/" in entry and "://" not in entry for entry in entries[:-1]):
        raise InvalidRequestError("the chroot is the same for all servers; write it once, on the last entry")
    return ",".join(entries)


def _parse_entry(entry: str) -> HostPort:
    if entry.startswith("["):
        host, closed, rest = entry[1:].partition("]")
        if not closed:
            raise InvalidRequestError(f"{entry!r}: the bracket is not closed; write [address]:port")
        host = _ipv6(host, entry)
        if rest and not rest.startswith(":"):
            raise InvalidRequestError(f"{entry!r}: only ':port' may follow the bracket")
        return HostPort(host, _port(rest[1:], entry) if rest else DEFAULT_PORT)
    if entry.count(":") > 1:
        raise InvalidRequestError(f"{entry!r}: write an IPv6 address in brackets, such as [::1]:{DEFAULT_PORT}")
    host, _, port = entry.partition(":")
    if not host:
        raise InvalidRequestError(f"{entry!r} has no host; write host:port")
    if _NOT_IN_A_HOST.search(host):
        raise InvalidRequestError(f"{host!r} is no host name; separate servers with commas")
    return HostPort(host, _port(port, entry) if port else DEFAULT_PORT)


def _ipv6(text: str, entry: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))  # one spelling, so that it is recognised when it comes twice
    except ValueError:
        raise InvalidRequestError(f"{entry!r}: brackets are for IPv6 addresses, and {text!r} is none") from None


def _port(text: str, entry: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise InvalidRequestError(f"{entry!r}: the port {text!r} is not a number from 1 to 65535")
    return int(text)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class ServerList:
    """The order in which servers are tried, in rounds.

    A round gives every address of every server once, in an order drawn anew. Resolve what `unresolved` names, call
    `begin_round`, and take servers with `next` until it returns None: then the round was fruitless, and it is time
    to pause (`Backoff`) before the next one. Report what became of each server with `failed`, `avoid` or `succeeded`.

    Args:
        hosts: the servers as configured; not empty.
        random: where the order and the choices of `update` come from.
    """

    __slots__ = (
        "_addresses",
        "_avoided",
        "_failures",
        "_hosts",
        "_last",
        "_new",
        "_p_new",
        "_preferred",
        "_random",
        "_untried",
    )

    def __init__(self, hosts: Iterable[HostPort], random: RandomSource) -> None:
        self._hosts = _distinct(hosts)
        self._random = random
        self._untried: list[Server] | None = None  # None between rounds
        self._preferred: Server | None = None
        self._last: Server | None = None
        self._avoided: list[Server] = []
        self._failures: dict[Server | HostPort, str] = {}
        self._addresses: dict[HostPort, tuple[str, ...]] = {}
        # Reconfig mode (ZOOKEEPER-1355): which servers are new, and how probable it is to take one of them next.
        self._new: frozenset[HostPort] = frozenset()
        self._p_new: float | None = None

    @property
    def hosts(self) -> tuple[HostPort, ...]:
        """The servers as configured."""
        return self._hosts

    @property
    def untried(self) -> int:
        """How many servers `next` has still to give in this round."""
        return len(self._untried or ()) + (self._preferred is not None and self._preferred not in (self._untried or ()))

    @property
    def failures(self) -> dict[str, str]:
        """What happened last to each server since the last success, by ``str`` of the server or host."""
        return {str(where): why for where, why in self._failures.items()}

    def __contains__(self, server: Server) -> bool:
        return self._is_among(server, self._hosts)

    def unresolved(self) -> tuple[HostPort, ...]:
        """The names to resolve before each round; numeric addresses need none."""
        return tuple(host for host in self._hosts if not _is_address(host.host))

    def begin_round(self, addresses: Mapping[HostPort, Sequence[str]]) -> None:
        """Start over with all servers.

        Args:
            addresses: what each name of `unresolved` resolved to; a name that did not resolve may be missing;
                then the addresses that it had before are tried.
        """
        # By address and port, because one server may have several names; the name configured first wins.
        servers: dict[tuple[str, int], Server] = {}
        for host in self._hosts:
            found = tuple(addresses.get(host, ()))
            if found:
                self._addresses[host] = found
            elif _is_address(host.host):
                found = (host.host,)
            else:
                found = self._addresses.get(host, ())  # the resolver fails, which need not stop us
            for address in found:
                servers.setdefault((address, host.port), Server(host, address))
        untried = list(servers.values())
        self._random.shuffle(untried)
        ranks = self._ranks()
        untried.sort(key=lambda server: ranks.get(server, ranks.get(server.host, 0)))
        self._avoided.clear()
        self._untried = untried
        self._forget_failures(set(untried))

    def _ranks(self) -> dict[Server | HostPort, int]:
        """Silent servers go last, the latest of them at the very end; other addresses of their hosts just before."""
        ranks: dict[Server | HostPort, int] = {server.host: 1 for server in self._avoided}
        ranks.update((server, 2 + number) for number, server in enumerate(self._avoided))
        return ranks

    def _forget_failures(self, servers: set[Server]) -> None:
        """Drop the notes on addresses that a name no longer has; or they would pile up where addresses change often."""
        resolved = {server.host for server in servers}
        self._failures = {
            where: why
            for where, why in self._failures.items()
            if where in servers or (where.host if isinstance(where, Server) else where) not in resolved
        }

    def next(self) -> Server | None:
        """Take the next server of the round; None when there is none left, or when no round was begun."""
        untried = self._untried
        if (preferred := self._preferred) is not None:
            self._preferred = None
            if untried and preferred in untried:
                untried.remove(preferred)
            return preferred
        if untried:
            return untried.pop(self._choose(untried))
        if untried is not None:
            self._untried = None
            self._p_new = None  # all were tried: reconfig mode is over
        return None

    def _choose(self, servers: Sequence[Server]) -> int:
        """The index of the one to try next: the first, in reconfig mode the first of the group that is drawn."""
        if self._p_new is None:
            return 0
        take_new = self._random.random() < self._p_new
        for index, server in enumerate(servers):
            if (server.host in self._new) is take_new:
                return index
        return 0  # that group is exhausted, so it is the other's turn

    def prefer(self, server: Server) -> None:
        """Let `next` give *server* first: a read-only client knows that it is read/write."""
        self._preferred = server

    def avoid(self, server: Server) -> None:
        """Let *server* come last in the next round: it was silent, and another one is more likely to answer."""
        if server in self._avoided:
            self._avoided.remove(server)
        self._avoided.append(server)

    def failed(self, where: Server | HostPort, why: str) -> None:
        """Note why *where* could not be used, for error messages.

        Args:
            where: a server, or a host whose name does not resolve.
            why: one line.
        """
        self._failures[where] = why

    def succeeded(self, server: Server) -> None:
        """Note that *server* accepted the session: the round is over, and its failures are forgotten."""
        self._last = server
        self._untried = None
        self._preferred = None
        self._p_new = None
        self._failures.clear()

    def update(self, hosts: Iterable[HostPort], current: Server | None) -> bool:
        """Take a new list of servers, and decide whether this client must move to keep the load even.

        Each client decides alone and at random, so that together they spread evenly (ZOOKEEPER-1355). If it moves, then
        `next` draws between new and old servers as the balance asks, until one accepts the session or all were tried.

        Args:
            hosts: the new list; not empty.
            current: the server in use; None if there is no connection.

        Returns:
            True to move: drop the connection, keep the session, begin a new round at once. False to go on as before.

        Raises:
            InvalidRequestError: the list is empty; nothing was changed.
        """
        updated = _distinct(hosts)
        if self._p_new is not None:
            here = self._heading_for()  # still on the move after an earlier update, as the Java client has it
        else:
            here = current or self._last or self._heading_for()
        stays_listed = self._is_among(here, updated)
        old, new = len(self._hosts), len(updated)
        known = set(self._hosts)
        kept = sum(host in known for host in updated)
        if new > old:
            moves = not stays_listed or self._random.random() < 1 - old / new
            p_new = 1.0
        else:
            moves = not stays_listed
            gone = old - kept
            p_new = 1 - kept * (old - new) / (new * gone) if gone else 0.0
        self._hosts = updated
        self._addresses = {host: found for host, found in self._addresses.items() if host in updated}
        self._failures = {
            where: why
            for where, why in self._failures.items()
            if (where.host if isinstance(where, Server) else where) in updated
        }
        self._new = frozenset(updated) - known
        if moves:
            self._p_new = p_new
            self._untried = self._preferred = self._last = None
        else:
            self._p_new = None
            if self._untried is not None:
                self._untried = [server for server in self._untried if server.host in updated]
            if self._preferred is not None and self._preferred not in self:
                self._preferred = None
        return moves

    def _heading_for(self) -> Server:
        """The server that would be tried next."""
        waiting = self._untried
        if not waiting:
            waiting = [Server(host, host.host) for host in self._hosts]
            self._random.shuffle(waiting)
        return waiting[self._choose(waiting)]

    def _is_among(self, server: Server, hosts: Iterable[HostPort]) -> bool:
        return any(
            host.port == server.host.port
            and (host.host in (server.host.host, server.address) or server.address in self._addresses.get(host, ()))
            for host in hosts
        )


def _distinct(hosts: Iterable[HostPort]) -> tuple[HostPort, ...]:
    distinct = tuple(dict.fromkeys(hosts))
    if not distinct:
        raise InvalidRequestError("the list of servers is empty; give at least one")
    return distinct


class Backoff:
    """The pause after a fruitless round: it doubles, has a cap, and is drawn between a half and the whole.

    Half of it is never drawn away, so that many clients neither return at the same moment nor hammer.

    Args:
        random: where the jitter comes from.
        base: seconds, the longest pause after the first fruitless round.
        cap: seconds; no pause is longer.
        floor: seconds; what the cap is at least, however short the session timeout is.
    """

    __slots__ = ("_base", "_cap", "_floor", "_longest", "_random")

    def __init__(self, random: RandomSource, *, base: float = 0.1, cap: float = 2.0, floor: float = 0.1) -> None:
        self._random = random
        self._base = base
        self._cap = cap
        self._floor = floor
        self._longest = base

    def next(self, session_timeout: float) -> float:
        """The pause to make now, in seconds.

        Args:
            session_timeout: seconds; the session ticks on, so no pause is longer than a tenth of it.
        """
        limit = max(self._floor, min(self._cap, session_timeout / 10))
        longest = min(self._longest, limit)
        self._longest = longest * 2
        return longest * (1 + self._random.random()) / 2

    def reset(self) -> None:
        """Begin with the shortest pause again: a server answered."""
        self._longest = self._base


def connect_timeout(remaining: float, servers: int, cap: float, floor: float) -> float:
    """How long one connection attempt may take, in seconds.

    Args:
        remaining: what is left of the session's time; may be negative.
        servers: the servers that share it; 0 counts as 1.
        cap: no attempt gets more.
        floor: no attempt gets less, or with many servers none could ever succeed.
    """
    return max(floor, min(cap, remaining / max(1, servers)))
