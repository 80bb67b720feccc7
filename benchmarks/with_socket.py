"""A bare blocking socket: prepared frames go out, and of what comes back only the frames are counted.

It decodes nothing and has no session worth the name, so no client in Python can be faster. All requests of a turn
are equally long, and so are their replies; that makes counting a division.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from itertools import count as count_up
from types import TracebackType
from typing import Self

from .slots import OUTSTANDING, PIPELINE, Meter, Result, Slot, name_of

__all__ = ["Bare", "Request", "create", "delete", "get", "put", "run"]

_CREATE, _DELETE, _GET, _SET, _CLOSE = 1, 2, 4, 5, -11
_HEADER, _STAT = 4 + 16, 68
_READ = 128 * 1024

Request = tuple[bytes, int]
"""A frame, and the length of its reply's frame."""


def get(path: str, size: int) -> Request:
    """Read a znode with *size* bytes."""
    return _frame(_GET, _buffer(path.encode()) + b"\0"), _HEADER + 4 + size + _STAT


def put(path: str, data: bytes) -> Request:
    """Replace the data of a znode."""
    return _frame(_SET, _buffer(path.encode()) + _buffer(data) + struct.pack(">i", -1)), _HEADER + _STAT


def create(path: str, data: bytes) -> Request:
    """Make a znode that anyone may use."""
    acl = struct.pack(">ii", 1, 31) + _buffer(b"world") + _buffer(b"anyone")
    name = _buffer(path.encode())
    return _frame(_CREATE, name + _buffer(data) + acl + struct.pack(">i", 0)), _HEADER + len(name)


def delete(path: str) -> Request:
    """Remove a znode."""
    return _frame(_DELETE, _buffer(path.encode()) + struct.pack(">i", -1)), _HEADER


def _frame(opcode: int, body: bytes) -> bytes:
    return struct.pack(">iii", len(body) + 8, 1, opcode) + body  # servers do not mind the same xid again and again


def _buffer(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


class Bare:
    """One session on one connection; use it under ``with``."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=30)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(_buffer(struct.pack(">iqiq", 0, 0, 30_000, 0) + _buffer(bytes(16)) + b"\0"))
            (length,) = struct.unpack(">i", self._exactly(4))
            (timeout,) = struct.unpack_from(">4xi", self._exactly(length))
            if timeout <= 0:
                raise ConnectionError("the server refused the session")
            self._socket.settimeout(None)  # with a timeout, every call would ask the kernel twice
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._socket:
            if error is None:
                self._socket.sendall(_frame(_CLOSE, b""))
                self._exactly(_HEADER)

    def checked(self, request: Request) -> None:
        """Send one request and hold its reply against what is expected of it.

        Raises:
            ConnectionError: it is another one.
        """
        frame, expected = request
        self._socket.sendall(frame)
        head = self._exactly(_HEADER)
        length, _, _, code = struct.unpack(">iiqi", head)
        self._exactly(length + 4 - _HEADER)
        if code or length + 4 != expected:
            raise ConnectionError(f"expected a reply of {expected} bytes, got {length + 4} with error {code}")

    def one_by_one(self, frames: Iterable[bytes], expected: int) -> None:
        """Send each request when the one before it is answered.

        Args:
            frames: the requests.
            expected: the size of a reply.
        """
        send, receive = self._socket.send, self._socket.recv
        for frame in frames:
            send(frame)
            got = len(receive(_READ))
            while got != expected:
                got += len(self._more())

    def at_once(self, frames: Sequence[bytes], expected: int, window: int) -> None:
        """Keep *window* requests outstanding until all are answered.

        Args:
            frames: the requests, equally long.
            expected: the size of a reply.
            window: how many of them at most without an answer.
        """
        size, count = len(frames[0]), len(frames)
        with memoryview(b"".join(frames)) as all_frames:
            sent = min(window, count)
            self._socket.sendall(all_frames[: sent * size])
            answered = rest = 0
            while answered < count:
                replies, rest = divmod(rest + len(self._more()), expected)
                answered += replies
                if more := min(replies, count - sent):
                    self._socket.sendall(all_frames[sent * size : (sent + more) * size])
                    sent += more

    def _more(self) -> bytes:
        data = self._socket.recv(_READ)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data


def run(slot: Slot) -> Result:
    """Take the turn."""
    meter = Meter(slot)
    data = bytes(slot.size)
    numbers = count_up()
    prepared: list[bytes] = []

    def make() -> Request:
        return create(f"{slot.path}/{name_of(next(numbers))}", data)

    def prepare(count: int) -> None:
        prepared[:] = [make()[0] for _ in range(count)] if slot.operation == "create" else [frame] * count

    frame, expected = {"get": lambda: get(slot.path, slot.size), "set": lambda: put(slot.path, data), "create": make}[
        slot.operation
    ]()
    with Bare(slot.host, slot.port) as bare:
        bare.checked((frame, expected))
        for count in meter.counts(prepare):
            match slot.way:
                case "sequence":
                    bare.one_by_one(prepared, expected)
                case "window":
                    bare.at_once(prepared, expected, OUTSTANDING)
                case "pipeline":
                    for start in range(0, count, PIPELINE):
                        bare.at_once(prepared[start : start + PIPELINE], expected, PIPELINE)
        prepare(meter.latency_count())
        waiting = iter(prepared)
        meter.timed(lambda: bare.one_by_one((next(waiting),), expected))
    meter.result.made = next(numbers)
    return meter.result
