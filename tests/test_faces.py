"""The faces in step: what async users and users of threads call has the same names, parameters, defaults and types.

The synchronous face is written by hand, one line for each method. What is asynchronous on the other side has a
``timeout`` here, and so has what makes a scope; nothing else differs.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar, Union, get_args, get_origin, overload

import pytest

import zk_anyio
import zk_blocking
import zk_sansio
import zk_trio
from zk_sansio import wire
from zk_sansio.recipes import TryLock

FACES: dict[str, tuple[type, type]] = {
    "Client": (zk_sansio.Client, zk_blocking.Client),
    "ChangeStream": (zk_sansio.ChangeStream, zk_blocking.ChangeStream),
    "OneShotWatch": (zk_sansio.OneShotWatch, zk_blocking.OneShotWatch),
    "StateStream": (zk_sansio.StateStream, zk_blocking.StateStream),
    "Transaction": (zk_sansio.Transaction, zk_blocking.Transaction),
    "GuardedTransaction": (zk_sansio.GuardedTransaction, zk_blocking.GuardedTransaction),
    "ReadBatch": (zk_sansio.ReadBatch, zk_blocking.ReadBatch),
    "Pipeline": (zk_sansio.Pipeline, zk_blocking.Pipeline),
    "Lock": (zk_sansio.Lock, zk_blocking.Lock),
    "LockAttempt": (TryLock, zk_blocking.LockAttempt),
}
"""By the name on the synchronous side: the asynchronous class, and the synchronous one."""

SCOPES = {
    "Client": {"states", "watch", "watch_data", "watch_children", "watch_exists", "lock"},
    "Lock": {"try_acquire"},
}
"""What makes something to be entered; the timeout is for entering it."""

INTERNAL = {
    "ChangeStream": {"waiter"},
    "OneShotWatch": {"waiter"},
    "StateStream": {"waiter", "closing", "state_changed"},
}
"""What the engine calls, and no user."""

RENAMED = {"aclose": "close", "__anext__": "next", "__aiter__": "__iter__", "__aenter__": "__enter__"}
SPECIAL = {
    "__aenter__",
    "__aexit__",
    "__aiter__",
    "__anext__",
    "__len__",
    "__enter__",
    "__exit__",
    "__iter__",
    "__next__",
}
GENERICS = {AsyncGenerator: Iterator, AsyncIterator: Iterator}


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The types of a function; an alias that is a string may name what the function's module does not import."""
    names = {**vars(wire), **vars(zk_sansio)}
    return typing.get_type_hints(function, None, {name: names[name] for name in names.keys() - vars_of(function)})


def vars_of(function: Callable[..., Any]) -> set[str]:
    """The names that a function sees."""
    return {*getattr(inspect.unwrap(function), "__globals__", ())}


Parameter = tuple[str, Any, Any, str]
TIMEOUT: Parameter = ("timeout", inspect.Parameter.KEYWORD_ONLY, None, "None | float")


