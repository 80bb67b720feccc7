"""Every error that this package raises.

::

    ZooKeeperError
    ├── ServerError                        the server answered a request with an error code
    │   ├── ServerSystemError, RuntimeInconsistencyError, DataInconsistencyError, MarshallingError,
    │   │   UnimplementedError, OperationTimeoutError, BadArgumentsError, NewConfigNoQuorumError,
    │   │   ReconfigInProgressError, ApiError, NoNodeError, NoAuthError, BadVersionError,
    │   │   NoChildrenForEphemeralsError, NodeExistsError, NotEmptyError, InvalidAclError,
    │   │   NotReadOnlyError, EphemeralOnLocalSessionError, NoWatcherError, RequestTimeoutError,
    │   │   ReconfigDisabledError, QuotaExceededError, ThrottledError
    │   └── (ServerError itself for a code that this version does not know)
    ├── TransactionError                   a multi failed: which operation, and why
    ├── SessionError                       the session, or its connection, could not carry the call
    │   ├── ConnectionLossError            the connection went away; see its ``maybe_applied``
    │   │   └── SuspendedError             not sent: there is no connection, and the call asked not to wait
    │   ├── SessionExpiredError            the session is over; its ephemerals and watches are gone
    │   ├── SessionMovedError              the session is attached through another connection
    │   ├── AuthFailedError                the server refused the credentials
    │   ├── ConnectError                   no server could be reached in the time given
    │   ├── TlsError                       a connection could not be secured
    │   └── ClosedError                    the client was closed
    ├── FourLetterError                    a server does not answer a four-letter word
    ├── CallTimeoutError                   a blocking call took longer than its ``timeout``
    ├── LeaseLostError                     a lock, a leadership or the like ended under its holder
    └── ProtocolError
        ├── LocalProtocolError             a call that cannot be sent as it is
        │   ├── InvalidRequestError        arguments that no server accepts
        │   │   └── InvalidPathError
        │   └── RequestTooLargeError
        └── RemoteProtocolError            bytes that no ZooKeeper server may send
            └── ReplyTooLargeError

Facts are attributes: ``path``, ``code``, ``maybe_applied``, ``server``, ``zxid``.
No message holds a password or a znode's data. Every error can be pickled: the arguments of the
base class are those that its class takes by position, and pickle carries the attributes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

__all__ = [
    "ApiError",
    "AuthFailedError",
    "BadArgumentsError",
    "BadVersionError",
    "CallTimeoutError",
    "ClosedError",
    "ConnectError",
    "ConnectionLossError",
    "DataInconsistencyError",
    "EphemeralOnLocalSessionError",
    "ErrorCode",
    "FourLetterError",
    "InvalidAclError",
    "InvalidPathError",
    "InvalidRequestError",
    "LeaseLostError",
    "LocalProtocolError",
    "MarshallingError",
    "NewConfigNoQuorumError",
    "NoAuthError",
    "NoChildrenForEphemeralsError",
    "NoNodeError",
    "NoWatcherError",
    "NodeExistsError",
    "NotEmptyError",
    "NotReadOnlyError",
    "OperationTimeoutError",
    "ProtocolError",
    "QuotaExceededError",
    "ReconfigDisabledError",
    "ReconfigInProgressError",
    "RemoteProtocolError",
    "ReplyTooLargeError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "RuntimeInconsistencyError",
    "ServerError",
    "ServerSystemError",
    "SessionError",
    "SessionExpiredError",
    "SessionMovedError",
    "SuspendedError",
    "ThrottledError",
    "TlsError",
    "TransactionError",
    "UnimplementedError",
    "ZooKeeperError",
    "error_from_code",
]


class ErrorCode(IntEnum):
    """The error codes of a reply header (``org.apache.zookeeper.KeeperException.Code``)."""

    OK = 0
    SYSTEM_ERROR = -1
    RUNTIME_INCONSISTENCY = -2
    DATA_INCONSISTENCY = -3
    CONNECTION_LOSS = -4
    MARSHALLING_ERROR = -5
    UNIMPLEMENTED = -6
    OPERATION_TIMEOUT = -7
    BAD_ARGUMENTS = -8
    UNKNOWN_SESSION = -12
    NEW_CONFIG_NO_QUORUM = -13
    RECONFIG_IN_PROGRESS = -14
    API_ERROR = -100
    NO_NODE = -101
    NO_AUTH = -102
    BAD_VERSION = -103
    NO_CHILDREN_FOR_EPHEMERALS = -108
    NODE_EXISTS = -110
    NOT_EMPTY = -111
    SESSION_EXPIRED = -112
    INVALID_CALLBACK = -113
    INVALID_ACL = -114
    AUTH_FAILED = -115
    SESSION_MOVED = -118
    NOT_READ_ONLY = -119
    EPHEMERAL_ON_LOCAL_SESSION = -120
    NO_WATCHER = -121
    REQUEST_TIMEOUT = -122
    RECONFIG_DISABLED = -123
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124
    QUOTA_EXCEEDED = -125
    THROTTLED_OP = -127


class ZooKeeperError(Exception):
    """The root of every error of this package.

    Attributes:
        path: the znode that the call was about, as the caller named it; None if there is none.
        maybe_applied: whether the change asked for may have happened although the call failed.
            False means that it certainly did not.
    """

    path: str | None = None
    maybe_applied: bool = False


class ServerError(ZooKeeperError):
    """The server answered with an error code; nothing was changed.

    Attributes:
        code: the code as a number; see `ErrorCode` for those that are known.
        operation: the name of the request, such as ``create``.
        zxid: the zxid of the reply's header.
    """

    meaning: ClassVar[str] = "the server answered with an error"

    def __init__(
        self, code: int, path: str | None = None, *, operation: str | None = None, zxid: int | None = None
    ) -> None:
        super().__init__(code, path)
        self.code = code
        self.path: str | None = path
        self.operation = operation
        self.zxid = zxid

    def __str__(self) -> str:
        subject = " ".join(part for part in (self.operation, self.path) if part)
        known = ErrorCode(self.code).name if self.code in _KNOWN_CODES else "unknown code"
        return f"{subject + ': ' if subject else ''}{self.meaning} ({known} {self.code})"


class ServerSystemError(ServerError):
    """SYSTEM_ERROR (-1): the server failed in a way it does not describe."""

    meaning = "the server failed internally"


class RuntimeInconsistencyError(ServerError):
    """RUNTIME_INCONSISTENCY (-2): in a multi, not tried because another operation failed."""

    meaning = "not tried, because another operation of the multi failed"


class DataInconsistencyError(ServerError):
    """DATA_INCONSISTENCY (-3): the server found its own data inconsistent."""

    meaning = "the server found its data inconsistent"


class MarshallingError(ServerError):
    """MARSHALLING_ERROR (-5): the server could not parse the request, or failed while serving it."""

    meaning = "the server could not read the request"


class UnimplementedError(ServerError):
    """UNIMPLEMENTED (-6): this server, or its configuration, does not offer the operation."""

    meaning = "the server does not offer this operation: too old, or switched off in its configuration"


class OperationTimeoutError(ServerError):
    """OPERATION_TIMEOUT (-7): the operation took too long."""

    meaning = "the operation timed out on the server"
    maybe_applied = True


class BadArgumentsError(ServerError):
    """BAD_ARGUMENTS (-8): a path, flag, TTL or member list that the server does not accept."""

    meaning = "the server does not accept these arguments"


class NewConfigNoQuorumError(ServerError):
    """NEW_CONFIG_NO_QUORUM (-13): the members of the new configuration are not in sync yet."""

    meaning = "no quorum of the new configuration is in sync; try again later"


class ReconfigInProgressError(ServerError):
    """RECONFIG_IN_PROGRESS (-14): another reconfiguration is going on."""

    meaning = "another reconfiguration is in progress"


class ApiError(ServerError):
    """API_ERROR (-100): a range marker that servers are not known to send."""

    meaning = "the server reports an API error"


class NoNodeError(ServerError):
    """NO_NODE (-101): the znode, or for a create its parent, does not exist."""

    meaning = "no such znode"

    def __str__(self) -> str:
        hint = "; its parent does not exist" if self.operation and self.operation.startswith("create") else ""
        return super().__str__() + hint


class NoAuthError(ServerError):
    """NO_AUTH (-102): the ACL does not allow this to the identities of this connection."""

    meaning = "not allowed by the ACL; add credentials with add_auth"


class BadVersionError(ServerError):
    """BAD_VERSION (-103): the znode has another version than the one asked for."""

    meaning = "the znode has another version"


class NoChildrenForEphemeralsError(ServerError):
    """NO_CHILDREN_FOR_EPHEMERALS (-108): the parent is ephemeral, so it can have no children."""

    meaning = "the parent is ephemeral and can have no children"


class NodeExistsError(ServerError):
    """NODE_EXISTS (-110): there is a znode of this name already."""

    meaning = "the znode exists already"


class NotEmptyError(ServerError):
    """NOT_EMPTY (-111): the znode has children."""

    meaning = "the znode has children"


class InvalidAclError(ServerError):
    """INVALID_ACL (-114): empty, an unknown scheme, a bad id, or ``auth`` without credentials."""

    meaning = "the server does not accept this ACL"


class NotReadOnlyError(ServerError):
    """NOT_READ_ONLY (-119): a write or a sync on a server that is in read-only mode."""

    meaning = "this server is in read-only mode and takes no writes"


class EphemeralOnLocalSessionError(ServerError):
    """EPHEMERAL_ON_LOCAL_SESSION (-120): a local session that cannot be upgraded makes no ephemerals."""

    meaning = "this local session cannot make ephemeral znodes"


class NoWatcherError(ServerError):
    """NO_WATCHER (-121): the server holds no such watch for this connection."""

    meaning = "the server holds no such watch"


class RequestTimeoutError(ServerError):
    """REQUEST_TIMEOUT (-122): the server gave the request up."""

    meaning = "the request timed out"
    maybe_applied = True


class ReconfigDisabledError(ServerError):
    """RECONFIG_DISABLED (-123): ``reconfigEnabled`` is off on the server."""

    meaning = "reconfiguration is switched off on the server"


class QuotaExceededError(ServerError):
    """QUOTA_EXCEEDED (-125): a hard quota with ``enforceQuota`` forbids it."""

    meaning = "a quota forbids it"


class ThrottledError(ServerError):
    """THROTTLED_OP (-127): the server is overloaded and did not execute the request."""

    meaning = "the server is overloaded and did not execute the request"


class TransactionError(ZooKeeperError):
    """A multi failed, and nothing of it was applied.

    Attributes:
        index: the position of the operation that failed, counted from 0.
        op: that operation, as it was given.
        error: why it failed.
    """

    def __init__(self, index: int, op: object, error: ZooKeeperError) -> None:
        super().__init__(index, op, error)
        self.index = index
        self.op = op
        self.error = error
        self.path: str | None = error.path

    def __str__(self) -> str:
        return f"operation {self.index} of the transaction failed, nothing was applied: {self.error}"


class SessionError(ZooKeeperError):
    """The session or its connection could not carry the call.

    Attributes:
        code: the ZooKeeper code that stands for this condition.
        server: the server in use, ``host:port``, where one was.
    """

    code: int = ErrorCode.SYSTEM_ERROR
    server: str | None = None


class ConnectionLossError(SessionError):
    """The connection went away before the answer came.

    Attributes:
        maybe_applied: False if the request never left this process; True if it did, so that a
            write may have been applied.
    """

    code: int = ErrorCode.CONNECTION_LOSS

    def __init__(
        self, reason: str, path: str | None = None, *, maybe_applied: bool = False, server: str | None = None
    ) -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path: str | None = path
        self.maybe_applied = maybe_applied
        self.server = server

    def __str__(self) -> str:
        outcome = "the change may have been applied" if self.maybe_applied else "the request was not sent"
        where = f" to {self.server}" if self.server else ""
        what = f"{self.path}: " if self.path else ""
        return f"{what}connection{where} lost ({self.reason}); {outcome}"


class SuspendedError(ConnectionLossError):
    """There is no connection, and the call asked not to wait for one; it was not sent."""


class SessionExpiredError(SessionError):
    """The session is over: its ephemeral znodes, locks and watches are gone."""

    code: int = ErrorCode.SESSION_EXPIRED

    def __init__(
        self, reason: str = "the server ended the session", path: str | None = None, *, maybe_applied: bool = False
    ) -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path: str | None = path
        self.maybe_applied = maybe_applied

    def __str__(self) -> str:
        what = f"{self.path}: " if self.path else ""
        return (
            f"{what}session expired: {self.reason}{'; the change may have been applied' if self.maybe_applied else ''}"
        )


class SessionMovedError(SessionError):
    """The session is attached to another server through another connection; this request was not executed."""

    code: int = ErrorCode.SESSION_MOVED

    def __init__(self, reason: str = "the session is in use through another connection") -> None:
        super().__init__(reason)


class AuthFailedError(SessionError):
    """The server refused the credentials; the same ones would fail again at every reconnect."""

    code: int = ErrorCode.AUTH_FAILED

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class ConnectError(SessionError):
    """No server could be reached in the time given.

    Attributes:
        failures: for each server that was tried, ``host:port``, what happened last.
    """

    code: int = ErrorCode.CONNECTION_LOSS

    def __init__(self, reason: str, failures: dict[str, str] | None = None) -> None:
        super().__init__(reason, failures)
        self.reason = reason
        self.failures: dict[str, str] = failures or {}

    def __str__(self) -> str:
        tried = "; ".join(f"{server}: {why}" for server, why in self.failures.items())
        return f"{self.reason}{' (' + tried + ')' if tried else ''}"


class TlsError(SessionError):
    """A connection could not be secured, or its bytes are not those that the server sent.

    Attributes:
        permanent: whether it would fail again: a certificate, or the settings of one side, must be changed first.
    """

    code: int = ErrorCode.CONNECTION_LOSS

    def __init__(self, reason: str, *, server: str | None = None, permanent: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.server = server
        self.permanent = permanent

    def __str__(self) -> str:
        return f"TLS with {self.server}: {self.reason}" if self.server else f"TLS: {self.reason}"


class ClosedError(SessionError):
    """The client is closed, or was closed before the answer came."""

    code: int = ErrorCode.CONNECTION_LOSS

    def __init__(
        self, reason: str = "the client is closed", path: str | None = None, *, maybe_applied: bool = False
    ) -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path: str | None = path
        self.maybe_applied = maybe_applied

    def __str__(self) -> str:
        return f"{self.reason}{'; the change may have been applied' if self.maybe_applied else ''}"


class FourLetterError(ZooKeeperError):
    """A server did not answer a four-letter word, or not as it should.

    Attributes:
        word: what was asked.
        reason: what came of it.
    """

    def __init__(self, word: str, reason: str) -> None:
        super().__init__(word, reason)
        self.word = word
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.word}: {self.reason}"


class LeaseLostError(ZooKeeperError):
    """A lock, a leadership or another lease ended under its holder.

    Attributes:
        path: the znode that was the lease.
        reason: how it ended.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path: str | None = path
        self.reason = reason

    def __str__(self) -> str:
        return f"the lease of {self.path} is lost: {self.reason}"


