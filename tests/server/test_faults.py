"""Faults and links: each fault does what its name says, at every request, and nothing is lost, turned round or left."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk_conformance import Proxy
from zk_sansio.errors import InvalidRequestError
from zk_sansio.server._faults import Direction, Faults
from zk_sansio.server._link import Link
from zk_sansio.wire import XID_NOTIFICATION, XID_PING, Frame, OpCode

CREATE, GET, PING = OpCode.CREATE, OpCode.GET_DATA, OpCode.PING
HANDSHAKE = bytes(44)
GREETING = struct.pack(">i", 36) + bytes(36)
NOTIFICATION = struct.pack(">ii", 4, XID_NOTIFICATION)


def request(xid: int, op: int = CREATE) -> bytes:
    return struct.pack(">ii", xid, op)


def reply(xid: int) -> bytes:
    return struct.pack(">iiq", 12, xid, xid & 0xFF)


class End:
    """A server's end of a connection, which answers everything at once, or not until it is told to."""

    def __init__(self, faults: Faults, *, answers: bool = True) -> None:
        self.answers = answers
        self.processed: list[Frame] = []
        self.times: list[float] = []
        self.said: list[bytes] = []
        self.sent: list[bytes] = []
        self.closed = False
        self.link: Link = faults.link(self)

    # What a link asks for.

    def receive_frame(self, frame: Frame, now: float, /) -> None:
        assert not self.closed
        self.processed.append(bytes(frame))
        self.times.append(now)
        if self.answers:
            self.answer(frame)

    def queue(self, frame: bytes, /) -> None:
        assert not self.closed
        self.sent.append(frame)

    def close(self) -> None:
        self.closed = True
        self.link.closed()

    # What a server does.

    def answer(self, frame: Frame) -> None:
        self.send(GREETING if len(frame) == len(HANDSHAKE) else reply(struct.unpack_from(">i", frame)[0]))

    def send(self, frame: bytes) -> None:
        self.said.append(frame)
        if self.link.outgoing(frame):
            self.queue(frame)

    def finish(self) -> None:
        if self.link.end_of_replies():
            self.close()

    # What a client does.

    def receive(self, *frames: Frame, now: float = 0.0) -> None:
        for frame in frames:
            if not self.closed and self.link.incoming(frame, now):
                self.receive_frame(frame, now)

    def hang_up(self, now: float = 0.0) -> None:
        if self.link.end_of_requests(now):
            self.close()

    @property
    def answered(self) -> list[int]:
        """The xids of what the client got, the greeting being 0."""
        return [0 if frame == GREETING else struct.unpack_from(">i", frame, 4)[0] for frame in self.sent]


def settle(faults: Faults, now: float = 0.0) -> None:
    """Do what a driver does after each input."""
    for _ in range(100):
        if faults.next_timeout() > now:
            return
        faults.handle_timeout(now)
    raise AssertionError("it asks to be called again and again")


def connect(faults: Faults) -> End:
    end = End(faults)
    end.receive(HANDSHAKE)
    settle(faults)
    return end


# --- without faults


def test_all_passes() -> None:
    faults = Faults()
    assert (faults.connections, faults.requests, faults.opcodes, faults.cuts, faults.refusing) == (0, 0, [], 0, False)
    end = connect(faults)
    end.receive(request(1), request(XID_PING, PING), request(2, GET), now=1.0)
    end.send(NOTIFICATION)
    assert end.answered == [0, 1, XID_PING, 2, -1]
    assert faults.next_timeout() == math.inf
    faults.handle_timeout(2.0)
    assert (faults.connections, faults.requests, faults.cuts) == (1, 3, 0)
    assert faults.opcodes == [CREATE, PING, GET]


def test_what_is_no_request_passes() -> None:
    faults = Faults()
    faults.cut_before_request(op=CREATE)
    end = connect(faults)
    end.answers = False
    end.receive(b"", b"1234567")
    assert end.processed[1:] == [b"", b"1234567"]
    assert faults.requests == 0


