"""What the adapters are meant to reach, and whether they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from .report import Line, Spread, table
from .slots import Contender, Row

__all__ = ["GOALS", "Goal", "goals"]


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for one figure of one line.

    Attributes:
        row: of the table.
        contender: who is to reach it.
        figure: an attribute of `Line`.
        sense: whether it is a lower bound or an upper one.
        bound: the worst value that will do.
    """

    row: Row
    contender: Contender
    figure: Literal["to_kazoo", "to_aiozk", "to_socket", "cpu_to_aiozk", "calls"]
    sense: Literal[">=", "<="]
    bound: float


_IN_SEQUENCE, _AT_ONCE = Row("get", "sequence"), Row("get", "window")
_NAMES = {
    "to_kazoo": "x kazoo",
    "to_aiozk": "x aiozk",
    "to_socket": "x socket",
    "cpu_to_aiozk": "CPU x aiozk",
    "calls": "calls/op",
}

GOALS = (
    Goal(_IN_SEQUENCE, "zk_blocking", "to_kazoo", ">=", 1.7),
    Goal(_IN_SEQUENCE, "zk_blocking", "calls", "<=", 3),
    Goal(_IN_SEQUENCE, "zk_anyio/asyncio", "to_aiozk", ">=", 1.4),
    Goal(_IN_SEQUENCE, "zk_anyio/uvloop", "to_aiozk", ">=", 1.7),
    Goal(_AT_ONCE, "zk_anyio/asyncio", "to_aiozk", ">=", 1.6),
    Goal(_AT_ONCE, "zk_anyio/asyncio", "cpu_to_aiozk", "<=", 0.5),
    Goal(_AT_ONCE, "zk_trio", "to_socket", ">=", 0.97),
)


def goals(lines: Sequence[Line]) -> str:
    """A table of all goals, and what was reached of them."""
    by = {(line.row, line.contender): line for line in lines}
    rows = []
    for goal in GOALS:
        line = by.get((goal.row.name, goal.contender))
        figure: Spread | float | None = None if line is None else getattr(line, goal.figure)
        if figure is None:
            verdict = "not measured"
        else:
            value = figure.value if isinstance(figure, Spread) else figure
            verdict = "reached" if (value >= goal.bound if goal.sense == ">=" else value <= goal.bound) else "MISSED"
        wanted = f"{_NAMES[goal.figure]} {goal.sense} {goal.bound:g}"
        rows.append((goal.row.name, goal.contender, wanted, "-" if figure is None else str(figure), verdict))
    return table(("", "", "goal", "figure", ""), rows, left=3)
