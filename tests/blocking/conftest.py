"""Nothing is left behind a test: no thread, no file descriptor, no signal handler, no interrupt."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.blocking.tools import descriptors
from tests.support.waiting import eventually
from zk_blocking._interrupts import INTERRUPTS


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Compare what there is behind a test with what there was before."""
    handler = signal.getsignal(signal.SIGINT)
    threads, open_files = set(threading.enumerate()), descriptors()
    yield
    gc.collect()
    eventually(lambda: not set(threading.enumerate()) - threads, 3)
    eventually(lambda: not descriptors() - open_files, 3)
    if handler != INTERRUPTS._handle and signal.getsignal(signal.SIGINT) == INTERRUPTS._handle:
        # Clients were dropped. It does no harm without any, and the next one that is closed gives it back.
        assert not len(INTERRUPTS._clients)
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert signal.getsignal(signal.SIGINT) == handler
    assert (INTERRUPTS.pending, INTERRUPTS.wake, INTERRUPTS._inside) == (False, None, False)
