"""Draws a state machine from its table of rules: an SVG, and a table in words. No program and no network is needed.

Where the states stand is decided here, by hand; which arrows there are comes from the rules alone. What happens to
every state that is not final, with the same result, is drawn once, from the frame around them.
"""

import ast
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from math import hypot
from typing import Any, TypeAlias

from zk_sansio.session import (
    CONNECTION_RULES,
    SESSION_RULES,
    ConnectionInput,
    ConnectionState,
    SessionInput,
    SessionState,
)

SOURCE = "zk_sansio.session._states"
"""Where the states are described."""

Rules: TypeAlias = Mapping[Any, Mapping[Any, Any]]
Point: TypeAlias = tuple[float, float]

WIDTH, HEIGHT = 128, 38
"""Of the box of a state."""
FONT = 13


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A state machine, and how it is laid out.

    Attributes:
        name: what it is called in the SVG.
        title: for readers who do not see it.
        rules: the table.
        inputs: what may happen.
        places: the centre of each state.
        bends: by how much arrows swerve to their left, in pixels, where they are not straight.
        shifts: where on an arrow its label is, from 0 to 1, if not in the middle.
        serving: the states in which requests are answered.
        margin: between the boxes and the frame, above and below.
        size: of the whole picture.
    """

    name: str
    title: str
    rules: Rules
    inputs: type[Enum]
    places: Mapping[Any, Point]
    bends: Mapping[tuple[Any, Any], float] = field(default_factory=dict)
    shifts: Mapping[tuple[Any, Any], float] = field(default_factory=dict)
    serving: frozenset[Any] = frozenset()
    margin: float = 36
    size: tuple[int, int]


S, C = SessionState, ConnectionState

MACHINES = {
    "session": Machine(
        name="session",
        title="The states of a session",
        rules=SESSION_RULES,
        inputs=SessionInput,
        places={
            S.CONNECTING: (105, 190),
            S.CONNECTED: (350, 90),
            S.READ_ONLY: (350, 290),
            S.SUSPENDED: (560, 190),
            S.PRESUMED_LOST: (785, 190),
            S.EXPIRED: (190, 470),
            S.AUTH_FAILED: (445, 470),
            S.CLOSED: (700, 470),
        },
        bends={
            (S.CONNECTED, S.SUSPENDED): 28,
            (S.SUSPENDED, S.CONNECTED): 14,
            (S.READ_ONLY, S.SUSPENDED): 14,
            (S.SUSPENDED, S.READ_ONLY): 28,
            (S.PRESUMED_LOST, S.CONNECTED): -90,
            (S.PRESUMED_LOST, S.READ_ONLY): 90,
        },
        shifts={
            (S.CONNECTED, S.SUSPENDED): 0.55,
            (S.SUSPENDED, S.CONNECTED): 0.55,
            (S.READ_ONLY, S.SUSPENDED): 0.45,
            (S.SUSPENDED, S.READ_ONLY): 0.45,
        },
        serving=frozenset({S.CONNECTED, S.READ_ONLY}),
        margin=56,
        size=(880, 510),
    ),
    "connection": Machine(
        name="connection",
        title="The states of one connection",
        rules=CONNECTION_RULES,
        inputs=ConnectionInput,
        places={
            C.HANDSHAKE: (95, 70),
            C.AUTHENTICATING: (305, 70),
            C.RESTORING: (560, 70),
            C.SERVING: (785, 70),
            C.CLOSING: (560, 200),
            C.ENDED: (440, 330),
        },
        serving=frozenset({C.SERVING}),
        size=(880, 370),
    ),
}


def label(happened: Enum) -> str:
    """The short name of an input, as the arrows have it."""
    return happened.name.lower().replace("_", " ")


def common(rules: Rules) -> dict[Any, Any]:
    """The inputs with one and the same final result in every state that is not final, and these results."""
    live = [row for row in rules.values() if row]
    first, *others = live
    return {
        happened: target
        for happened, target in first.items()
        if not rules[target] and all(row.get(happened) is target for row in others)
    }


def arrows(rules: Rules) -> list[tuple[Any, Any, Any]]:
    """The rules that are not common: state, input, next state."""
    shared = common(rules)
    return [
        (state, happened, to) for state, row in rules.items() for happened, to in row.items() if happened not in shared
    ]


# --- the picture


@dataclass(frozen=True)
class Label:
    """A piece of text and the centre of its place."""

    text: str
    x: float
    y: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, as wide as a wide font makes it."""
        half = len(self.text) * FONT * 0.29
        return self.x - half, self.y - FONT * 0.6, self.x + half, self.y + FONT * 0.6


