"""A program: a client in an event loop that cannot watch sockets, like Windows' proactor."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anyio

import zk_anyio
from tests.anyio.runs import Backend, obeying, peer

LARGE = bytes(1_000_000)


class Loop(asyncio.SelectorEventLoop):
    """An event loop that watches what it needs itself, and nothing else."""

    _complete = False

    def run_forever(self) -> None:
        self._complete = True
        super().run_forever()

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        if self._complete:
            raise NotImplementedError
        super().add_reader(fd, callback, *args)

    def add_writer(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        raise NotImplementedError

    def remove_reader(self, fd: Any) -> bool:
        raise NotImplementedError

    def remove_writer(self, fd: Any) -> bool:
        raise NotImplementedError


async def main(hosts: str) -> None:
    async with zk_anyio.open_client(hosts) as client:
        await client.set("/", LARGE)
        assert (await client.get("/")).data == LARGE
        with anyio.move_on_after(0.01):
            while True:
                await client.get("/")


if __name__ == "__main__":
    with peer(obeying()) as hosts:
        Backend("asyncio", {"loop_factory": Loop}).run(lambda: main(hosts))
    sys.stdout.write("done\n")
