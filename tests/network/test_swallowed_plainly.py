"""The quick judgement of what was swallowed is that of a plain one, which reads every header of every frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as some
from tests.network.segments import ACK, FIN, SYN, Place, packet, six

from godwit.network.delivered import HEAD_BYTES
from godwit.network.frames import tagged
from godwit.network.ring import SAID_BYTES, VNET_NOTHING, Frame
from godwit.network.swallowed import LAG_MS, MOST, WITHIN_MS, Seen, swallowed
from godwit.network.tcp import is_reached, segment_in

STOP_MS = 1000.0
VM: Place = ("10.0.0.1", 80)
CLIENTS: tuple[Place, ...] = (("10.0.0.2", 40000), ("10.0.0.2", 40001))
NEAR_WHICH = (0, 0, 2**31, 2**32 - 200, 2**32 - 60_000)
"""Numbers: ordinary ones, opposite ones, and where they go round."""
VLANS: tuple[tuple[int, ...], ...] = ((), (), (5,), (6,), (5, 6))
SIZES = (0, 1, 100, 100, 200, 60_000)


def plain(seen: Seen, drained: Sequence[Frame]) -> list[Frame]:
    """As the module says, word for word."""
    kept, waiting, first = list(seen.entered), [frame.data for frame in drained], None
    while waiting and kept and kept[-1].data not in waiting:
        kept.pop()  # late
    for number in reversed(range(len(kept))):
        if kept[number].data in waiting:
            waiting.remove(kept[number].data)
            first = kept.pop(number)
    lagged = first is not None and first.at_ms < STOP_MS - LAG_MS
    doubtful = [frame for frame in kept[-MOST:] if lagged or frame.at_ms >= STOP_MS - WITHIN_MS]
    for number, frame in reversed(list(enumerate(doubtful))):
        before = [*kept[:-MOST], *doubtful[:number]]
        if is_delivered(frame, seen, before):
            return doubtful[number + 1 :]
    return doubtful


def is_delivered(frame: Frame, seen: Seen, before: Sequence[Frame]) -> bool:
    head = frame.data[:HEAD_BYTES]
    is_there = any(each.startswith(head) for each in seen.in_memory)
    if is_there and not any(each.data.startswith(head) for each in before):
        return True
    segment = segment_in(frame.data)
    if segment is None or segment.is_syn or segment.start == segment.end:
        return False
    answers = [segment_in(each.data) for each in seen.said if each.at_ms > frame.at_ms]
    others = [segment_in(each.data) for each in before]
    is_acknowledged = any(
        each and each.flow == segment.back and each.ack is not None and is_reached(segment.end, each.ack)
        for each in answers
    )
    return is_acknowledged and not any(
        each and each.flow == segment.flow and is_reached(segment.end, each.end) for each in others
    )


numbers = some.builds(
    lambda near, hundreds, more: (near + 100 * hundreds + more) % 2**32,
    some.sampled_from(NEAR_WHICH),
    some.integers(0, 3),
    some.sampled_from((0, 0, 0, 1)),
)
flags = some.sampled_from((ACK, ACK, ACK, ACK | FIN, SYN, SYN | ACK, 0))


@dataclass(frozen=True)
class Flow:
    """Who speaks with the VM, how."""

    client: Place
    make: Callable[..., bytes]
    vlans: tuple[int, ...]

    def frame(self, *, is_said: bool, **numbers: int) -> bytes:
        """To the VM, or what is kept of one that it said."""
        ends = (VM, self.client) if is_said else (self.client, VM)
        data = self.make(*ends, **numbers)
        for vlan in self.vlans:
            data = tagged(data, vlan)
        return data[:SAID_BYTES] if is_said else data


flows = some.builds(Flow, some.sampled_from(CLIENTS), some.sampled_from((packet, six)), some.sampled_from(VLANS))


@some.composite
def frames(draw: some.DrawFn, among: Sequence[Flow], *, is_said: bool) -> bytes:
    """One of these flows, or of none."""
    if draw(some.integers(0, 5)) == 0:
        return bytes(12) + b"\x08\x00" + draw(some.binary(min_size=1, max_size=3)).ljust(200, b"\0")
    flow, size = draw(some.sampled_from(among)), draw(some.sampled_from(SIZES))
    return flow.frame(is_said=is_said, seq=draw(numbers), ack=draw(numbers), size=size, flags=draw(flags))


@some.composite
def captures(draw: some.DrawFn) -> tuple[Seen, list[Frame]]:
    """What was seen of a tap, some of which was still waiting in it and some of which lies in the guest's memory."""

    def timed(data: list[bytes]) -> list[Frame]:
        times = sorted(draw(some.lists(some.integers(-30, 0), min_size=len(data), max_size=len(data))))
        return [Frame(VNET_NOTHING, each, STOP_MS + at / 2) for each, at in zip(data, times, strict=True)]

    few = draw(some.lists(flows, min_size=1, max_size=3))  # so that they meet
    entered = timed(draw(some.lists(frames(few, is_said=False), max_size=9)))
    said = timed(draw(some.lists(frames(few, is_said=True), max_size=5)))
    waiting = draw(some.integers(0, min(4, len(entered))))
    late = draw(some.integers(0, 2)) if waiting else 0
    in_memory = draw(some.lists(some.sampled_from(entered), max_size=3)) if entered else []
    heads = [frame.data[:HEAD_BYTES].ljust(HEAD_BYTES, b"?") for frame in in_memory]
    whole = [*entered, *(Frame(VNET_NOTHING, b"late%d" % each, STOP_MS) for each in range(late))]
    return Seen(whole, said, heads), entered[len(entered) - waiting :]


@settings(max_examples=500)
@given(captures())
def test_the_quick_judgement_is_the_plain_one(capture: tuple[Seen, list[Frame]]) -> None:
    seen, drained = capture
    assert swallowed(seen, drained, stopped_at_ms=STOP_MS) == plain(seen, drained)
