from __future__ import annotations

import sys
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest

from tests.session.harness import EXPIRED, SESSION_ID, TICKET, Peer
from zk_sansio.errors import LocalProtocolError
from zk_sansio.session import (
    CONNECTION_RULES,
    SESSION_RULES,
    ConnectionInput,
    ConnectionState,
    SessionInput,
    SessionState,
)
from zk_sansio.session import _states as states
from zk_sansio.wire import GetData

Row = tuple[Enum, Enum, Enum]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """Every row of the tables that was used, in order."""
    used: list[Row] = []
    original: Callable[..., Any] = states.next_state

    def next_state(rules: Any, state: Any, happened: Any) -> Any:
        following = original(rules, state, happened)
        used.append((state, happened, following))
        return following

    for name, module in list(sys.modules.items()):
        if name.startswith("zk_sansio.session.") and getattr(module, "next_state", None) is original:
            monkeypatch.setattr(module, "next_state", next_state)
    return used


def rows_of(rules: Any) -> list[Any]:
    return [
        pytest.param(state, happened, following, id=f"{state.name}-{happened.name}")
        for state, inputs in rules.items()
        for happened, following in inputs.items()
    ]


def missing_rows(rules: Any, inputs: type[Enum]) -> list[Any]:
    return [
        pytest.param(rules, state, happened, id=f"{state.name}-{happened.name}")
        for state, allowed in rules.items()
        for happened in inputs
        if happened not in allowed
    ]


# --- the session


def session_in(state: SessionState) -> Peer:
    peer = Peer(ticket=TICKET, read_only=True)
    if state is SessionState.CONNECTING:
        return peer
    peer.connect(read_only=state is SessionState.READ_ONLY)
    if state in (SessionState.SUSPENDED, SessionState.PRESUMED_LOST):
        peer.lose()
    if state is SessionState.PRESUMED_LOST:
        peer.advance(peer.session.timeout)
    assert peer.session.state is state
    return peer


def make_happen(peer: Peer, happened: SessionInput) -> None:
    session = peer.session
    match happened:
        case SessionInput.SERVED:
            peer.connect()
        case SessionInput.SERVED_READ_ONLY:
            peer.connect(read_only=True)
        case SessionInput.LOST:
            if not session.connected:
                peer.open()
            peer.lose()
        case SessionInput.DEADLINE:
            peer.advance(session.timeout)
        case SessionInput.EXPIRY if session.connected:
            session.submit(GetData("/a"))
            peer.take()
            peer.answer(code=-112)
        case SessionInput.EXPIRY:
            peer.open()
            peer.receive(EXPIRED)
        case SessionInput.AUTH_REFUSED:
            session.add_auth("digest", b"bob:secret")
            if not session.connected:
                peer.open()
                peer.accept()
            peer.take()
            peer.answer(code=-115)
        case SessionInput.CLOSE:
            session.close(peer.now, 1)
            peer.serve()


@pytest.mark.parametrize("state, happened, following", rows_of(SESSION_RULES))
def test_each_rule_of_the_session(
    state: SessionState, happened: SessionInput, following: SessionState, rows: list[Row]
) -> None:
    peer = session_in(state)
    peer.drain()
    rows.clear()
    make_happen(peer, happened)
    assert (state, happened, following) in rows
    assert peer.session.state is following
    assert peer.states() == ([following] if following is not state else [])
    assert peer.session.state.over == (peer.session.error is not None)


def test_over_and_serving() -> None:
    assert {state for state in SessionState if state.over} == {
        SessionState.EXPIRED,
        SessionState.AUTH_FAILED,
        SessionState.CLOSED,
    }
    assert {state for state in SessionState if state.serving} == {SessionState.CONNECTED, SessionState.READ_ONLY}


# --- the connection


class Silent:
    """A SASL mechanism that needs one answer."""

    name = "SILENT"
    done = False

    def start(self) -> bytes:
        return b""

    def step(self, token: bytes | None, /) -> bytes | None:
        self.done = True
        return None


def connection_in(state: ConnectionState) -> Peer:
    peer = Peer(credentials=[("digest", b"bob:secret")], sasl=lambda host: Silent())
    peer.open()
    if state is not ConnectionState.HANDSHAKE:
        peer.accept()
        peer.take()
    if state is ConnectionState.CLOSING:
        peer.session.close(peer.now, 1)
        peer.take()
    elif state in (ConnectionState.RESTORING, ConnectionState.SERVING):
        peer.answer()
        peer.take()
        if state is ConnectionState.SERVING:
            peer.answer()
    return peer


def make_happen_there(peer: Peer, happened: ConnectionInput) -> None:
    match happened:
        case ConnectionInput.ACCEPTED:
            peer.accept(session_id=SESSION_ID)
        case ConnectionInput.AUTHENTICATED | ConnectionInput.RESTORED:
            peer.answer()
        case ConnectionInput.CLOSE:
            peer.session.close(peer.now, 1)
        case ConnectionInput.END:
            peer.lose()


@pytest.mark.parametrize("state, happened, following", rows_of(CONNECTION_RULES))
def test_each_rule_of_the_connection(
    state: ConnectionState, happened: ConnectionInput, following: ConnectionState, rows: list[Row]
) -> None:
    peer = connection_in(state)
    rows.clear()
    make_happen_there(peer, happened)
    assert [row for row in rows if isinstance(row[0], ConnectionState)] == [(state, happened, following)]
    assert peer.up() == (following is not ConnectionState.ENDED)


# --- both


@pytest.mark.parametrize(
    "rules, state, happened",
    [*missing_rows(SESSION_RULES, SessionInput), *missing_rows(CONNECTION_RULES, ConnectionInput)],
)
def test_what_is_not_in_the_table_is_misuse(rules: Any, state: Enum, happened: Enum) -> None:
    with pytest.raises(LocalProtocolError, match=f"{happened.name} cannot happen while {state.name}"):
        states.next_state(rules, state, happened)


def test_every_state_has_rules() -> None:
    assert set(SESSION_RULES) == set(SessionState)
    assert set(CONNECTION_RULES) == set(ConnectionState)
