"""multi and multiRead: several operations in one request.

The elements of a reply say their own type, which need not be that of the operation: 3.8 answers a
create2 with the result of a create (ZOOKEEPER-4026). So decoding goes by the element.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias

from ..errors import InvalidRequestError, RemoteProtocolError
from ._codes import OpCode
from ._jute import BUFFER, INT, STRING, Codec, Frame
from ._records import NAMES, STAT, Created, Stat, Znode
from ._request import Request
from ._znodes import (
    Check,
    Create,
    Create2,
    CreateContainer,
    CreateTTL,
    Delete,
    GetChildren,
    GetData,
    SetData,
)

__all__ = ["Failed", "Multi", "MultiRead", "OpResult", "WriteOp"]


class Failed(NamedTuple):
    """The result of an operation that has none: its error code; 0 for one that another's failure undid."""

    code: int


OpResult: TypeAlias = "Created | Stat | Znode | list[str] | Failed | None"
"""Created of a create, Stat of a set, None of a delete or check, Znode of a get, names of a get children."""

WriteOp: TypeAlias = "Create | Create2 | CreateContainer | CreateTTL | Delete | SetData | Check"

_ELEMENT = struct.Struct(">ibi")
_END = _ELEMENT.pack(-1, 1, -1)


class _ResultsCodec(Codec[list[OpResult]]):
    """The elements of a reply, up to the end marker; how to write them depends on the request."""

    __slots__ = ()

    def get(self, frame: Frame, at: int) -> tuple[list[OpResult], int]:
        results: list[OpResult] = []
        while True:
            kind, done, _ = _ELEMENT.unpack_from(frame, at)
            at += 9
            if done:
                return results, at
            result: OpResult
            match kind:
                case OpCode.CREATE:
                    path, at = STRING.get(frame, at)
                    result = Created(path, None)
                case OpCode.CREATE2:
                    path, at = STRING.get(frame, at)
                    stat, at = STAT.get(frame, at)
                    result = Created(path, stat)
                case OpCode.SET_DATA:
                    result, at = STAT.get(frame, at)
                case OpCode.DELETE | OpCode.CHECK:
                    result = None
                case OpCode.GET_DATA:
                    data, at = BUFFER.get(frame, at)
                    stat, at = STAT.get(frame, at)
                    result = Znode(data, stat)
                case OpCode.GET_CHILDREN:
                    result, at = NAMES.get(frame, at)
                case OpCode.ERROR:
                    code, at = INT.get(frame, at)
                    result = Failed(code)
                case _:
                    raise RemoteProtocolError(f"a multi result of type {kind}")
            results.append(result)


@dataclass(slots=True)
class Multi(Request[list[OpResult]]):
    """Several writes that all happen or none; later ones see the effects of earlier ones (3.4)."""

    ops: Sequence[Request[Any]] = field(default=())

    opcode = OpCode.MULTI
    name = "multi"
    _allowed: ClassVar[tuple[type[Request[Any]], ...]] = (
        Create,
        Create2,
        CreateContainer,
        CreateTTL,
        Delete,
        SetData,
        Check,
    )
    _reply = _ResultsCodec()

    def body(self) -> bytes:
        parts = []
        for op in self.ops:
            if not isinstance(op, self._allowed):
                raise InvalidRequestError(f"{type(op).__name__} cannot be part of a {self.name}")
            parts += [_ELEMENT.pack(op.opcode, 0, -1), op.body()]
        return b"".join([*parts, _END])

    def encode_reply(self, reply: list[OpResult]) -> bytes:
        parts = []
        for op, result in zip(self.ops, reply, strict=True):
            match result:
                case Failed(code):
                    parts += [_ELEMENT.pack(OpCode.ERROR, 0, code), INT.put(code)]
                case Created(path, None):
                    parts += [_ELEMENT.pack(OpCode.CREATE, 0, 0), STRING.put(path)]
                case Created(path, Stat() as stat):
                    parts += [_ELEMENT.pack(OpCode.CREATE2, 0, 0), STRING.put(path), STAT.put(stat)]
                case _:
                    parts += [_ELEMENT.pack(op.opcode, 0, 0), op.encode_reply(result)]
        return b"".join([*parts, _END])

    @classmethod
    def parse(cls, frame: Frame, at: int) -> tuple[Self, int]:
        ops: list[Request[Any]] = []
        while True:
            kind, done, _ = _ELEMENT.unpack_from(frame, at)
            at += 9
            if done:
                return cls(ops), at
            request = next((allowed for allowed in cls._allowed if allowed.opcode == kind), None)
            if request is None:
                raise RemoteProtocolError(f"opcode {kind} inside a {cls.name}")
            op, at = request.parse(frame, at)
            ops.append(op)


@dataclass(slots=True)
class MultiRead(Multi):
    """Several reads in one request, each with its own result or `Failed`; watch flags are ignored (3.6)."""

    opcode = OpCode.MULTI_READ
    idempotent = True
    name = "multi read"
    _allowed = (GetData, GetChildren)
