"""What every request is: a record that knows its opcode and the type of its reply.

Arguments are checked while encoding, which is before anything is sent.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Generic, Self, TypeAlias, TypeVar

from ..errors import RemoteProtocolError
from ._codes import OpCode
from ._jute import (
    NOTHING,
    Codec,
    Frame,
    get_all,
)

__all__ = ["Layout", "Request"]

R = TypeVar("R")
Layout: TypeAlias = tuple[tuple[str, Codec[Any]], ...]
"""The fields of a record, in their order on the wire."""

_FRAME = struct.Struct(">iii")


class Request(Generic[R]):
    """One request; the type parameter is what its reply is decoded to.

    Attributes:
        opcode: the request's type on the wire.
        idempotent: whether sending it twice is the same as sending it once.
        name: the operation, for messages.
    """

    __slots__ = ()

    opcode: ClassVar[OpCode]
    idempotent: ClassVar[bool] = False
    name: ClassVar[str]
    _layout: ClassVar[Layout]
    _reply: ClassVar[Codec[Any]] = NOTHING

    def body(self) -> bytes:
        """The record, without a header.

        Raises:
            InvalidRequestError: an argument that no server accepts.
        """
        return b"".join([codec.put(getattr(self, name)) for name, codec in self._layout])

    def encode(self, xid: int) -> bytes:
        """The whole frame: length, header, record."""
        body = self.body()
        return _FRAME.pack(len(body) + 8, xid, self.opcode) + body

    @classmethod
    def parse(cls, frame: Frame, at: int) -> tuple[Self, int]:
        """Decode the record at offset *at*; return it and the offset behind it."""
        values, at = get_all([codec for _, codec in cls._layout], frame, at)
        return cls(*values), at

    def decode(self, frame: Frame, at: int) -> R:
        """Decode the reply's record at offset *at* of its frame; more bytes may follow.

        Raises:
            RemoteProtocolError: the bytes are not this reply.
        """
        try:
            reply: R = self._reply.get(frame, at)[0]
        except struct.error as error:
            raise RemoteProtocolError(f"a reply that is cut short: {error}") from None
        return reply

    def encode_reply(self, reply: R) -> bytes:
        """The reply's record, without a header, as a server sends it."""
        return self._reply.put(reply)

    @property
    def target(self) -> str | None:
        """The path that the request is about, for messages; None if it has none."""
        return getattr(self, "path", None)