class Picture:
    """The SVG of one machine, as it grows.

    Attributes:
        labels: the texts beside arrows, for a test that none lies on another.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.labels: list[Label] = []
        self._lines: list[str] = []

    def svg(self) -> str:
        """Draw everything."""
        machine = self.machine
        width, height = machine.size
        live = [state for state, row in machine.rules.items() if row]
        frame = self._frame([machine.places[state] for state in live])
        for happened, target in common(machine.rules).items():
            self._from_frame(frame, live, happened, target)
        for state, happened, target in arrows(machine.rules):
            self._arrow(state, happened, target)
        boxes = [self._state(state, final=not row) for state, row in machine.rules.items()]
        texts = [f'<text class="input" x="{t.x:.0f}" y="{t.y:.0f}">{escape(t.text)}</text>' for t in self.labels]
        name = machine.name
        return "\n".join([*self._head(name, width, height), *self._lines, *boxes, *texts, "</svg>"])

    def _head(self, name: str, width: int, height: int) -> list[str]:
        view = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        size = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"'
        return [
            f'<svg class="state-machine" {view} role="img" aria-labelledby="{name}-title">',
            f'<title id="{name}-title">{escape(self.machine.title)}</title>',
            f'<defs><marker id="{name}-tip" {size}><path class="tip" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        ]

    def _frame(self, places: list[Point]) -> tuple[float, float, float, float]:
        margin_x, margin_y = WIDTH / 2 + 22, HEIGHT / 2 + self.machine.margin
        left, right = min(x for x, _ in places) - margin_x, max(x for x, _ in places) + margin_x
        top, bottom = min(y for _, y in places) - margin_y, max(y for _, y in places) + margin_y
        self._lines.append(
            f'<rect class="frame" x="{left:.0f}" y="{top:.0f}" width="{right - left:.0f}" '
            f'height="{bottom - top:.0f}" rx="12"/>'
        )
        return left, top, right, bottom

    def _path(self, d: str, states: str, happened: Enum, target: Enum) -> None:
        self._lines.append(
            f'<path class="arrow" data-from="{states}" data-input="{happened.name}" data-to="{target.name}" '
            f'marker-end="url(#{self.machine.name}-tip)" d="{d}"/>'
        )

    def _from_frame(
        self, frame: tuple[float, float, float, float], live: list[Any], happened: Any, target: Any
    ) -> None:
        x, y = self.machine.places[target]
        start, end = frame[3], y - HEIGHT / 2
        states = " ".join(state.name for state in live)
        self._path(f"M{x:.0f} {start:.0f} L{x:.0f} {end:.0f}", states, happened, target)
        self.labels.append(Label(label(happened), x, (start + end) / 2))

    def _arrow(self, state: Any, happened: Any, target: Any) -> None:
        (x, y), (to_x, to_y) = self.machine.places[state], self.machine.places[target]
        if state is target:
            x, top = x + 24, y - HEIGHT / 2
            loop = f"C{x - 30:.0f} {top - 38:.0f} {x + 30:.0f} {top - 38:.0f} {x + 18:.0f} {top:.0f}"
            self._path(f"M{x - 18:.0f} {top:.0f} {loop}", state.name, happened, target)
            self.labels.append(Label(label(happened), x, top - 30))
            return
        length = hypot(to_x - x, to_y - y)
        bend = self.machine.bends.get((state, target), 0.0)
        # The control point of the curve, to the left of the way, and what the curve is clipped to.
        control = ((x + to_x) / 2 + bend * 2 * (to_y - y) / length, (y + to_y) / 2 - bend * 2 * (to_x - x) / length)
        begin, end = border((x, y), control), border((to_x, to_y), control)
        at = self.machine.shifts.get((state, target), 0.5)
        self._path(
            f"M{begin[0]:.1f} {begin[1]:.1f} Q{control[0]:.1f} {control[1]:.1f} {end[0]:.1f} {end[1]:.1f}",
            state.name,
            happened,
            target,
        )
        weights = ((1 - at) ** 2, 2 * at * (1 - at), at**2)
        where = [sum(w * p[i] for w, p in zip(weights, (begin, control, end), strict=True)) for i in (0, 1)]
        self.labels.append(Label(label(happened), *where))

    def _state(self, state: Any, *, final: bool) -> str:
        x, y = self.machine.places[state]
        kind = "final" if final else "serving" if state in self.machine.serving else "live"
        left, top = x - WIDTH / 2, y - HEIGHT / 2
        return (
            f'<g class="state {kind}" data-state="{state.name}"><rect x="{left:.0f}" y="{top:.0f}" width="{WIDTH}" '
            f'height="{HEIGHT}" rx="8"/><text x="{x:.0f}" y="{y:.0f}">{escape(state.value)}</text></g>'
        )


def border(centre: Point, towards: Point) -> Point:
    """Where the way from the centre of a state's box to a point leaves the box."""
    dx, dy = towards[0] - centre[0], towards[1] - centre[1]
    gap = 3
    scale = min(
        (WIDTH / 2 + gap) / abs(dx) if dx else float("inf"),
        (HEIGHT / 2 + gap) / abs(dy) if dy else float("inf"),
    )
    return centre[0] + dx * scale, centre[1] + dy * scale


# --- the tables


def meanings(states: type[Enum]) -> dict[Any, str]:
    """What the source says below each member of an enumeration; Python itself does not keep it."""
    source = inspect.getsource(importlib.import_module(SOURCE))
    (tree,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == states.__name__
    ]
    found = {}
    for member, text in zip(tree.body, tree.body[1:], strict=False):
        match member, text:
            case ast.Assign(targets=[ast.Name(name)]), ast.Expr(ast.Constant(str(doc))):
                found[states[name]] = " ".join(doc.split())
    return found


def state_table(machine: Machine) -> list[str]:
    """The states in words, as a table in Markdown."""
    rules = machine.rules
    told = meanings(type(next(iter(rules))))
    shared = common(rules)
    lines = ["| State | What it means | What follows |", "|---|---|---|"]
    for state, row in rules.items():
        own = {happened: to for happened, to in row.items() if happened not in shared}
        lines.append(f"| *{state.value}* | {told[state]} | {follows(own) or ('' if row else 'nothing')} |")
        if row and not any(rules[later] for later in list(rules)[list(rules).index(state) + 1 :]):
            lines.append(f"| every state above | | {follows(shared)} |")
    return lines


def follows(row: Mapping[Any, Any]) -> str:
    """What happens, and where it leads to."""
    return "; ".join(f"{label(happened)} → *{to.value}*" for happened, to in row.items())


def input_table(machine: Machine) -> list[str]:
    """What may happen, in words, as a table in Markdown."""
    lines = ["| What happens | In words |", "|---|---|"]
    return [*lines, *(f"| {label(happened)} | {happened.value} |" for happened in machine.inputs)]
