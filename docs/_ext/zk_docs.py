"""Sphinx directives of this documentation.

- ``{state-machine} session`` draws a state machine from its rules, and puts them into words.
- ``{passed-on-names} zk_trio`` lists the names that a package offers, but that are described elsewhere.
- ``{constants} zk_sansio.client`` describes what autodoc leaves out: constants and type aliases.

Besides, a name in a docstring is found wherever it is described: `NoNodeError` in the docstring of a client's method.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator

from docutils import nodes
from public_names import HOMES, name_tables
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective
from state_machine import MACHINES, Picture, input_table, state_table


class StateMachineDirective(SphinxDirective):
    """A picture and two tables."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        machine = MACHINES[self.arguments[0]]
        picture = nodes.raw("", Picture(machine).svg(), format="html")
        tables = [*state_table(machine), "", *input_table(machine)]
        return [picture, *self.parse_text_to_nodes("\n".join(tables))]


class PassedOnNames(SphinxDirective):
    """Tables of names, with links."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(name_tables(self.arguments[0])))


class Constants(SphinxDirective):
    """The names of a package that are neither classes nor functions, and have no description that autodoc finds."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(constants(self.arguments[0])))


def constants(package: str) -> Iterator[str]:
    module = importlib.import_module(package)
    found_by_autodoc = ModuleAnalyzer.for_module(package).find_attr_docs()
    for name in module.__all__:
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)) and ("", name) not in found_by_autodoc:
            yield from (
                f"```{{py:data}} {name}",
                f":module: {package}",
                "",
                *description(package, name, value),
                "```",
                "",
            )


def description(package: str, name: str, value: object) -> Iterator[str]:
    # An alias of types is a string where one of its names is not known yet.
    text = value if isinstance(value, str) and "|" in value else repr(value)
    for home in ("typing", *sys.modules):
        if home == "typing" or home.startswith(package.partition(".")[0]):
            text = text.replace(f"{home}.", "")
    if len(text) <= 100 and " object at 0x" not in text:
        yield f"`{text}`"
        yield ""
    for inner in list(sys.modules):
        if inner.startswith(f"{package}._"):
            yield from ModuleAnalyzer.for_module(inner).find_attr_docs().get(("", name), [])


def find_described(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, shown: nodes.TextElement
) -> nodes.reference | None:
    """Look for a public name in the module where it is described."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    domain = env.get_domain("py")
    for full in where_described(target.removeprefix(f"{home_named(target)}.")):
        if (found := domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, shown)) is not None:
            return found
    return None


def home_named(target: str) -> str:
    """The module that a full name begins with; empty if it is not a full name."""
    return next((home for home in (*HOMES, "zk_sansio") if target.startswith(f"{home}.")), "")


def where_described(name: str) -> Iterator[str]:
    """The full names under which a public name, or a member of a public class, may be described."""
    first, _, member = name.partition(".")
    for home in HOMES:
        module = importlib.import_module(home)
        if first not in module.__all__:
            continue
        yield f"{home}.{name}"
        thing = getattr(module, first)
        # What is inherited is described with the class that it comes from.
        for base in thing.__mro__[1:] if member and inspect.isclass(thing) else ():
            yield f"{base.__module__}.{base.__qualname__}.{member}"


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("state-machine", StateMachineDirective)
    app.add_directive("passed-on-names", PassedOnNames)
    app.add_directive("constants", Constants)
    app.connect("missing-reference", find_described)
    app.add_css_file("state-machine.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
