"""Runs programs on two servers, says where they differ, and makes a failing program small."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tests.differential.known import KNOWN, Known
from tests.differential.mapping import Answer
from tests.differential.runner import AUDIT, SILENT, Janitor, Run, Seen
from tests.differential.sides import RealSide, Side
from tests.differential.steps import Burst, Call, Op, Program, Step, show


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two runs of a program differ first.

    Attributes:
        index: The step's place; that of the tree in the end is the program's length.
        step: The step, None for the tree in the end.
        real: What the real server's clients saw in that step.
        ours: What ours saw.
    """

    program: tuple[Step, ...]
    index: int
    real: Seen
    ours: Seen

    @property
    def step(self) -> Step | None:
        """The step; None for the look at the tree in the end."""
        return self.program[self.index] if self.index < len(self.program) else None

    def __str__(self) -> str:
        lines = [show(self.program[: self.index + 1]), f"step {self.index}: {self.step or 'the tree in the end'}"]
        for who in sorted(self.real.answers.keys() | self.ours.answers.keys()):
            real, ours = self.real.answers.get(who, []), self.ours.answers.get(who, [])
            if real != ours:
                lines += [f"  client {who if who != AUDIT else 'none'}"]
                lines += _side_by_side(real, ours)
        return "\n".join(lines)


def _side_by_side(real: Sequence[Answer], ours: Sequence[Answer]) -> list[str]:
    lines = []
    for place in range(max(len(real), len(ours))):
        pair = [each[place] if place < len(each) else None for each in (real, ours)]
        if pair[0] == pair[1]:
            lines.append(f"    both  {pair[0]}")
            continue
        for name, answer in zip(("real", "ours"), pair, strict=True):
            lines.append(f"    {name}  {answer if answer is not None else 'nothing'}")
        if all(pair) and str(pair[0]) == str(pair[1]):
            lines += [
                f"    {name}  {answer.raw.hex()}" for name, answer in zip(("real", "ours"), pair, strict=True) if answer
            ]
    return lines


def _simpler(step: Step) -> Iterator[Step]:
    """Steps that do a little less than this one."""
    match step:
        case Burst(who, ops):
            for place in range(len(ops) if len(ops) > 1 else 0):
                yield Burst(who, ops[:place] + ops[place + 1 :])
            if len(ops) == 1:
                yield Call(who, ops[0])
        case Call(who, Op(name="multi" | "multiRead") as op):
            inner = op.args[0]
            for place in range(len(inner)):
                yield replace(step, op=Op(op.name, inner[:place] + inner[place + 1 :]))
        case Call():
            if step.who:
                yield replace(step, who=step.who - 1)


@dataclass(slots=True)
class Comparison:
    """Two servers, and what was counted.

    Attributes:
        make_other: Makes the server to be compared with the real one; a new one for each program.
        profile: What the real server is compared as.
        known: The differences that are accepted.
        steps: Steps run and compared.
        programs: Programs of which they were part.
        met: How often each accepted difference was met.
    """

    real: RealSide
    make_other: Callable[[], Side]
    profile: str
    known: Sequence[Known] = KNOWN
    steps: int = 0
    programs: int = 0
    met: Counter[str] = field(default_factory=Counter)
    _roots: int = 0
    _janitor: Janitor | None = None

    def compare(self, program: Program) -> Difference | None:
        """Run a program on both; return where they differ, unless that is known."""
        self._roots += 1
        root = f"/d{self._roots:07d}"
        real = self._run_real(program, root)
        other = self.make_other()
        ours = Run(other, Janitor(other), root, answers_check=self.profile != "3.8")
        ours.run(program)
        if isinstance(other, RealSide):
            ours.clean()
        self.programs += 1
        for index in range(max(len(real), len(ours.seen))):
            seen = [each[index] if index < len(each) else Seen({AUDIT: [SILENT]}) for each in (real, ours.seen)]
            self.steps += index < len(program)
            if seen[0].answers == seen[1].answers:
                continue
            found = Difference(tuple(program), index, seen[0], seen[1])
            known = self._known(found)
            if known is None:
                return found
            self.met[known.name] += 1
            if known.ends:
                break
        return None

    def reduce(self, found: Difference, limit: int = 2000) -> Difference:
        """Leave out steps, and parts of steps, for as long as there is a difference."""
        best = found

        def differs(steps: Sequence[Step]) -> bool:
            nonlocal best, limit
            limit -= 1
            again = self.compare(steps) if steps and limit > 0 else None
            if again is None:
                return False
            best = again
            return True

        size = max((found.index + 1) // 2, 1)
        while True:
            at, smaller = 0, False
            while at < len(steps := best.program[: best.index + 1]):
                if differs(steps[:at] + steps[at + size :]):
                    smaller = True
                else:
                    at += size
            if size == 1 and not smaller:
                break
            size = max(size // 2, 1)
        at = 0
        while at < len(steps := best.program[: best.index + 1]):
            at += not any(differs((*steps[:at], simpler, *steps[at + 1 :])) for simpler in _simpler(steps[at]))
        return best

    def _run_real(self, program: Program, root: str) -> list[Seen]:
        if self._janitor is None:
            self._janitor = Janitor(self.real)
        run = Run(self.real, self._janitor, root, answers_check=self.profile != "3.8")
        run.run(program)
        if SILENT in run.seen[-1].answers.get(AUDIT, []):
            self._janitor.close()
            self._janitor = None
            self.real.heal()
        else:
            run.clean()
        return run.seen

    def _known(self, found: Difference) -> Known | None:
        if found.step is None:
            return None
        for known in self.known:
            if self.profile in known.profiles and known.applies(found.step, found.real, found.ours):
                return known
        return None

    def close(self) -> None:
        """Leave the real server."""
        if self._janitor is not None:
            self._janitor.close()
