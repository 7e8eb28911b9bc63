"""Runs the model of the hand-over through every state, and tells the shortest way to whatever must not be.

P0 no cue comes for which the table has no row. P1 never two copies run, none starts that is stale, and none is ended
by an agent that is the last of the newest state. P2 from every state, with no more faults, agents and QEMUs come to
rest, and then one copy runs or none of the newest state is left. P3 while no QEMU died, such a copy is left.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass

from godwit.core.ownership import Ownership
from godwit.testing.model import successors
from godwit.testing.model_world import Rules, World, beginning, has_current_copy, running

S = Ownership

AT_REST = {S.own, S.done, S.lost, S.died}, {S.running, S.closed, S.died, S.lost}
"""Journals, source and destination, in which a hand-over may end."""


@dataclass(frozen=True)
class Verdict:
    """What was found; `trace`: if something is broken, the shortest way to it, what broke it last."""

    states: int
    moves: int
    broken: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = f"{self.states} states, {self.moves} moves: {self.broken or 'nothing is broken'}"
        return "\n".join([head, *(f"{number:3} {line}" for number, line in enumerate(self.trace, 1))])


class _Explored:
    """States by number, with the move by which each was first reached; the moves of nature backwards, for P2."""

    def __init__(self, first: World) -> None:
        self.worlds = [first]
        self.numbers = {first: 0}
        self.reached: list[tuple[int, str]] = [(-1, "")]
        self.backwards: list[array[int]] = [array("i")]
        self.moves = 0

    def meet(self, world: World, came_from: int, text: str, *, is_fault: bool) -> bool:
        """The state is known; whether it is new."""
        self.moves += 1
        is_new = world not in self.numbers
        number = self.numbers.setdefault(world, len(self.worlds))
        if is_new:
            self.worlds.append(world)
            self.reached.append((came_from, text))
            self.backwards.append(array("i"))
        if not is_fault:
            self.backwards[number].append(came_from)
        return is_new

    def trace(self, number: int) -> tuple[str, ...]:
        """How the state came about."""
        lines = []
        while number:
            number, text = self.reached[number]
            lines.append(text)
        return tuple(reversed(lines))

    def verdict(self, broken: str = "", number: int = 0, *last: str) -> Verdict:
        """With the way there if something is broken."""
        trace = (*self.trace(number), *last) if broken else ()
        return Verdict(len(self.worlds), self.moves, broken, trace)


def check(rules: Rules, *, limit: int = 10_000_000, loses_in_doubt: bool = False) -> Verdict:
    """All states are explored, or one of the properties is broken; `limit` states at most, then `RuntimeError`.

    `loses_in_doubt`: without evidence that it is current, the last copy may be ended, or kept frozen for a person.
    """
    explored = _Explored(beginning(rules))
    todo = deque([0])
    while todo:
        number = todo.popleft()
        for text, world, is_fault, broken in successors(explored.worlds[number], rules):
            broken = broken or _broken(world)
            if broken and not (loses_in_doubt and "last current copy" in broken):
                return explored.verdict(broken, number, text)
            if explored.meet(world, number, text, is_fault=is_fault):
                todo.append(len(explored.worlds) - 1)
        if len(explored.worlds) > limit:
            raise RuntimeError(f"more than {limit} states")
    return _comes_to_rest(explored, rules, loses_in_doubt)


def _broken(world: World) -> str:
    if running(world) > 1:
        return "two copies run"
    if not world.qemu_died and not has_current_copy(world):
        return "no QEMU died, and no current copy is left"
    return ""


def is_at_rest(world: World, loses_in_doubt: bool = False) -> bool:
    """Nothing is left to be done, and one copy runs, or none of the newest state is left."""
    here, there = AT_REST
    source, destination = world.source, world.destination
    source_rests = world.gone == "source" or (source.journal in here and not source.todo)
    destination_rests = world.gone == "destination" or (destination.journal in there and not destination.todo)
    kept = loses_in_doubt and source.journal == S.lost and running(world) == 0
    return source_rests and destination_rests and (running(world) == 1 or not has_current_copy(world) or kept)


def _comes_to_rest(explored: _Explored, rules: Rules, loses_in_doubt: bool) -> Verdict:
    """Every state has a way without faults to one at rest."""
    resting = [number for number, world in enumerate(explored.worlds) if is_at_rest(world, loses_in_doubt)]
    can = bytearray(len(explored.worlds))
    for number in resting:
        can[number] = 1
    while resting:
        for before in explored.backwards[resting.pop()]:
            if not can[before]:
                can[before] = 1
                resting.append(before)
    stuck = can.find(0)
    if stuck < 0:
        return explored.verdict()
    return explored.verdict("it never comes to rest", stuck, *_wanders(explored.worlds[stuck], rules))


def _wanders(world: World, rules: Rules) -> list[str]:
    """Where a state that never comes to rest goes without more faults, until it comes round."""
    met, lines = {world}, []
    while ahead := [each for each in successors(world, rules) if not each.is_fault and each.world not in met]:
        world = ahead[0].world
        met.add(world)
        lines.append(ahead[0].text)
    here, there = world.source, world.destination
    return [
        *lines,
        f"and so for ever: source {here.journal.upper()}, its QEMU: {world.leaving.at}; "
        f"destination {there.journal.upper()}, its QEMU: {world.arriving.at}; stream: {world.wire}",
    ]
