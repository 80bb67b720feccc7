"""A bounded part of what ``scripts/simulate`` runs, and proof that it would find a defect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from .course import Outcome, run
from .mutants import MUTANTS
from .report import tell
from .violations import CHECKS
from .world import FASHIONS

SEEDS = 30
"""How many worlds of each fashion are played here."""
PATIENCE = 150
"""How many worlds a defect may take to be found; most are in the first."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "zk_sansio")  # what clients warn of here is meant to happen


def told(outcome: Outcome) -> str:
    return "\n".join(tell(outcome))


@pytest.mark.parametrize("fashion", FASHIONS)
def test_nothing_is_found(fashion: str) -> None:
    checked: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for seed in range(SEEDS):
        outcome = run(seed, days=1, fashion=fashion)
        assert outcome.violation is None, told(outcome)
        checked += outcome.checked
        faults += outcome.faults
    # It has looked at something, or it would prove nothing.
    for what in (
        "acknowledged",
        "refused",
        "read",
        "watch",
        "order",
        "one-shot",
        "convergence",
        "exclusion",
        "fencing",
    ):
        assert checked[what], what
    assert checked["presumed lost"]
    assert len(faults) > 15


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name: str, record_property: Callable[[str, object], None]) -> None:
    mutant = MUTANTS[name]
    for seed in range(PATIENCE):
        with mutant.applied():
            outcome = run(seed, days=1, fashion=mutant.fashion)
        if outcome.violation is not None:
            assert outcome.violation.check in mutant.checks, told(outcome)
            record_property("caught", f"seed {seed}: {outcome.violation}")
            break
    else:
        pytest.fail(f"{name!r} is not noticed in {PATIENCE} runs")
    outcome = run(seed, days=1, fashion=mutant.fashion)
    assert outcome.violation is None, told(outcome)


def test_there_are_ten_mutants() -> None:
    assert len(MUTANTS) >= 10
    assert all(mutant.checks <= CHECKS.keys() for mutant in MUTANTS.values())
    assert {mutant.fashion for mutant in MUTANTS.values()} <= set(FASHIONS)


def test_a_seed_replays_exactly() -> None:
    first, second = run(3, days=1, whole=True), run(3, days=1, whole=True)
    assert len(first.lines) > 100
    assert first.lines == second.lines


def test_other_seeds_are_other_worlds() -> None:
    assert run(3, days=1, whole=True).lines != run(4, days=1, whole=True).lines


def test_the_seed_of_hashes_does_not_matter() -> None:
    traces = []
    for hashes in ("1", "2"):
        command = [sys.executable, "-m", "tests.simulation", "--seed", "5", "--days", "1", "--whole"]
        environment = os.environ | {"PYTHONHASHSEED": hashes}
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
        traces.append(done.stdout)
    assert len(traces[0].splitlines()) > 100
    assert traces[0] == traces[1]


def test_a_failure_tells_how_to_see_it_again() -> None:
    mutant = MUTANTS["no gap after a reconnect"]
    with mutant.applied():
        found = [outcome for seed in range(5) if (outcome := run(seed, days=1)).violation is not None]
    text = told(found[0])
    assert f"scripts/simulate --seed {found[0].seed}" in text
    assert "nemesis" in text
    assert "checker" in text


@pytest.mark.parametrize("name", MUTANTS)
def test_the_documentation_lists_the_mutants(name: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "testing.md"
    assert f"| {name} |" in page.read_text()
