"""Cutting a stream of bytes into frames."""

from __future__ import annotations

from ..errors import RemoteProtocolError, ReplyTooLargeError
from ._jute import INT_STRUCT, Frame

__all__ = ["FrameDecoder"]

_LARGE = 64 * 1024
"""A frame of at least this size is read into one buffer of its own, so that it is copied once."""
_TRUSTED = 2 * 1024 * 1024
"""So much memory is taken on the word of a length; more only as bytes arrive. The usual largest znode fits."""


class FrameDecoder:
    """Turns bytes, however they are split, into frames without their length.

    Two ways to feed it: `receive_data` takes any bytes. While a large frame is incomplete, `buffer`
    is memory for more of it, to be read into directly; `buffer_filled` says how much arrived, and
    `buffer` is another one then.

    Args:
        max_frame: bytes that a frame may have.

    Attributes:
        error: why the stream is unusable, once it is; frames before that point were returned.
    """

    __slots__ = ("_filled", "_large", "_length", "_max_frame", "_rest", "error")

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._rest = b""
        self._large: memoryview | None = None
        self._filled = 0
        self._length = 0
        self.error: RemoteProtocolError | None = None

    @property
    def buffer(self) -> memoryview | None:
        """Where more of a large frame belongs, never empty; None when there is no such frame."""
        return self._large[self._filled :] if self._large is not None else None

    @property
    def partial(self) -> bool:
        """Whether the stream stands in the middle of a frame."""
        return self._large is not None or bool(self._rest)

    def buffer_filled(self, count: int) -> list[Frame]:
        """Take note that *count* bytes were read into `buffer`; return the frame if it is complete."""
        large = self._large
        if large is None or not 0 <= count <= len(large) - self._filled:
            raise ValueError(f"{count} bytes do not fit the buffer")
        self._filled += count
        if self._filled < len(large):
            return []
        if self._filled < self._length:
            self._large = memoryview(bytearray(min(self._length, 4 * self._filled)))
            self._large[: self._filled] = large
            return []
        self._large = None
        return [large.toreadonly()]

    def receive_data(self, data: bytes) -> list[Frame]:
        """Take *data*; return the frames that it completes, in order."""
        if self.error is not None:
            return []
        frames: list[Frame] = []
        at = 0
        if self._large is not None:
            at = self._fill(data, frames)
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        size = len(data)
        while size - at >= 4:
            (length,) = INT_STRUCT.unpack_from(data, at)
            if not 0 <= length <= self._max_frame:
                self.error = (
                    ReplyTooLargeError(length, self._max_frame)
                    if length > 0
                    else RemoteProtocolError(f"a frame of {length} bytes")
                )
                return frames
            end = at + 4 + length
            if end > size:
                if length >= _LARGE:
                    self._length = length
                    self._filled = size - at - 4
                    self._large = memoryview(bytearray(min(length, max(_TRUSTED, 4 * self._filled))))
                    self._large[: self._filled] = data[at + 4 :]
                    return frames
                break
            frames.append(data[at + 4 : end])
            at = end
        if at < size:
            self._rest = data[at:]
        return frames

    def _fill(self, data: bytes, frames: list[Frame]) -> int:
        """Move the head of *data* into the large frame, which is added to *frames* when it is complete."""
        at = 0
        while at < len(data) and (buffer := self.buffer) is not None:
            piece = data[at : at + len(buffer)]
            buffer[: len(piece)] = piece
            at += len(piece)
            frames += self.buffer_filled(len(piece))
        return at