def test_large_frames_are_views_of_memory() -> None:
    faults = Faults()
    end = connect(faults)
    faults.corrupt_request(1)
    end.receive(memoryview(request(1)), memoryview(request(2)))
    faults.black_hole()
    end.receive(memoryview(request(3)))
    faults.heal()
    settle(faults)
    assert [frame[0] for frame in end.processed[1:]] == [0x80, 0, 0]


class Served(Faults):
    """With an address, as an adapter gives it."""

    @property
    def hosts(self) -> str:
        return "127.0.0.1:2181"


def test_it_is_a_proxy_for_the_conformance_suite() -> None:
    proxy: Proxy = Served()  # which mypy checks
    assert proxy.hosts


def test_refuse() -> None:
    faults = Faults()
    end = connect(faults)
    faults.refuse()
    assert faults.refusing
    end.receive(request(1))
    assert end.answered == [0, 1]
    faults.listen_again()
    assert not faults.refusing
    faults.refuse()
    faults.heal()
    assert not faults.refusing


def test_cut() -> None:
    faults = Faults()
    ends = [connect(faults) for _ in range(3)]
    ends[0].hang_up()
    faults.cut()
    assert all(end.closed for end in ends)
    assert faults.cuts == 0
    assert faults.next_timeout() == math.inf
    faults.cut()
    assert not connect(faults).closed


def test_closed_connections_are_forgotten() -> None:
    faults = Faults()
    faults.black_hole()
    ends = [End(faults) for _ in range(3)]
    for end in ends:
        end.receive(HANDSHAKE)
    assert len(faults._network.links) == len(faults._network.busy) == 3
    for end in ends:
        end.close()
    assert not faults._network.links
    assert not faults._network.busy
    faults.heal()
    settle(faults)
    assert not any(end.processed for end in ends)


# --- black holes


@pytest.mark.parametrize("direction, processed", [("both", 0), ("requests", 0), ("replies", 4)])
def test_black_hole_and_heal(direction: Direction, processed: int) -> None:
    faults = Faults()
    end = connect(faults)
    faults.black_hole(direction)
    end.receive(*(request(xid) for xid in range(1, 5)), now=1.0)
    end.send(NOTIFICATION)
    settle(faults, 50.0)
    assert faults.next_timeout() == math.inf
    assert faults.requests == len(end.processed) - 1 == processed
    assert end.answered == [0, -1] if direction == "requests" else [0]
    faults.heal()
    assert faults.next_timeout() == 1.0  # which has passed
    settle(faults, 60.0)
    # What the server has sent before the requests reach it stays before their replies.
    assert end.answered == {"both": [0, -1, 1, 2, 3, 4], "requests": [0, -1, 1, 2, 3, 4]}.get(
        direction, [0, 1, 2, 3, 4, -1]
    )
    assert end.times[1:] == [1.0 if processed else 60.0] * 4
    assert faults.next_timeout() == math.inf
    end.receive(request(5), now=60.0)
    assert end.answered[-1] == 5


def test_black_hole_takes_new_connections_in() -> None:
    faults = Faults()
    faults.black_hole()
    end = connect(faults)
    assert (faults.connections, end.processed, end.closed) == (1, [], False)
    faults.heal()
    settle(faults)
    assert end.answered == [0]


def test_black_hole_changes_its_direction() -> None:
    faults = Faults()
    end = connect(faults)
    faults.black_hole("replies")
    end.receive(request(1))
    assert len(end.processed) == 2
    faults.black_hole("requests")
    end.receive(request(2))
    settle(faults)
    assert end.answered == [0, 1]
    assert len(end.processed) == 2
    faults.black_hole("replies")
    settle(faults)
    assert len(end.processed) == 3
    assert end.answered == [0, 1]


