"""Calls whose callers are gone, and the ephemeral znodes that they leave behind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.session.harness import PASSWORD, SESSION_ID, STAT, Peer, T, connected, only, reply
from zk_sansio.errors import ConnectionLossError
from zk_sansio.session import Call, SessionState, SessionTicket
from zk_sansio.session._orphans import created_ephemerals, requested_paths, suspects
from zk_sansio.wire import (
    Check,
    Create,
    Create2,
    CreateContainer,
    Created,
    CreateMode,
    Delete,
    Exists,
    Failed,
    GetChildren,
    GetData,
    Multi,
    Request,
    SetData,
    Stat,
    Sync,
)

EPHEMERAL, SEQUENTIAL = CreateMode.EPHEMERAL, CreateMode.EPHEMERAL_SEQUENTIAL
SYNC = Sync("/")
TAG = "_c_01234567-89ab-cdef-0123-456789abcdef-"


def ours(czxid: int, owner: int = SESSION_ID) -> Stat:
    return STAT._replace(czxid=czxid, ephemeral_owner=owner)


def create(path: str = "/e", mode: CreateMode = EPHEMERAL) -> Create:
    return Create(path, b"", mode=mode)


def abandoned(peer: Peer, request: Request[Any]) -> Call[Any]:
    """A call that is sent and then abandoned."""
    call = peer.session.submit(request)
    peer.take()
    peer.session.abandon(call)
    return call


def reconnect(peer: Peer, **fields: Any) -> list[Request[Any]]:
    """Lose the connection, connect, and return what is sent."""
    peer.lose()
    peer.open()
    peer.accept(**fields)
    peer.drain()
    return peer.taken()


def reconnect_here(peer: Peer) -> list[Request[Any]]:
    """Connect, and return what is sent."""
    peer.open()
    peer.accept()
    peer.drain()
    return peer.taken()


def behind_sync(peer: Peer, sent: list[Request[Any]]) -> list[Request[Any]]:
    """Carry out the sync that a search begins with, the first of what was *sent*, and return the rest."""
    assert sent[0] == SYNC
    assert SYNC not in sent[1:]
    assert peer.requests[0][1] == SYNC
    peer.answer()
    assert peer.take() == []
    return sent[1:]


# --- what is known from a request and its reply

MIXED = Multi(
    [
        create("/a"),
        Create("/b"),
        create(f"/l/{TAG}lock-", SEQUENTIAL),
        Create2("/c-", mode=SEQUENTIAL),
        Create2("/d", mode=EPHEMERAL),
        Delete("/x"),
        Check("/y", 1),
        SetData("/z", b""),
    ]
)


def test_which_ephemerals_were_made() -> None:
    made = [Created("/a", None), Created("/b", None), Created("/l/1", None), Created("/c-1", STAT), Created("/d", STAT)]
    assert created_ephemerals(MIXED, [*made, None, None, STAT]) == ["/a", "/l/1", "/c-1", "/d"]
    assert created_ephemerals(MIXED, [Failed(0)] * 8) == []
    assert created_ephemerals(MIXED, made[:1]) == ["/a"]
    assert created_ephemerals(create(), Created("/e", None)) == ["/e"]
    assert created_ephemerals(create("/e-", SEQUENTIAL), Created("/e-7", None)) == ["/e-7"]
    assert created_ephemerals(Create("/a"), Created("/a", None)) == []
    assert created_ephemerals(CreateContainer("/a", mode=CreateMode.CONTAINER), Created("/a", STAT)) == []
    assert created_ephemerals(GetData("/a"), None) == []


def test_which_ephemerals_may_have_been_made() -> None:
    found = [(s.path, s.tag, s.after) for s in suspects(MIXED, 7)]
    assert found == [("/a", None, 7), (f"/l/{TAG}lock-", TAG, 7), ("/d", None, 7)]
    assert suspects(create("/e-", SEQUENTIAL), 7) == []  # nobody knows its number
    assert [s.tag for s in suspects(create(f"/{TAG}"), 7)] == [TAG]
    assert [s.tag for s in suspects(create(f"/x{TAG}"), 7)] == [None]
    assert suspects(Create("/a"), 7) == []


def test_which_ephemerals_were_asked_for() -> None:
    assert requested_paths(MIXED) == {"/a", f"/l/{TAG}lock-", "/c-", "/d"}
    assert requested_paths(GetData("/a")) == set()


# --- each stage


def test_waiting() -> None:
    peer = Peer()
    call, other = peer.session.submit(SetData("/a", b"12345")), peer.session.submit(GetData("/b"))
    before = peer.session.queued_bytes
    peer.session.abandon(call)
    assert peer.session.queued_bytes < before
    assert peer.session.in_flight == 1
    assert call.done
    assert isinstance(call.error, ConnectionLossError)
    assert not call.error.maybe_applied
    peer.open()
    peer.accept()
    assert peer.taken() == [GetData("/b")]
    peer.answer()
    assert peer.calls() == [other]
    assert peer.session.queued_bytes == 0


@pytest.mark.parametrize("stage", ["queued", "sent"])
def test_on_its_way(stage: str) -> None:
    peer = connected()
    call, other = peer.session.submit(SetData("/a", b"")), peer.session.submit(GetData("/b"))
    if stage == "sent":
        peer.take()
    peer.session.abandon(call)
    peer.take()
    peer.answer_all()
    assert peer.calls() == [other]
    assert call.done


def test_an_error_is_dropped_too() -> None:
    peer = connected()
    abandoned(peer, SetData("/a", b""))
    peer.answer(code=-101)
    assert peer.drain() == []
    abandoned(peer, create())
    peer.answer(code=-110)
    assert peer.drain() == []
    assert peer.take() == []


def test_after_the_answer() -> None:
    peer = connected()
    call = peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer()
    peer.session.abandon(call)
    assert peer.calls() == [call]
    assert peer.take() == []


def test_lost() -> None:
    peer = connected()
    call = abandoned(peer, SetData("/a", b""))
    peer.lose()
    assert peer.calls() == []
    assert call.done


def test_with_the_session() -> None:
    peer = connected()
    sent = abandoned(peer, SetData("/a", b""))
    peer.session.close(peer.now, 1, keep_session=True)
    assert peer.calls() == []
    assert sent.done


def test_auth_while_waiting() -> None:
    peer = Peer()
    call, other = peer.session.add_auth("digest", b"bob:x"), peer.session.add_auth("digest", b"eve:x")
    peer.session.abandon(call)
    assert call.done
    peer.open()
    peer.accept()
    # The identity was added nevertheless; only its caller is gone.
    assert len(peer.take()) == 2
    peer.answer_all()
    assert peer.calls() == [other]


def test_auth_on_its_way() -> None:
    peer = connected()
    call = peer.session.add_auth("digest", b"bob:x")
    peer.take()
    peer.session.abandon(call)
    peer.answer()
    assert peer.drain() == []
    assert call.done


def test_auth_while_restoring() -> None:
    peer = connected(credentials=[("digest", b"bob:x")])
    peer.lose()
    call = peer.session.add_auth("digest", b"eve:x")
    peer.open()
    peer.accept()
    peer.take()
    peer.session.abandon(call)
    peer.drain()
    peer.answer_all()
    assert peer.states() == [SessionState.CONNECTED]


# --- ephemerals: the answer arrives


@pytest.mark.parametrize("mode, path, made", [(EPHEMERAL, "/e", "/e"), (SEQUENTIAL, "/e-", "/e-0000000003")])
@pytest.mark.parametrize("kind", [Create, Create2])
def test_a_new_orphan_is_removed(kind: type[Create | Create2], mode: CreateMode, path: str, made: str) -> None:
    peer = connected()
    abandoned(peer, kind(path, b"", mode=mode))
    peer.answer(Created(made, STAT))
    assert peer.taken() == [Delete(made)]
    peer.answer()
    assert peer.drain() == []
    assert reconnect(peer) == []


def test_orphans_of_a_multi_are_removed() -> None:
    peer = connected()
    abandoned(peer, Multi([create("/a"), Create("/b"), create("/c-", SEQUENTIAL)]))
    peer.answer([Created("/a", None), Created("/b", None), Created("/c-1", None)])
    assert peer.taken() == [Delete("/a"), Delete("/c-1")]


def test_a_failed_multi_has_no_orphans() -> None:
    peer = connected()
    abandoned(peer, Multi([create("/a"), create("/c-", SEQUENTIAL)]))
    peer.answer([Failed(0), Failed(-110)])
    assert peer.take() == []


def test_abandoned_after_the_answer() -> None:
    peer = connected()
    call = peer.session.submit(create("/e-", SEQUENTIAL))
    peer.take()
    peer.answer(Created("/e-1", None))
    peer.session.abandon(call)
    peer.session.abandon(call)
    assert peer.taken() == [Delete("/e-1")]


def test_abandoned_after_an_answer_and_the_loss_of_the_connection() -> None:
    peer = connected()
    call = peer.session.submit(create())
    peer.take()
    peer.answer()
    peer.lose()
    peer.session.abandon(call)
    assert behind_sync(peer, reconnect_here(peer)) == [Exists("/e")]
    peer.answer(ours(50))
    assert peer.taken() == [Delete("/e")]


@pytest.mark.parametrize("path", ["", "x", "/a/", "/\0", "/\U0001f600"])
def test_a_path_that_no_server_makes_is_left_alone(path: str) -> None:
    peer = connected()
    abandoned(peer, create())
    peer.answer(Created(path, None))
    assert peer.take() == []
    assert peer.up()


def test_what_is_not_ephemeral_stays() -> None:
    peer = connected()
    abandoned(peer, Create("/a"))
    peer.answer()
    assert peer.take() == []


def test_a_read_only_session_makes_none() -> None:
    peer = Peer(read_only=True)
    peer.connect(read_only=True)
    abandoned(peer, create())
    peer.lose()
    peer.connect(read_only=True, session_id=9)
    assert peer.take() == []


# --- ephemerals: the reply is lost


def test_a_lost_orphan_is_found_and_removed() -> None:
    peer = connected()
    zxid = peer.session.last_zxid
    abandoned(peer, create())
    waiting = peer.session.submit(SetData("/a", b""))
    assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]
    peer.answer(ours(zxid + 1))
    assert peer.taken() == [Delete("/e")]
    peer.answer()
    assert peer.drain() == []
    assert isinstance(waiting.error, ConnectionLossError)
    assert reconnect(peer) == []


def test_it_is_looked_for_before_anything_else_is_sent() -> None:
    peer = connected()
    abandoned(peer, create())
    peer.lose()
    peer.session.submit(GetData("/a"))
    assert behind_sync(peer, reconnect_here(peer)) == [Exists("/e"), GetData("/a")]


@pytest.mark.parametrize(
    "stat", [ours(10**6, owner=0), ours(10**6, owner=SESSION_ID + 1), ours(0), None], ids=["no", "other", "old", "none"]
)
def test_what_is_not_the_orphan_stays(stat: Stat | None) -> None:
    peer = connected()
    abandoned(peer, create())
    assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]
    peer.answer(stat, code=0 if stat else -101)
    assert peer.take() == []
    assert reconnect(peer) == []


def test_one_as_old_as_what_was_seen_before_is_another() -> None:
    peer = connected()
    peer.session.submit(GetData("/a"))
    peer.take()
    peer.answer(zxid=500)
    abandoned(peer, create())
    assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]
    peer.answer(ours(500))
    assert peer.take() == []


def test_a_call_that_was_never_sent_has_made_nothing() -> None:
    peer = connected()
    call = peer.session.submit(create())
    peer.session.abandon(call)
    assert reconnect(peer) == []


def test_a_tagged_orphan_is_found_by_its_tag() -> None:
    peer = connected()
    abandoned(peer, create(f"/locks/{TAG}lock-", SEQUENTIAL))
    assert behind_sync(peer, reconnect(peer)) == [GetChildren("/locks")]
    peer.answer(["x", f"{TAG}lock-0000000007", f"y{TAG}lock-0000000008"])
    assert peer.taken() == [Delete(f"/locks/{TAG}lock-0000000007")]
    peer.answer()
    assert reconnect(peer) == []


def test_a_tagged_orphan_below_the_root() -> None:
    peer = connected()
    abandoned(peer, create(f"/{TAG}", SEQUENTIAL))
    assert behind_sync(peer, reconnect(peer)) == [GetChildren("/")]
    peer.answer([f"{TAG}0000000007"])
    assert peer.taken() == [Delete(f"/{TAG}0000000007")]


def test_a_sequential_orphan_without_a_tag_cannot_be_found() -> None:
    peer = connected()
    abandoned(peer, create("/e-", SEQUENTIAL))
    assert reconnect(peer) == []


def test_the_orphans_of_a_lost_multi() -> None:
    peer = connected()
    abandoned(peer, Multi([create("/a"), Create("/b"), create(f"/l/{TAG}", SEQUENTIAL)]))
    assert behind_sync(peer, reconnect(peer)) == [Exists("/a"), GetChildren("/l")]


def test_it_stays_a_suspect_until_the_server_has_answered() -> None:
    peer = connected()
    abandoned(peer, create())
    for _ in range(2):
        assert reconnect(peer) == [SYNC, Exists("/e")]  # no answer at all
        assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]  # no answer to the question
    assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]
    peer.answer(ours(10**6))
    assert peer.taken() == [Delete("/e")]
    assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]  # no answer to the removal
    peer.answer(code=-101)
    assert reconnect(peer) == []


def test_the_answer_came_but_the_removal_was_lost() -> None:
    peer = connected()
    abandoned(peer, create())
    peer.answer()
    assert peer.taken() == [Delete("/e")]
    assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]


def test_a_new_session_has_no_orphans_of_the_old_one() -> None:
    peer = connected()
    abandoned(peer, create())
    peer.lose()
    peer.open()
    peer.receive(bytes.fromhex("00000025") + bytes(16) + b"\0\0\0\x10" + bytes(17))
    assert peer.session.state is SessionState.EXPIRED
    again = Peer(session=peer.session.successor(), now=peer.now)
    again.connect(session_id=SESSION_ID + 1)
    assert again.take() == []


@pytest.mark.parametrize("tagged", [False, True])
def test_a_search_whose_answer_is_too_large_is_given_up(tagged: bool) -> None:
    # Looking again on every connection would end each of them.
    peer = connected(max_reply=1000)
    abandoned(peer, create(f"/l/{TAG}", SEQUENTIAL) if tagged else create())
    assert len(behind_sync(peer, reconnect(peer))) == 1
    peer.receive(b"\0\1\0\0")
    assert not peer.up()
    peer.open()
    peer.accept()
    assert peer.take() == []
    assert peer.session.state is SessionState.CONNECTED


def test_a_search_whose_answer_cannot_be_read_is_given_up() -> None:
    peer = connected()
    abandoned(peer, create())
    assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]
    xid, _ = only(peer.requests)
    peer.receive(reply(xid, 5, 0, b"short"))
    assert not peer.up()
    assert peer.calls() == []
    peer.open()
    peer.accept()
    assert peer.take() == []


# --- a server that is behind


TAGGED = create(f"/l/{TAG}", SEQUENTIAL)
FOUND: list[tuple[Create, Request[Any], Any, Delete]] = [
    (create(), Exists("/e"), ours(10**6), Delete("/e")),
    (TAGGED, GetChildren("/l"), [f"{TAG}0000000007"], Delete(f"/l/{TAG}0000000007")),
]
"""What is abandoned, how it is looked for, what a server answers that has it, and how it is removed."""


def not_there(peer: Peer, question: Request[Any]) -> bytes:
    """The answer of a server that does not have it."""
    return peer.answered(code=-101) if isinstance(question, Exists) else peer.answered([])


@pytest.mark.parametrize("request_, question, there, removal", FOUND)
def test_a_server_that_is_behind_catches_up_before_it_is_asked(
    request_: Create, question: Request[Any], there: Any, removal: Delete
) -> None:
    peer = connected()
    abandoned(peer, request_)
    peer.lose()
    peer.session.submit(GetData("/a"))
    assert reconnect_here(peer) == [SYNC, question, GetData("/a")]
    behind = True
    for sent in [sent for _, sent in peer.requests]:
        if sent == SYNC:
            behind = False
            peer.answer()
        elif sent != question:
            peer.answer()
        elif behind:
            peer.receive(not_there(peer, question))
        else:
            peer.answer(there)
    assert peer.taken() == [removal]
    peer.answer()
    assert reconnect(peer) == []


def test_one_sync_is_in_front_of_all_questions() -> None:
    peer = connected()
    abandoned(peer, Multi([create("/a"), TAGGED, create("/b")]))
    peer.lose()
    waiting = [GetData("/x"), GetData("/y")]
    for request in waiting:
        peer.session.submit(request)
    assert reconnect_here(peer) == [SYNC, Exists("/a"), GetChildren("/l"), Exists("/b"), *waiting]


def test_the_answers_may_come_all_at_once() -> None:
    peer = connected()
    abandoned(peer, Multi([create("/a"), TAGGED]))
    assert reconnect(peer) == [SYNC, Exists("/a"), GetChildren("/l")]
    peer.receive(peer.answered(), peer.answered(ours(10**6)), peer.answered([f"{TAG}7"]))
    assert peer.taken() == [Delete("/a"), Delete(f"/l/{TAG}7")]


def test_without_suspects_there_is_no_sync() -> None:
    peer = connected()
    peer.lose()
    peer.session.submit(GetData("/a"))
    assert reconnect_here(peer) == [GetData("/a")]
    peer.serve()
    # Nor where those who were suspected are so no more, for somebody else asks for the same.
    abandoned(peer, create())
    peer.lose()
    peer.session.submit(create())
    assert [request.name for request in reconnect_here(peer)] == ["create"]
    peer.serve()
    # Nor when nothing that was found is left.
    peer.session.disown(create("/f"), 50)
    assert behind_sync(peer, peer.taken()) == [Exists("/f")]
    peer.answer(code=-101)
    peer.answer_all()
    peer.advance(T / 3)
    assert peer.take() == []
    assert peer.pings == 1
    assert reconnect(peer) == []


CODES = pytest.mark.parametrize("code", [-127, -118, -999], ids=["throttled", "moved", "unknown"])


@CODES
@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("has_it", [False, True])
@pytest.mark.parametrize("request_, question, there, removal", FOUND)
def test_without_the_sync_no_answer_counts(
    request_: Create, question: Request[Any], there: Any, removal: Delete, has_it: bool, at_once: bool, code: int
) -> None:
    peer = connected()
    abandoned(peer, request_)
    assert reconnect(peer) == [SYNC, question]
    for _ in range(2):
        replies = [peer.answered(code=code), peer.answered(there) if has_it else not_there(peer, question)]
        for frames in [replies] if at_once else zip(replies):
            peer.receive(*frames)
        assert peer.take() == []  # neither removed nor looked for at once: the server may be busy
        peer.answer_all()
        peer.advance(T / 3)
        assert peer.taken() == [SYNC, question]
    assert peer.drain() == []
    peer.answer()
    peer.answer(there)
    assert peer.taken() == [removal]
    peer.answer()
    peer.answer_all()
    peer.advance(T / 3)
    assert peer.take() == []
    assert reconnect(peer) == []


@CODES
def test_without_the_sync_it_is_looked_for_on_the_next_connection(code: int) -> None:
    peer = connected()
    abandoned(peer, create())
    assert reconnect(peer) == [SYNC, Exists("/e")]
    peer.answer(code=code)
    peer.answer(code=-101)
    assert behind_sync(peer, reconnect(peer)) == [Exists("/e")]
    peer.answer(code=-101)
    peer.advance(T / 3)
    assert peer.take() == []  # once is enough
    assert reconnect(peer) == []


def test_without_the_sync_all_of_them_stay() -> None:
    peer = connected()
    abandoned(peer, Multi([create("/a"), TAGGED, create("/b")]))
    questions = [Exists("/a"), GetChildren("/l"), Exists("/b")]
    assert reconnect(peer) == [SYNC, *questions]
    peer.answer(code=-127)
    peer.answer(code=-101)
    peer.answer([])
    peer.answer(ours(10**6))
    peer.advance(T / 3)
    assert behind_sync(peer, peer.taken()) == questions


def test_only_the_answers_behind_the_failed_sync_do_not_count() -> None:
    peer = connected()
    peer.session.disown(create("/a"), 50)
    peer.session.disown(create("/b"), 50)
    assert peer.taken() == [SYNC, Exists("/a"), SYNC, Exists("/a"), Exists("/b")]
    peer.answer()
    peer.answer(code=-101)
    peer.answer(code=-127)
    peer.answer(code=-101)
    peer.answer(code=-101)
    peer.advance(T / 3)
    assert behind_sync(peer, peer.taken()) == [Exists("/b")]


def test_a_failed_sync_is_forgotten_with_those_who_were_looked_for() -> None:
    # What is asked about an orphan that has just been made, because of a rival, needs no sync: this server has made it.
    peer = connected()
    abandoned(peer, create())
    assert reconnect(peer) == [SYNC, Exists("/e")]
    peer.answer(code=-127)
    peer.answer(code=-101)
    peer.session.submit(create())
    peer.take()
    assert reconnect(peer) == []  # it may be the rival's by now
    call, _ = peer.session.submit(create("/f")), peer.session.submit(create("/f"))
    peer.take()
    peer.session.abandon(call)
    peer.answer()
    assert peer.taken() == [Exists("/f")]
    peer.answer(code=-110)
    peer.answer(ours(10**6))
    assert peer.taken() == [Delete("/f")]


@pytest.mark.parametrize("request_, question, there, removal", FOUND)
def test_a_busy_server_is_asked_again_later(
    request_: Create, question: Request[Any], there: Any, removal: Delete
) -> None:
    peer = connected()
    abandoned(peer, request_)
    assert behind_sync(peer, reconnect(peer)) == [question]
    peer.answer(code=-127)
    assert peer.take() == []
    peer.advance(T / 3)
    assert behind_sync(peer, peer.taken()) == [question]
    peer.answer(there)
    assert peer.taken() == [removal]
    peer.answer(code=-127)
    assert peer.take() == []
    peer.answer_all()
    peer.advance(T / 3)
    # By now its whole name is known.
    assert behind_sync(peer, peer.taken()) == [Exists(removal.path)]
    peer.answer(ours(10**6))
    assert peer.taken() == [removal]
    peer.answer(code=-101)
    assert reconnect(peer) == []


# --- what somebody else here asked for


def test_what_rivals_ask_for_is_not_removed() -> None:
    peer = connected()
    abandoned(peer, create())
    rivals: list[Call[Any]] = [peer.session.submit(create()), peer.session.submit(Multi([create("/e")]))]
    peer.take()
    # Nobody knows whose it is: better an orphan than a theft.
    assert reconnect(peer) == []
    assert all(call.error for call in rivals)


def test_what_a_waiting_call_asks_for_is_not_removed() -> None:
    peer = connected()
    abandoned(peer, create())
    peer.lose()
    peer.session.submit(create())
    assert [request.name for request in reconnect_here(peer)] == ["create"]


def test_a_tagged_one_is_nobody_else_s() -> None:
    peer = connected()
    abandoned(peer, create(f"/l/{TAG}", SEQUENTIAL))
    peer.lose()
    peer.session.submit(create(f"/l/{TAG}", SEQUENTIAL))
    assert [request.name for request in behind_sync(peer, reconnect_here(peer))] == ["get children", "create"]


def test_a_removal_that_was_lost_together_with_a_rival() -> None:
    # By now the znode may be the rival's, made after the removal.
    peer = connected()
    abandoned(peer, create())
    peer.answer()
    rival = peer.session.submit(create())
    assert [request.name for request in peer.taken()] == ["delete", "create"]
    assert reconnect(peer) == []
    assert isinstance(rival.error, ConnectionLossError)
    assert rival.error.maybe_applied


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("multi", [False, True])
def test_a_rival_that_has_got_it_keeps_it(together: bool, multi: bool) -> None:
    # All at once: one creates it and is abandoned, others delete and create it again.
    peer = connected()
    call = peer.session.submit(create())
    peer.session.submit(Delete("/e"))
    rival: Call[Any] = peer.session.submit(Multi([create()]) if multi else create())
    peer.take()
    peer.session.abandon(call)
    if together:
        peer.receive(peer.answered(), peer.answered(), peer.answered())
        assert peer.take() == []
    else:
        peer.answer()
        assert peer.taken() == [Exists("/e")]
        peer.answer()
        peer.answer()
        peer.answer(ours(10**6))
        assert peer.take() == []
    assert rival.error is None
    assert reconnect(peer) == []


def test_a_rival_that_has_got_it_keeps_it_after_a_reconnect() -> None:
    peer = connected()
    call = peer.session.submit(create())
    peer.session.submit(Delete("/e"))
    rival = peer.session.submit(create())
    peer.take()
    peer.session.abandon(call)
    peer.receive(peer.answered())
    peer.receive(peer.answered(), peer.answered())
    assert rival.error is None
    assert reconnect(peer) == []


@pytest.mark.parametrize("together", [False, True])
def test_an_orphan_in_the_way_of_a_rival_is_removed(together: bool) -> None:
    peer = connected()
    call = peer.session.submit(create())
    rival = peer.session.submit(create())
    peer.take()
    peer.session.abandon(call)
    if together:
        peer.receive(peer.answered(), peer.answered(code=-110))
    else:
        peer.answer()
        assert peer.taken() == [Exists("/e")]
        peer.answer(code=-110)
        peer.answer(ours(10**6))
    assert only(peer.calls()) is rival
    assert peer.taken() == [Delete("/e")]


def test_two_abandoned_calls_are_no_rivals() -> None:
    peer = connected()
    calls = [peer.session.submit(create()), peer.session.submit(create())]
    peer.take()
    for call in calls:
        peer.session.abandon(call)
    peer.receive(peer.answered(), peer.answered(code=-110))
    assert peer.taken() == [Delete("/e")]


# --- disowned requests


def test_disowned_while_connected() -> None:
    peer = connected()
    peer.session.disown(create(), 50)
    assert behind_sync(peer, peer.taken()) == [Exists("/e")]
    peer.answer(ours(51))
    assert peer.taken() == [Delete("/e")]


def test_disowned_while_suspended() -> None:
    peer = connected()
    peer.lose()
    peer.session.disown(create(), 50)
    assert behind_sync(peer, reconnect_here(peer)) == [Exists("/e")]


def test_disowned_twice() -> None:
    peer = connected()
    peer.session.disown(create(), 50)
    peer.session.disown(create(), 50)
    requests = peer.taken()
    assert requests[0] == SYNC
    assert set(map(repr, requests)) == {repr(SYNC), repr(Exists("/e"))}
    for request in requests:
        peer.answer("/" if request == SYNC else ours(51))
    removals = peer.taken()
    assert removals.count(Delete("/e")) == len(removals)
    peer.answer_all()
    assert reconnect(peer) == []


def test_disowned_on_a_read_only_server() -> None:
    peer = connected(read_only=True)
    peer.lose()
    peer.connect(read_only=True)
    peer.session.disown(create(), 50)
    assert peer.take() == []


def test_a_resumed_session_has_its_own_ephemerals() -> None:
    peer = connected(ticket=SessionTicket(session_id=-5, password=PASSWORD, last_zxid=70))
    peer.session.disown(create(), 50)
    assert behind_sync(peer, peer.taken()) == [Exists("/e")]
    peer.answer(ours(51, owner=-5))
    assert peer.taken() == [Delete("/e")]
