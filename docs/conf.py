"""Sphinx's configuration. `scripts/docs` builds the documentation and treats every warning as an error."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "zk-sansio"
author = "the zk-sansio contributors"
project_copyright = author
release = version = version_of("zk-sansio")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
    "zk_docs",
]
exclude_patterns = ["_build", "_ext"]

default_role = "py:obj"  # `Client` in a docstring is a link
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # a field described in its class's docstring is not a second description of the field

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]


def skip_generated(_app: Sphinx, _what: str, _name: str, thing: object, skip: bool, _options: object) -> bool:
    """Leave out the fields of a NamedTuple that have only the text Python gave them."""
    return skip or (thing.__doc__ or "").startswith("Alias for field number ")


def keep_colons(_app: Sphinx, what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """Keep napoleon from taking what is in front of a colon, in a property's first sentence, for its type."""
    if what == "property":
        lines[:0] = ["..", ""]  # an empty comment


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", skip_generated)
