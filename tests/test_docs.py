"""The documentation: its snippets are right, its diagrams are those of the code, and its links lead somewhere."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

import zk_sansio
import zk_trio
from tests.support.servers import AnyServer
from tests.support.snippets import PAGES, ROOT, Page, find_blocks
from zk_sansio.session import ConnectionState, SessionInput, SessionState

EXTENSIONS = ROOT / "docs" / "_ext"
WITH_CODE = [page for page in PAGES if page.blocks]


def extension(name: str) -> ModuleType:
    """One of the modules that the documentation is built with."""
    sys.path.insert(0, str(EXTENSIONS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(EXTENSIONS))


# --- snippets


@pytest.mark.parametrize("page", WITH_CODE, ids=str)
def test_snippets_run(page: Page, server: AnyServer, root: str, capsys: pytest.CaptureFixture[str]) -> None:
    page.run_programs(server.hosts, root, lambda: capsys.readouterr().out)
    page.run_coroutine(server.hosts, root)


def test_snippets_have_the_right_types(tmp_path: Path) -> None:
    files = [str(EXTENSIONS / "state_machine.py"), str(EXTENSIONS / "public_names.py")]
    for page in WITH_CODE:
        for name, source in page.modules():
            path = tmp_path / f"{name}.py"
            path.write_text(source)
            files.append(str(path))
    # A cache of its own, as another option makes another cache.
    options = ["--follow-imports=silent", f"--cache-dir={ROOT / '.mypy_cache' / 'snippets'}", "--no-pretty"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *files], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_pages_that_teach_have_snippets() -> None:
    names = {page.name for page in WITH_CODE}
    guides = {page.name for page in PAGES if page.name.startswith("docs/howto/")}
    assert {"README.md", "docs/tutorial.md"} | guides <= names


def test_blocks() -> None:
    page = """\
# Title

```python
trio.run(main)
```

```output
done
```

<!-- not run: no server -->
```python
x = 1
```

<!-- python
x = 2
-->

```text
y
```
"""
    found = [(block.kind, block.line, block.text, block.run) for block in find_blocks(page)]
    assert found == [
        ("program", 3, "trio.run(main)\n", True),
        ("output", 7, "done\n", True),
        ("fragment", 12, "x = 1\n", False),
        ("fragment", 16, "x = 2\n", True),
    ]


@pytest.mark.parametrize("printed, wanted", [("a 17\n", "a ...\n"), ("a\n", None)])
def test_output_that_is_as_it_should_be(tmp_path: Path, printed: str, wanted: str | None) -> None:
    made_up(tmp_path, wanted).run_programs("", "", iter(["", printed]).__next__)


def test_output_that_is_not_as_it_should_be(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="line 3"):
        made_up(tmp_path, "b\n").run_programs("", "", iter(["", "a\n"]).__next__)


def made_up(folder: Path, output: str | None) -> Page:
    page = Page(ROOT / "README.md")
    text = "# Title\n\n```python\npass  # trio.run(\n```\n"
    page.blocks = list(find_blocks(text if output is None else f"{text}\n```output\n{output}```\n"))
    return page


# --- diagrams

MACHINES: dict[str, Any] = extension("state_machine").MACHINES


def drawn(svg: str) -> set[tuple[str, str, str]]:
    """The rules that a picture shows: state, input, next state."""
    found = set()
    for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        if happened := path.get("data-input"):
            states, target = path.get("data-from"), path.get("data-to")
            assert states
            assert target
            found |= {(state, happened, target) for state in states.split()}
    return found


def ruled(rules: Any) -> set[tuple[str, str, str]]:
    return {(state.name, happened.name, to.name) for state, row in rules.items() for happened, to in row.items()}


@pytest.mark.parametrize("name", MACHINES)
def test_a_diagram_shows_the_rules(name: str) -> None:
    machine = MACHINES[name]
    assert drawn(extension("state_machine").Picture(machine).svg()) == ruled(machine.rules)


@pytest.mark.parametrize(
    "state, happened, target",
    [
        (SessionState.CONNECTED, SessionInput.DEADLINE, SessionState.SUSPENDED),  # one more
        (SessionState.CONNECTED, SessionInput.CLOSE, SessionState.EXPIRED),  # what was common is no longer
    ],
)
def test_a_diagram_shows_a_rule_that_has_changed(
    state: SessionState, happened: SessionInput, target: SessionState
) -> None:
    machine = MACHINES["session"]
    rules = {each: dict(row) for each, row in machine.rules.items()}
    rules[state][happened] = target
    changed = replace(machine, rules=rules)
    assert drawn(extension("state_machine").Picture(changed).svg()) == ruled(rules)


@pytest.mark.parametrize("name", MACHINES)
def test_a_diagram_can_be_read(name: str) -> None:
    machine = MACHINES[name]
    drawing = extension("state_machine")
    picture = drawing.Picture(machine)
    picture.svg()
    width, height = machine.size
    half_x, half_y = drawing.WIDTH / 2, drawing.HEIGHT / 2
    boxes = {label.text: [label.box] for label in picture.labels}
    places = [(x - half_x, y - half_y, x + half_x, y + half_y) for x, y in machine.places.values()]
    everything = [label.box for label in picture.labels] + places
    for left, top, right, bottom in everything:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
    for one, other in combinations(everything, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (boxes, one, other)


@pytest.mark.parametrize("name", MACHINES)
def test_the_tables_are_complete(name: str) -> None:
    machine = MACHINES[name]
    drawing = extension("state_machine")
    states, inputs = "\n".join(drawing.state_table(machine)), "\n".join(drawing.input_table(machine))
    (shared,) = [line for line in states.splitlines() if line.startswith("| every state above |")]
    for state, row in machine.rules.items():
        (line,) = [line for line in states.splitlines() if line.startswith(f"| *{state.value}* |")]
        assert states.index(line) < states.index(shared) or not row
        rules = [f"{drawing.label(happened)} → *{to.value}*" for happened, to in row.items()]
        assert all((rule in line) != (rule in shared) for rule in rules)
        assert line.count("→") + (shared.count("→") if row else 0) == len(rules)
    for happened in machine.inputs:
        assert happened.value in inputs


def test_the_pages_on_states_speak_of_every_state() -> None:
    text = (ROOT / "docs/explanation/sessions.md").read_text()
    for name in MACHINES:
        assert f"```{{state-machine}} {name}\n" in text
    for state in SessionState:
        assert f"\n| {state.value} " in text, state
    assert {type(next(iter(machine.rules))) for machine in MACHINES.values()} == {SessionState, ConnectionState}


# --- links

MARKDOWN = [
    *(page.path for page in PAGES),
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "newsfragments").glob("*.md")),
]
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
ROLE = re.compile(r"\{py:\w+\}`(?:[^`<]*<)?[~!]?([\w.]+)>?`")
DIRECTIVE_PATH = re.compile(r"^```\{literalinclude\} (\S+)$", re.MULTILINE)
TOCTREE = re.compile(r"^```\{toctree\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def slug(heading: str) -> str:
    """The anchor that GitHub and MyST make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def dead_links(path: Path, text: str) -> list[str]:
    found = []
    for target, anchor in LINK.findall(FENCE.sub("", text)):
        file = path.parent / target if target else path
        if not file.exists():
            found.append(target)
        elif anchor and anchor not in map(slug, HEADING.findall(FENCE.sub("", file.read_text() if target else text))):
            found.append(f"{target}#{anchor}")
    for block in TOCTREE.findall(text):
        entries = [line for line in block.split() if not line.startswith(":") and line not in ("*", "2")]
        found += [entry for entry in entries if not (path.parent / f"{entry}.md").exists()]
    found += [target for target in DIRECTIVE_PATH.findall(text) if not (path.parent / target).exists()]
    found += [target for target in ROLE.findall(text) if not exists(target)]
    return found


