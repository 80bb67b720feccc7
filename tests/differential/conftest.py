"""A real server of these tests' own: their programs look at its root, so nobody else may work there."""

from collections.abc import Iterator

import pytest

from tests.conftest import Shared
from tests.differential.compare import Comparison
from tests.differential.memory import MemorySide
from tests.differential.sides import RealSide, profile_of
from tests.support.leaks import children


@pytest.fixture(scope="package")
def real(shared: Shared) -> Iterator[RealSide]:
    """The real server."""
    before = children()
    with RealSide() as side:
        shared.children |= children() - before
        yield side


@pytest.fixture
def comparison(real: RealSide) -> Iterator[Comparison]:
    """The real server against ours."""
    profile = profile_of(real.version)
    made = Comparison(real, lambda: MemorySide(profile), profile)
    yield made
    made.close()
