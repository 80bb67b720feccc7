"""What users call, as coroutines over a small port; see `Runtime`."""

from .._names import publish
from ._caller import WhileSuspended
from ._client import Client
from ._config import EnsembleConfig, EnsembleMember, parse_config
from ._engine import Engine, OnExpiry
from ._four_letter import (
    FOUR_LETTER_WORDS,
    LatencyStats,
    ProposalSizes,
    ServerStats,
    SessionDump,
    WatchSummary,
    check_reply,
    parse_conf,
    parse_cons,
    parse_dirs,
    parse_dump,
    parse_envi,
    parse_isro,
    parse_mntr,
    parse_srvr,
    parse_wchc,
    parse_wchp,
    parse_wchs,
)
from ._pipeline import Pending, Pipeline
from ._retry import RetryPolicy
from ._runtime import Runtime
from ._settings import ClientSettings, Setup, SocketOptions, prepare
from ._streams import Change, ChangeStream, Gap, OneShotWatch, StateStream
from ._transaction import ReadBatch, Transaction, TransactionResult

__all__ = [
    "FOUR_LETTER_WORDS",
    "Change",
    "ChangeStream",
    "Client",
    "ClientSettings",
    "Engine",
    "EnsembleConfig",
    "EnsembleMember",
    "Gap",
    "LatencyStats",
    "OnExpiry",
    "OneShotWatch",
    "Pending",
    "Pipeline",
    "ProposalSizes",
    "ReadBatch",
    "RetryPolicy",
    "Runtime",
    "ServerStats",
    "SessionDump",
    "Setup",
    "SocketOptions",
    "StateStream",
    "Transaction",
    "TransactionResult",
    "WatchSummary",
    "WhileSuspended",
    "check_reply",
    "parse_conf",
    "parse_config",
    "parse_cons",
    "parse_dirs",
    "parse_dump",
    "parse_envi",
    "parse_isro",
    "parse_mntr",
    "parse_srvr",
    "parse_wchc",
    "parse_wchp",
    "parse_wchs",
    "prepare",
]

publish(globals(), __all__)
