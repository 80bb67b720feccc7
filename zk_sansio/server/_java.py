"""What Java does in its own way, and clients can see."""

from __future__ import annotations

import struct

__all__ = ["java_string", "wrapped"]

_LENGTH = struct.Struct(">i")


def wrapped(number: int) -> int:
    """A number as a signed one of 32 bits: it wraps around."""
    return (number + 2**31) % 2**32 - 2**31


def java_string(text: str) -> bytes:
    """A ustring as Java writes it: characters above U+FFFF as two surrogates of three bytes each (CESU-8)."""
    if text.isascii():
        raw = text.encode("ascii")
    else:
        units = text.encode("utf-16-be", "surrogatepass")
        raw = b"".join(
            units[at : at + 2].decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")
            for at in range(0, len(units), 2)
        )
    return _LENGTH.pack(len(raw)) + raw
