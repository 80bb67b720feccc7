"""What ``open_server`` takes, on every adapter alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from random import Random
from typing import Any, TypedDict

from zk_sansio.errors import InvalidRequestError
from zk_sansio.server import PROFILES, Ensemble, Profile, ServerOptions

__all__ = ["ServerSettings", "make_ensemble"]

_LARGEST = 99
"""Members; nobody tests with more, and each has a copy of the tree."""

_FOR_TESTS: dict[str, Any] = {"tick": 0.05, "max_session_timeout": 60.0, "cleanup_interval": 0.5}
"""Sessions of a tenth of a second are possible, and those that a client asks for without thinking are not cut short."""


class ServerSettings(TypedDict, total=False):
    """The keyword arguments of ``open_server``; all may be left out. Times are seconds.

    Attributes:
        profile: the version to imitate, such as ``"3.8"``; ``"3.9"`` if left out.
        tick: sessions expire at multiples of this (0.05).
        min_session_timeout: the shortest session timeout (two ticks, 0.1).
        max_session_timeout: the longest session timeout (60).
        max_request: bytes that a request may have.
        ttl: whether znodes can have a time to live.
        reconfig: whether the members can be changed.
        read_only_mode: whether a server without a quorum serves read-only clients.
        super_password: ``user:password`` of who may do everything.
        sasl_users: users and passwords for SASL with DIGEST-MD5.
        require_sasl: whether sessions have to log in through SASL.
        cleanup_interval: how often containers and znodes with a time to live are looked at (0.5).
        election_time: how long an election takes.
        words: the four-letter words that are answered; None for all.
        clock_offset: what to add to the clock to get seconds since 1970; left out, it is right.
    """

    profile: Profile | str
    tick: float
    min_session_timeout: float | None
    max_session_timeout: float | None
    max_request: int
    ttl: bool
    reconfig: bool
    read_only_mode: bool
    super_password: str | None
    sasl_users: Mapping[str, str]
    require_sasl: bool
    cleanup_interval: float
    election_time: float
    words: frozenset[str] | None
    clock_offset: float


def make_ensemble(size: int, random: Random, settings: ServerSettings, now: float) -> Ensemble:
    """Make an ensemble of what the user gave; wrong settings are refused here.

    Args:
        size: how many members.
        random: what session ids and passwords come from.
        settings: the user's.
        now: the time on the clock that the ensemble will be driven by.

    Raises:
        InvalidRequestError: the message says what is wrong, and how it should be.
    """
    unknown = settings.keys() - ServerSettings.__annotations__.keys()
    if unknown:
        raise TypeError(f"open_server does not know {', '.join(sorted(unknown))}")
    if size not in range(1, _LARGEST + 1):
        raise InvalidRequestError(f"an ensemble has 1 to {_LARGEST} members, not {size!r}")
    chosen: dict[str, Any] = {**_FOR_TESTS, "clock_offset": time.time() - now, **settings}
    profile = chosen.get("profile")
    if not isinstance(profile, (Profile, type(None))):
        if profile not in PROFILES:
            raise InvalidRequestError(f"profile is one of {', '.join(PROFILES)}, not {profile!r}")
        chosen["profile"] = PROFILES[profile]
    return Ensemble(size, ServerOptions(**chosen), random=random, now=now)