def test_frames_keep_their_order_until_all_have_passed() -> None:
    """What comes after healing, but before the timeout, does not overtake."""
    faults = Faults()
    end = connect(faults)
    faults.black_hole()
    end.receive(request(1))
    faults.heal()
    end.receive(request(2))
    assert end.answered == [0]
    settle(faults)
    assert end.answered == [0, 1, 2]


def test_a_misspelt_direction_is_no_fault_in_silence() -> None:
    with pytest.raises(InvalidRequestError, match="both, requests, replies"):
        Faults().black_hole("reply")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="both, requests, replies"):
        Faults().delay(1.0, "reply")  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan, "x"])
def test_a_delay_that_cannot_be(seconds: float) -> None:
    with pytest.raises(InvalidRequestError, match="a delay is a number of seconds"):
        Faults().delay(seconds)


@pytest.mark.parametrize("k, op", [(-1, None), ("x", None), (OpCode.CREATE, None), (None, 999), (None, "create")])
def test_a_trap_that_could_never_spring(k: int, op: int) -> None:
    faults = Faults()
    with pytest.raises(InvalidRequestError, match=r"handshake|OpCode"):
        faults.cut_before_reply(k, op=op)
    assert faults.armed == 0


def test_what_has_not_sprung_is_told() -> None:
    faults = Faults()
    faults.drop_reply(1)
    faults.cut_before_request(op=OpCode.SYNC)
    assert faults.armed == 2
    faults.heal()
    assert faults.armed == 0


def test_held_requests_meet_the_traps_when_they_are_let_go() -> None:
    faults = Faults()
    end = connect(faults)
    faults.black_hole("requests")
    end.receive(request(1), request(2))
    faults.cut_before_request(op=CREATE)
    assert faults.requests == 0
    faults.black_hole("replies")
    settle(faults)
    assert end.closed
    assert len(end.processed) == 1


# --- ends


@pytest.mark.parametrize("fault", ["none", "black hole", "delay"])
def test_the_end_of_the_replies_is_behind_them(fault: str) -> None:
    """An answer such as "your session has expired" must not be lost behind the end."""
    faults = Faults()
    end = connect(faults)
    if fault == "black hole":
        faults.black_hole()
    if fault == "delay":
        faults.delay(1.0)
    end.send(reply(1))
    end.finish()
    assert end.closed == (fault == "none")
    if fault != "none":
        end.receive(request(7))
        settle(faults)
        assert not end.closed
        faults.heal()
        settle(faults)
        assert end.closed
    assert end.answered == [0, 1]
    assert len(end.processed) == 1


@pytest.mark.parametrize("fault", ["none", "black hole", "delay"])
def test_the_end_of_the_requests_is_behind_them(fault: str) -> None:
    faults = Faults()
    end = connect(faults)
    if fault == "black hole":
        faults.black_hole("requests")
    if fault == "delay":
        faults.delay(1.0, "requests")
    end.receive(request(1))
    end.hang_up()
    assert end.closed == (fault == "none")
    settle(faults, 1.0)
    assert end.closed == (fault != "black hole")
    faults.heal()
    settle(faults, 1.0)
    assert end.closed
    assert end.answered == [0, 1]


def test_a_connection_that_both_sides_have_ended_is_closed() -> None:
    faults = Faults()
    end = connect(faults)
    faults.black_hole()
    end.finish()
    assert not end.closed
    end.hang_up()
    assert end.closed


def test_the_end_during_a_cut() -> None:
    faults = Faults()
    for hang_up in (True, False):
        faults.cut_before_request(1)
        end = connect(faults)
        end.receive(request(1))
        (end.hang_up if hang_up else end.finish)()
        assert end.closed
        assert faults.next_timeout() == math.inf


# --- delays


