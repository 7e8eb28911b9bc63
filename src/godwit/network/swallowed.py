"""Which frames a QEMU that was stopped may have read from the tap and not delivered: nobody can ask it.

It reads in order. So they are the last that entered the tap, before those that still wait there; two at most, because
it reads one frame per queue before it notices that the VM stands still. What the guest has confirmed, or what lies in
its memory, was delivered, and so was all that entered before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from godwit.network.delivered import HEAD_BYTES
from godwit.network.ring import Frame
from godwit.network.tcp import Segment, is_reached, segment_in

MOST = 2
"""Frames per queue."""
LAG_MS = 1.0
"""QEMU reads a frame within this time after it entered the tap, unless it lags behind."""
WITHIN_MS = 10.0
"""Before STOP; what it read earlier was delivered, since the guest ran."""
_HEADERS_MOST = 96


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
    kept, waiting, first = list(seen.entered), {frame.data for frame in drained}, None
    for _ in drained:
        if not kept or kept[-1].data not in waiting:
            break
        first = kept.pop()
    earlier, last = kept[:-MOST], kept[-MOST:]
    if not (first and first.at_ms < stopped_at_ms - LAG_MS):
        last = [frame for frame in last if frame.at_ms >= stopped_at_ms - WITHIN_MS]
    for number in reversed(range(len(last))):
        before = [*earlier, *last[:number]]
        if _is_confirmed(last[number], seen.said, before) or _is_there(last[number], seen.in_memory, before):
            return last[number + 1 :]
    return last


def _is_there(frame: Frame, in_memory: Sequence[bytes], before: Sequence[Frame]) -> bool:
    """The frame is in the guest's memory; one that looks as another did before proves nothing."""
    head = frame.data[:HEAD_BYTES]
    return any(each.startswith(head) for each in in_memory) and not any(each.data.startswith(head) for each in before)


def _is_confirmed(frame: Frame, said: Sequence[Frame], before: Sequence[Frame]) -> bool:
    """The guest has acknowledged the frame's last byte since, and no frame before it had brought that byte.

    So QEMU has delivered this frame, or one that entered later. A SYN is not judged: its port may have been used just
    before, and an acknowledgement of then would mean nothing.
    """
    segment = segment_in(frame.data)
    if segment is None or segment.is_syn or segment.start == segment.end:
        return False
    return _is_acknowledged(segment, frame.at_ms, said) and not any(_brings(each, segment) for each in before)


def _is_acknowledged(segment: Segment, since_ms: float, said: Sequence[Frame]) -> bool:
    for each in reversed(said):
        if each.at_ms <= since_ms:
            return False
        answer = segment_in(each.data)
        if answer and answer.flow == segment.back and answer.ack is not None and is_reached(segment.end, answer.ack):
            return True
    return False


def _brings(frame: Frame, segment: Segment) -> bool:
    """It carries the segment's last byte, too, or had to follow it."""
    ports = segment.flow[-4:]
    if ports not in frame.data[:_HEADERS_MOST]:  # a quick look: there are ten thousand
        return False
    other = segment_in(frame.data)
    return other is not None and other.flow == segment.flow and is_reached(segment.end, other.end)
