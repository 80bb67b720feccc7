"""The import rule of the house, held against the source of every module.

Imports go one way: wire <- session <- client <- recipes, wire <- server, zk_sansio <- zk_adapter <- adapters. The core
takes its clock, its randomness and its bytes as arguments, so it imports nothing that could fetch them. Imports inside
functions and under ``if TYPE_CHECKING`` count like any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = "zk_sansio"
FRONT = ("zk_sansio", "zk_sansio.vocabulary")
"""What users import: it offers names of all layers, so none of them may import it."""

PARTS = "zk_adapter"
"""What all adapters need that does not wait."""

ADAPTERS = ("zk_anyio", "zk_blocking", "zk_trio")

PLUGIN = "zk_pytest"
"""For tests of users; it stands on one adapter."""

BASE = "base modules"
"""The modules at the top of zk_sansio: errors, paths, acl, tls, ..."""

TLS = "zk_sansio.tls"
"""The only module of the core that may import ssl. It serves the adapters; no layer needs it."""

# What each layer may import, apart from itself.
LAYERS: Mapping[str, Collection[str]] = {
    BASE: (),
    "wire": (BASE,),
    "session": (BASE, "wire"),
    "client": (BASE, "wire", "session"),
    "recipes": (BASE, "wire", "session", "client"),
    "server": (BASE, "wire"),
}

# Sockets, clocks, event loops, threads, processes, files, entropy: what reaches outside, or waits.
# And importlib, because this test cannot see what it imports.
FORBIDDEN_IN_CORE = frozenset(
    {
        "_thread",
        "anyio",
        "asyncio",
        "concurrent",
        "importlib",
        "multiprocessing",
        "os",
        "pathlib",
        "posix",
        "queue",
        "random",
        "sched",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "socketserver",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "trio",
    }
)

# The longest name that fits decides.
THIRD_PARTY: Mapping[str, Collection[str]] = {
    "zk_sansio": (),
    "zk_adapter": (),
    "zk_anyio": ("anyio",),
    "zk_blocking": (),
    "zk_pytest": ("pytest",),
    "zk_trio": ("trio",),
    "zk_trio.cli": ("trio", "cyclopts", "rich"),
}


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imported(module: str, is_package: bool, source: str, known: Collection[str]) -> Iterator[str]:
    """The absolute names of the modules that *source* imports, whatever way it says so."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:  # `from package import name`: the name may be a module of its own
                name = f"{origin}.{alias.name}"
                yield name if name in known else origin


def layer(module: str, known: Collection[str]) -> str:
    """The layer of a module of the core. Only modules below zk_sansio have one, not zk_sansio itself."""
    name = module.split(".")[1]
    is_subpackage = module.count(".") > 1 or any(other.startswith(f"{module}.") for other in known)
    return name if name in LAYERS or is_subpackage else BASE


def breach_in_core(module: str, target: str, known: Collection[str]) -> str | None:
    """Why a module of the core must not import *target*, if it must not."""
    top = target.split(".")[0]
    if top in FORBIDDEN_IN_CORE and not (top == "ssl" and module == TLS):
        return "the core has no I/O, no clock, no event loop and no randomness of its own"
    if not within(target, CORE) or module in FRONT:
        return None
    if target in FRONT:
        return "zk_sansio imports all of its layers, so none of them may import it"
    here, there = layer(module, known), layer(target, known)
    if here not in LAYERS:
        return f"zk_sansio.{here} has no place in LAYERS"
    if here != BASE and within(target, TLS):
        return "zk_sansio.tls is for the adapters"
    if there != here and there not in LAYERS[here]:
        return f"{here} may import only {', '.join(LAYERS[here]) or 'each other'}, not {there}"
    return None


def breach(module: str, target: str, known: Collection[str]) -> str | None:
    """Why *module* must not import *target*, if it must not."""
    top = target.split(".")[0]
    if within(module, CORE) and (reason := breach_in_core(module, target, known)):
        return reason
    if top in sys.stdlib_module_names or top == CORE or top == module.split(".")[0]:
        return None
    if (top == PARTS and module.split(".")[0] in ADAPTERS) or (module == PLUGIN and top == "zk_blocking"):
        return None
    if top in (PARTS, *ADAPTERS):
        return "adapters are imported neither by the core nor by each other"
    closest = max((package for package in THIRD_PARTY if within(module, package)), key=len)
    if top not in THIRD_PARTY[closest]:
        return f"{closest} may not depend on it"
    return None