def exists(dotted: str) -> bool:
    """Whether there is such a module, or such a name in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links(path: Path) -> None:
    assert dead_links(path, path.read_text()) == []


@pytest.mark.parametrize(
    "text, dead",
    [
        ("[a](CONTRIBUTING.md#a-change) [b](https://example.org/#x)", []),
        ("# One thing, and `another`\n\n[a](#one-thing-and-another)", []),
        ("[a](nowhere.md)", ["nowhere.md"]),
        ("[a](CONTRIBUTING.md#nothing)", ["CONTRIBUTING.md#nothing"]),
        ("[a](#nothing)", ["#nothing"]),
        ("{py:obj}`~zk_sansio.recipes.Client.get`, {py:obj}`text <zk_sansio.Stat>`", []),
        ("{py:obj}`~zk_sansio.recipes.Client.got`", ["zk_sansio.recipes.Client.got"]),
        ("```{toctree}\n:glob:\n\nREADME\nnothing\n*\n```", ["nothing"]),
        ("```{literalinclude} nothing.py\n```", ["nothing.py"]),
    ],
)
def test_dead_links_are_found(text: str, dead: list[str]) -> None:
    assert dead_links(ROOT / "README.md", text) == dead


# --- the reference


def test_the_reference_describes_every_name() -> None:
    names = extension("public_names")
    own = {name for name in zk_trio.__all__ if names.home_of("zk_trio", name) == "zk_trio"}
    text = (ROOT / "docs/reference/trio.md").read_text()
    described = set(re.findall(r"^\S+ .*\bzk_trio\.(\w+)$", text, re.MULTILINE))
    assert own == described
    assert [name for name in zk_sansio.__all__ if names.home_of("zk_sansio", name) == "zk_sansio"] == []


def test_the_reference_has_a_page_for_every_module_that_is_public() -> None:
    text = "".join(page.path.read_text() for page in PAGES if page.name.startswith("docs/reference/"))
    for home in [*extension("public_names").HOMES, "zk_sansio.paths", "zk_sansio.tls"]:
        assert f".. automodule:: {home}\n" in text
