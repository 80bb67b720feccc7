"""ZooKeeper for threads and plain scripts: ``with zk_blocking.open_client("localhost:2181") as client: ...``.

This package adds the way in; the rest is that of `zk_sansio`, each call blocking and with a timeout. It needs the
standard library only, and starts one thread for each client.
"""

from zk_adapter import TlsSource, digest_md5
from zk_sansio import vocabulary
from zk_sansio._names import publish
from zk_sansio.vocabulary import *  # noqa: F403 -- every adapter offers these names, so they are listed once

from ._client import Client
from ._open import four_letter_word, open_client
from ._scopes import (
    ChangeStream,
    GuardedTransaction,
    Lock,
    LockAttempt,
    OneShotWatch,
    Pipeline,
    ReadBatch,
    StateStream,
    Transaction,
)

__all__ = [
    "ChangeStream",
    "Client",
    "GuardedTransaction",
    "Lock",
    "LockAttempt",
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
