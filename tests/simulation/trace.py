"""What happened, in order: kept cheaply, told readably."""

from __future__ import annotations

from collections import deque
from typing import Any

from .loop import Loop

LAST = 120
"""Lines of a trace that are shown unless more is asked for."""


class Trace:
    """The latest lines, or all of them.

    Args:
        loop: whose time.
        whole: whether to keep everything.
    """

    __slots__ = ("_lines", "_loop")

    def __init__(self, loop: Loop, *, whole: bool = False) -> None:
        self._loop = loop
        self._lines: deque[tuple[float, str, str, tuple[Any, ...]]] = deque(maxlen=None if whole else 2 * LAST)

    def __call__(self, who: str, what: str, *facts: Any) -> None:
        """Note something; the facts are put into words only if somebody asks, so they must not change."""
        self._lines.append((self._loop.now, who, what, facts))

    def lines(self, last: int | None = None) -> list[str]:
        """What happened, a line each."""
        lines = list(self._lines) if last is None else list(self._lines)[-last:]
        return [
            f"{_time(when)}  {who:<10} {what} {' '.join(map(_text, facts))}".rstrip()
            for when, who, what, facts in lines
        ]


def _time(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{int(hours):3d}:{int(minutes):02d}:{rest:010.7f}"


def _text(fact: Any) -> str:
    if isinstance(fact, float):
        return f"{fact:.6g}"
    if isinstance(fact, BaseException):
        unknown = " (maybe applied)" if getattr(fact, "maybe_applied", False) else ""
        return f"{type(fact).__name__}: {fact}{unknown}"
    return fact if isinstance(fact, str) else repr(fact)
