"""`scripts/differential`: many random programs on a real server and on ours."""

import argparse
import sys
import time
from random import Random

from tests.differential.compare import Comparison
from tests.differential.generator import random_program
from tests.differential.sides import RealSide, Side, profile_of


def say(text: str) -> None:
    """Tell the user."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run programs until enough steps were compared; the exit code says whether there was a difference."""
    parser = argparse.ArgumentParser(prog="scripts/differential", description=main.__doc__)
    parser.add_argument("--steps", type=int, default=10_000, help="how many steps to compare (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="repeats a run (default: another one every time)")
    parser.add_argument("--length", type=int, default=60, help="steps of a program (default: %(default)s)")
    parser.add_argument("--differences", type=int, default=1, help="stop after so many (default: %(default)s)")
    parser.add_argument("--self-test", action="store_true", help="compare the real server with itself")
    arguments = parser.parse_args()
    seed = Random().randrange(10**6) if arguments.seed is None else arguments.seed
    with RealSide() as real:
        profile = profile_of(real.version)
        say(f"ZooKeeper {real.server.version}, profile {profile}, --steps {arguments.steps} --seed {seed}")

        def ours() -> Side:
            from tests.differential.memory import MemorySide

            return MemorySide(profile)

        make = (lambda: real) if arguments.self_test else ours
        comparison = Comparison(real, make, profile)
        began = said = time.monotonic()
        number = differences = 0
        while comparison.steps < arguments.steps and differences < arguments.differences:
            program = random_program(Random(f"{seed}-{number}"), arguments.length)
            if (found := comparison.compare(program)) is not None:
                differences += 1
                steps = comparison.steps
                say(f"\nDIFFERENCE in program {number}:\n{comparison.reduce(found)}\n")
                comparison.steps = steps
            number += 1
            if time.monotonic() - said > 10:
                said = time.monotonic()
                say(f"{comparison.steps} steps, {number} programs, {differences} differences")
        comparison.close()
        met = ", ".join(f"{name}: {times}" for name, times in sorted(comparison.met.items()))
        say(f"known differences met: {met or 'none'}")
        seconds = time.monotonic() - began
        say(f"{comparison.steps} steps in {number} programs, {seconds:.0f} s: {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
