"""Which public package offers a name first; the others only pass it on. Used by the list of names on a page."""

import importlib
import inspect
from collections.abc import Iterator

HOMES = {
    "zk_sansio.recipes": "The client and its recipes",
    "zk_sansio.client": "What the client gives",
    "zk_sansio.errors": "Errors",
    "zk_sansio.acl": "Access control",
    "zk_sansio.session": "Sessions",
    "zk_sansio.wire": "Records",
    "zk_adapter": "What every adapter has",
}
"""The packages and modules that are described on pages of their own, and what their names are about."""


def home_of(package: str, name: str) -> str:
    """The module where *name* of *package* is described; the package itself if that is it."""
    thing = getattr(importlib.import_module(package), name)
    for home in HOMES:
        module = importlib.import_module(home)
        if name in module.__all__ and getattr(module, name) is thing:
            return home
    return package


def passed_on(package: str) -> dict[str, list[str]]:
    """The names of *package* that are described elsewhere, by module."""
    found: dict[str, list[str]] = {home: [] for home in HOMES}
    for name in importlib.import_module(package).__all__:
        if (home := home_of(package, name)) != package:
            found[home].append(name)
    return {home: names for home, names in found.items() if names}


def summary(home: str, name: str) -> str:
    """The first sentence about a class or a function; nothing about anything else."""
    thing = getattr(importlib.import_module(home), name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return ""
    first, _, _ = (inspect.getdoc(thing) or "").partition("\n\n")
    return " ".join(first.split()).replace("|", r"\|")


def name_tables(package: str) -> Iterator[str]:
    """Markdown: for each module a table of its names that *package* passes on."""
    for home, names in passed_on(package).items():
        yield f"**{HOMES[home]}**, described with `{home}`:"
        yield ""
        yield "| Name | |"
        yield "|---|---|"
        yield from (f"| {{py:obj}}`~{home}.{name}` | {summary(home, name)} |" for name in names)
        yield ""
