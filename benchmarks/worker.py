"""One turn of one contender, in a process of its own: a `Slot` as JSON on the command line, a `Result` as JSON out."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module

from .places import Place
from .slots import Slot


def main() -> None:
    """Take the turn."""
    slot = Slot(**json.loads(sys.argv[1]))
    if slot.core is not None or slot.nice:
        Place(slot.core, slot.nice).take(os.getpid())
    name = slot.contender.partition("/")[0].removeprefix("zk_")
    contender = import_module(f"benchmarks.with_{name}")  # it alone, so that nobody pays for the imports of others
    print(json.dumps(asdict(contender.run(slot))))


if __name__ == "__main__":
    main()