def test_delay_in_both_directions() -> None:
    faults = Faults()
    end = connect(faults)
    faults.delay(1.0)
    end.receive(request(1), now=10.0)
    assert faults.next_timeout() == 11.0
    settle(faults, 10.5)
    end.receive(request(2), now=10.5)
    settle(faults, 10.9)
    assert len(end.processed) == 1
    settle(faults, 11.0)
    assert end.times[1:] == [11.0]
    assert end.answered == [0]
    assert faults.next_timeout() == 11.5
    settle(faults, 11.5)
    assert end.times[1:] == [11.0, 11.5]
    assert faults.next_timeout() == 12.0
    settle(faults, 12.0)
    assert end.answered == [0, 1]
    settle(faults, 12.5)
    assert end.answered == [0, 1, 2]
    assert faults.next_timeout() == math.inf


def test_each_direction_has_its_own_delay() -> None:
    faults = Faults()
    faults.delay(1.0, "requests")
    faults.delay(2.0, "replies")
    end = End(faults)
    end.receive(HANDSHAKE, now=0.0)
    settle(faults, 1.0)
    assert end.times == [1.0]
    settle(faults, 2.9)
    assert end.answered == []
    settle(faults, 3.0)
    assert end.answered == [0]
    faults.delay(0.0, "requests")
    end.receive(request(1), now=3.0)
    assert end.times == [1.0, 3.0]


def test_what_others_cause_is_delayed_in_full() -> None:
    """A notification tells no time, and these faults may not have been told of one for long."""
    faults = Faults()
    end = connect(faults)
    faults.delay(1.0)
    end.send(NOTIFICATION)
    assert faults.next_timeout() == 0.0
    settle(faults, 30.0)
    assert faults.next_timeout() == 31.0
    settle(faults, 30.9)
    assert end.answered == [0]
    settle(faults, 31.0)
    assert end.answered == [0, -1]


def test_a_shorter_delay_lets_nothing_overtake() -> None:
    faults = Faults()
    end = connect(faults)
    faults.delay(5.0, "requests")
    end.receive(request(1), now=0.0)
    faults.delay(1.0, "requests")
    end.receive(request(2), now=0.0)
    faults.delay(0.0, "requests")
    end.receive(request(3), now=0.0)
    settle(faults, 4.9)
    assert end.answered == [0]
    settle(faults, 5.0)
    assert end.answered == [0, 1, 2, 3]


def test_a_black_hole_holds_what_is_on_its_way() -> None:
    faults = Faults()
    end = connect(faults)
    faults.delay(1.0, "requests")
    end.receive(request(1), now=0.0)
    faults.black_hole()
    assert faults.next_timeout() == math.inf
    settle(faults, 5.0)
    assert len(end.processed) == 1
    faults.heal()
    settle(faults, 5.0)
    assert end.times[1:] == [5.0]
    assert end.answered == [0, 1]


def test_heal_does_not_wait_for_delays() -> None:
    faults = Faults()
    end = connect(faults)
    faults.delay(100.0)
    end.receive(request(1), now=1.0)
    end.send(NOTIFICATION)
    faults.heal()
    settle(faults, 2.0)
    assert end.answered == [0, -1, 1]


def test_early_timeouts_do_nothing() -> None:
    faults = Faults()
    end = connect(faults)
    faults.delay(1.0)
    end.receive(request(1), now=1.0)
    for now in (1.0, 1.5, 0.0):
        faults.handle_timeout(now)
    assert len(end.processed) == 1
    assert faults.next_timeout() == 2.0


# --- traps

COUNT = 5
"""Frames of a client, the handshake among them."""

ARMS: list[Callable[[Faults], Callable[..., None]]] = [
    lambda faults: faults.cut_before_request,
    lambda faults: faults.cut_after_request,
    lambda faults: faults.cut_before_reply,
    lambda faults: faults.cut_after_reply,
]
"""Each cut, with what it lets through of the request itself: whether it is processed, whether it is answered."""

PASSES = [(0, 0), (1, 0), (1, 0), (1, 1)]


