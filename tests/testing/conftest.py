"""No socket outlives a test."""

from collections.abc import Iterator

import pytest

from tests.testing.kinds import KINDS, Kind
from zk_conformance import Leftovers


@pytest.fixture(params=[*KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Every event loop, and the adapters for it."""
    return KINDS[request.param]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test leaves as many threads and sockets as it found."""
    before = Leftovers()
    yield
    assert before.added(but_threads=("Trio thread", "AnyIO worker")) == []
