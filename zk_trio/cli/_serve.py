"""``serve``: a ZooKeeper in memory for other programs."""

from __future__ import annotations

import signal
import sys
from random import SystemRandom

import trio

from zk_adapter.serving import ServerSettings

from ..testing import open_server

__all__ = ["serve_until_told"]


async def serve_until_told(size: int, host: str, port: int, options: ServerSettings) -> None:
    """Serve until somebody presses Ctrl-C, or SIGTERM comes.

    Args:
        size: how many members.
        host: the address to listen on.
        port: the first member's port; 0 for free ones.
        options: see `ServerSettings`.

    Raises:
        OSError: a port is taken.
        InvalidRequestError: an option that makes no sense.
    """
    seed = SystemRandom().getrandbits(64)  # passwords of sessions that nobody can guess
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_server(size, host=host, port=port, seed=seed, **options) as server:
            _say(f"ZooKeeper in memory, for tests and demos. Nothing is kept on disk.\nConnect to {server.hosts}")
            async for _ in signals:
                break
    _say("Ended; all data is gone.")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
