"""Each test in each event loop, and no socket left behind it."""

from collections.abc import Iterator

import pytest

from tests.anyio.runs import ASYNCIO, NAMES, UVLOOP, Backend, sockets
from tests.support.waiting import eventually


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every event loop."""
    return NAMES[request.param]


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Backend:
    """The event loops of asyncio."""
    return {"asyncio": ASYNCIO, "uvloop": UVLOOP}[request.param]


@pytest.fixture(autouse=True)
def no_sockets_left() -> Iterator[None]:
    """Every test leaves as many sockets as it found."""
    before = sockets()
    yield
    eventually(lambda: not sockets() - before, 3)  # a server in memory closes its ends a moment later
