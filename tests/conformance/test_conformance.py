"""Each adapter, on each event loop that it serves, does what clients do."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator

import pytest
from _pytest.mark.structures import ParameterSet

import zk_sansio as zk
from tests.conformance.anyio_harness import AnyioHarness
from tests.conformance.blocking_harness import BlockingHarness
from tests.conformance.trio_harness import TrioHarness
from zk_conformance import CHECKS, Harness, World, checks, run_check

HARNESSES: dict[str, Callable[[], Harness]] = {
    "trio": TrioHarness,
    "anyio-asyncio": lambda: AnyioHarness("asyncio"),
    "anyio-uvloop": lambda: AnyioHarness("asyncio", use_uvloop=True),
    "anyio-trio": lambda: AnyioHarness("trio"),
    "blocking": BlockingHarness,
}

NOT_FOR_USERS = {"closing", "full_path", "state_changed", "waiter"}
"""What the parts of the client use of each other."""


def cases() -> Iterator[ParameterSet]:
    """Each check on each runtime."""
    for runtime in HARNESSES:
        for check in CHECKS:
            yield pytest.param(runtime, check, id=f"{runtime}-{check}")


@pytest.mark.parametrize("runtime, check", [*cases()])
def test_conformance(world: World, runtime: str, check: str) -> None:
    run_check(check, HARNESSES[runtime](), world)


def test_every_operation_is_checked() -> None:
    source = "".join(inspect.getsource(getattr(checks, name)) for name in checks.__all__)
    used: list[type] = [zk.Client, zk.Transaction, zk.ReadBatch, zk.Pipeline, zk.Pending]
    used += [zk.ChangeStream, zk.OneShotWatch, zk.StateStream, zk.Lock, zk.GuardedTransaction]
    names = {name for each in used for name in dir(each) if not name.startswith("_")} - NOT_FOR_USERS
    assert {name for name in names if f".{name}" not in source} == set()


def test_every_module_of_checks_is_in_use() -> None:
    found = {module.name for module in pkgutil.iter_modules(checks.__path__)}
    assert found == set(checks.__all__)
