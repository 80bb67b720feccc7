"""Programs that are kept: what was found once, and what random programs do not hit upon."""

from typing import Final

from tests.differential.examples import found, made
from tests.differential.steps import Program

EXAMPLES: Final[dict[str, Program]] = {**found.PROGRAMS, **made.PROGRAMS}