class Comparison:
    """Compares classes; a class of one side stands for that of the other.

    Args:
        faces: see `FACES`.
        scopes: see `SCOPES`.
        internal: see `INTERNAL`.
    """

    def __init__(
        self,
        faces: Mapping[str, tuple[type, type]],
        scopes: Mapping[str, set[str]],
        internal: Mapping[str, set[str]],
    ) -> None:
        self._faces = faces
        self._scopes = scopes
        self._internal = internal
        self._names: dict[Any, str] = {kind: name for name, pair in faces.items() for kind in pair}

    # --- types in words that mean the same on both sides

    def describe(self, annotation: Any, owner: type) -> str:
        """A type, in words."""
        if annotation is None or annotation is type(None):
            return "None"
        if annotation is Self:
            return self._names[owner]
        if isinstance(annotation, TypeVar):
            return annotation.__name__
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is None:
            assert not isinstance(annotation, str), f"{annotation!r} is not resolved"
            return self._names.get(annotation) or self._name(annotation)
        if origin in (Union, types.UnionType):
            return " | ".join(sorted(self.describe(each, owner) for each in arguments))
        if origin is typing.Literal:
            return f"Literal{list(arguments)}"
        if origin is AsyncGenerator:
            arguments = arguments[:1]  # what it yields; nothing is sent into it
        origin = GENERICS.get(origin, origin)
        inner = ", ".join("..." if each is ... else self.describe(each, owner) for each in arguments)
        return f"{self._names.get(origin) or self._name(origin)}[{inner}]"

    @staticmethod
    def _name(kind: Any) -> str:
        return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', kind)}".removeprefix("builtins.")

    def parameters(self, function: Callable[..., Any], owner: type) -> list[Parameter]:
        """The parameters, without self."""
        found = hints(function)
        return [
            (each.name, each.kind, each.default, self.describe(found[each.name], owner))
            for each in inspect.signature(function).parameters.values()
            if each.name != "self"
        ]

    def returned(self, function: Callable[..., Any], owner: type) -> str:
        """The type of the result; of a coroutine function, that of what is awaited."""
        return self.describe(hints(function)["return"], owner)

    # --- classes

    def differences(self) -> list[str]:
        """What is not in step, of all classes."""
        return [each for name in self._faces for each in self._of_class(name)]

    def _of_class(self, name: str) -> Iterator[str]:
        there, here = self._faces[name]
        theirs, ours = self._members(there), self._members(here)
        for internal in self._internal.get(name, set()):
            del theirs[internal]
        if "__anext__" in theirs:
            # Two ways to the next one: with a timeout, and by iterating.
            yield from self._match(name, "__anext__", theirs["__anext__"], "next", ours.pop("next", None))
            yield from self._iteration(name, theirs.pop("__anext__"), ours.pop("__next__", None))
        for member, thing in theirs.items():
            renamed = RENAMED.get(member, member.replace("__a", "__", 1) if member.startswith("__a") else member)
            yield from self._match(name, member, thing, renamed, ours.pop(renamed, None))
        for member in ours:
            yield f"{name}.{member} is only in the synchronous one"

    @staticmethod
    def _members(kind: type) -> dict[str, Any]:
        found = {
            member: inspect.getattr_static(kind, member)
            for member in dir(kind)
            if not member.startswith("_") or member in SPECIAL
        }
        annotated = {member: None for base in kind.__mro__ for member in vars(base).get("__annotations__", {})}
        return found | {member: None for member in annotated if not member.startswith("_") and member not in found}

    def _match(self, name: str, member: str, theirs: Any, renamed: str, ours: Any) -> Iterator[str]:
        where = f"{name}.{renamed}"
        there, here = self._faces[name]
        if ours is None:
            yield f"{where} is missing"
        elif member in ("__aexit__", "__aenter__"):
            yield from self._scope(where, there, here, member, theirs, ours)
        elif not inspect.isfunction(theirs):
            yield from self._fact(where, there, here, member, theirs, ours)
        elif not inspect.isfunction(ours):
            yield f"{where} is no method"
        else:
            has_timeout = (
                inspect.iscoroutinefunction(theirs)
                or inspect.isasyncgenfunction(theirs)
                or member in self._scopes.get(name, ())
            )
            for their, our, what in self._overloads(theirs, ours, where):
                expected = self.parameters(their, there) + ([TIMEOUT] if has_timeout else [])
                yield from self._compare(what, expected, self.parameters(our, here))
                yield from self._compare(f"{what} ->", self.returned(their, there), self.returned(our, here))
                if inspect.iscoroutinefunction(our) or inspect.isasyncgenfunction(our):
                    yield f"{what} is asynchronous"

    @staticmethod
    def _overloads(theirs: Any, ours: Any, where: str) -> Iterator[tuple[Any, Any, str]]:
        yield theirs, ours, where
        both = typing.get_overloads(theirs), typing.get_overloads(ours)
        if len(both[0]) != len(both[1]):
            raise AssertionError(f"{where} has {len(both[0])} overloads on one side, {len(both[1])} on the other")
        for number, (their, our) in enumerate(zip(*both, strict=True)):
            yield their, our, f"{where} (overload {number})"

    def _fact(self, where: str, there: type, here: type, member: str, theirs: Any, ours: Any) -> Iterator[str]:
        """Something to look at; an attribute on one side may be a property on the other."""
        if not isinstance(ours, property):
            yield f"{where} is no property"
            return
        if isinstance(theirs, property):
            expected = self.returned(typing.cast("Any", theirs.fget), there)
        else:
            kinds = [base for base in there.__mro__ if member in vars(base).get("__annotations__", {})]
            if not kinds:
                yield f"{where} has no type on the asynchronous side"
                return
            # The module that a public class names is not the one where it was written.
            names = next(each.__globals__ for each in vars(kinds[0]).values() if inspect.isfunction(each))
            expected = self.describe(eval(vars(kinds[0])["__annotations__"][member], names), there)
        yield from self._compare(f"{where} ->", expected, self.returned(typing.cast("Any", ours.fget), here))

    def _scope(self, where: str, there: type, here: type, member: str, theirs: Any, ours: Any) -> Iterator[str]:
        yield from self._compare(where, self.parameters(theirs, there), self.parameters(ours, here))
        if member == "__aenter__":
            yield from self._compare(f"{where} ->", self.returned(theirs, there), self.returned(ours, here))
        elif self.returned(ours, here) != "None":
            yield f"{where} -> a thread is never cancelled, so there is nothing to hold back"

    def _iteration(self, name: str, theirs: Any, ours: Any) -> Iterator[str]:
        there, here = self._faces[name]
        if ours is None:
            yield f"{name}.__next__ is missing"
            return
        yield from self._compare(f"{name}.__next__", [], self.parameters(ours, here))
        yield from self._compare(f"{name}.__next__ ->", self.returned(theirs, there), self.returned(ours, here))

    @staticmethod
    def _compare(where: str, expected: object, found: object) -> Iterator[str]:
        if expected != found:
            yield f"{where}: expected {expected}, found {found}"


