"""Finding out what became of a write whose reply was lost, with the reads that `_outcome` decides on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import BadVersionError, ConnectionLossError, ErrorCode, NoNodeError, SessionError, ZooKeeperError
from ..paths import basename, join, parent
from ..session import Call
from ..wire import Created, Delete, GetChildren, GetData, Request, SetData, Stat, Sync, Znode
from ._caller import Caller, Decide
from ._engine import Race
from ._operations import CreateRequest
from ._outcome import Decision, Verdict, decide_create, decide_delete, decide_set

__all__ = ["created_ephemeral", "created_tagged", "deleted_version", "set_version", "tag"]


def tag(nonce: bytes) -> str:
    """A unique prefix for a name, in Curator's form."""
    digits = nonce.hex()
    return f"_c_{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}-"


def created_tagged(caller: Caller, request: Request[Created], full: str, *, ephemeral: bool) -> Decide[Created]:
    """Look for a znode whose name begins with a unique tag."""

    async def look(call: Call[Created]) -> Created | None:
        with _unknown_without_answer(caller, call):
            for made in await _tagged(caller, full):
                stat = await caller._stat_of(made)
                if stat is None:
                    continue  # it has gone meanwhile
                if not ephemeral or stat.ephemeral_owner == caller._engine.session.session_id:
                    return Created(made, stat)
                # It belongs to a session that is over, and would vanish under its owner (CURATOR-498).
                with suppress(NoNodeError):
                    await caller._call_twice(Delete(made))
        return None

    return _owning(caller, request, look)


async def _tagged(caller: Caller, full: str) -> list[str]:
    above = parent(full)
    await caller._call(Sync(above))
    try:
        names = await caller._call(GetChildren(above))
    except NoNodeError:
        return []
    return [join(above, name) for name in names if name.startswith(basename(full))]


def created_ephemeral(caller: Caller, request: CreateRequest, full: str, race: Race) -> Decide[Created]:
    """Look whether an ephemeral znode is this session's own."""
    before = caller._engine.session.last_zxid
    ours = request.data

    async def look(call: Call[Created]) -> Created | None:
        found = await _read(caller, call, full)
        stat, data = (found.stat, found.data) if found else (None, None)
        owner = caller._engine.session.session_id
        verdict = decide_create(stat, data, ours=ours, session_id=owner, before=before)
        if verdict.decision is Decision.APPLIED and race.contended:
            # Others here were after it too, and only one can have made it: nobody can tell which.
            verdict = Verdict(Decision.UNKNOWN)
        if verdict.decision is not Decision.APPLIED:
            _conclude(caller, call, verdict, full)
            return None
        return Created(full, stat)

    return _owning(caller, request, look, race)


def _owning(
    caller: Caller, request: Request[Created], look: Decide[Created], race: Race | None = None
) -> Decide[Created]:
    """Whatever interrupts the search for an ephemeral, nobody will use it: let the session remove it.

    Unless others here are after it: better an orphan than a theft.
    """

    async def look_or_disown(call: Call[Created]) -> Created | None:
        session = caller._engine.session
        before = session.last_zxid
        try:
            return await look(call)
        except BaseException:
            if race is None or not race.contended:
                session.disown(request, before)
                caller._engine.runtime.flush()
            raise

    return look_or_disown


def set_version(caller: Caller, request: SetData) -> Decide[Stat]:
    """Compare a znode with what a conditional set would have made of it."""
    before = caller._engine.session.last_zxid

    async def look(call: Call[Stat]) -> Stat | None:
        found = await _read(caller, call, request.path)
        stat, data = (found.stat, found.data) if found else (None, None)
        verdict = decide_set(stat, data, ours=request.data, version=request.version, before=before)
        _conclude(caller, call, verdict, request.path)
        return None

    return look


def deleted_version(caller: Caller, request: Delete) -> Decide[None]:
    """Look whether a znode that was to be deleted at some version is still there."""
    before = caller._engine.session.last_zxid

    async def look(call: Call[None]) -> None:
        found = await _read(caller, call, request.path)
        verdict = decide_delete(found.stat if found else None, version=request.version, before=before)
        _conclude(caller, call, verdict, request.path)

    return look


async def _read(caller: Caller, call: Call[Any], full: str) -> Znode | None:
    with _unknown_without_answer(caller, call):
        await caller._call(Sync(full))
        try:
            return await caller._call(GetData(full))
        except NoNodeError:
            return None


@contextmanager
def _unknown_without_answer(caller: Caller, call: Call[Any]) -> Iterator[None]:
    """When reading fails too, the write may still have happened, and its error has to say so."""
    try:
        yield
    except ZooKeeperError as error:
        assert call.error is not None
        if isinstance(error, SessionError) and not isinstance(error, ConnectionLossError):
            # The session is over: that says more than the loss before it.
            error.path, error.maybe_applied = call.request.target, True
            raise caller._as_seen(error) from None
        raise caller._as_seen(call.error) from error


def _conclude(caller: Caller, call: Call[Stat] | Call[None] | Call[Created], verdict: Verdict, full: str) -> None:
    """Raise what a verdict says; return if the write is to be made again."""
    assert call.error is not None
    if verdict.decision is Decision.REFUSED:
        raise caller._as_seen(BadVersionError(ErrorCode.BAD_VERSION, full, operation=call.request.name))
    if verdict.decision is not Decision.NOT_APPLIED:
        raise caller._as_seen(call.error)
