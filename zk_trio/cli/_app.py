"""What the commands are called, and what they take."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import trio
from cyclopts import App, Parameter, validators

from zk_adapter.serving import ServerSettings
from zk_sansio.errors import InvalidRequestError

from ._serve import serve_until_told

__all__ = ["main"]

app = App(name="zk_trio", help="ZooKeeper for trio.", version_flags=[])

_SECONDS = Parameter(validator=validators.Number(gt=0))


@app.command
def serve(
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 2181,
    host: str = "127.0.0.1",
    size: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=9))] = 1,
    profile: str = "3.9",
    tick: Annotated[float | None, _SECONDS] = None,
    min_session_timeout: Annotated[float | None, _SECONDS] = None,
    max_session_timeout: Annotated[float | None, _SECONDS] = None,
    read_only_mode: Annotated[bool, Parameter(negative="")] = False,
    super_password: str | None = None,
) -> int:
    """Serve a ZooKeeper in memory, for tests and demos, until Ctrl-C. Nothing is kept on disk.

    Parameters
    ----------
    port
        The first member's port; the others follow. 0 is any.
    host
        The address to listen on. Whoever reaches it can use the server.
    size
        How many members the ensemble has.
    profile
        The version to imitate: 3.5, 3.8, 3.9 or keeper.
    tick
        Seconds; sessions expire at multiples of it (0.05).
    min_session_timeout
        Seconds, the shortest session timeout (two ticks).
    max_session_timeout
        Seconds, the longest session timeout (60).
    read_only_mode
        A member without a quorum serves read-only clients.
    super_password
        user:password of who may do everything.
    """
    given: dict[str, Any] = {
        "tick": tick,
        "min_session_timeout": min_session_timeout,
        "max_session_timeout": max_session_timeout,
        "super_password": super_password,
    }
    options: ServerSettings = {"profile": profile, "read_only_mode": read_only_mode}
    options |= {name: value for name, value in given.items() if value is not None}  # type: ignore[typeddict-item]
    try:
        trio.run(serve_until_told, size, host, port, options)
    except (OSError, InvalidRequestError) as error:
        sys.stderr.write(f"{error.strerror if isinstance(error, OSError) and error.strerror else error}\n")
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run a command, and return the exit code.

    Args:
        arguments: those of the command line; None for those of this process.
    """
    result: Any = app(arguments, result_action="return_value")
    return int(result or 0)