COMPARISON = Comparison(FACES, SCOPES, INTERNAL)


def test_every_adapter_offers_the_same_names() -> None:
    assert sorted(zk_trio.__all__) == sorted(zk_anyio.__all__)
    assert {*zk_blocking.__all__} - {*zk_trio.__all__} == {"LockAttempt"}
    assert {*zk_trio.__all__} <= {*zk_blocking.__all__}


def test_what_is_no_face_is_the_same_thing() -> None:
    for name in zk_trio.__all__:
        if name not in {"open_client", "four_letter_word"}:
            assert getattr(zk_trio, name) is getattr(zk_anyio, name), name
            if name not in FACES:
                assert getattr(zk_trio, name) is getattr(zk_blocking, name), name
    for name, (there, here) in FACES.items():
        assert getattr(zk_blocking, name) is here
        assert getattr(zk_trio, name, TryLock) is there


def test_every_face_is_compared() -> None:
    """Whatever is not the same thing on both sides has a pair here."""
    differ = {
        name
        for name in zk_blocking.__all__
        if isinstance(getattr(zk_blocking, name), type)
        and getattr(zk_blocking, name) is not getattr(zk_trio, name, None)
    }
    assert differ == {*FACES}


def test_the_classes_are_in_step() -> None:
    assert COMPARISON.differences() == []


def written(function: Callable[..., Any]) -> list[tuple[str, Any, Any, str]]:
    """The parameters, with their types as they are written."""
    parameters = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default, each.annotation) for each in parameters]


@pytest.mark.parametrize("adapter", [zk_trio, zk_anyio])
def test_open_client(adapter: types.ModuleType) -> None:
    there, here = adapter.open_client, zk_blocking.open_client
    assert written(there) == written(here)
    assert inspect.signature(there).return_annotation == "AsyncIterator[Client]"
    assert inspect.signature(here).return_annotation == "AbstractContextManager[Client]"


@pytest.mark.parametrize("adapter", [zk_trio, zk_anyio])
def test_four_letter_word(adapter: types.ModuleType) -> None:
    """It has its own timeout on both sides."""
    there, here = adapter.four_letter_word, zk_blocking.four_letter_word
    assert inspect.iscoroutinefunction(there)
    assert not inspect.iscoroutinefunction(here)
    assert written(there) == written(here)
    assert inspect.signature(there).return_annotation == inspect.signature(here).return_annotation == "str"


# --- The checker itself, on classes made up for it ---

T = TypeVar("T")


