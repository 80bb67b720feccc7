"""The clock, the scheduler, cancellation, and the network under the simulation."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from .loop import Cancelled, Flag, Loop, Process, Scope, Task
from .network import DOWN, UP, Link, Network, Pipe, Route, Weather
from .trace import Trace


class Bench:
    def __init__(self, seed: int = 1, **settings: Any) -> None:
        self.loop = Loop(Random(seed))
        self.process = Process(self.loop, "p", **settings)
        self.log: list[Any] = []

    def start(self, body: Any) -> Task:
        return self.process.start(body, "task", lambda task: self.log.append(task.error or "end"))


def test_time_goes_on() -> None:
    bench = Bench()
    bench.loop.at(2.0, lambda: bench.log.append(bench.loop.now))
    bench.loop.at(1.0, lambda: bench.log.append(bench.loop.now))
    stopped = bench.loop.at(1.5, lambda: bench.log.append("never"))
    bench.loop.stop(stopped)
    bench.loop.run(10.0)
    assert bench.log == [1.0, 2.0]
    assert bench.loop.now == 10.0


def test_it_ends_when_it_is_done() -> None:
    bench = Bench()
    bench.loop.at(1.0, lambda: bench.log.append(1))
    bench.loop.at(2.0, lambda: bench.log.append(2))
    assert bench.loop.run(10.0, done=lambda: bool(bench.log))
    assert bench.loop.now == 1.0


def test_what_was_found_ends_the_run() -> None:
    bench = Bench()

    def find() -> None:
        bench.loop.failure = ValueError("found")

    bench.loop.at(1.0, find)
    with pytest.raises(ValueError, match="found"):
        bench.loop.run(2.0)


def test_clocks_differ() -> None:
    bench = Bench(rate=2.0, offset=100.0)

    async def body() -> None:
        await bench.process.sleep(10.0)
        bench.log.append(round(bench.loop.now, 3))

    bench.start(body())
    bench.loop.run(20.0)
    assert bench.log == [5.0, "end"]
    assert bench.process.clock() == 140.0


def test_a_paused_process_is_late() -> None:
    bench = Bench()

    async def body() -> None:
        await bench.process.sleep(1.0)
        bench.log.append(bench.loop.now)

    bench.start(body())
    bench.loop.run(0.5)
    bench.process.paused_until = 7.0
    bench.loop.run(20.0)
    assert bench.log == [7.0, "end"]


def test_what_is_late_can_still_be_stopped() -> None:
    bench = Bench()
    timer = bench.process.at(1.0, lambda: bench.log.append("never"))
    bench.process.paused_until = 7.0
    bench.loop.run(2.0)
    bench.loop.stop(timer)
    bench.loop.run(20.0)
    assert bench.log == []


def test_a_dead_process_does_nothing() -> None:
    bench = Bench()

    async def body() -> None:
        try:
            await bench.process.sleep(1.0)
        finally:
            with Scope(bench.process, 3.0, shield=True):
                await bench.process.checkpoint()
            bench.log.append("cleaned up")

    task = bench.start(body())
    bench.loop.run(0.5)
    bench.process.kill()
    task.drop()
    assert task.done
    assert bench.log == []
    bench.loop.run(20.0)
    assert bench.log == []


def test_a_scope_cancels_and_swallows() -> None:
    bench = Bench()

    async def body() -> None:
        with Scope(bench.process, 2.0) as scope:
            await bench.process.sleep(10.0)
        bench.log.append((scope.cancelled_caught, round(bench.loop.now, 3)))
        await bench.process.checkpoint()

    bench.start(body())
    bench.loop.run(20.0)
    assert bench.log == [(True, 2.0), "end"]


def test_cancellation_is_raised_at_each_wait() -> None:
    bench = Bench()

    async def body() -> None:
        with Scope(bench.process) as scope:
            scope.cancel()
            for _ in range(2):
                with pytest.raises(Cancelled):
                    await bench.process.checkpoint()
        bench.log.append("out")
        await bench.process.checkpoint()

    bench.start(body())
    bench.loop.run(20.0)
    assert bench.log == ["out", "end"]


def test_a_shield_keeps_it_out() -> None:
    bench = Bench()

    async def body() -> None:
        with Scope(bench.process, 1.0) as outer:
            with Scope(bench.process, 5.0, shield=True) as inner:
                await bench.process.sleep(3.0)
                bench.log.append(round(bench.loop.now, 3))
                await bench.process.sleep(10.0)
            bench.log.append((inner.cancelled_caught, round(bench.loop.now, 3)))
            await bench.process.checkpoint()
        bench.log.append(outer.cancelled_caught)

    bench.start(body())
    bench.loop.run(20.0)
    assert bench.log == [3.0, (True, 5.0), True, "end"]


def test_the_outer_scope_swallows_its_own() -> None:
    bench = Bench()

    async def body() -> None:
        with Scope(bench.process, 1.0) as outer:
            with Scope(bench.process, 1.0) as inner:
                await bench.process.sleep(3.0)
        bench.log.append((outer.cancelled_caught, inner.cancelled_caught))

    bench.start(body())
    bench.loop.run(20.0)
    assert bench.log == [(True, False), "end"]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_scope_cancels_at_a_certain_wait(steps: int) -> None:
    bench = Bench()

    async def body() -> None:
        with Scope(bench.process, steps=steps):
            for number in range(5):
                await bench.process.checkpoint()
                bench.log.append(number)

    bench.start(body())
    bench.loop.run(20.0)
    assert bench.log == [*range(steps - 1), "end"]


def test_a_flag() -> None:
    bench = Bench()
    flag = Flag(bench.loop)

    async def body(seconds: float | None) -> None:
        with Scope(bench.process, seconds):
            await flag.wait()
            bench.log.append("set")

    bench.start(body(None))
    bench.start(body(1.0))
    bench.loop.at(2.0, flag.set)
    bench.loop.run(20.0)
    bench.start(body(None))
    bench.loop.run(30.0)
    assert bench.log == ["end", "set", "end", "set", "end"]


def test_the_order_is_the_seeds() -> None:
    def order(seed: int) -> list[Any]:
        bench = Bench(seed)

        async def body(number: int) -> None:
            await bench.process.checkpoint()
            bench.log.append(number)

        for number in range(8):
            bench.process.start(body(number), "task", lambda task: None)
        bench.loop.run(1.0)
        return bench.log

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(10)}) > 5


# --- the network


class Ends:
    """Both ends of a link."""

    def __init__(self, seed: int = 1) -> None:
        random = Random(seed)
        self.loop = Loop(random)
        self.weather = Weather(random)
        network = Network(self.loop, Trace(self.loop), self.weather)
        self.at_client: list[bytes] = []
        self.at_server: list[bytes] = []
        self.resets = 0
        self.route = Route(Process(self.loop, "p"), self)
        self.link = Link(network, self.route, self, 1)
        self.link.raw = True
        self.link.connection = object()  # type: ignore[assignment]
        self.route.links.append(self.link)

    def listening(self) -> bool:
        return True

    def accept(self, link: Link) -> Any:
        return link.connection

    def receive(self, link: Link, data: bytes) -> None:
        self.at_server.append(data)

    def arrived(self, link: Link, data: bytes) -> None:
        self.at_client.append(data)

    def broken(self, link: Link) -> None:
        self.resets += 1

    def room(self, link: Link) -> None:
        """Not of interest."""


TEXT = bytes(range(1, 200))


@pytest.mark.parametrize("seed", range(20))
def test_bytes_arrive_in_order(seed: int) -> None:
    ends = Ends(seed)
    for at in range(0, len(TEXT), 10):
        ends.link.send(TEXT[at : at + 10])
        ends.link.reply(TEXT[at : at + 10])
        ends.loop.run(ends.loop.now + 0.001)
    ends.loop.run(1000.0)
    assert b"".join(ends.at_server) == b"".join(ends.at_client) == TEXT


@pytest.mark.parametrize("seed", range(20))
def test_what_is_cut_ends_at_some_byte(seed: int) -> None:
    ends = Ends(seed)
    for at in range(0, len(TEXT), 10):
        ends.link.reply(TEXT[at : at + 10])
    ends.link.cut()
    ends.loop.run(1000.0)
    got = b"".join(ends.at_client)
    assert TEXT.startswith(got)
    assert ends.resets == 1 or ends.at_client[-1] == b""


def test_a_trap_cuts_at_a_byte() -> None:
    ends = Ends()
    ends.link.pipes[DOWN].trap = 15
    ends.link.reply(TEXT[:10])
    ends.link.reply(TEXT[10:20])
    ends.link.reply(TEXT[20:])
    ends.loop.run(1000.0)
    assert b"".join(ends.at_client) == TEXT[:15]
    assert ends.link.dead


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_black_hole_holds_everything_back(direction: int) -> None:
    ends = Ends()
    ends.route.block(direction)
    for at in range(0, len(TEXT), 10):
        ends.link.send(TEXT[at : at + 10])
        ends.link.reply(TEXT[at : at + 10])
    ends.loop.run(1000.0)
    assert b"".join((ends.at_server, ends.at_client)[direction]) == b""
    assert b"".join((ends.at_server, ends.at_client)[1 - direction]) == TEXT
    ends.route.unblock(direction)
    ends.loop.run(2000.0)
    assert b"".join((ends.at_server, ends.at_client)[direction]) == TEXT


def test_who_was_not_told_finds_out_by_sending() -> None:
    ends = Ends()
    ends.link.cut(client=False, server=True)
    ends.loop.run(1000.0)
    assert not ends.resets
    ends.link.send(b"hello")
    ends.loop.run(2000.0)
    assert ends.resets == 1


def test_a_full_pipe_says_so() -> None:
    ends = Ends()
    ends.weather.window = 100
    assert not ends.link.full
    ends.link.send(TEXT)
    assert ends.link.full
    ends.loop.run(1000.0)
    assert not ends.link.full
    assert isinstance(ends.link.pipes[UP], Pipe)