@pytest.mark.parametrize("k", range(COUNT))
@pytest.mark.parametrize("arm, passes", list(zip(ARMS, PASSES, strict=True)))
@pytest.mark.parametrize("way", ["at once", "one by one", "late answers", "delay", "black hole"])
def test_cuts_at_every_request(
    arm: Callable[[Faults], Callable[..., None]],
    passes: tuple[int, int],
    k: int,
    way: Literal["at once", "one by one", "late answers", "delay", "black hole"],
) -> None:
    """However the frames come, what is processed is the same, and of the answers only those on their way are lost."""
    faults = Faults()
    frames = [HANDSHAKE, *(request(xid) for xid in range(1, COUNT))]
    end = End(faults, answers=way != "late answers")
    if way == "delay":
        faults.delay(1.0)
    if way == "black hole":
        faults.black_hole("requests")
    arm(faults)(k)
    if way == "one by one":
        for frame in frames:
            end.receive(frame)
            settle(faults)
    else:
        end.receive(*frames)
    if way == "late answers":
        for request_frame in list(end.processed):
            end.answer(request_frame)
    if way == "black hole":
        faults.black_hole("replies")
        settle(faults)
        assert end.closed == (passes == (0, 0) or arm is ARMS[1])
        faults.heal()
    settle(faults, 1.0)
    settle(faults, 2.0)
    processed, answered = passes
    assert end.closed
    assert faults.cuts == 1
    assert end.processed == frames[: k + processed]
    in_flight = way in ("late answers", "delay", "black hole") and arm in ARMS[:2]
    assert end.answered == ([] if in_flight else list(range(k + answered)))
    assert faults.next_timeout() == math.inf
    faults.heal()
    assert connect(faults).answered == [0]  # Once is enough.


@pytest.mark.parametrize("k", range(COUNT))
@pytest.mark.parametrize("way", ["now", "delay"])
def test_drops_at_every_request(k: int, way: str) -> None:
    frames = [HANDSHAKE, *(request(xid) for xid in range(1, COUNT))]
    for request_is_lost in (True, False):
        faults = Faults()
        (faults.drop_request if request_is_lost else faults.drop_reply)(k)
        if way == "delay":
            faults.delay(1.0)
        end = End(faults)
        end.receive(*frames)
        settle(faults, 1.0)
        settle(faults, 2.0)
        assert end.processed == [frame for index, frame in enumerate(frames) if index != k or not request_is_lost]
        if k:
            assert end.answered == [xid for xid in range(COUNT) if xid != k]
        elif not request_is_lost:
            assert end.answered == list(range(1, COUNT))
        assert (end.closed, faults.cuts, faults.requests) == (False, 0, COUNT - 1)


@pytest.mark.parametrize("k", range(COUNT))
@pytest.mark.parametrize("way", ["now", "delay"])
@pytest.mark.parametrize("at, byte", [(0, 0), (3, 3), (7, 7), (-1, 7), (8, 0), (-9, 7)])
def test_corrupted_requests(k: int, way: str, at: int, byte: int) -> None:
    faults = Faults()
    faults.corrupt_request(k, at=at)
    if way == "delay":
        faults.delay(1.0)
    frames: list[Frame] = [HANDSHAKE[:8], *(request(xid) for xid in range(1, COUNT))]
    end = End(faults, answers=False)
    end.receive(*frames)
    settle(faults, 1.0)
    spoilt = bytearray(frames[k])
    spoilt[byte] ^= 0x80
    frames[k] = bytes(spoilt)
    assert end.processed == frames
    assert faults.cuts == 0


@pytest.mark.parametrize("k", range(COUNT))
@pytest.mark.parametrize("way", ["now", "delay"])
@pytest.mark.parametrize("at, byte", [(0, 4), (11, 15), (-1, -1)])
def test_corrupted_replies(k: int, way: str, at: int, byte: int) -> None:
    faults = Faults()
    faults.corrupt_reply(k, at=at)
    if way == "delay":
        faults.delay(1.0)
    end = End(faults)
    end.receive(HANDSHAKE, *(request(xid) for xid in range(1, COUNT)))
    settle(faults, 1.0)
    settle(faults, 2.0)
    expected = [GREETING, *(reply(xid) for xid in range(1, COUNT))]
    spoilt = bytearray(expected[k])
    spoilt[byte] ^= 0x80
    expected[k] = bytes(spoilt)
    assert end.sent == expected


