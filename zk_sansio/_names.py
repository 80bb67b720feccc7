"""Public names know where they are public, so that reprs, tracebacks and documentation say it."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from types import FunctionType
from typing import Any

__all__ = ["publish"]


def publish(namespace: MutableMapping[str, Any], names: Iterable[str]) -> None:
    """Let the classes and functions among *names* name the package of *namespace* as their module."""
    package = namespace["__name__"]
    for name in names:
        value = namespace[name]
        if isinstance(value, (type, FunctionType)) and value.__module__.startswith(package + "."):
            value.__module__ = package
