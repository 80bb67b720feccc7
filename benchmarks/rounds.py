"""Interleaved rounds: within a round the contenders of a row take their turns right behind each other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .servers import Server, made_below
from .slots import Contender, Result, Row, Slot, name_of

__all__ = ["Plan", "Turn", "run_rounds", "run_worker", "slot_of"]

_ATTEMPTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to measure.

    Attributes:
        rounds: how many count; one more in front of them does not.
        seconds: of a turn.
        warm_up: seconds in front of each turn.
        size: bytes of data.
        core: where clients stay; None for any core.
        nice: their niceness; 0 leaves it as it is.
        quiet: cores that others may keep busy; when it is more, the contenders of the row repeat their turns.
    """

    rounds: int
    seconds: float
    warm_up: float
    size: int
    core: int | None
    nice: int
    quiet: float


@dataclass(slots=True, kw_only=True)
class Turn:
    """One turn that counts.

    Attributes:
        row: of the table.
        round: from 1.
        contender: whose turn.
        result: what it has shown.
        attempts: how often the row was measured in this round until it was quiet.
    """

    row: Row
    round: int
    contender: Contender
    result: Result
    attempts: int


def run_rounds(plan: Plan, rows: Sequence[Row], servers: Mapping[str, Server], path: str) -> Iterator[Turn]:
    """Measure; say on standard error how far it is.

    Args:
        plan: how.
        rows: what; their servers are among *servers*.
        servers: by kind.
        path: a znode of the real server with `Plan.size` bytes, to work at and below.
    """
    for number in range(plan.rounds + 1):
        for row in rows:
            print(f"\rround {number} of {plan.rounds}: {row.name:<40}", end="", file=sys.stderr, flush=True)
            best: dict[Contender, Result] = {}
            attempts = 0
            while attempts < _ATTEMPTS and (not best or _noise(best) > plan.quiet):
                attempts += 1
                results = {who: _take_turn(plan, row, who, servers[row.server], path) for who in row.contenders}
                if not best or _noise(results) < _noise(best):
                    best = results
                if number == 0:
                    break
            if number:
                for who, result in best.items():
                    yield Turn(row=row, round=number, contender=who, result=result, attempts=attempts)
    print("\r" + " " * 70 + "\r", end="", file=sys.stderr, flush=True)


def _noise(results: Mapping[Contender, Result]) -> float:
    return max(result.others or 0.0 for result in results.values())


def _take_turn(plan: Plan, row: Row, contender: Contender, server: Server, path: str) -> Result:
    if row.operation != "create":
        return run_worker(slot_of(plan, row, contender, server, path))
    names: list[str] = []
    with made_below(server, path, names) as parent:
        result = run_worker(slot_of(plan, row, contender, server, parent))
        names += [name_of(number) for number in range(result.made)]
    return result


def slot_of(plan: Plan, row: Row, contender: Contender, server: Server, path: str) -> Slot:
    """The turn of a contender."""
    return Slot(
        contender=contender,
        operation=row.operation,
        way=row.way,
        host=server.host,
        port=server.port,
        path=path,
        size=plan.size,
        seconds=plan.seconds,
        warm_up=plan.warm_up,
        core=plan.core,
        nice=plan.nice,
        server_pid=server.pid,
    )


def run_worker(slot: Slot, tracer: Sequence[str] = ()) -> Result:
    """Start a fresh process for one turn.

    Args:
        slot: the turn.
        tracer: the command that runs it; nothing if it runs by itself.
    """
    argv = [*tracer, sys.executable, "-m", "benchmarks.worker", json.dumps(slot.to_dict())]
    checkout = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        argv, cwd=checkout, stdout=subprocess.PIPE, text=True, check=True, timeout=300, start_new_session=True
    )
    return Result(**json.loads(done.stdout))
