"""Which frames a QEMU that was stopped may have read from the tap and not delivered: nobody can ask it.

It reads in order. So they are the last that entered the tap, before those that still wait there; two at most, because
it reads one frame per queue before it notices that the VM stands still. What the guest has confirmed, or what lies in
its memory, was delivered, and so was all that entered before it.

What entered after those that wait was on its way when the switch was told to send nothing there any more. It may be
taken out of the tap still, or QEMU may read it: the VM stands still by then, so what is not taken out was swallowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from godwit.network.delivered import HEAD_BYTES
from godwit.network.ring import Frame
from godwit.network.tcp import Segment, is_reached, segment_in, that_may_acknowledge, that_may_reach

MOST = 2
"""Frames per queue."""
LAG_MS = 1.0
"""QEMU reads a frame within this time after it entered the tap, unless it lags behind."""
LATE_MOST = 256
"""On their way to a tap, on all CPUs, when the switch was told."""
WITHIN_MS = 10.0
"""Before STOP; what it read earlier was delivered, since the guest ran."""


@dataclass(frozen=True)
class Seen:
    """What is known of one tap."""

    entered: Sequence[Frame]
    """On their way to the guest, the last ones."""
    said: Sequence[Frame] = ()
    """By the guest, the last ones; headers are enough."""
    in_memory: Sequence[bytes] = ()
    """How what begins that was put into the guest's memory last, `HEAD_BYTES` of each."""


def swallowed(seen: Seen, drained: Sequence[Frame], *, stopped_at_ms: float) -> list[Frame]:
    """The frames that may be lost, in order, when those drained were still waiting in the tap.

    One that entered a while before STOP was delivered then, unless QEMU lagged behind: if the first of those drained
    had waited already, the one before it was read just before STOP, whenever it entered.
    """
    kept, first, _ = _parted(seen.entered, drained)
    earlier, last = [frame.data for frame in kept[:-MOST]], kept[-MOST:]
    if not (first and first.at_ms < stopped_at_ms - LAG_MS):
        last = [frame for frame in last if frame.at_ms >= stopped_at_ms - WITHIN_MS]
    for number in reversed(range(len(last))):
        before = [*earlier, *(frame.data for frame in last[:number])]
        if _is_confirmed(last[number], seen.said, before) or _is_there(last[number], seen.in_memory, before):
            return last[number + 1 :]
    return last


def late(entered: Sequence[Frame], drained: Sequence[Frame]) -> list[Frame]:
    """Those that entered after all that were drained; none if none were, because then nothing tells them apart."""
    return _parted(entered, drained)[2]


def left_out(coming: Iterable[Frame], taken: Iterable[Frame]) -> list[Frame]:
    """Those of the late ones that nobody has taken out of the tap."""
    left = Counter(frame.data for frame in taken)
    found = []
    for frame in coming:
        if left[frame.data]:
            left[frame.data] -= 1
        else:
            found.append(frame)
    return found


def _parted(entered: Iterable[Frame], drained: Sequence[Frame]) -> tuple[list[Frame], Frame | None, list[Frame]]:
    """Those that QEMU may have read; the first of those drained; and those that came after these.

    Two CPUs may bring frames to a tap in another order than they were seen in: what entered between those that waited
    counts as read.
    """
    kept, waiting, left = list(entered), Counter(frame.data for frame in drained), len(drained)
    between: list[Frame] = []
    after: list[Frame] = []
    first = None
    while kept and left and len(between) + len(after) < LATE_MOST:
        frame = kept.pop()
        if waiting[frame.data]:
            waiting[frame.data] -= 1
            left, first = left - 1, frame
        else:
            (between if first else after).append(frame)
    if first is None:
        return list(entered), None, []
    return [*kept, *reversed(between)], first, after[::-1]


def _is_there(frame: Frame, in_memory: Sequence[bytes], before: Sequence[bytes]) -> bool:
    """The frame is in the guest's memory; one that looks as another did before proves nothing."""
    head = frame.data[:HEAD_BYTES]
    return any(each.startswith(head) for each in in_memory) and not any(each.startswith(head) for each in before)


def _is_confirmed(frame: Frame, said: Sequence[Frame], before: Sequence[bytes]) -> bool:
    """The guest has acknowledged the frame's last byte since, and no frame before it had brought that byte.

    So QEMU has delivered this frame, or one that entered later. A SYN is not judged: its port may have been used just
    before, and an acknowledgement of then would mean nothing.
    """
    segment = segment_in(frame.data)
    if segment is None or segment.is_syn or segment.start == segment.end:
        return False
    said_since = takewhile(lambda each: each.at_ms > frame.at_ms, reversed(said))
    return _is_acknowledged(segment, (each.data for each in said_since)) and not _is_brought(segment, before)


def _is_acknowledged(segment: Segment, said: Iterable[bytes]) -> bool:
    answers = map(segment_in, that_may_acknowledge(segment, said))
    return any(
        each and each.flow == segment.back and each.ack is not None and is_reached(segment.end, each.ack)
        for each in answers
    )


def _is_brought(segment: Segment, before: Sequence[bytes]) -> bool:
    """One of the frames carries the segment's last byte, too, or had to follow it."""
    others = map(segment_in, that_may_reach(segment, before))
    return any(each and each.flow == segment.flow and is_reached(segment.end, each.end) for each in others)
