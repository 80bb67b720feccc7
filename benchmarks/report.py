"""From turns to a table: medians over the rounds, and of the ratios that were computed within each round."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles

from .calls import SystemCalls
from .rounds import Turn
from .slots import Contender, Row, loop_of

__all__ = ["Line", "Spread", "as_json", "lines_of", "machine", "markdown", "quietness", "table"]

_AIOZK: dict[str, Contender] = {"asyncio": "aiozk/asyncio", "uvloop": "aiozk/uvloop"}


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and how far to either side of it the middle half of the values reaches."""

    value: float
    within: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.within:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One contender in one row. Ratios are above 1 for the faster; None where there is nobody else to compare with.

    Attributes:
        row: what was measured.
        contender: who.
        rate: operations a second.
        to_kazoo: the rate, in kazoo's.
        to_aiozk: the rate, in aiozk's on the same event loop.
        to_socket: the rate, in the bare socket's.
        cpu: microseconds of CPU of the client's process for each operation.
        cpu_to_kazoo: the same, in kazoo's.
        cpu_to_aiozk: the same, in aiozk's on the same event loop.
        p50: the median latency of a single operation, microseconds; None if they came together.
        calls: system calls for each operation, in tenths; None if they were not counted.
    """

    row: str
    contender: Contender
    rate: Spread
    to_kazoo: Spread | None
    to_aiozk: Spread | None
    to_socket: Spread | None
    cpu: Spread
    cpu_to_kazoo: Spread | None
    cpu_to_aiozk: Spread | None
    p50: float | None
    calls: float | None


def _spread(values: Sequence[float]) -> Spread:
    if len(values) < 2:
        return Spread(values[0], 0.0)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), (high - low) / 2)


def _rate(turn: Turn) -> float:
    return turn.result.operations / turn.result.seconds


def _cpu(turn: Turn) -> float:
    return turn.result.cpu / turn.result.operations * 1e6


def lines_of(turns: Sequence[Turn], calls: SystemCalls) -> list[Line]:
    """Sum up; in the order in which rows and contenders had their first turns."""
    by: dict[tuple[Row, Contender], dict[int, Turn]] = {}
    for turn in turns:
        by.setdefault((turn.row, turn.contender), {})[turn.round] = turn

    def ratio(row: Row, who: Contender, to: Contender | None, figure: Callable[[Turn], float]) -> Spread | None:
        theirs = None if to is None or to == who else by.get((row, to))
        if theirs is None:
            return None
        return _spread([figure(turn) / figure(theirs[number]) for number, turn in by[row, who].items()])

    lines = []
    for (row, who), rounds in by.items():
        aiozk = _AIOZK.get(loop_of(who))
        latencies = [median(turn.result.latencies) * 1e6 for turn in rounds.values() if turn.result.latencies]
        lines.append(
            Line(
                row=row.name,
                contender=who,
                rate=_spread([_rate(turn) for turn in rounds.values()]),
                to_kazoo=ratio(row, who, "kazoo", _rate),
                to_aiozk=ratio(row, who, aiozk, _rate),
                to_socket=ratio(row, who, "socket", _rate),
                cpu=_spread([_cpu(turn) for turn in rounds.values()]),
                cpu_to_kazoo=ratio(row, who, "kazoo", _cpu),
                cpu_to_aiozk=ratio(row, who, aiozk, _cpu),
                p50=median(latencies) if latencies else None,
                calls=calls.get((row, who)),
            )
        )
    return lines


def markdown(lines: Sequence[Line]) -> str:
    """The table of all that was measured."""
    head = (
        *("", "", "op/s", "x kazoo", "x aiozk", "x socket"),
        *("CPU µs/op", "CPU x kazoo", "CPU x aiozk", "p50 µs", "calls/op"),
    )
    rows: list[Sequence[str]] = []
    seen = ""
    for line in lines:
        rows.append(
            (
                line.row if line.row != seen else "",
                "bare socket" if line.contender == "socket" else line.contender,
                f"{line.rate.value:,.0f}",
                str(line.to_kazoo or ""),
                str(line.to_aiozk or ""),
                str(line.to_socket or ""),
                f"{line.cpu.value:.1f}",
                f"{line.cpu_to_kazoo.value:.2f}" if line.cpu_to_kazoo else "",
                f"{line.cpu_to_aiozk.value:.2f}" if line.cpu_to_aiozk else "",
                "" if line.p50 is None else f"{line.p50:.0f}",
                "-" if line.calls is None else f"{line.calls:.1f}",
            )
        )
        seen = line.row
    return table(head, rows, left=2)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table whose first *left* columns begin at their left, and the others end at their right."""
    widths = [max(3, *map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in (head, rule, *rows)
    )


def quietness(turns: Sequence[Turn]) -> str:
    """One line on what else the machine did."""
    others = [turn.result.others for turn in turns if turn.result.others is not None]
    if not others:
        return "nobody knows what else ran meanwhile"
    repeated = len({(turn.row, turn.round) for turn in turns if turn.attempts > 1})
    rounds = len({(turn.row, turn.round) for turn in turns})
    return (
        f"others kept {median(others):.2f} cores busy during a turn (median; at most {max(others):.2f}); "
        f"{repeated} of {rounds} rows of a round were repeated because of that"
    )


def machine() -> dict[str, str]:
    """What to know of this machine."""
    facts = {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    for package in ("trio", "anyio", "uvloop", "kazoo", "aiozk"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["Java"] = _java_version()
    return facts


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _java_version() -> str:
    try:
        from tests.support.java import java_command

        told = subprocess.run([java_command(), "-version"], capture_output=True, text=True, check=True).stderr
    except (ImportError, RuntimeError, OSError, subprocess.SubprocessError):
        return "not found"
    found = re.search(r'version "([^"]+)"', told)
    return found[1] if found else "of unknown version"


def as_json(lines: Sequence[Line]) -> list[dict[str, object]]:
    """The table as JSON has it."""
    return [asdict(line) for line in lines]
