"""Random programs, and those that were kept, on the in-memory server and on a real one."""

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from tests.differential.compare import Comparison
from tests.differential.examples import EXAMPLES
from tests.differential.generator import THEMES, Generator
from tests.differential.steps import Program, Step

pytestmark = pytest.mark.server

EXAMPLES_OF_HYPOTHESIS = 120
STEPS = 60


class Drawn:
    """Choices of hypothesis."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def number(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))


@st.composite
def steps(draw: st.DrawFn, theme: str) -> Step:
    return Generator(Drawn(draw), theme).step()


def programs(theme: str) -> st.SearchStrategy[list[Step]]:
    return st.lists(steps(theme), min_size=STEPS // 2, max_size=STEPS)


@pytest.mark.slow
@settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=EXAMPLES_OF_HYPOTHESIS,
    phases=[Phase.generate],  # making a program small by leaving out steps is quicker, and does it as well
    verbosity=Verbosity.quiet,
    suppress_health_check=list(HealthCheck),
)
@given(program=st.sampled_from(THEMES).flatmap(programs))
def test_random_programs(comparison: Comparison, program: list[Step]) -> None:
    if difference := comparison.compare(program):
        pytest.fail(f"\n{comparison.reduce(difference)}", pytrace=False)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(comparison: Comparison, name: str) -> None:
    program: Program = EXAMPLES[name]
    if difference := comparison.compare(program):
        pytest.fail(f"\n{comparison.reduce(difference)}", pytrace=False)
