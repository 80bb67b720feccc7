"""From an opcode to its request, as a server needs it."""

from __future__ import annotations

import struct
from typing import Any

from ..errors import RemoteProtocolError
from ._control import (
    AddWatch,
    Auth,
    CheckWatches,
    CloseSession,
    Ping,
    RemoveWatches,
    Sasl,
    SetWatches,
    SetWatches2,
    WhoAmI,
)
from ._jute import (
    DECODE_ERRORS,
    Frame,
)
from ._multi import Multi, MultiRead
from ._request import Request
from ._znodes import (
    Check,
    Create,
    Create2,
    CreateContainer,
    CreateTTL,
    Delete,
    Exists,
    GetACL,
    GetAllChildrenNumber,
    GetChildren,
    GetChildren2,
    GetData,
    GetEphemerals,
    Reconfig,
    SetACL,
    SetData,
    Sync,
)

__all__ = ["REQUESTS", "decode_request"]

_REQUEST_HEADER = struct.Struct(">ii")

REQUESTS: dict[int, type[Request[Any]]] = {
    request.opcode: request
    for request in (
        Check,
        Create,
        Create2,
        CreateContainer,
        CreateTTL,
        Delete,
        Exists,
        GetACL,
        GetAllChildrenNumber,
        GetChildren,
        GetChildren2,
        GetData,
        GetEphemerals,
        Reconfig,
        SetACL,
        SetData,
        Sync,
        AddWatch,
        Auth,
        CheckWatches,
        CloseSession,
        Ping,
        RemoveWatches,
        Sasl,
        SetWatches,
        SetWatches2,
        WhoAmI,
        Multi,
        MultiRead,
    )
}
"""The class of each opcode."""


def decode_request(frame: Frame) -> tuple[int, Request[Any]]:
    """Read a whole request as a server does; bytes behind the record are ignored.

    Returns:
        The xid and the request.

    Raises:
        RemoteProtocolError: an unknown opcode, or a record that is cut short or malformed.
    """
    try:
        xid, opcode = _REQUEST_HEADER.unpack_from(frame)
        kind = REQUESTS.get(opcode)
        if kind is None:
            raise RemoteProtocolError(f"unknown opcode {opcode}")
        request, _ = kind.parse(frame, _REQUEST_HEADER.size)
    except DECODE_ERRORS as error:
        raise RemoteProtocolError(f"not a request: {error}") from error
    return xid, request