def test_the_reply_to_a_corrupted_request_is_found() -> None:
    """Its xid is the spoilt one, so it must not be taken for another's."""
    faults = Faults()
    end = connect(faults)
    faults.corrupt_request(1)
    faults.cut_before_reply(2)
    end.receive(request(1), request(2), request(3))
    settle(faults)
    assert end.answered == [0, 1 - 2**31]
    assert len(end.processed) == 3


def test_nothing_to_corrupt() -> None:
    faults = Faults()
    end = connect(faults)
    end.answers = False
    faults.corrupt_request(1)
    end.receive(b"")
    assert end.processed[1:] == [b""]


def test_by_opcode() -> None:
    faults = Faults()
    end = connect(faults)
    faults.cut_before_reply(op=GET)
    end.receive(request(1), request(XID_PING, PING), request(2, GET), request(3))
    settle(faults)
    assert end.closed
    assert end.answered == [0, 1, XID_PING]
    assert faults.opcodes == [CREATE, PING, GET]


def test_by_number_and_opcode() -> None:
    faults = Faults()
    faults.drop_reply(2, op=GET)
    end = connect(faults)
    end.receive(request(1, GET), request(2), request(3, GET))
    assert end.answered == [0, 1, 2, 3]
    end = connect(faults)
    end.receive(request(1, GET), request(2, GET))
    assert end.answered == [0, 1]


def test_without_a_condition() -> None:
    faults = Faults()
    faults.cut_before_request()
    end = connect(faults)
    end.receive(request(XID_PING, PING), request(1))
    settle(faults)
    assert end.answered == [0, XID_PING]
    assert end.closed


def test_traps_spring_one_by_one() -> None:
    faults = Faults()
    for _ in range(3):
        faults.cut_before_request(1)
    for count in range(1, 4):
        end = connect(faults)
        end.receive(request(1))
        settle(faults)
        assert (end.closed, faults.cuts) == (True, count)
    end = connect(faults)
    end.receive(request(1))
    assert end.answered == [0, 1]


def test_traps_of_one_connection_spring_for_others() -> None:
    faults = Faults()
    first, second = connect(faults), connect(faults)
    faults.cut_before_reply(2)
    first.receive(request(1))
    second.receive(request(1), request(2))
    settle(faults)
    assert (first.closed, second.closed) == (False, True)
    first.receive(request(2))
    assert first.answered == [0, 1, 2]


def test_heal_disarms() -> None:
    faults = Faults()
    end = connect(faults)
    for arm in ARMS:
        arm(faults)(1)
    faults.heal()
    end.receive(request(1))
    assert end.answered == [0, 1]


def test_a_trap_with_its_request_in_the_server_springs_after_heal() -> None:
    faults = Faults()
    end = connect(faults)
    end.answers = False
    faults.cut_before_reply(1)
    end.receive(request(1), request(2))
    faults.heal()
    end.send(reply(1))
    settle(faults)
    assert end.closed
    assert end.answered == [0]


def test_replies_that_overtake() -> None:
    """Auth replies come before those of earlier requests."""
    faults = Faults()
    end = connect(faults)
    end.answers = False
    faults.cut_after_reply(1)
    end.receive(request(1))
    end.send(NOTIFICATION)
    end.send(reply(9))  # nobody has asked for it
    end.send(reply(1))
    settle(faults)
    assert end.answered == [0, -1, 9, 1]
    assert end.closed


