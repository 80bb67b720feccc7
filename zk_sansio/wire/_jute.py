"""Jute, the encoding of every record: big-endian numbers, length-prefixed strings, counted vectors.

A codec knows one type in both directions: ``put`` makes bytes of a value, ``get`` reads one from
a frame at an offset and says where it ended. Reading is total: whatever the bytes, it returns
a value or raises one of `DECODE_ERRORS`. A count or a length that the frame has no room for is
refused before anything is made of it, so memory grows with what came, not with what was claimed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Generic, SupportsIndex, TypeAlias, TypeVar

from ..errors import InvalidRequestError, RemoteProtocolError
from ..paths import check_path

__all__ = [
    "BOOL",
    "BUFFER",
    "DECODE_ERRORS",
    "INT",
    "INT_STRUCT",
    "LONG",
    "NOTHING",
    "OPTIONAL_STRING",
    "PATH",
    "STRING",
    "Codec",
    "Frame",
    "Vector",
    "encode_path",
    "get_string",
    "put_string",
]

Frame: TypeAlias = "bytes | memoryview"
"""One frame without its length: bytes, or a view of the buffer that a large frame was read into."""

T = TypeVar("T")

DECODE_ERRORS = (RemoteProtocolError, struct.error)
"""What a codec's ``get`` may raise; whoever calls one turns both into `RemoteProtocolError`."""

INT_STRUCT = struct.Struct(">i")
_LONG_STRUCT = struct.Struct(">q")
_NULL = b"\xff\xff\xff\xff"


class Codec(Generic[T]):
    """One jute type in both directions."""

    __slots__ = ()

    min_size = 1
    """The fewest bytes that a value takes; it bounds how many a vector can claim to hold."""

    def put(self, value: T) -> bytes:
        """Encode *value*; what cannot be encoded raises `InvalidRequestError`."""
        raise NotImplementedError

    def get(self, frame: Frame, at: int) -> tuple[T, int]:
        """Decode the value at offset *at*; return it and the offset behind it."""
        raise NotImplementedError


def _not_a_number(value: object, bits: int) -> Exception:
    if isinstance(value, SupportsIndex):
        return InvalidRequestError(f"{value} does not fit into {bits} bits")
    return TypeError(f"expected an int, not {type(value).__name__}")


class _Int(Codec[int]):
    __slots__ = ()
    min_size = 4

    def put(self, value: int) -> bytes:
        try:
            return INT_STRUCT.pack(value)
        except struct.error:
            raise _not_a_number(value, 32) from None

    def get(self, frame: Frame, at: int) -> tuple[int, int]:
        return INT_STRUCT.unpack_from(frame, at)[0], at + 4


class _Long(Codec[int]):
    __slots__ = ()
    min_size = 8

    def put(self, value: int) -> bytes:
        try:
            return _LONG_STRUCT.pack(value)
        except struct.error:
            raise _not_a_number(value, 64) from None

    def get(self, frame: Frame, at: int) -> tuple[int, int]:
        return _LONG_STRUCT.unpack_from(frame, at)[0], at + 8


class _Bool(Codec[bool]):
    __slots__ = ()

    def put(self, value: bool) -> bytes:
        return b"\1" if value else b"\0"

    def get(self, frame: Frame, at: int) -> tuple[bool, int]:
        if at >= len(frame):
            raise RemoteProtocolError("a boolean is missing at the end of the frame")
        return frame[at] != 0, at + 1


class _Buffer(Codec[bytes | None]):
    """Bytes; None is null, which is not the same as empty (protocol: length -1 and length 0)."""

    __slots__ = ()
    min_size = 4

    def put(self, value: bytes | None) -> bytes:
        if value is None:
            return _NULL
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"data is bytes or None, not {type(value).__name__}")
        raw = bytes(value)
        return INT_STRUCT.pack(len(raw)) + raw

    def get(self, frame: Frame, at: int) -> tuple[bytes | None, int]:
        (length,) = INT_STRUCT.unpack_from(frame, at)
        at += 4
        if length < 0:
            if length != -1:
                raise RemoteProtocolError(f"a buffer of {length} bytes")
            return None, at
        end = at + length
        if end > len(frame):
            raise RemoteProtocolError(f"a buffer of {length} bytes, the frame has {len(frame) - at} left")
        return bytes(frame[at:end]), end


