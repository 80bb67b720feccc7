"""ZooKeeper for anyio, on asyncio and on trio: ``async with zk_anyio.open_client("localhost:2181") as client: ...``.

This package adds the way in; the rest is that of `zk_sansio`, offered here too, so that
``import zk_anyio as zk`` is the only line that names the adapter.
"""

from zk_adapter import TlsSource, digest_md5
from zk_sansio import (
    ChangeStream,
    Client,
    GuardedTransaction,
    Lock,
    OneShotWatch,
    Pipeline,
    ReadBatch,
    StateStream,
    Transaction,
    vocabulary,
)
from zk_sansio._names import publish
from zk_sansio.vocabulary import *  # noqa: F403 -- every adapter offers these names, so they are listed once

from ._open import four_letter_word, open_client

__all__ = [
    "ChangeStream",
    "Client",
    "GuardedTransaction",
    "Lock",
    "OneShotWatch",
    "Pipeline",
    "ReadBatch",
    "StateStream",
    "TlsSource",
    "Transaction",
    "digest_md5",
    "four_letter_word",
    "open_client",
]
__all__ += vocabulary.__all__

publish(globals(), __all__)
