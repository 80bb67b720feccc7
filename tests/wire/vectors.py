"""The captures in ``vectors.jsonl``: what real servers got and sent, byte for byte."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One exchange with a real server.

    Attributes:
        name: what was tried; unique together with *server*.
        server: the version, and what was special about it.
        request: the whole request, its length included.
        reply: every frame that came back, in the order of arrival; empty if nothing came.
        meaning: what happened, in words.
    """

    name: str
    server: str
    request: bytes
    reply: bytes
    meaning: str

    def __str__(self) -> str:
        return f"{self.name}-{self.server.split()[0]}"

    @property
    def frames(self) -> list[bytes]:
        """The frames of the reply, without their lengths; cut here and not by the code under test."""
        frames = []
        rest = self.reply
        while rest:
            end = 4 + int.from_bytes(rest[:4], "big")
            assert len(rest) >= end
            frames.append(rest[4:end])
            rest = rest[end:]
        return frames


def _load() -> list[Vector]:
    lines = Path(__file__).with_name("vectors.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        Vector(
            name=row["name"],
            server=row["server"],
            request=bytes.fromhex(row["request_hex"]),
            reply=bytes.fromhex(row["reply_hex"]),
            meaning=row["meaning"],
        )
        for row in map(json.loads, lines)
    ]


VECTORS = _load()


def vector(name: str, version: str = "3.9.5") -> Vector:
    """The one capture of this name from a server of this version."""
    (found,) = (each for each in VECTORS if each.name == name and each.server.split()[0] == version)
    return found