def breaches(module: str, is_package: bool, source: str, known: Collection[str]) -> list[str]:
    return [
        f"{module} imports {target}: {reason}"
        for target in imported(module, is_package, source, known)
        if (reason := breach(module, target, known))
    ]


def find_modules() -> dict[str, Path]:
    modules = {}
    for package in (CORE, PARTS, *ADAPTERS, PLUGIN):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def test_every_module_keeps_the_import_rule() -> None:
    modules = find_modules()
    assert {
        "zk_sansio",
        "zk_sansio.errors",
        "zk_sansio.wire",
        "zk_sansio.session",
        "zk_sansio.client",
        "zk_sansio.recipes",
        *FRONT,
        "zk_sansio.server",
        PARTS,
        *ADAPTERS,
        PLUGIN,
    } <= set(modules)
    found = [
        line
        for module, path in modules.items()
        for line in breaches(module, path.name == "__init__.py", path.read_text(encoding="utf-8"), modules)
    ]
    assert found == []


# --- The checker itself, on modules made up for it ---

MADE_UP = {
    "zk_sansio": True,  # whether it is a package
    "zk_sansio.errors": False,
    "zk_sansio.paths": False,
    "zk_sansio.tls": False,
    "zk_sansio.wire": True,
    "zk_sansio.wire._jute": False,
    "zk_sansio.session": True,
    "zk_sansio.session._session": False,
    "zk_sansio.client": True,
    "zk_sansio.client._client": False,
    "zk_sansio.recipes": True,
    "zk_sansio.recipes._lock": False,
    "zk_sansio.server": True,
    "zk_sansio.server._tree": False,
    "zk_sansio.surprise": True,
    "zk_sansio.surprise._inside": False,
    "zk_sansio.vocabulary": False,
    "zk_adapter": True,
    "zk_adapter._transport": False,
    "zk_trio": True,
    "zk_trio._driver": False,
    "zk_trio.cli": True,
    "zk_anyio": True,
    "zk_blocking": True,
}


def check(module: str, source: str) -> list[str]:
    return breaches(module, MADE_UP[module], source, MADE_UP)


@pytest.mark.parametrize("name", sorted(FORBIDDEN_IN_CORE))
@pytest.mark.parametrize("module", ["zk_sansio", "zk_sansio.errors", "zk_sansio.wire._jute", "zk_sansio.recipes._lock"])
def test_core_reaches_nothing_outside(module: str, name: str) -> None:
    assert len(check(module, f"import {name}")) == 1


