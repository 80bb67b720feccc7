"""Each accepted difference is still met, and explains what it is about."""

from pathlib import Path

import pytest

from tests.differential.compare import Comparison
from tests.differential.known import KNOWN, Known

pytestmark = pytest.mark.server


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_needed(known: Known, comparison: Comparison) -> None:
    if comparison.profile not in known.profiles:
        pytest.skip(f"not about {comparison.profile}")
    without = Comparison(
        comparison.real,
        comparison.make_other,
        comparison.profile,
        known=[each for each in KNOWN if each is not known],
    )
    try:
        assert without.compare(known.example) is not None
    finally:
        without.close()
    assert comparison.compare(known.example) is None
    assert comparison.met[known.name] == 1


@pytest.mark.parametrize("name", [each.name for each in KNOWN])
def test_the_documentation_lists_it(name: str) -> None:
    page = Path(__file__).parents[2] / "docs" / "testing.md"
    assert f"| {name} " in page.read_text()
