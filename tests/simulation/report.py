"""Runs worlds, and says what came of it."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import get_context
from time import perf_counter

from .course import Outcome, run
from .mutants import MUTANTS
from .trace import LAST
from .violations import CHECKS

__all__ = ["replay", "simulate", "tell"]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def tell(outcome: Outcome, *, whole: bool = False) -> Iterator[str]:
    """The end of a run that failed, or all of it."""
    yield from outcome.lines if whole else outcome.lines[-LAST:]
    violation = outcome.violation
    if violation is not None:
        yield f"seed {outcome.seed}: {violation}"
        yield f"  promised: {CHECKS[violation.check]}"
        yield f"  again: {outcome.again} --whole"
    else:
        yield f"seed {outcome.seed}: {outcome.hours:.1f} hours, {outcome.events} steps, nothing found"


def replay(seed: int, *, days: int, whole: bool, mutant: str | None, fashion: str | None) -> int:
    """Run one seed and show its trace."""
    with MUTANTS[mutant].applied() if mutant else nullcontext():
        outcome = run(seed, days=days, whole=whole, fashion=fashion)
    for line in tell(outcome, whole=whole):
        say(line)
    return outcome.violation is not None


@contextmanager
def _runners(jobs: int) -> Iterator[Callable[[list[tuple[int, int]]], Iterator[Outcome]]]:
    """What runs many seeds, here or side by side in other processes; outcomes come in the order of seeds."""
    if jobs == 1:
        yield lambda seeds: map(_run, seeds)
    else:
        with get_context("spawn").Pool(jobs) as pool:
            yield lambda seeds: pool.imap(_run, seeds)


def _run(chosen: tuple[int, int]) -> Outcome:
    logging.getLogger("zk_sansio").setLevel(logging.CRITICAL)  # what clients warn of here is meant to happen
    seed, days = chosen
    return run(seed, days=days)


class Tally:
    """What many runs add up to."""

    def __init__(self) -> None:
        self.runs = self.writes = self.events = 0
        self.hours = 0.0
        self.faults: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        self.failed: list[Outcome] = []
        self._began = perf_counter()

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.runs += 1
        self.hours += outcome.hours
        self.writes += outcome.writes
        self.events += outcome.events
        self.faults += outcome.faults
        self.checked += outcome.checked
        if outcome.violation is not None:
            self.failed.append(outcome)

    @property
    def minutes(self) -> float:
        """How long it took, in real time."""
        return (perf_counter() - self._began) / 60

    def __str__(self) -> str:
        speed = f"in {self.minutes:.1f} minutes, {self.hours / self.minutes:,.0f} a minute"
        return f"{self.runs:,} runs, {self.hours:,.0f} simulated hours {speed}"

    def lines(self) -> Iterator[str]:
        """All of it."""
        yield str(self)
        yield f"{self.writes:,} writes, {self.events:,} steps, {self.faults.total():,} faults:"
        for kind, count in sorted(self.faults.items()):
            yield f"  {kind.replace('_', ' '):<22} {count:>11,}"
        yield "how often there was something to check:"
        for what, count in sorted(self.checked.items()):
            yield f"  {what:<22} {count:>11,}"
        yield f"failed: {len(self.failed)}" if self.failed else "nothing found"
        for outcome in self.failed:
            yield f"  seed {outcome.seed}: {outcome.violation}"


def simulate(hours: float, first: int, *, jobs: int, days: int) -> int:
    """Run seed after seed."""
    tally = Tally()
    batch, told = 10 * jobs, 0.0
    with _runners(jobs) as runners:
        while tally.hours < hours:
            for outcome in runners([(seed, days) for seed in range(first, first + batch)]):
                tally.add(outcome)
                if outcome.violation is not None:
                    for line in tell(outcome):
                        say(line)
                if tally.minutes - told > 1 / 6:
                    told = tally.minutes
                    say(f"... {tally}")
            first += batch
    for line in tally.lines():
        say(line)
    return bool(tally.failed)
