"""Whose turn it is: decided from nothing but the names of the children."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk_sansio.recipes import contenders, predecessor
from zk_sansio.recipes._queue import used_up

FIRST, LAST = -(2**31), 2**31 - 1
NUMBERS = st.integers(FIRST, LAST) | st.sampled_from([FIRST, -1, 0, 1, 999_999_999, 10**9, LAST])
FOREIGN = [
    "a",
    "config",
    "lock",
    "lock-",
    "lock-1",
    "lock-000000001",
    "lock-00000000001",
    "lock-0000000001-",
    "lock-0000000001x",
    "lock-\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661",  # digits, but no server's
    "lock_0000000001",
    "Lock-0000000001",
    "0000000001",
    "lease-0000000001",
    "_c_8cd4bb36-ea93-4ec0-ba6c-46a2cc2c7b2f-latch-0000000001",
    # kazoo's: they do not watch ours, so that counting theirs would be of no use.
    "d3ba6ab08a0b4b74a5a5a0b0a3c9b0b6__lock__0000000001",
    "d3ba6ab08a0b4b74a5a5a0b0a3c9b0b6__rlock__0000000001",
    # Curator's read-write lock is another recipe.
    "_c_8cd4bb36-ea93-4ec0-ba6c-46a2cc2c7b2f-__WRIT__0000000001",
]


def named(number: int, tag: UUID | None = None) -> str:
    """What the server makes of ``lock-``: Java's ``%010d``, which counts the sign as one of ten."""
    return (f"_c_{tag}-" if tag else "") + f"lock-{number:010d}"


QUEUES = st.lists(st.tuples(NUMBERS, st.none() | st.uuids()), max_size=20, unique_by=lambda pair: pair[0])


def test_only_the_number_counts() -> None:
    third = "_c_00000000-0000-0000-0000-000000000000-lock-0000000003"
    first = "_c_ffffffff-ffff-ffff-ffff-ffffffffffff-lock-0000000001"
    assert contenders([third, "lock-0000000002", first]) == [first, "lock-0000000002", third]


def test_numbers_and_not_text() -> None:
    assert contenders([named(n) for n in (10**9, 999_999_999, 7)]) == [named(n) for n in (7, 999_999_999, 10**9)]


@pytest.mark.parametrize("number", [FIRST, FIRST + 1, -(10**9), -999_999_999, -10, -1])
def test_numbers_behind_the_greatest(number: int) -> None:
    """The counter of the server is a signed number of 32 bits, and goes on with the least one."""
    assert contenders([named(number + 1), named(number)]) == [named(number), named(number + 1)]


@pytest.mark.parametrize("name", FOREIGN)
def test_other_children_have_no_say(name: str) -> None:
    assert contenders([name]) == []
    assert predecessor([name, named(5)], named(5)) is None
    with pytest.raises(LookupError):
        predecessor([name, named(5)], name)


def test_the_one_in_front() -> None:
    children = [named(7), "config", named(3), named(5)]
    assert predecessor(children, named(7)) == named(5)
    assert predecessor(children, named(5)) == named(3)
    assert predecessor(children, named(3)) is None


@pytest.mark.parametrize("children", [[], ["config"], [named(1), named(3)]])
def test_a_znode_that_is_not_there(children: list[str]) -> None:
    with pytest.raises(LookupError):
        predecessor(children, named(2))


def test_the_same_number_twice() -> None:
    """No server does that; still everybody has to see the same order."""
    one, other = named(1, UUID(int=1)), named(1, UUID(int=2))
    for children in [one, other], [other, one]:
        assert predecessor(children, one) is None
        assert predecessor(children, other) == one


@given(QUEUES, st.lists(st.sampled_from(FOREIGN)), st.randoms())
def test_the_chain_of_predecessors_visits_all_exactly_once(
    queue: list[tuple[int, UUID | None]], foreign: list[str], dice: random.Random
) -> None:
    names = [named(*pair) for pair in queue]
    children = names + foreign
    dice.shuffle(children)
    in_order = contenders(children)
    assert in_order == [named(*pair) for pair in sorted(queue, key=lambda pair: pair[0])]
    visited: list[str] = []
    node: str | None = in_order[-1] if in_order else None
    while node is not None:
        visited.append(node)
        node = predecessor(children, node)
    assert visited == in_order[::-1]


@given(QUEUES.filter(bool), st.randoms())
def test_everybody_gets_a_turn_and_one_at_a_time(queue: list[tuple[int, UUID | None]], dice: random.Random) -> None:
    """Whoever leaves, holder or not: exactly one is in front, and each of the others waits for somebody there."""
    there = [named(*pair) for pair in queue]
    while there:
        ahead = {node: predecessor(there, node) for node in there}
        assert list(ahead.values()).count(None) == 1
        assert len(set(ahead.values())) == len(there)
        there.remove(dice.choice(there))


@given(st.lists(st.text(max_size=20)))
def test_any_names(children: list[str]) -> None:
    assert set(contenders(children)) <= set(children)


@pytest.mark.parametrize(
    "number, expected",
    [("0000000000", False), ("2147483646", False), ("2147483647", True), ("-2147483648", True), ("-000000001", True)],
)
def test_used_up(number: str, expected: bool) -> None:
    assert used_up(f"/a/_c_1-lock-{number}") is expected
