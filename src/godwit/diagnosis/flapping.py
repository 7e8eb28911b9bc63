"""A MAC address that comes by two ports in turn: two uplinks that are no channel, two copies, or a loop."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from statistics import median

from godwit.diagnosis.moves import Run, runs
from godwit.diagnosis.rules import Found
from godwit.diagnosis.sight import Kind
from godwit.diagnosis.story import Passage, Story

CHANGES, WITHIN_MS = 4, 10_000.0
"""So many changes in so short a time are no moves."""
OFTEN, OFTEN_MS = 3, 180_000.0
ONE_WAY = 0.95


def flapping(story: Story) -> Found | None:
    """Which of the causes it is, is told by the flows: a team keeps each flow on one uplink, copies do not."""
    found = [run for run in runs(story) if run.port is not None]
    turns = _turns(found)
    if not turns:
        return None
    period_ms = median([b - a for a, b in pairwise(turns)])
    frames = [(p, run.port) for run in found for p in run.passages if turns[0] - 1 <= p.at_ms <= turns[-1] + 1]
    counted = Counter(port for _, port in frames if port is not None).most_common(2)
    if len(counted) < 2 or counted[1][1] < CHANGES:
        return None
    ports = [port for port, _ in counted]
    names = " and ".join(story.port_name(each) for each in sorted(ports))
    often = f"its frames come by {names} in turn, {len(turns)} changes, one every {period_ms:.0f} ms"
    shown = tuple(run.passages[0] for run in found if turns[0] <= run.start_ms <= turns[-1])[:6]
    if _keeps_flows_apart(frames):
        what = f"{often}; each flow keeps to one of them: two uplinks of one host that the switch does not know as one"
        return Found("teaming-mismatch", turns[0], what, shown)
    if _is_doubled(frames):
        return Found("two-copies", turns[0], f"{often}, and both answer in the same connections: it runs twice", shown)
    return Found("mac-flapping", turns[0], often, shown)


def moved_too_often(story: Story) -> Found | None:
    """More moves of one address than fabrics bear."""
    moves = [each for each in story.moves if each.is_certain]
    for first, last in zip(moves, moves[OFTEN:], strict=False):
        if last.at_ms - first.at_ms <= OFTEN_MS:
            seconds = (last.at_ms - first.at_ms) / 1000
            what = f"{OFTEN + 1} moves within {seconds:.0f} s: fabrics take that for a loop and freeze the address"
            return Found(
                "moved-too-often", last.at_ms, what, tuple(each for m in moves for each in m.announcements[:1])
            )
    return None


def _turns(found: list[Run]) -> list[float]:
    """When the port changed, if it did so often enough in a short time."""
    changes = [run.start_ms for run in found[1:]]
    for index in range(len(changes) - CHANGES + 1):
        if changes[index + CHANGES - 1] - changes[index] <= WITHIN_MS:
            return changes[index:]
    return []


def _by_flow(frames: list[tuple[Passage, int | None]]) -> dict[tuple[object, ...], Counter[int | None]]:
    flows: dict[tuple[object, ...], Counter[int | None]] = defaultdict(Counter)
    for passage, port in frames:
        seen = passage.first
        if not seen.is_to_many:
            flows[(seen.kind is Kind.tcp, seen.ip_to, seen.port_from, seen.port_to)][port] += 1
    return flows


def _keeps_flows_apart(frames: list[tuple[Passage, int | None]]) -> bool:
    flows = [each for each in _by_flow(frames).values() if sum(each.values()) >= CHANGES]
    used = {each.most_common(1)[0][0] for each in flows}
    return len(used) > 1 and all(each.most_common(1)[0][1] >= ONE_WAY * sum(each.values()) for each in flows)


def _is_doubled(frames: list[tuple[Passage, int | None]]) -> bool:
    """Of some flow a good part comes by each port."""
    for counted in _by_flow(frames).values():
        shares = counted.most_common(2)
        if len(shares) == 2 and shares[1][1] >= CHANGES and shares[1][1] > 0.1 * shares[0][1]:
            return True
    return False
