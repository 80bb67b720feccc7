"""Exceptions that come out of a nursery or a task group of our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["plain_errors"]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let the one exception of our own nursery out as itself: nobody else has put anything into it."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) != 1:
            raise
        error = group.exceptions[0]
        cause, context, silent = error.__cause__, error.__context__, error.__suppress_context__
        try:
            raise error
        finally:
            error.__cause__, error.__context__, error.__suppress_context__ = cause, context, silent
