"""What a public package promises: its ``__all__`` is true, and every name in it is public and described."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType

import pytest

PACKAGES = [
    "zk_adapter",
    "zk_adapter.serving",
    "zk_anyio",
    "zk_anyio.testing",
    "zk_blocking",
    "zk_blocking.testing",
    "zk_conformance",
    "zk_pytest",
    "zk_sansio",
    "zk_sansio.client",
    "zk_sansio.recipes",
    "zk_sansio.session",
    "zk_sansio.wire",
    "zk_trio",
    "zk_trio.testing",
]


def has_docstring(thing: type | FunctionType) -> bool:
    """Whether somebody wrote one, not a base class, and not a dataclass or a NamedTuple with its signature."""
    doc = (thing.__doc__ if isinstance(thing, FunctionType) else vars(thing).get("__doc__")) or ""
    return doc != "" and not doc.startswith(f"{thing.__name__}(")


def is_public(dotted: str) -> bool:
    return not any(part.startswith("_") for part in dotted.split("."))


def faults(package: ModuleType) -> list[str]:
    names = getattr(package, "__all__", None)
    if names is None:
        return ["__all__ is missing"]
    found = []
    if len(set(names)) != len(names):
        found.append("__all__ names something twice")
    for name in names:
        if name.startswith("_") and name != "__version__":
            found.append(f"{name} is private")
        if not hasattr(package, name):
            found.append(f"{name} does not exist")
            continue
        thing = getattr(package, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            if not has_docstring(thing):
                found.append(f"{name} has no docstring")
            if not is_public(thing.__module__):
                found.append(f"{name} says that it lives in {thing.__module__}")
    return found


@pytest.mark.parametrize("name", PACKAGES)
def test_exports(name: str) -> None:
    assert faults(importlib.import_module(name)) == []


# --- The checker itself, on packages made up for it ---

GOOD = '''
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

__all__ = ["LIMIT", "Create", "Create2", "Create10", "Kind", "Pair", "open_it"]

LIMIT = 1
@dataclass
class Create:
    """Make a znode."""
    path: str
class Create2(Create):
    """Make a znode, and say what came of it."""
class Create10(Create):
    """There is no such request."""
class Kind(IntEnum):
    """One or the other."""
    ONE = 1
class Pair(NamedTuple):
    """Two things."""
    left: int
def open_it() -> None:
    """Open it."""
'''


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    def make(source: str) -> ModuleType:
        module = ModuleType("made_up")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look there
        exec(source, vars(module))
        return module

    return make


def test_checker_accepts(made_up: Callable[[str], ModuleType]) -> None:
    assert faults(made_up(GOOD)) == []


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("__all__ =", "names =", "__all__ is missing"),
        ('"Kind"', '"Kind", "Kind"', "__all__ names something twice"),
        ('"open_it"]', '"_private", "open_it"]\n_private = 1', "_private is private"),
        ('"Kind"', '"Kind", "Missing"', "Missing does not exist"),
        ('    """Make a znode."""\n', "", "Create has no docstring"),
        ('    """Make a znode, and say what came of it."""', "    pass", "Create2 has no docstring"),
        ('    """One or the other."""\n', "", "Kind has no docstring"),
        ('    """Two things."""\n', "", "Pair has no docstring"),
        ('    """Open it."""', "    pass", "open_it has no docstring"),
        ("class Pair", "__name__ = 'made_up._inside'\nclass Pair", "Pair says that it lives in made_up._inside"),
    ],
)
def test_checker_reports(made_up: Callable[[str], ModuleType], old: str, new: str, expected: str) -> None:
    assert GOOD.count(old) == 1
    assert expected in faults(made_up(GOOD.replace(old, new)))
