"""What users call, as coroutines over a small port; see `Runtime`."""

from .._names import publish
from ._caller import Caller, WhileSuspended
from ._client import ZnodeClient
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
from ._pipeline import Pending, Pipeline, Recorder
from ._retry import RetryPolicy
from ._runtime import CancelScope, Runtime, busy
from ._settings import ClientSettings, Setup, SocketOptions, prepare
from ._streams import Change, ChangeStream, Gap, OneShotWatch, StateStream
from ._transaction import ReadBatch, Reads, Transaction, TransactionResult, Writes

__all__ = [
    "FOUR_LETTER_WORDS",
    "Caller",
    "CancelScope",
    "Change",
    "ChangeStream",
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
    "Reads",
    "Recorder",
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
    "Writes",
    "ZnodeClient",
    "busy",
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
