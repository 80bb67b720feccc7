"""The Python in the documentation: found, put together into modules, and run.

Every block of ``python`` in a page is one of two kinds:

- A *program* calls `trio.run`. It is run as it stands. A block of ``output`` behind it says what it prints, with
  ``...`` for what differs from run to run.
- All other blocks of a page are one coroutine together, which is given an open client. Where they need help from behind
  the scenes, such as somebody who makes a change, a comment ``<!-- python ... -->`` holds it. A comment
  ``<!-- not run: why -->`` in front of a block lets its types be checked only.

Everything is below a znode of its own: ``127.0.0.1:2181`` stands for a server with that chroot, ``localhost:2181`` for
the server as it is. Lines keep their numbers, so that errors point into the page.
"""

import builtins
import doctest
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import trio

import zk_trio as zk

ROOT = Path(__file__).parent.parent.parent
HEADER = (
    "import trio; import zk_trio as zk; from typing import TYPE_CHECKING; "
    "from tests.support.snippets import print, printed, until\n"
    "async def page(client: zk.Client) -> None:\n"
)
LIMIT = 30.0

printed: list[str] = []
"""What the blocks of a page have printed."""


def print(*values: object) -> None:  # noqa: A001 -- it is what the snippets call
    """Print, and remember it for `until`."""
    printed.append(" ".join(map(str, values)))
    builtins.print(printed[-1])  # noqa: T201 -- tests capture it


async def until(condition: Callable[..., Awaitable[object] | object], *args: object) -> None:
    """Wait until something holds that happens elsewhere."""
    with trio.fail_after(LIMIT / 2):
        while True:
            found = condition(*args)
            if await found if isinstance(found, Awaitable) else found:
                return
            await trio.sleep(0.005)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of a page.

    Attributes:
        kind: what it is.
        line: the number of the line before its first one.
        text: its lines.
        run: whether it can be run.
    """

    kind: Literal["program", "fragment", "output"]
    line: int
    text: str
    run: bool = True


def find_blocks(markdown: str) -> Iterator[Block]:
    """Find the blocks of a page, in order."""
    starts = {"```python": "```", "```output": "```", "<!-- python": "-->"}
    lines = markdown.splitlines(keepends=True)
    run = True
    number = 0
    while number < len(lines):
        start = lines[number].strip()
        number += 1
        if start.startswith("<!-- not run:"):
            run = False
        if start not in starts:
            continue
        end = next(i for i in range(number, len(lines)) if lines[i].strip() == starts[start])
        text = "".join(lines[number:end])
        kind: Literal["program", "fragment"] = "program" if "trio.run(" in text else "fragment"
        yield Block(kind="output" if start == "```output" else kind, line=number, text=text, run=run)
        number, run = end + 1, True


class Page:
    """A page of the documentation.

    Attributes:
        name: its path in the project.
        blocks: its blocks.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(ROOT).as_posix()
        self.path = path
        self.blocks = list(find_blocks(path.read_text()))

    def __str__(self) -> str:
        return self.name

    @property
    def programs(self) -> list[tuple[Block, str | None]]:
        """The programs, each with what it prints."""
        found = []
        for block, behind in zip(self.blocks, [*self.blocks[1:], None], strict=True):
            if block.kind == "program":
                found.append((block, behind.text if behind is not None and behind.kind == "output" else None))
        return found

    @property
    def coroutine(self) -> str:
        """The source of a module with the other blocks as the coroutine ``page``; empty if there are none."""
        fragments = [block for block in self.blocks if block.kind == "fragment"]
        lines = [""] * max((block.line + block.text.count("\n") for block in fragments), default=0)
        for block in fragments:
            indent = "    " if block.run else "        "
            if not block.run:
                lines[block.line - 1] = "    if TYPE_CHECKING:"
            for number, line in enumerate(block.text.splitlines(), block.line):
                lines[number] = indent + line if line else ""
        if not fragments:
            return ""
        assert not any(lines[:2]), f"{self.name}: a page begins with its title"
        return HEADER + "\n".join(lines[2:]) + "\n"

    def modules(self) -> Iterator[tuple[str, str]]:
        """Names and sources of modules with everything on the page, to check their types."""
        name = self.name.removesuffix(".md").replace("/", "_").replace("-", "_").lower()
        for number, (block, _) in enumerate(self.programs, 1):
            yield f"{name}_{number}", "\n" * block.line + block.text
        if self.coroutine:
            yield f"{name}_page", self.coroutine

    def compiled(self, source: str, hosts: str, root: str) -> dict[str, object]:
        """Run a module of the page, up to its last line; return its names."""
        source = source.replace("127.0.0.1:2181", hosts + root).replace("localhost:2181", hosts)
        namespace: dict[str, object] = {"__name__": "__main__"}
        exec(compile(source, str(self.path), "exec"), namespace)
        return namespace

    def run_programs(self, hosts: str, root: str, output: Callable[[], str]) -> None:
        """Run the programs of the page, in order, and compare what they print.

        Args:
            hosts: the server.
            root: a znode of the test's own.
            output: gives what was printed since it was called last.
        """
        for block, wanted in self.programs:
            output()
            self.compiled("\n" * block.line + block.text, hosts, root)
            found = output()
            same = wanted is None or doctest.OutputChecker().check_output(wanted, found, doctest.ELLIPSIS)
            assert same, f"{self.name}, line {block.line}: it prints\n{found}instead of\n{wanted}"

    def run_coroutine(self, hosts: str, root: str) -> None:
        """Run the other blocks of the page, in order, with one client."""
        if not self.coroutine:
            return
        printed.clear()
        page = self.compiled(self.coroutine, hosts, root)["page"]
        assert callable(page)

        async def run() -> None:
            with trio.fail_after(LIMIT):
                async with zk.open_client(hosts + root) as client:
                    await page(client)

        trio.run(run)


PAGES = [Page(ROOT / "README.md"), *map(Page, sorted((ROOT / "docs").glob("**/*.md")))]
