"""An Apache ZooKeeper client as a state machine: bytes and time in, bytes and events out.

This package does no I/O. Adapters drive it: `zk_trio`, `zk_anyio`, `zk_blocking`, and whatever you write yourself.
"""

from . import vocabulary
from ._names import publish
from .client import ChangeStream, OneShotWatch, Pipeline, ReadBatch, StateStream, Transaction
from .recipes import Client, GuardedTransaction, Lock
from .session import digest_md5
from .vocabulary import *  # noqa: F403 -- every adapter offers these names, so they are listed once

__all__ = [
    "ChangeStream",
    "Client",
    "GuardedTransaction",
    "Lock",
    "OneShotWatch",
    "Pipeline",
    "ReadBatch",
    "StateStream",
    "Transaction",
    "digest_md5",
]
__all__ += vocabulary.__all__

publish(globals(), __all__)
