"""How a server is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf, isfinite

from ..errors import InvalidRequestError
from ..wire import DEFAULT_MAX_REQUEST
from ._profile import PROFILES, Profile

__all__ = ["ServerOptions", "check_seconds"]

_LONGEST_MS = 2**31 - 1
_LATEST = 2.0**53 / 1000
"""Seconds since 1970 that still count milliseconds."""


def check_seconds(value: object, what: str) -> None:
    """Refuse what is no time that can pass.

    Raises:
        InvalidRequestError: it says what is wrong.
    """
    if not isinstance(value, (int, float)) or not 0 <= value < inf:
        raise InvalidRequestError(f"{what} is a number of seconds, 0 or more, not {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How the servers of an ensemble behave; times are seconds.

    Attributes:
        profile: the version to imitate.
        tick: sessions expire at multiples of this.
        min_session_timeout: the shortest session timeout; None for two ticks.
        max_session_timeout: the longest session timeout; None for twenty ticks.
        max_request: bytes that a request may have; over it, the connection is closed.
        ttl: whether znodes can have a time to live.
        reconfig: whether the members can be changed.
        read_only_mode: whether a server without a quorum serves read-only clients.
        super_password: ``user:password`` of who may do everything; None for nobody.
        sasl_users: users and passwords for SASL with DIGEST-MD5; none for no SASL.
        require_sasl: whether sessions have to log in through SASL.
        cleanup_interval: how often containers and znodes with a time to live are looked at.
        election_time: how long an election takes.
        words: the four-letter words that are answered; None for all.
        log_size: how many of the last changes are kept for `Ensemble.log`; a server that has missed more is given a
            copy of the leader's tree.
        clock_offset: what to add to the time of the inputs to get seconds since 1970, for ctime and mtime.
    """

    profile: Profile = PROFILES["3.9"]
    tick: float = 2.0
    min_session_timeout: float | None = None
    max_session_timeout: float | None = None
    max_request: int = DEFAULT_MAX_REQUEST
    ttl: bool = True
    reconfig: bool = True
    read_only_mode: bool = False
    super_password: str | None = field(default=None, repr=False)
    sasl_users: Mapping[str, str] = field(default_factory=dict, repr=False)
    require_sasl: bool = False
    cleanup_interval: float = 60.0
    election_time: float = 0.2
    words: frozenset[str] | None = None
    log_size: int = 100_000
    clock_offset: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        times = [self.tick, self.cleanup_interval, self.election_time, self.clock_offset]
        times += [each for each in (self.min_session_timeout, self.max_session_timeout) if each is not None]
        if not all(map(isfinite, times)) or self.clock_offset > _LATEST:
            raise InvalidRequestError("times are finite numbers of seconds")
        if self.tick <= 0 or self.cleanup_interval <= 0:
            raise InvalidRequestError("tick and cleanup_interval are positive numbers of seconds")
        if self.log_size < 1:
            raise InvalidRequestError("the log keeps one change at least")
        if self.election_time < 0:
            raise InvalidRequestError("an election takes no negative time")
        if self.session_timeouts[0] > self.session_timeouts[1]:
            raise InvalidRequestError("the shortest session timeout is longer than the longest one")
        if self.session_timeouts[1] > _LONGEST_MS:
            raise InvalidRequestError(f"a session timeout has {_LONGEST_MS} milliseconds at most")
        if self.require_sasl and not self.sasl_users:
            raise InvalidRequestError("SASL is required, but there are no sasl_users")

    @property
    def session_timeouts(self) -> tuple[int, int]:
        """The shortest and the longest session timeout, in milliseconds."""
        low = 2 * self.tick if self.min_session_timeout is None else self.min_session_timeout
        high = 20 * self.tick if self.max_session_timeout is None else self.max_session_timeout
        return max(round(low * 1000), 1), max(round(high * 1000), 1)
