"""Four-letter words: what a server says about itself to who sends four bytes and reads to the end.

Pure parsing of the text. The formats grow from version to version, so what is not known is skipped, and what must be
there is asked for. Checked against 3.8.0 and 3.9.5, standalone, leading, following and read-only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import FourLetterError

__all__ = [
    "FOUR_LETTER_WORDS",
    "LatencyStats",
    "ProposalSizes",
    "ServerStats",
    "SessionDump",
    "WatchSummary",
    "check_reply",
    "parse_conf",
    "parse_cons",
    "parse_dirs",
    "parse_dump",
    "parse_envi",
    "parse_isro",
    "parse_mntr",
    "parse_srvr",
    "parse_wchc",
    "parse_wchp",
    "parse_wchs",
]

# stmk is missing: it wants eight more bytes.
FOUR_LETTER_WORDS: dict[str, str] = {
    "conf": "configuration of the server",
    "cons": "every connection, with its session and statistics",
    "crst": "reset the statistics of all connections",
    "dirs": "bytes of the snapshots and of the logs on disk",
    "dump": "sessions by the time of their expiry, and their ephemeral znodes",
    "envi": "environment: versions, paths, memory",
    "gtmk": "trace mask, as a number",
    "hash": "digests of the data tree at recent zxids",
    "isro": "whether the server is read-only (ro) or not (rw)",
    "mntr": "all metrics, one a line",
    "ruok": "imok if the process is alive; it says nothing about a quorum",
    "srst": "reset the statistics of the server",
    "srvr": "version, mode, latency, zxid and counts",
    "stat": "the same as srvr, and the connections in short",
    "wchc": "watches by session; expensive",
    "wchp": "watches by path; expensive",
    "wchs": "how many connections watch how many paths",
}
"""What can be asked, and what is answered. Since 3.5.3 a server answers only words in ``4lw.commands.whitelist``."""

_NOT_LISTED = re.compile(r"is not executed because it is not in the whitelist\.?\s*\Z")
_NOT_SERVING = "This ZooKeeper instance is not currently serving requests"


class LatencyStats(NamedTuple):
    """Milliseconds from a request to its reply, within the server."""

    min: int
    avg: float
    max: int


class ProposalSizes(NamedTuple):
    """Bytes of the proposals that a leader sent; -1 before the first one."""

    last: int
    min: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """The answer to ``srvr``.

    Attributes:
        version: as the server gives it, with the build.
        mode: ``standalone``, ``leader``, ``follower``, ``observer`` or ``read-only``.
        zxid: the last one that the server processed.
        connections: open client connections, this one included.
        outstanding: requests that are queued.
        node_count: znodes in the tree.
        latency: how long requests take.
        received: packets since the start, or since the last ``srst``.
        sent: the same.
        read_only: whether only read-only clients are served.
        proposal_sizes: on a leader.
    """

    version: str
    mode: str
    zxid: int
    connections: int
    outstanding: int
    node_count: int
    latency: LatencyStats
    received: int
    sent: int
    read_only: bool
    proposal_sizes: ProposalSizes | None = None

    @property
    def version_info(self) -> tuple[int, ...]:
        """The numbers that the version begins with, such as ``(3, 9, 5)``, to compare with."""
        found = re.match(r"\D{0,3}(\d{1,9}(?:\.\d{1,9})*)", self.version)
        return tuple(int(number) for number in found[1].split(".")) if found else ()


class WatchSummary(NamedTuple):
    """The answer to ``wchs``. It counts the data table only: watches for children alone are invisible to it."""

    connections: int
    paths: int
    watches: int


class SessionDump(NamedTuple):
    """The answer to ``dump``: the sessions, and the ephemeral znodes of each that has some."""

    sessions: tuple[int, ...]
    ephemerals: dict[int, tuple[str, ...]]


def check_reply(word: str, text: str) -> str:
    """Give *text* back if it is an answer.

    Args:
        word: what was asked.
        text: everything that the server sent until it closed the connection.

    Raises:
        FourLetterError: the server refused, or cannot answer now; the message says what to do.
    """
    if not text and word != "hash":  # of which there may be none yet
        raise FourLetterError(
            word, "closed without an answer: the server does not know the word, or this is not its plain or TLS port"
        )
    if _NOT_LISTED.search(text):
        raise FourLetterError(word, "not allowed; add it to 4lw.commands.whitelist in the server's configuration")
    if text.startswith(_NOT_SERVING):
        raise FourLetterError(word, "the server is running, but not serving: it is not part of a quorum")
    return text


def parse_srvr(text: str) -> ServerStats:
    """Read the answer to ``srvr`` or ``stat``.

    Raises:
        FourLetterError: see `check_reply`, or a line is missing.
    """
    lines = dict(_pairs(_lines(check_reply("srvr", text)), ": "))
    try:
        low, average, high = lines["Latency min/avg/max"].split("/")
        sizes = lines.get("Proposal sizes last/min/max")
        return ServerStats(
            version=next(value for name, value in lines.items() if name.lower().endswith("version")),
            mode=lines["Mode"],
            zxid=int(lines["Zxid"], 0),
            connections=int(lines["Connections"]),
            outstanding=int(lines["Outstanding"]),
            node_count=int(lines["Node count"]),
            latency=LatencyStats(int(low), float(average), int(high)),
            received=int(lines["Received"]),
            sent=int(lines["Sent"]),
            read_only=lines["Mode"] == "read-only",
            proposal_sizes=ProposalSizes(*map(int, sizes.split("/"))) if sizes else None,
        )
    except (KeyError, StopIteration, TypeError, ValueError) as error:
        raise FourLetterError("srvr", f"this is not the answer of a ZooKeeper server ({_brief(text)!r})") from error


def parse_mntr(text: str) -> dict[str, str | int | float]:
    """Read the answer to ``mntr``: metrics by name, such as ``zk_znode_count``; numbers as numbers.

    Raises:
        FourLetterError: see `check_reply`.
    """
    return {name: _number(value) for name, value in _pairs(_lines(check_reply("mntr", text)), "\t")}


def parse_conf(text: str) -> dict[str, str]:
    """Read the answer to ``conf``: the settings, and the members as ``server.N``, as they stand.

    ``version``, of the dynamic configuration, is hexadecimal.

    Raises:
        FourLetterError: see `check_reply`.
    """
    return dict(_pairs(_lines(check_reply("conf", text)), "="))


def parse_envi(text: str) -> dict[str, str]:
    """Read the answer to ``envi``: Java's properties, as they stand.

    Raises:
        FourLetterError: see `check_reply`.
    """
    return dict(_pairs(_lines(check_reply("envi", text)), "="))


def parse_dirs(text: str) -> dict[str, int]:
    """Read the answer to ``dirs``: ``datadir_size`` and ``logdir_size`` in bytes.

    Raises:
        FourLetterError: see `check_reply`.
    """
    sizes = ((name, _number(value)) for name, value in _pairs(_lines(check_reply("dirs", text)), ": "))
    return {name: size for name, size in sizes if isinstance(size, int)}


def parse_isro(text: str) -> str:
    """Read the answer to ``isro``: ``rw`` or ``ro``.

    Raises:
        FourLetterError: see `check_reply`; a server without a quorum says ``null``.
    """
    answer = check_reply("isro", text).strip()
    if answer == "null":
        check_reply("isro", _NOT_SERVING)
    if answer not in ("rw", "ro"):
        raise FourLetterError("isro", f"this is not the answer of a ZooKeeper server ({_brief(text)!r})")
    return answer


def parse_cons(text: str) -> list[dict[str, str | int]]:
    """Read the answer to ``cons`` or ``stat``: a dictionary for each connection.

    ``address`` is host:port of the client; the rest has the server's names: ``queued``, ``recved``, ``sent``, and with
    a session ``sid`` (signed, as everywhere), ``lop``, ``est``, ``to``, ``lcxid``, ``lzxid``, ``lresp``, ``llat``,
    ``minlat``, ``avglat``, ``maxlat``.

    Raises:
        FourLetterError: see `check_reply`.
    """
    found = []
    for line in _lines(check_reply("cons", text)):
        #  /127.0.0.1:60368[1](queued=0,recved=9,sent=9), with the client's name before the slash if it was looked up
        where, opened, facts = line.strip().removesuffix(")").rpartition("](")
        address, bracket, _ = where.rpartition("[")
        if opened and bracket:
            fields: dict[str, str | int] = {"address": address.rpartition("/")[2]}
            fields.update((name, _signed(value)) for name, value in _pairs(facts.split(","), "="))
            found.append(fields)
    return found


_SUMMARY = re.compile(r"(\d{1,18}) connections watching (\d{1,18}) paths\s+Total watches:\s*(\d{1,18})")


def parse_wchs(text: str) -> WatchSummary:
    """Read the answer to ``wchs``.

    Raises:
        FourLetterError: see `check_reply`, or it is something else.
    """
    found = _SUMMARY.match(check_reply("wchs", text))
    if found is None:
        raise FourLetterError("wchs", f"this is not the answer of a ZooKeeper server ({_brief(text)!r})")
    return WatchSummary(*map(int, found.groups()))


def parse_wchc(text: str) -> dict[int, tuple[str, ...]]:
    """Read the answer to ``wchc``: the paths that each session watches.

    Raises:
        FourLetterError: see `check_reply`.
    """
    groups = _groups(_lines(check_reply("wchc", text)))
    return {session: tuple(paths) for name, paths in groups if (session := _session_id(name)) is not None}


def parse_wchp(text: str) -> dict[str, tuple[int, ...]]:
    """Read the answer to ``wchp``: the sessions that watch each path.

    Raises:
        FourLetterError: see `check_reply`.
    """
    groups = _groups(_lines(check_reply("wchp", text)))
    return {path: _session_ids(sessions) for path, sessions in groups if path.startswith("/")}


def parse_dump(text: str) -> SessionDump:
    """Read the answer to ``dump``. Followers show the sessions of their own clients only.

    Raises:
        FourLetterError: see `check_reply`.
    """
    sessions, _, rest = check_reply("dump", text).partition("ephemeral nodes dump:")
    ephemerals, _, _ = rest.partition("Connections dump:")
    groups = _groups(_lines(ephemerals))
    return SessionDump(
        # A learner gives its sessions with their timeouts behind them.
        _session_ids(line.split()[0] for line in _lines(sessions) if line.strip()),
        {session: tuple(paths) for name, paths in groups if (session := _session_id(name.rstrip(":"))) is not None},
    )


def _lines(text: str) -> list[str]:
    """Not `str.splitlines`: a path may have U+2028 in it."""
    return text.replace("\r\n", "\n").split("\n")


def _pairs(lines: Iterable[str], separator: str) -> Iterator[tuple[str, str]]:
    """Names and values of the lines that have both."""
    for line in lines:
        name, found, value = line.partition(separator)
        if found:
            yield name.strip(), value.strip()


def _groups(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Headings, and the indented lines below each; what comes before the first has an empty one."""
    heading, below = "", list[str]()
    for line in lines:
        if line.startswith("\t"):
            below.append(line.removeprefix("\t"))
        else:
            yield heading, below
            heading, below = line, []
    yield heading, below


_INTEGER = re.compile(r"[+-]?[0-9]{1,100}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]{1,100}(?:\.[0-9]{0,100})?(?:[eE][+-]?[0-9]{1,3})?|NaN|Infinity)")
_HEXADECIMAL = re.compile(r"0x([0-9a-fA-F]{1,16})")


def _number(text: str) -> str | int | float:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _session_id(text: str) -> int | None:
    """A number in hexadecimal. Java prints negative ones as if they had no sign."""
    found = _HEXADECIMAL.fullmatch(text)
    if found is None:
        return None
    number = int(found[1], 16)
    return number - (1 << 64) if number >= 1 << 63 else number


def _session_ids(texts: Iterable[str]) -> tuple[int, ...]:
    return tuple(session for text in texts if (session := _session_id(text)) is not None)


def _signed(text: str) -> str | int:
    number = _session_id(text)
    if number is not None:
        return number
    return int(text) if _INTEGER.fullmatch(text) else text


def _brief(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
