"""The types that every record is made of, one by one."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.strategies import int32, int64, optional_text, repeatable, text
from zk_sansio.errors import InvalidPathError, InvalidRequestError, RemoteProtocolError
from zk_sansio.wire import DECODE_ERRORS
from zk_sansio.wire._jute import (
    BOOL,
    BUFFER,
    INT,
    LONG,
    NOTHING,
    OPTIONAL_STRING,
    PATH,
    STRING,
    Codec,
    Vector,
    encode_path,
    get_all,
    put_all,
)

NULL = b"\xff\xff\xff\xff"

EXAMPLES: list[tuple[Codec[Any], Any, bytes]] = [
    (INT, 0, bytes(4)),
    (INT, -2, b"\xff\xff\xff\xfe"),
    (INT, 2**31 - 1, b"\x7f\xff\xff\xff"),
    (INT, -(2**31), b"\x80\0\0\0"),
    (LONG, -1, b"\xff" * 8),
    (LONG, 2**40, b"\0\0\1\0\0\0\0\0"),
    (BOOL, False, b"\0"),
    (BOOL, True, b"\1"),
    (BUFFER, None, NULL),
    (BUFFER, b"", bytes(4)),
    (BUFFER, b"\0\xff", b"\0\0\0\2\0\xff"),
    (STRING, "", bytes(4)),
    (STRING, "né", b"\0\0\0\3n\xc3\xa9"),
    (STRING, "\U0001f600", b"\0\0\0\4\xf0\x9f\x98\x80"),
    (OPTIONAL_STRING, None, NULL),
    (OPTIONAL_STRING, "", bytes(4)),
    (PATH, "/a", b"\0\0\0\2/a"),
    (NOTHING, None, b""),
    (Vector(INT), [], bytes(4)),
    (Vector(INT), [1, -1], b"\0\0\0\2\0\0\0\1\xff\xff\xff\xff"),
    (Vector(STRING), ["a", ""], b"\0\0\0\2\0\0\0\1a\0\0\0\0"),
    (Vector(Vector(BOOL)), [[True], []], b"\0\0\0\2\0\0\0\1\1\0\0\0\0"),
]


@pytest.mark.parametrize("codec, value, encoded", EXAMPLES)
def test_both_directions(codec: Codec[Any], value: Any, encoded: bytes) -> None:
    assert codec.put(value) == encoded
    padded = b"before" + encoded + b"behind"
    assert codec.get(padded, 6) == (value, 6 + len(encoded))
    assert codec.get(memoryview(padded), 6) == (value, 6 + len(encoded))


@pytest.mark.parametrize("codec, value, encoded", EXAMPLES)
def test_cut_short(codec: Codec[Any], value: Any, encoded: bytes) -> None:
    assert len(encoded) >= codec.min_size
    for end in range(len(encoded)):
        with pytest.raises(DECODE_ERRORS):
            codec.get(encoded[:end], 0)


@repeatable
@given(number=int32, long=int64, flag=st.booleans(), word=text, maybe=optional_text, raw=st.none() | st.binary())
def test_one_after_the_other(
    number: int, long: int, flag: bool, word: str, maybe: str | None, raw: bytes | None
) -> None:
    codecs: list[Codec[Any]] = [INT, LONG, BOOL, STRING, OPTIONAL_STRING, BUFFER, Vector(STRING)]
    values = [number, long, flag, word, maybe, raw, [word, word]]
    encoded = put_all(codecs, values)
    assert get_all(codecs, encoded, 0) == (values, len(encoded))


def test_one_value_for_each_codec() -> None:
    with pytest.raises(ValueError, match="zip"):
        put_all([INT, INT], [1])


def test_the_base_class_encodes_nothing() -> None:
    codec = Codec[int]()
    with pytest.raises(NotImplementedError):
        codec.put(1)
    with pytest.raises(NotImplementedError):
        codec.get(b"", 0)


# --- numbers


@pytest.mark.parametrize("codec, value", [(INT, 2**31), (INT, -(2**31) - 1), (LONG, 2**63), (LONG, -(2**63) - 1)])
def test_number_out_of_range(codec: Codec[Any], value: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"{value} does not fit into (32|64) bits"):
        codec.put(value)


@pytest.mark.parametrize("codec", [INT, LONG])
@pytest.mark.parametrize("value", ["1", 1.0, None, b"1"])
def test_not_a_number(codec: Codec[Any], value: object) -> None:
    with pytest.raises(TypeError, match=f"expected an int, not {type(value).__name__}"):
        codec.put(value)


def test_any_byte_but_zero_is_true() -> None:
    assert [BOOL.get(bytes([byte]), 0)[0] for byte in range(256)] == [False] + [True] * 255


# --- buffers and strings


@pytest.mark.parametrize("value", [bytearray(b"ab"), memoryview(b"ab"), memoryview(b"a_b_")[::2]])
def test_what_holds_bytes_is_a_buffer(value: Any) -> None:
    assert BUFFER.put(value) == b"\0\0\0\2ab"


@pytest.mark.parametrize("value", ["text", 5, ["a"]])
def test_not_a_buffer(value: Any) -> None:
    with pytest.raises(TypeError, match=f"data is bytes or None, not {type(value).__name__}"):
        BUFFER.put(value)


@pytest.mark.parametrize("codec", [STRING, OPTIONAL_STRING])
@pytest.mark.parametrize("value", [b"a", 5])
def test_not_a_string(codec: Codec[Any], value: object) -> None:
    with pytest.raises(TypeError, match=f"expected a str, not {type(value).__name__}"):
        codec.put(value)


def test_a_string_that_must_be_there() -> None:
    with pytest.raises(TypeError, match="expected a str, not None"):
        STRING.put(None)  # type: ignore[arg-type]
    with pytest.raises(RemoteProtocolError, match="null string"):
        STRING.get(NULL, 0)


def test_a_lone_surrogate_cannot_be_sent() -> None:
    with pytest.raises(InvalidRequestError, match="lone surrogate"):
        STRING.put("a\ud800")


@pytest.mark.parametrize("length, frame", [(-2, b""), (-(2**31), b"abc"), (1, b""), (4, b"abc"), (2**31 - 1, b"abc")])
def test_length_that_cannot_be(length: int, frame: bytes) -> None:
    encoded = length.to_bytes(4, "big", signed=True) + frame
    with pytest.raises(RemoteProtocolError, match=f"a buffer of {length} bytes"):
        BUFFER.get(encoded, 0)
    with pytest.raises(RemoteProtocolError, match=f"a string of {length} bytes"):
        STRING.get(encoded, 0)


@pytest.mark.parametrize(
    "raw, decoded",
    [
        (b"\xed\xa0\xbd\xed\xb8\x80", "\U0001f600"),  # CESU-8: a character as two surrogates
        (b"a\xed\xa0\xbd\xed\xb8\x80\xc3\xa9", "a\U0001f600é"),
        (b"\xf0\x9f\x98\x80", "\U0001f600"),
        (b"\xed\xa0\xbd", "\ufffd"),  # half of a character has no text
        (b"\xed\xb8\x80\xed\xa0\xbd", "\ufffd\ufffd"),
        (b"a\0b", "a\0b"),
    ],
)
def test_text_from_java(raw: bytes, decoded: str) -> None:
    frame = len(raw).to_bytes(4, "big") + raw
    assert STRING.get(frame, 0) == (decoded, len(frame))
    assert STRING.get(memoryview(frame), 0) == (decoded, len(frame))


@pytest.mark.parametrize("raw", [b"\xff", b"ab\xc3", b"\xc0\x80", b"\xed\xa0\xbd\xff", b"\xf5\x80\x80\x80"])
def test_not_utf_8(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not UTF-8"):
        STRING.get(len(raw).to_bytes(4, "big") + raw, 0)


# --- vectors


def test_null_vector_is_empty() -> None:
    assert Vector(STRING).get(NULL, 0) == ([], 4)


@pytest.mark.parametrize("count", [-2, -(2**31), 3, 2**31 - 1])
def test_count_that_cannot_be(count: int) -> None:
    frame = count.to_bytes(4, "big", signed=True) + bytes(8)
    with pytest.raises(RemoteProtocolError, match=f"a vector of {count} elements, the frame has 8 bytes left"):
        Vector(INT).get(frame, 0)


@pytest.mark.parametrize("value", ["ab", b"ab"])
def test_text_is_not_a_vector(value: Any) -> None:
    with pytest.raises(TypeError, match=f"expected a sequence, not {type(value).__name__}"):
        Vector(STRING).put(value)


# --- paths


def test_a_path_is_checked_before_it_is_sent() -> None:
    with pytest.raises(InvalidPathError, match="start with"):
        PATH.put("a")
    assert PATH.get(b"\0\0\0\1a", 0) == ("a", 5)  # not when it comes in


def test_a_sequential_path_may_end_with_a_slash() -> None:
    assert encode_path("/a/", True) == b"\0\0\0\3/a/"
    with pytest.raises(InvalidPathError, match="must not end"):
        encode_path("/a/")


@pytest.mark.parametrize("path", [None, b"/a", 5, PurePosixPath("/a")])
def test_not_a_path(path: Any) -> None:
    with pytest.raises(TypeError, match=f"a path is a str, not {type(path).__name__}"):
        PATH.put(path)
