"""Measure all adapters, kazoo, aiozk and a bare socket side by side, and print Markdown tables.

It starts a ZooKeeper of its own (see tests/support), or uses the first server of ZK_HOSTS. With two cores or more,
clients stay on one and the servers on another. Needs the extra `bench`, and strace if system calls are to be counted.
A whole run takes a quarter of an hour; let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from .calls import count_calls
from .goals import goals
from .places import Place
from .report import as_json, lines_of, machine, markdown, quietness
from .rounds import Plan, run_rounds
from .servers import Server, UnavailableError, real_server, stand_in, workplace
from .slots import ROWS, Row

_NEEDED = ("trio", "anyio", "uvloop", "kazoo", "aiozk")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=7, help="rounds that count, behind one that does not (%(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=0.7, help="of a turn (%(default)s)")
    parser.add_argument("--warm-up", type=float, default=0.3, help="seconds in front of each turn (%(default)s)")
    parser.add_argument("--size", type=int, default=100, help="bytes of data (%(default)s)")
    parser.add_argument("--only", action="append", metavar="TEXT", help="rows whose name holds this; may be repeated")
    parser.add_argument("--quiet", type=float, default=0.1, help="cores that others may keep busy (%(default)s)")
    parser.add_argument(
        "--nice", type=int, default=0, help="niceness of clients and servers; below 0 keeps others off (%(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--list", action="store_true", help="name the rows, and measure nothing")
    return parser.parse_args()


def _cores() -> tuple[int | None, int | None]:
    """A core for the client and one for the servers, if there are two to choose from."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) >= 2 else (None, None)


def main() -> int:
    """Run from the command line."""
    arguments = _arguments()
    rows = [row for row in ROWS if not arguments.only or any(text in row.name for text in arguments.only)]
    if arguments.list:
        print("\n".join(row.name for row in rows))
        return 0
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        print(f"not installed: {', '.join(missing)}; all of it comes with the extra `bench`", file=sys.stderr)
        return 1
    try:
        _measure(arguments, rows)
    except (UnavailableError, PermissionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _measure(arguments: argparse.Namespace, rows: list[Row]) -> None:
    client_core, server_core = _cores()
    plan = Plan(
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        warm_up=arguments.warm_up,
        size=arguments.size,
        core=client_core,
        nice=arguments.nice,
        quiet=arguments.quiet,
    )
    place = Place(server_core, arguments.nice) if server_core is not None or arguments.nice else None
    servers: dict[str, Server] = {}
    with ExitStack() as stack:
        path = "/"
        if any(row.server == "real" for row in rows):
            servers["real"] = stack.enter_context(real_server(place))
            path = stack.enter_context(workplace(servers["real"], plan.size))
        if any(row.server == "stand-in" for row in rows):
            try:
                servers["stand-in"] = stack.enter_context(stand_in(place, plan.size))
            except UnavailableError as error:
                print(f"Without the rows of the stand-in: {error}", file=sys.stderr)
        measurable = [row for row in rows if row.server in servers]
        turns = list(run_rounds(plan, measurable, servers, path))
        calls = count_calls(plan, measurable, servers, path)
    lines = lines_of(turns, calls)
    facts = machine()
    if any(server.pid for server in servers.values()) and client_core is not None:
        where = f"clients on core {client_core}, servers on core {server_core}"
    else:
        where = f"clients on core {client_core}" if client_core is not None else "nothing is bound to a core"
    print(markdown(lines))
    print()
    print("- " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    print("- " + "; ".join(server.about for server in servers.values()))
    if plan.nice:
        where += f", niceness {plan.nice}"
    print(f"- {where}; {plan.size} bytes of data; each turn is a process of its own")
    print(
        f"- {plan.rounds} interleaved rounds of {plan.seconds:g} s a turn; "
        "medians, ± half the distance of the quartiles;"
    )
    print("  ratios are computed within each round, those to aiozk on the same event loop; CPU is that of the client's")
    print("  process in all its threads; calls/op are system calls, counted by strace in turns of their own")
    print(f"- {quietness(turns)}")
    print()
    print(goals(lines))
    if arguments.json:
        content = {
            "machine": facts,
            "servers": {kind: server.about for kind, server in servers.items()},
            "plan": asdict(plan),
            "table": as_json(lines),
            "turns": [asdict(turn) | {"row": turn.row.name} for turn in turns],
        }
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
