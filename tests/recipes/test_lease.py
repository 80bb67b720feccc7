"""How a lease ends, decided from the states of its session."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

import pytest

from tests.client.stepping import Bench
from zk_sansio.client import OnExpiry
from zk_sansio.errors import LeaseLostError
from zk_sansio.recipes import Lease
from zk_sansio.session import SessionOptions, SessionState

PATH = "/lock/_c_1-lock-0000000003"


class Scope:
    """A scope that counts how often it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        pass

    def cancel(self) -> None:
        self.cancelled += 1


def take(bench: Bench) -> tuple[Lease, Scope]:
    body = Scope()
    return Lease(bench.engine, bench.session, PATH, body), body


def pass_time(bench: Bench, until: float) -> None:
    bench.runtime.time = until
    bench.session.handle_timeout(until)
    bench.deliver()


def reason(lease: Lease) -> str:
    with pytest.raises(LeaseLostError) as caught:
        lease.check()
    assert caught.value.path == PATH
    return caught.value.reason


def deadline(bench: Bench) -> float:
    assert bench.session.deadline is not None
    return bench.session.deadline


def test_held() -> None:
    lease, body = take(Bench())
    lease.check()
    assert lease.error is None
    assert body.cancelled == 0


def test_a_suspended_session_may_live() -> None:
    bench = Bench()
    lease, body = take(bench)
    bench.hang_up()
    pass_time(bench, deadline(bench) - 0.001)
    assert bench.session.state is SessionState.SUSPENDED
    lease.check()
    bench.connect()
    lease.check()
    assert body.cancelled == 0


def test_presumed_lost() -> None:
    bench = Bench()
    lease, body = take(bench)
    bench.hang_up()
    pass_time(bench, deadline(bench))
    assert bench.session.state is SessionState.PRESUMED_LOST
    assert body.cancelled == 1
    assert "no server has answered" in reason(lease)


def test_lost_though_the_session_lives_after_all() -> None:
    bench = Bench()
    lease, body = take(bench)
    bench.hang_up()
    pass_time(bench, deadline(bench))
    bench.connect()
    assert bench.session.state is SessionState.CONNECTED
    assert "no server has answered" in reason(lease)
    assert body.cancelled == 1
    take(bench)[0].check()  # a new one may be taken


@pytest.mark.parametrize("on_expiry", ["renew", "raise"])
def test_expired(on_expiry: OnExpiry) -> None:
    bench = Bench(on_expiry=on_expiry)
    lease, body = take(bench)
    bench.hang_up()
    bench.connect(timeout_ms=0)
    assert reason(lease) == "its session is expired"
    assert body.cancelled == 1


def test_expired_by_our_own_judgement() -> None:
    bench = Bench(SessionOptions(expire_locally=True))
    lease, body = take(bench)
    bench.hang_up()
    pass_time(bench, deadline(bench))
    pass_time(bench, deadline(bench) + 100)
    assert bench.session is not lease.session
    assert "no server has answered" in reason(lease)  # the first reason counts
    assert body.cancelled == 1


def test_closed() -> None:
    bench = Bench()
    lease, body = take(bench)
    bench.session.close(bench.runtime.time, 1, keep_session=True)
    bench.deliver()
    assert reason(lease) == "its session is closed"
    assert body.cancelled == 1


def test_refused() -> None:
    bench = Bench()
    lease, body = take(bench)
    bench.session.add_auth("digest", b"bob:wrong")
    bench.sent()
    bench.feed(b"\xff\xff\xff\xfc" + bytes(8) + b"\xff\xff\xff\x8d")  # xid -4, error -115
    assert reason(lease) == "its session is auth failed"
    assert body.cancelled == 1


@pytest.mark.parametrize("ended", ["presumed lost", "expired", "closed", "renewed"])
def test_a_lease_that_comes_too_late(ended: str) -> None:
    """The turn came together with the end: whoever enters hears of it at once."""
    bench = Bench()
    session = bench.session
    if ended == "closed":
        session.close(0, 1, keep_session=True)
        bench.deliver()
    else:
        bench.hang_up()
        if ended == "presumed lost":
            pass_time(bench, deadline(bench))
        else:
            bench.connect(timeout_ms=0)
        if ended == "renewed":
            bench.connect(session_id=0x78)
    body = Scope()
    lease = Lease(bench.engine, session, PATH, body)
    assert body.cancelled == 1
    assert reason(lease)


def test_a_lease_of_a_suspended_session_is_held() -> None:
    bench = Bench()
    bench.hang_up()
    take(bench)[0].check()


def test_the_first_reason_counts() -> None:
    bench = Bench()
    lease, body = take(bench)
    lease.lose("its znode is gone")
    first = lease.error
    lease.lose("something else")
    bench.hang_up()
    bench.connect(timeout_ms=0)
    assert lease.error is first
    assert reason(lease) == "its znode is gone"
    assert body.cancelled == 1


def test_every_check_raises_an_error_of_its_own() -> None:
    """One error raised twice would collect tracebacks, causes and notes of both."""
    lease, _ = take(Bench())
    lease.lose("its znode is gone")
    errors = []
    for _ in range(2):
        with pytest.raises(LeaseLostError) as caught:
            lease.check()
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert lease.error not in errors
    assert str(errors[0]) == str(errors[1]) == str(lease.error)


def test_released() -> None:
    """Who is done with it does not hear of its session any more."""
    bench = Bench()
    lease, body = take(bench)
    lease.release()
    lease.release()
    bench.hang_up()
    bench.connect(timeout_ms=0)
    assert lease.error is None
    assert body.cancelled == 0
    assert lease not in bench.engine.listeners


def test_many(caplog: pytest.LogCaptureFixture) -> None:
    """Each one hears of it, those that others end with them included."""
    caplog.set_level(logging.CRITICAL)
    bench = Bench()
    leases = [take(bench) for _ in range(10)]
    for _, body in leases:
        body.cancel = leases[0][0].release  # type: ignore[method-assign]
    bench.hang_up()
    bench.connect(timeout_ms=0)
    assert [lease for lease, _ in leases if lease.error is None] == []


def test_an_error_without_a_path() -> None:
    """The path of an error may be taken away; the next one still has one."""
    lease, _ = take(Bench())
    lease.lose("why")
    assert lease.error is not None
    lease.error.path = None
    with pytest.raises(LeaseLostError, match="why"):
        lease.check()
