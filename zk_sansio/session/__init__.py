"""The session: every rule over time, as a machine that takes bytes and time and gives bytes and events."""

from .._names import publish
from ._calls import Batch, Call, Waitable
from ._dialer import Attempt, Dial, Probe, Resolve
from ._events import Event, Notice, Notification, Rearmed, StateChanged, WatchersLost, WatchEvent
from ._hosts import HostPort, RandomSource, Server, parse_hosts
from ._options import SessionOptions, SessionTicket
from ._sasl import DigestMD5, SaslFactory, SaslMechanism, digest_md5
from ._session import Session
from ._states import (
    CONNECTION_RULES,
    SESSION_RULES,
    ConnectionInput,
    ConnectionState,
    SessionInput,
    SessionState,
)
from ._watches import Watcher, WatchKind

__all__ = [
    "CONNECTION_RULES",
    "SESSION_RULES",
    "Attempt",
    "Batch",
    "Call",
    "ConnectionInput",
    "ConnectionState",
    "Dial",
    "DigestMD5",
    "Event",
    "HostPort",
    "Notice",
    "Notification",
    "Probe",
    "RandomSource",
    "Rearmed",
    "Resolve",
    "SaslFactory",
    "SaslMechanism",
    "Server",
    "Session",
    "SessionInput",
    "SessionOptions",
    "SessionState",
    "SessionTicket",
    "StateChanged",
    "Waitable",
    "WatchEvent",
    "WatchKind",
    "Watcher",
    "WatchersLost",
    "digest_md5",
    "parse_hosts",
]

publish(globals(), __all__)