class Stream(Generic[T]):
    seen: T

    def waiter(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[T]:
        raise NotImplementedError

    async def __anext__(self) -> T:
        raise NotImplementedError

    async def aclose(self) -> None: ...


class Thing:
    @property
    def state(self) -> int | None:
        return None

    def __len__(self) -> int:
        return 0

    def at(self, path: str) -> Self:
        return self

    async def get(self, path: str, *, deep: bool = False) -> list[bytes | None]:
        return []

    async def walk(self, path: str = "/") -> AsyncGenerator[tuple[str, int], None]:
        yield "", 0

    @overload
    def watch(self, path: str, *, kind: typing.Literal[1]) -> Stream[bool]: ...

    @overload
    def watch(self, path: str, *, kind: int = 0) -> Stream[int]: ...

    def watch(self, path: str, *, kind: int = 0) -> Stream[Any]:
        return Stream()


SYNC = """
from __future__ import annotations
import types
from collections.abc import Iterator
from typing import Any, Generic, Literal, Self, TypeVar, overload

T = TypeVar("T")

class SyncStream(Generic[T]):
    @property
    def seen(self) -> T: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None: ...
    def __iter__(self) -> Iterator[T]: ...
    def __next__(self) -> T: ...
    def next(self, *, timeout: float | None = None) -> T: ...
    def close(self, *, timeout: float | None = None) -> None: ...

class SyncThing:
    @property
    def state(self) -> int | None: ...
    def __len__(self) -> int: ...
    def at(self, path: str) -> SyncThing: ...
    def get(self, path: str, *, deep: bool = False, timeout: float | None = None) -> list[bytes | None]: ...
    def walk(self, path: str = "/", *, timeout: float | None = None) -> Iterator[tuple[str, int]]: ...
    @overload
    def watch(self, path: str, *, kind: Literal[1], timeout: float | None = None) -> SyncStream[bool]: ...
    @overload
    def watch(self, path: str, *, kind: int = 0, timeout: float | None = None) -> SyncStream[int]: ...
    def watch(self, path: str, *, kind: int = 0, timeout: float | None = None) -> SyncStream[Any]: ...
"""


NUMBERS = itertools.count()


def made_up(source: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    module = types.ModuleType(f"made_up_{next(NUMBERS)}")  # overloads are remembered by the name of the module
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where types are looked up
    exec(compile(source, module.__name__, "exec", dont_inherit=True), vars(module))
    faces = {"Stream": (Stream, module.SyncStream), "Thing": (Thing, module.SyncThing)}
    return Comparison(faces, {"Thing": {"watch"}}, {"Stream": {"waiter"}}).differences()


def test_the_checker_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made_up(SYNC, monkeypatch) == []


@pytest.mark.parametrize(
    "old, new, expected",
    [
        # A method, an attribute, a special method on one side only.
        ("    def get(", "    def got(", "Thing.get is missing"),
        ("    def at(", "    def more(self) -> None: ...\n    def at(", "Thing.more is only in the synchronous one"),
        ("    @property\n    def state(self) -> int | None: ...\n", "", "Thing.state is missing"),
        ("    @property\n    def seen", "    def seen", "Stream.seen is no property"),
        ("    def __len__(self) -> int: ...\n", "", "Thing.__len__ is missing"),
        ("    def __enter__(self) -> Self: ...\n", "", "Stream.__enter__ is missing"),
        ("    def __iter__(self) -> Iterator[T]: ...\n", "", "Stream.__iter__ is missing"),
        ("    def __next__(self) -> T: ...\n", "", "Stream.__next__ is missing"),
        ("    def next(", "    def following(", "Stream.next is missing"),
        ("    def close(", "    def aclose(", "Stream.close is missing"),
        # Parameters: names, kinds, defaults, types, timeouts.
        ("def get(self, path: str", "def get(self, where: str", "Thing.get: expected"),
        ("*, deep: bool = False, t", "deep: bool = False, *, t", "Thing.get: expected"),
        ("deep: bool = False", "deep: bool = True", "Thing.get: expected"),
        ("deep: bool = False", "deep: int = False", "Thing.get: expected"),
        ("deep: bool = False, timeout: float | None = None", "deep: bool = False", "Thing.get: expected"),
        ("deep: bool = False, timeout: float | None = None", "deep: bool = False, timeout: float = 1", "Thing.get: e"),
        ("def at(self, path: str", "def at(self, path: str, *, timeout: float | None = None", "Thing.at: expected"),
        ('"/", *, timeout', '"/", timeout', "Thing.walk: expected"),
        ("def close(self, *, timeout: float | None = None)", "def close(self)", "Stream.close: expected"),
        ("def __next__(self)", "def __next__(self, timeout: float = 0)", "Stream.__next__: expected"),
        ("error: BaseException | None", "error: Exception | None", "Stream.__exit__: expected"),
        # What comes back.
        ("-> list[bytes | None]", "-> list[bytes]", "Thing.get ->: expected"),
        ("-> SyncThing", "-> SyncStream[int]", "Thing.at ->: expected"),
        ("-> Iterator[tuple[str, int]]", "-> list[tuple[str, int]]", "Thing.walk ->: expected"),
        ("def state(self) -> int | None", "def state(self) -> int", "Thing.state ->: expected"),
        ("def seen(self) -> T", "def seen(self) -> int", "Stream.seen ->: expected"),
        ("def __enter__(self) -> Self", "def __enter__(self) -> int", "Stream.__enter__ ->: expected"),
        (
            "traceback: types.TracebackType | None\n    ) -> None",
            "traceback: types.TracebackType | None\n    ) -> bool",
            "",
        ),
        ("def __next__(self) -> T", "def __next__(self) -> int", "Stream.__next__ ->: expected"),
        ("    def get(", "    async def get(", "Thing.get is asynchronous"),
        # Overloads.
        ("kind: Literal[1], t", "kind: Literal[2], t", "Thing.watch (overload 0): expected"),
        ("-> SyncStream[int]", "-> SyncStream[bytes]", "Thing.watch (overload 1) ->: expected"),
    ],
)
def test_the_checker_reports(old: str, new: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert old in SYNC
    found = made_up(SYNC.replace(old, new, 1), monkeypatch)
    assert found
    assert any(each.startswith(expected) for each in found), found


def test_the_checker_counts_overloads(monkeypatch: pytest.MonkeyPatch) -> None:
    first = SYNC.index("    @overload")
    second = SYNC.index("    @overload", first + 1)
    with pytest.raises(AssertionError, match="2 overloads on one side, 1 on the other"):
        made_up(SYNC[:first] + SYNC[second:], monkeypatch)