def put_string(value: str | None) -> bytes:
    """Encode a ustring; None is null."""
    if value is None:
        return _NULL
    if not isinstance(value, str):
        raise TypeError(f"expected a str, not {type(value).__name__}")
    try:
        raw = value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"{value!r} holds a lone surrogate, which has no UTF-8 form") from error
    return INT_STRUCT.pack(len(raw)) + raw


def decode_text(raw: bytes | memoryview) -> str:
    """Decode a server's text: UTF-8, or the CESU-8 that Java's jute writes for characters above U+FFFF."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        pass
    try:
        units = str(raw, "utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"a string that is not UTF-8: {error.reason} at byte {error.start}") from None
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def get_string(frame: Frame, at: int) -> tuple[str | None, int]:
    """Decode a ustring; null is None."""
    (length,) = INT_STRUCT.unpack_from(frame, at)
    at += 4
    if length < 0:
        if length != -1:
            raise RemoteProtocolError(f"a string of {length} bytes")
        return None, at
    end = at + length
    if end > len(frame):
        raise RemoteProtocolError(f"a string of {length} bytes, the frame has {len(frame) - at} left")
    return decode_text(frame[at:end]), end


class _OptionalString(Codec[str | None]):
    __slots__ = ()
    min_size = 4

    def put(self, value: str | None) -> bytes:
        return put_string(value)

    def get(self, frame: Frame, at: int) -> tuple[str | None, int]:
        return get_string(frame, at)


class _String(Codec[str]):
    __slots__ = ()
    min_size = 4

    def put(self, value: str) -> bytes:
        if value is None:
            raise TypeError("expected a str, not None")
        return put_string(value)

    def get(self, frame: Frame, at: int) -> tuple[str, int]:
        value, at = get_string(frame, at)
        if value is None:
            raise RemoteProtocolError("a null string where a text belongs")
        return value, at


@lru_cache(maxsize=4096)
def encode_path(path: str, sequential: bool = False) -> bytes:
    """Check *path* by the server's rules and encode it; hot paths are kept, so that a call does this once."""
    check_path(path, sequential=sequential)
    return put_string(path)


class _Path(_String):
    """A path that is checked before it is sent; what comes in is only decoded."""

    __slots__ = ()

    def put(self, value: str) -> bytes:
        return encode_path(value)


class _Nothing(Codec[None]):
    __slots__ = ()
    min_size = 0

    def put(self, value: None) -> bytes:
        return b""

    def get(self, frame: Frame, at: int) -> tuple[None, int]:
        return None, at


class Vector(Codec[Sequence[T]], Generic[T]):
    """A counted sequence; null is read as empty.

    Args:
        item: the codec of the elements.
    """

    __slots__ = ("_item",)
    min_size = 4

    def __init__(self, item: Codec[T]) -> None:
        self._item = item

    def put(self, value: Sequence[T]) -> bytes:
        if isinstance(value, (str, bytes)):
            raise TypeError(f"expected a sequence, not {type(value).__name__}")
        put = self._item.put
        return b"".join([INT_STRUCT.pack(len(value)), *[put(item) for item in value]])

    def get(self, frame: Frame, at: int) -> tuple[Sequence[T], int]:
        count, at = self.get_count(frame, at)
        items = []
        get = self._item.get
        for _ in range(count):
            item, at = get(frame, at)
            items.append(item)
        return items, at

    def get_count(self, frame: Frame, at: int) -> tuple[int, int]:
        """Read the count, and refuse one that the rest of the frame has no room for."""
        (count,) = INT_STRUCT.unpack_from(frame, at)
        at += 4
        if count < -1 or count * self._item.min_size > len(frame) - at:
            raise RemoteProtocolError(f"a vector of {count} elements, the frame has {len(frame) - at} bytes left")
        return max(count, 0), at


INT = _Int()
LONG = _Long()
BOOL = _Bool()
BUFFER = _Buffer()
STRING = _String()
OPTIONAL_STRING = _OptionalString()
PATH = _Path()
NOTHING = _Nothing()


def put_all(codecs: Sequence[Codec[Any]], values: Sequence[Any]) -> bytes:
    """Encode one value after the other."""
    return b"".join([codec.put(value) for codec, value in zip(codecs, values, strict=True)])


def get_all(codecs: Sequence[Codec[Any]], frame: Frame, at: int) -> tuple[list[Any], int]:
    """Decode one value after the other."""
    values = []
    for codec in codecs:
        value, at = codec.get(frame, at)
        values.append(value)
    return values, at