@pytest.mark.parametrize(
    "module, source, target",
    [
        # Every way to say it.
        ("zk_sansio.session._session", "import time", "time"),
        ("zk_sansio.session._session", "import struct, time as clock", "time"),
        ("zk_sansio.session._session", "from time import monotonic", "time"),
        ("zk_sansio.session._session", "import os.path", "os.path"),
        ("zk_sansio.session._session", "from concurrent import futures", "concurrent"),
        ("zk_sansio.session._session", "def now():\n    import time\n    return time.monotonic()", "time"),
        ("zk_sansio.session._session", "if TYPE_CHECKING:\n    import trio", "trio"),
        ("zk_sansio.session._session", "try:\n    import ssl\nexcept ImportError:\n    pass", "ssl"),
        ("zk_sansio.session._session", "from importlib import import_module", "importlib"),
        # Only the standard library.
        ("zk_sansio.wire._jute", "import msgspec", "msgspec"),
        ("zk_sansio", "import attrs", "attrs"),
        ("zk_sansio.tls", "import OpenSSL", "OpenSSL"),
        # One way: absolute or relative, module or name.
        ("zk_sansio.errors", "from zk_sansio.wire import Stat", "zk_sansio.wire"),
        ("zk_sansio.errors", "from .wire import Stat", "zk_sansio.wire"),
        ("zk_sansio.errors", "from .wire._jute import Reader", "zk_sansio.wire._jute"),
        ("zk_sansio.errors", "from . import wire", "zk_sansio.wire"),
        ("zk_sansio.errors", "import zk_sansio", "zk_sansio"),
        ("zk_sansio.wire._jute", "from .. import Client", "zk_sansio"),
        ("zk_sansio.wire._jute", "from .. import session", "zk_sansio.session"),
        ("zk_sansio.wire._jute", "from ..server import Tree", "zk_sansio.server"),
        ("zk_sansio.wire", "from ..session import Session", "zk_sansio.session"),
        ("zk_sansio.wire", "from ..tls import wrap", "zk_sansio.tls"),
        ("zk_sansio.session._session", "from ..client import Client", "zk_sansio.client"),
        ("zk_sansio.session._session", "from .. import tls", "zk_sansio.tls"),
        ("zk_sansio.session._session", "from ..server._tree import Tree", "zk_sansio.server._tree"),
        ("zk_sansio.client._client", "import zk_sansio.recipes", "zk_sansio.recipes"),
        ("zk_sansio.client._client", "from ..tls import wrap", "zk_sansio.tls"),
        ("zk_sansio.recipes._lock", "from ..server import Server", "zk_sansio.server"),
        ("zk_sansio.server._tree", "from ..session import Session", "zk_sansio.session"),
        ("zk_sansio.surprise._inside", "from ..wire import Stat", "zk_sansio.wire"),
        ("zk_sansio.wire._jute", "from ..surprise import anything", "zk_sansio.surprise"),
        # Adapters stay apart, and have few dependencies.
        ("zk_sansio", "import zk_trio", "zk_trio"),
        ("zk_sansio.client._client", "from zk_trio._driver import drive", "zk_trio._driver"),
        ("zk_trio._driver", "import zk_anyio", "zk_anyio"),
        ("zk_adapter._transport", "import zk_trio", "zk_trio"),
        ("zk_adapter._transport", "import trio", "trio"),
        ("zk_sansio.client._client", "import zk_adapter", "zk_adapter"),
        ("zk_sansio.client._client", "from ..vocabulary import Stat", "zk_sansio.vocabulary"),
        ("zk_anyio", "from zk_blocking import open_client", "zk_blocking"),
        ("zk_trio._driver", "import anyio", "anyio"),
        ("zk_trio._driver", "import cyclopts", "cyclopts"),
        ("zk_anyio", "import trio", "trio"),
        ("zk_blocking", "import trio", "trio"),
    ],
)
def test_checker_reports(module: str, source: str, target: str) -> None:
    (line,) = check(module, source)
    assert line.startswith(f"{module} imports {target}: ")


@pytest.mark.parametrize(
    "module, source",
    [
        (
            "zk_sansio",
            "from .wire import Stat\nfrom .recipes import Lock\nimport zk_sansio.server\nfrom . import tls",
        ),
        ("zk_sansio.paths", "import re\nfrom .errors import ZooKeeperError\nfrom . import errors"),
        ("zk_sansio.tls", "import ssl\nfrom .errors import ZooKeeperError"),
        ("zk_sansio.wire", "from ._jute import Reader\nfrom . import _jute"),
        ("zk_sansio.wire._jute", "import struct\nfrom collections.abc import Iterator\nfrom .. import errors"),
        ("zk_sansio.session._session", "from ..wire import Stat\nfrom ..errors import ZooKeeperError"),
        ("zk_sansio.client._client", "from zk_sansio import errors, session\nfrom zk_sansio.wire._jute import Reader"),
        ("zk_sansio.recipes._lock", "from ..client import Client\nfrom ..paths import join"),
        ("zk_sansio.server._tree", "from ..wire import Stat\nfrom ..paths import join"),
        ("zk_trio._driver", "import random, socket, ssl, time, trio\nimport zk_sansio\nfrom . import cli"),
        ("zk_trio.cli", "import trio, cyclopts, rich.table\nfrom zk_trio import open_client"),
        ("zk_trio._driver", "from zk_adapter._transport import Transport"),
        ("zk_adapter._transport", "import socket, ssl\nfrom zk_sansio.session import Server"),
        ("zk_sansio.vocabulary", "from .client import Client"),
        ("zk_anyio", "import anyio\nfrom zk_sansio.client import Client"),
        ("zk_blocking", "import socket, threading, time\nfrom zk_sansio.tls import wrap"),
    ],
)
def test_checker_accepts(module: str, source: str) -> None:
    assert check(module, source) == []


@pytest.mark.parametrize("package", [*ADAPTERS, PLUGIN])
def test_a_client_does_not_load_the_server(package: str) -> None:
    code = f"import sys, {package}; assert 'zk_sansio.server' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