@pytest.mark.parametrize("k", [1, 2, 3])
def test_pings_share_an_xid(k: int) -> None:
    faults = Faults()
    end = connect(faults)
    end.answers = False
    faults.drop_reply(k)
    end.receive(*[request(XID_PING, PING)] * 3)
    for number in range(1, 4):
        end.send(struct.pack(">iiq", 12, XID_PING, number))
    assert [frame[-1] for frame in end.sent[1:]] == [number for number in (1, 2, 3) if number != k]


def test_nothing_passes_between_a_cut_and_its_timeout() -> None:
    faults = Faults()
    end = connect(faults)
    faults.cut_after_request(1)
    end.receive(request(1), request(2))
    end.send(NOTIFICATION)
    assert not end.closed
    assert faults.next_timeout() == 0.0
    faults.handle_timeout(0.0)
    assert end.closed
    assert end.answered == [0]
    assert end.processed[1:] == [request(1)]


def test_nothing_that_waits_passes_behind_a_cut() -> None:
    faults = Faults()
    end = connect(faults)
    faults.delay(1.0, "replies")
    faults.cut_before_reply(2)
    end.receive(request(1), request(2))
    end.send(NOTIFICATION)
    settle(faults)
    settle(faults, 1.0)
    assert end.closed
    assert end.answered == [0, 1]


def test_what_waits_is_lost_when_the_client_has_gone() -> None:
    faults = Faults()
    end = connect(faults)
    faults.delay(1.0)
    end.send(NOTIFICATION)
    end.hang_up()
    settle(faults)
    settle(faults, 1.0)
    assert end.closed
    assert end.answered == [0]


def test_a_notification_is_no_reply_to_a_request_with_its_xid() -> None:
    faults = Faults()
    end = connect(faults)
    end.answers = False
    faults.drop_reply(1)
    end.receive(request(XID_NOTIFICATION))
    end.send(NOTIFICATION)
    assert end.answered == [0, -1]


def test_a_request_lets_another_connection_be_notified_while_both_wait() -> None:
    """Inputs of a timeout may give work to links that it has served already."""
    faults = Faults()
    first, second = connect(faults), connect(faults)
    faults.delay(1.0, "requests")
    second.receive(request(1))
    first.receive(request(2))

    def processed(frame: Frame, now: float) -> None:
        first.send(NOTIFICATION)
        first.close()

    second.receive_frame = processed  # type: ignore[method-assign]
    settle(faults, 1.0)
    assert first.answered == [0, -1]
    assert len(first.processed) == 1
    assert faults.next_timeout() == math.inf


# --- all of it at random

STEPS = st.one_of(
    st.tuples(st.just("request"), st.integers(0, 2)),
    st.tuples(st.just("notify"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["both", "requests", "replies"]), st.none()),
    st.tuples(st.just("delay"), st.sampled_from([0.0, 0.5, 3.0])),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 10.0])),
    st.tuples(st.just("heal"), st.none()),
)


@given(st.lists(STEPS, max_size=40))
def test_without_traps_nothing_is_lost_and_all_stays_in_order(steps: list[tuple[str, int | float | None]]) -> None:
    faults = Faults()
    ends = [connect(faults) for _ in range(3)]
    wanted: list[list[bytes]] = [[HANDSHAKE] for _ in ends]
    now = 0.0
    for number, (what, argument) in enumerate(steps, 1):
        match what:
            case "request":
                wanted[int(argument or 0)].append(request(number))
                ends[int(argument or 0)].receive(request(number), now=now)
            case "notify":
                ends[int(argument or 0)].send(NOTIFICATION + bytes([number]))
            case "both" | "requests" | "replies":
                faults.black_hole(what)
            case "delay":
                faults.delay(float(argument or 0))
            case "wait":
                now += argument or 0
            case _:
                faults.heal()
        settle(faults, now)
        assert faults.next_timeout() > now
    faults.heal()
    settle(faults, now)
    assert [end.processed for end in ends] == wanted
    assert all(end.sent == end.said for end in ends)
    assert all(end.times == sorted(end.times) for end in ends)
    assert faults.next_timeout() == math.inf
    assert not faults._network.busy
