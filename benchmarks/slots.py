"""What is measured, and how one measurement is made. Only the standard library: every contender imports this."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count as count_up
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, get_args

__all__ = [
    "OUTSTANDING",
    "PIPELINE",
    "ROWS",
    "THREADS",
    "Calls",
    "Contender",
    "Meter",
    "Operation",
    "Result",
    "Row",
    "Slot",
    "Way",
    "cpu_of",
    "loop_of",
    "name_of",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# What comes behind a slash is the event loop.
Contender: TypeAlias = Literal[
    "zk_trio",
    "zk_anyio/trio",
    "zk_anyio/asyncio",
    "zk_anyio/uvloop",
    "zk_blocking",
    "aiozk/asyncio",
    "aiozk/uvloop",
    "kazoo",
    "socket",
]
Operation: TypeAlias = Literal["get", "set", "create"]
Way: TypeAlias = Literal["sequence", "window", "threads", "pipeline"]
ServerKind: TypeAlias = Literal["real", "stand-in"]

OUTSTANDING = 100
PIPELINE = 1000
THREADS = 8
_CONTENDERS: tuple[Contender, ...] = get_args(Contender)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: an operation, a way of asking for it, and a server.

    Attributes:
        operation: what is asked.
        way: one after the other, `OUTSTANDING` at once, so in each of `THREADS`, or `PIPELINE` in one go.
        server: who answers.
    """

    operation: Operation
    way: Way
    server: ServerKind = "real"

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """Who competes, in the order of their turns."""
        match self.way:
            case "threads":
                return "zk_blocking", "kazoo"
            case "window":
                return tuple(who for who in _CONTENDERS if who != "zk_blocking")
            case _:
                return _CONTENDERS

    @property
    def name(self) -> str:
        """How the row is called in the table, and by ``--only``."""
        how = {
            "sequence": "in sequence",
            "window": f"{OUTSTANDING} at once",
            "threads": f"{THREADS} threads",
            "pipeline": f"pipeline of {PIPELINE:,}",
        }
        return f"{self.operation}, {how[self.way]}" + (", stand-in" if self.server == "stand-in" else "")


ROWS = (
    Row("get", "sequence"),
    Row("get", "window"),
    Row("get", "threads"),
    Row("get", "pipeline"),
    Row("set", "sequence"),
    Row("set", "window"),
    Row("create", "sequence"),
    Row("create", "window"),
    Row("get", "sequence", "stand-in"),
    Row("get", "window", "stand-in"),
    Row("get", "pipeline", "stand-in"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One turn of one contender, as it is told to its process.

    Attributes:
        contender: whose turn it is.
        operation: what to ask.
        way: how to ask.
        host: of the server.
        port: of the server.
        path: a znode with `size` bytes of data; new znodes are made below it.
        size: bytes of data.
        seconds: how long to measure, roughly: it is the number of operations that is fixed.
        warm_up: how long to run before that.
        core: the core to stay on; None for any.
        nice: the niceness to run with; 0 leaves it as it is.
        server_pid: the server's process, to tell its work from that of others; 0 if it is not known.
        times: the number of operations to do, without measuring anything; 0 to measure.
    """

    contender: Contender
    operation: Operation
    way: Way
    host: str
    port: int
    path: str
    size: int
    seconds: float
    warm_up: float
    core: int | None
    nice: int
    server_pid: int
    times: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The slot as JSON has it."""
        return asdict(self)


@dataclass(slots=True, kw_only=True)
class Result:
    """What one turn has shown.

    Attributes:
        operations: how many were measured.
        seconds: the time they took.
        cpu: seconds of CPU that the client's process used for them, in all its threads, user and system.
        latencies: of single operations, one after the other, measured behind the others; seconds.
        made: znodes made, the warm-up included: n0000000, n0000001, ...
        others: cores that somebody else than client and server kept busy meanwhile; None if nobody knows.
    """

    operations: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    made: int = 0
    others: float | None = None


def _rounded(count: float, way: Way) -> int:
    """The number of operations nearest to *count* that fits the way: whole pipelines, as many for each task."""
    unit = {"sequence": 10, "window": OUTSTANDING, "threads": 10 * THREADS, "pipeline": PIPELINE}[way]
    return max(1, round(count / unit)) * unit


class Calls(Protocol[T_co]):
    """The calls of a client that are measured."""

    def get(self, path: str, /) -> T_co: ...
    def set(self, path: str, data: bytes, /) -> T_co: ...
    def create(self, path: str, data: bytes, /) -> T_co: ...


class Meter:
    """Finds out how fast a contender is: ``for count in meter.counts(): run(count)``.

    The counts are those of the warm-up, the last one is measured.
    """

    def __init__(self, slot: Slot) -> None:
        self.result = Result()
        self.slot = slot
        self._numbers = count_up()

    def operation(self, calls: Calls[T]) -> Callable[[], T]:
        """What the slot asks for, as a function; each new znode gets a name of its own."""
        path, data = self.slot.path, bytes(self.slot.size)

        def create() -> T:
            number = next(self._numbers)
            self.result.made = number + 1
            return calls.create(f"{path}/{name_of(number)}", data)

        by: dict[Operation, Callable[[], T]] = {
            "get": partial(calls.get, path),
            "set": partial(calls.set, path, data),
            "create": create,
        }
        return by[self.slot.operation]

    def counts(self, prepare: Callable[[int], None] = lambda _: None) -> Iterator[int]:
        """Say again and again how many operations to do; the last of them are measured.

        Args:
            prepare: is told each count before its time begins.
        """
        slot = self.slot
        if slot.times:
            prepare(slot.times)
            yield slot.times
            return
        count = _rounded(1, slot.way)
        began = perf_counter()
        while True:
            prepare(count)
            before = perf_counter()
            yield count
            now = perf_counter()
            rate = count / (now - before)
            if now - began >= slot.warm_up:
                break
            count = _rounded(rate * slot.warm_up / 4, slot.way)
        count = _rounded(rate * slot.seconds, slot.way)
        prepare(count)
        foreign = self._foreign_cpu()
        cpu, before = _own_cpu(), perf_counter()
        yield count
        now = perf_counter()
        result = self.result
        result.operations, result.seconds, result.cpu = count, now - before, _own_cpu() - cpu
        if foreign is not None and (after := self._foreign_cpu()) is not None:
            result.others = max(0.0, (after - foreign) / result.seconds)

    def latency_count(self) -> int:
        """How many single operations to time for `Result.latencies`; none unless they come in sequence."""
        result = self.result
        return min(1000, result.operations // 2) if self.slot.way == "sequence" else 0

    def timed(self, operation: Callable[[], object]) -> None:
        """Time single operations that block."""
        for _ in range(self.latency_count()):
            before = perf_counter()
            operation()
            self.result.latencies.append(perf_counter() - before)

    def _foreign_cpu(self) -> float | None:
        """Seconds of CPU that neither this process nor the server has used since the machine was started."""
        if not self.slot.server_pid:
            return None
        try:
            # user, nice, system; and steal, which is what other machines on the same hardware took from this one.
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
            busy = sum(int(fields[i]) for i in (1, 2, 3, 8)) / _TICKS
            return busy - _own_cpu() - cpu_of(self.slot.server_pid)
        except (OSError, IndexError):
            return None


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def loop_of(contender: Contender) -> str:
    """The event loop of a contender that runs on several; otherwise nothing."""
    return contender.partition("/")[2]


def name_of(number: int) -> str:
    """The name of a new znode; always of the same length, so that all requests and replies are."""
    return f"n{number:07d}"
