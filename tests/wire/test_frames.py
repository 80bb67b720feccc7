"""Cutting a stream into frames: the pieces in which it arrives make no difference, and nothing is trusted."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import thorough
from zk_sansio.errors import RemoteProtocolError, ReplyTooLargeError
from zk_sansio.wire import Frame, FrameDecoder, _frames

KIB, MIB = 2**10, 2**20
LIMIT = 60


def framed(*bodies: bytes) -> bytes:
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def copies(frames: list[Frame]) -> list[bytes]:
    return [bytes(frame) for frame in frames]


def walk(stream: bytes, limit: int) -> tuple[list[bytes], str | None, bool]:
    """What any decoder has to find: the frames, the error, and whether the stream ends inside of a frame."""
    frames: list[bytes] = []
    while len(stream) >= 4:
        length = int.from_bytes(stream[:4], "big", signed=True)
        if length > limit:
            return frames, str(ReplyTooLargeError(length, limit)), False
        if length < 0:
            return frames, f"a frame of {length} bytes", False
        if len(stream) < 4 + length:
            break
        frames.append(stream[4 : 4 + length])
        stream = stream[4 + length :]
    return frames, None, stream != b""


@contextmanager
def small_sizes() -> Iterator[None]:
    """Every frame of 8 bytes is a large one, and 12 bytes are all that is taken on trust."""
    with patch.object(_frames, "_LARGE", 8), patch.object(_frames, "_TRUSTED", 12):
        yield


bodies = st.binary(max_size=LIMIT)
lengths = st.one_of(st.integers(-3, LIMIT + 3), st.sampled_from([-(2**31), 2**31 - 1, 2**24]))
ends = st.one_of(
    st.just(b""), st.binary(max_size=30), lengths.map(lambda length: length.to_bytes(4, "big", signed=True) + b"abc")
)
streams = st.builds(lambda whole, end: framed(*whole) + end, st.lists(bodies, max_size=5), ends)


@thorough
@given(stream=streams, pieces=st.data())
def test_any_split_gives_the_same(stream: bytes, pieces: st.DataObject) -> None:
    cuts = sorted(pieces.draw(st.lists(st.integers(0, len(stream)), max_size=12), label="cuts"))
    choices = iter(pieces.draw(st.lists(st.booleans(), max_size=30), label="into the buffer"))
    frames: list[bytes] = []
    with small_sizes():
        decoder = FrameDecoder(LIMIT)
        for start, end in pairwise([0, *cuts, len(stream)]):
            piece = stream[start:end]
            while piece and (buffer := decoder.buffer) is not None and next(choices, False):
                assert len(buffer) > 0
                count = min(len(buffer), len(piece))
                buffer[:count] = piece[:count]
                frames += copies(decoder.buffer_filled(count))
                piece = piece[count:]
            frames += copies(decoder.receive_data(piece))
    expected, error, partial = walk(stream, LIMIT)
    assert frames == expected
    assert (str(decoder.error) if decoder.error else None) == error
    assert decoder.partial is partial


@thorough
@given(stream=streams)
def test_byte_by_byte(stream: bytes) -> None:
    with small_sizes():
        decoder = FrameDecoder(LIMIT)
        frames = [frame for at in range(len(stream)) for frame in copies(decoder.receive_data(stream[at : at + 1]))]
    expected, error, partial = walk(stream, LIMIT)
    assert (frames, str(decoder.error) if decoder.error else None, decoder.partial) == (expected, error, partial)


def test_a_new_decoder_has_nothing() -> None:
    decoder = FrameDecoder(LIMIT)
    assert decoder.receive_data(b"") == []
    assert (decoder.error, decoder.buffer, decoder.partial) == (None, None, False)


def test_an_empty_frame_is_a_frame() -> None:
    decoder = FrameDecoder(LIMIT)
    assert decoder.receive_data(framed(b"", b"a", b"")) == [b"", b"a", b""]
    assert not decoder.partial


def test_the_limit_itself_is_allowed() -> None:
    decoder = FrameDecoder(LIMIT)
    assert decoder.receive_data(framed(bytes(LIMIT))) == [bytes(LIMIT)]
    assert decoder.error is None


@pytest.mark.parametrize("length", [LIMIT + 1, 2**31 - 1])
def test_too_large(length: int) -> None:
    decoder = FrameDecoder(LIMIT)
    # The length alone decides, and the frames in front of it are not lost.
    assert decoder.receive_data(framed(b"one", b"two") + length.to_bytes(4, "big")) == [b"one", b"two"]
    assert isinstance(decoder.error, ReplyTooLargeError)
    assert (decoder.error.size, decoder.error.limit) == (length, LIMIT)


@pytest.mark.parametrize("length", [-1, -(2**31)])
def test_negative(length: int) -> None:
    decoder = FrameDecoder(LIMIT)
    assert decoder.receive_data(framed(b"one") + length.to_bytes(4, "big", signed=True)) == [b"one"]
    assert type(decoder.error) is RemoteProtocolError
    assert str(decoder.error) == f"a frame of {length} bytes"


def test_nothing_comes_after_an_error() -> None:
    decoder = FrameDecoder(LIMIT)
    assert decoder.receive_data(b"\xff\xff\xff\xff" + framed(b"hidden")) == []
    error = decoder.error
    assert decoder.receive_data(framed(b"late")) == []
    assert (decoder.error, decoder.buffer, decoder.partial) == (error, None, False)


def test_partial() -> None:
    decoder = FrameDecoder(10 * MIB)
    stream = framed(b"abc")
    for at in range(1, len(stream)):
        assert decoder.receive_data(stream[at - 1 : at]) == []
        assert decoder.partial
    assert decoder.receive_data(stream[-1:]) == [b"abc"]
    assert not decoder.partial


def test_partial_in_a_large_frame() -> None:
    decoder = FrameDecoder(MIB)
    decoder.receive_data(framed(bytes(100 * KIB))[:5])
    assert decoder.buffer is not None
    assert decoder.partial


# --- large frames


@pytest.mark.parametrize("size", [64 * KIB, MIB, 2 * MIB])
def test_a_large_frame_is_read_into_one_buffer_of_its_size(size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    decoder = FrameDecoder(size)
    assert decoder.receive_data(framed(b"before") + framed(body)[:1000]) == [b"before"]
    buffer = decoder.buffer
    assert buffer is not None
    assert len(buffer) == size - 996
    memory = buffer.obj
    assert isinstance(memory, bytearray)
    assert len(memory) == size  # the exact size, and what came already is in it
    buffer[:] = body[996:]
    (frame,) = decoder.buffer_filled(len(buffer))
    assert isinstance(frame, memoryview)
    assert frame.obj is memory  # not copied again
    assert frame.readonly
    assert frame == body
    assert decoder.buffer is None
    assert decoder.receive_data(framed(b"after")) == [b"after"]


def test_just_below_the_size_of_large_frames() -> None:
    body = bytes(64 * KIB - 1)
    decoder = FrameDecoder(MIB)
    assert decoder.receive_data(framed(body)[:1000]) == []
    assert decoder.buffer is None
    assert decoder.receive_data(framed(body)[1000:]) == [body]


def test_a_large_frame_that_came_at_once_needs_no_buffer() -> None:
    body = bytes(100 * KIB)
    decoder = FrameDecoder(MIB)
    frames = decoder.receive_data(framed(body, b"x"))
    assert frames == [body, b"x"]
    assert isinstance(frames[0], bytes)


def test_a_large_frame_through_receive_data() -> None:
    body = bytes(range(256)) * 1000
    stream = framed(body, b"next", body)
    decoder = FrameDecoder(MIB)
    frames = []
    for at in range(0, len(stream), 50_000):
        frames += decoder.receive_data(stream[at : at + 50_000])
    assert copies(frames) == [body, b"next", body]
    assert not decoder.partial


def test_an_error_behind_a_large_frame() -> None:
    body = bytes(100 * KIB)
    decoder = FrameDecoder(MIB)
    assert decoder.receive_data(framed(body)[:10]) == []
    assert copies(decoder.receive_data(framed(body)[10:] + b"\xff\xff\xff\xff")) == [body]
    assert decoder.error is not None


def test_reading_nothing_into_the_buffer() -> None:
    decoder = FrameDecoder(MIB)
    decoder.receive_data(framed(bytes(100 * KIB))[:10])
    assert decoder.buffer_filled(0) == []
    assert decoder.buffer is not None
    assert len(decoder.buffer) == 100 * KIB - 6


@pytest.mark.parametrize("count", [-1, 100 * KIB - 5])
def test_more_than_the_buffer_holds(count: int) -> None:
    decoder = FrameDecoder(MIB)
    decoder.receive_data(framed(bytes(100 * KIB))[:10])
    with pytest.raises(ValueError, match=f"{count} bytes do not fit the buffer"):
        decoder.buffer_filled(count)


def test_there_is_no_buffer() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        FrameDecoder(MIB).buffer_filled(0)


# --- memory


@contextmanager
def at_most(peak: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= peak
    finally:
        tracemalloc.stop()


def test_a_claim_costs_little() -> None:
    decoder = FrameDecoder(64 * MIB)
    claim = (60 * MIB).to_bytes(4, "big")
    with at_most(2 * MIB + 8 * KIB):
        assert decoder.receive_data(claim) == []
    assert decoder.partial
    assert decoder.error is None


def test_memory_grows_with_what_came() -> None:
    decoder = FrameDecoder(64 * MIB)
    decoder.receive_data((60 * MIB).to_bytes(4, "big"))
    assert decoder.buffer is not None
    with at_most(8 * MIB + 8 * KIB):
        assert decoder.buffer_filled(len(decoder.buffer)) == []  # 2 MiB came, so four times that are made
    assert len(decoder.buffer) == 6 * MIB


@pytest.mark.parametrize("into_buffer", [False, True])
def test_a_frame_above_what_is_trusted(into_buffer: bool) -> None:
    body = bytes(range(256)) * (12 * KIB)  # 3 MiB: 2 on trust, then the rest
    stream = framed(body)
    decoder = FrameDecoder(64 * MIB)
    frames = decoder.receive_data(stream[:4])
    at = 4
    while not frames:
        if into_buffer and (buffer := decoder.buffer) is not None:
            buffer[:] = stream[at : at + len(buffer)]
            at += len(buffer)
            frames = decoder.buffer_filled(len(buffer))
        else:
            frames = decoder.receive_data(stream[at : at + 900 * KIB])
            at += 900 * KIB
    assert copies(frames) == [body]
    assert at >= len(stream)
