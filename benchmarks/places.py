"""Where a process runs, and how much it is preferred to others."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """A core and a niceness.

    Attributes:
        core: to stay on; None for any.
        nice: 0 leaves it as it is; to go below needs the right to.
    """

    core: int | None
    nice: int = 0

    def take(self, pid: int) -> None:
        """Put a process there, with all its threads; those that it starts later inherit it.

        It must have a session of its own: where the kernel shares cores out among sessions, it is the session that
        is preferred, and its neighbours would be with it.
        """
        for thread in Path(f"/proc/{pid}/task").iterdir():
            if self.core is not None:
                os.sched_setaffinity(int(thread.name), {self.core})
            if self.nice:
                os.setpriority(os.PRIO_PROCESS, int(thread.name), self.nice)
        if self.nice:
            with suppress(OSError):  # there is no such thing
                Path(f"/proc/{pid}/autogroup").write_text(str(self.nice))
