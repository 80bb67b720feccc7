"""How many system calls a get costs, counted by strace: for those who ask one after the other on the real server."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .rounds import Plan, run_worker, slot_of
from .servers import Server
from .slots import Contender, Row, Slot

__all__ = ["SystemCalls", "count_calls"]

SystemCalls = dict[tuple[Row, Contender], float]
"""By row and contender."""

_COUNTED = Row("get", "sequence")
_FEW, _MANY = 200, 1200


def count_calls(plan: Plan, rows: Sequence[Row], servers: Mapping[str, Server], path: str) -> SystemCalls:
    """Count, in turns of their own: under strace a client is many times slower.

    What starting and connecting cost is the same in a short turn and in a longer one; it goes away in the difference.

    Args:
        plan: as for `run_rounds`.
        rows: what is measured.
        servers: by kind.
        path: a znode of the real server.

    Returns:
        What could be counted: nothing if strace is missing, or may not trace.
    """
    counted: SystemCalls = {}
    for who in _COUNTED.contenders if _COUNTED in rows else ():
        print(f"\rsystem calls: {who:<40}", end="", file=sys.stderr, flush=True)
        slot = slot_of(plan, _COUNTED, who, servers[_COUNTED.server], path)
        few, many = _calls(replace(slot, times=_FEW)), _calls(replace(slot, times=_MANY))
        if few is not None and many is not None:
            # In tenths: the slower a client runs, the more often its threads wait for each other now and then.
            counted[_COUNTED, who] = round((many - few) / (_MANY - _FEW), 1)
    print("\r" + " " * 70 + "\r", end="", file=sys.stderr, flush=True)
    return counted


def _calls(slot: Slot) -> int | None:
    """All system calls of the process that takes this turn, from its beginning to its end."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    with tempfile.NamedTemporaryFile("r", prefix="zk-sansio-strace-") as summary:
        try:
            run_worker(slot, (strace, "-c", "-f", "-o", summary.name))
        except subprocess.CalledProcessError:
            return None  # not everybody may trace; whoever failed has said why
        # % time, seconds, usecs/call, calls, perhaps errors, "total"
        total = re.search(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*total$", summary.read(), re.MULTILINE)
        return int(total[1]) if total else None
