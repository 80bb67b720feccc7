"""``scripts/simulate``: run worlds by their seeds, for as long as one likes."""

from __future__ import annotations

import argparse
import logging
import sys

from .report import replay, simulate
from .world import FASHIONS


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Clients and servers in one process, with a virtual clock and random faults. "
        "With --seed alone, one run and its trace; with --hours, runs of seed after seed.",
    )
    parser.add_argument("--hours", type=float, help="simulated hours to run, at least")
    parser.add_argument("--seed", type=int, default=None, help="the seed, or with --hours the first one (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side (1)")
    parser.add_argument("--days", type=int, default=3, help="bursts of activity in one run (3)")
    parser.add_argument("--fashion", choices=FASHIONS, help="what users do most of all")
    parser.add_argument("--mutant", help="put a defect into the client on purpose, by its name")
    parser.add_argument("--whole", action="store_true", help="the whole trace, and not its end")
    chosen = parser.parse_args()
    logging.getLogger("zk_sansio").setLevel(logging.CRITICAL)  # what clients warn of here is meant to happen
    if chosen.hours is None:
        return replay(
            chosen.seed or 0, days=chosen.days, whole=chosen.whole, mutant=chosen.mutant, fashion=chosen.fashion
        )
    return simulate(chosen.hours, chosen.seed or 0, jobs=chosen.jobs, days=chosen.days)


if __name__ == "__main__":
    sys.exit(main())