class CallTimeoutError(ZooKeeperError, TimeoutError):
    """A blocking call took longer than its ``timeout``. It is cancelled: nobody will hear of its outcome.

    Attributes:
        seconds: the timeout.
    """

    maybe_applied = True

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"no outcome within {self.seconds:.3g} s; what was asked for may still happen"


class ProtocolError(ZooKeeperError):
    """One side broke the protocol."""


class LocalProtocolError(ProtocolError):
    """A call that cannot be sent as it is, or an input that this state of the session does not take."""


class InvalidRequestError(LocalProtocolError, ValueError):
    """Arguments that no server accepts; found before anything was sent."""


class InvalidPathError(InvalidRequestError):
    """A path that breaks ZooKeeper's rules; the message says which one."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path: str | None = path
        self.reason = reason

    def __str__(self) -> str:
        return f"invalid path {self.path!r}: {self.reason}"


class RequestTooLargeError(LocalProtocolError, ValueError):
    """A request over the server's frame limit, ``jute.maxbuffer``; it was not sent.

    Attributes:
        size: bytes of the request.
        limit: bytes that a request may have.
    """

    def __init__(self, size: int, limit: int, path: str | None = None) -> None:
        super().__init__(size, limit, path)
        self.size = size
        self.limit = limit
        self.path: str | None = path

    def __str__(self) -> str:
        what = f"{self.path}: " if self.path else ""
        return (
            f"{what}the request has {self.size} bytes, the limit is {self.limit}; split it, "
            "or raise jute.maxbuffer on every server and max_request here"
        )


class RemoteProtocolError(ProtocolError):
    """Bytes that no ZooKeeper server may send; the connection is given up."""


class ReplyTooLargeError(RemoteProtocolError):
    """A reply over the limit that this client sets; the connection is given up.

    Attributes:
        size: bytes that the reply claims to have.
        limit: bytes that a reply may have.
    """

    def __init__(self, size: int, limit: int, path: str | None = None) -> None:
        super().__init__(size, limit, path)
        self.size = size
        self.limit = limit
        self.path: str | None = path

    def __str__(self) -> str:
        what = f"{self.path}: " if self.path else ""
        return f"{what}a reply of {self.size} bytes is over the limit of {self.limit}; raise max_reply to receive it"


_KNOWN_CODES = frozenset(ErrorCode)

_SERVER_ERRORS: dict[int, type[ServerError]] = {
    ErrorCode.SYSTEM_ERROR: ServerSystemError,
    ErrorCode.RUNTIME_INCONSISTENCY: RuntimeInconsistencyError,
    ErrorCode.DATA_INCONSISTENCY: DataInconsistencyError,
    ErrorCode.MARSHALLING_ERROR: MarshallingError,
    ErrorCode.UNIMPLEMENTED: UnimplementedError,
    ErrorCode.OPERATION_TIMEOUT: OperationTimeoutError,
    ErrorCode.BAD_ARGUMENTS: BadArgumentsError,
    ErrorCode.NEW_CONFIG_NO_QUORUM: NewConfigNoQuorumError,
    ErrorCode.RECONFIG_IN_PROGRESS: ReconfigInProgressError,
    ErrorCode.API_ERROR: ApiError,
    ErrorCode.NO_NODE: NoNodeError,
    ErrorCode.NO_AUTH: NoAuthError,
    ErrorCode.BAD_VERSION: BadVersionError,
    ErrorCode.NO_CHILDREN_FOR_EPHEMERALS: NoChildrenForEphemeralsError,
    ErrorCode.NODE_EXISTS: NodeExistsError,
    ErrorCode.NOT_EMPTY: NotEmptyError,
    ErrorCode.INVALID_ACL: InvalidAclError,
    ErrorCode.NOT_READ_ONLY: NotReadOnlyError,
    ErrorCode.EPHEMERAL_ON_LOCAL_SESSION: EphemeralOnLocalSessionError,
    ErrorCode.NO_WATCHER: NoWatcherError,
    ErrorCode.REQUEST_TIMEOUT: RequestTimeoutError,
    ErrorCode.RECONFIG_DISABLED: ReconfigDisabledError,
    ErrorCode.QUOTA_EXCEEDED: QuotaExceededError,
    ErrorCode.THROTTLED_OP: ThrottledError,
}


def error_from_code(
    code: int, path: str | None = None, *, operation: str | None = None, zxid: int | None = None
) -> ZooKeeperError:
    """Make the error that stands for *code*, a number other than 0 from a reply.

    Args:
        code: the number; one that is not known becomes a plain `ServerError`.
        path: the znode that the request was about.
        operation: the request's name.
        zxid: the zxid of the reply's header.
    """
    if code in (ErrorCode.SESSION_EXPIRED, ErrorCode.UNKNOWN_SESSION):
        return SessionExpiredError("the server closed the session", path)
    if code in (ErrorCode.AUTH_FAILED, ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH):
        return AuthFailedError(f"the server answered {ErrorCode(code).name}")
    if code == ErrorCode.SESSION_MOVED:
        return SessionMovedError()
    if code == ErrorCode.CONNECTION_LOSS:
        return ConnectionLossError("reported by the server", path, maybe_applied=True)
    return _SERVER_ERRORS.get(code, ServerError)(code, path, operation=operation, zxid=zxid)
