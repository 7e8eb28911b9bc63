"""What a move will take, told before it begins: what was measured and what earlier moves took in, times and bytes out.

The passes of pre-copy are played through with the very function that will steer them, core/convergence.decide, through
a guest that writes as core/dirtying.py models it, and with what QEMU is known to do late.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from godwit.core.brake import NEVER_PERCENT, Brake, slowed
from godwit.core.convergence import (
    FIXED_MS,
    WIDEN_PASSES,
    WIDEN_S,
    Action,
    Decision,
    Goals,
    Sample,
    decide,
    limit_ms,
)
from godwit.core.dirtying import Dirtied, Dirtying, dirtying
from godwit.core.errors import Refused
from godwit.core.migration import MigrationRequest
from godwit.core.model import Accelerator, Fact
from godwit.core.report import Forecast
from godwit.core.wording import size

LEAST_FIXED_MS = 2.0
"""Nothing saves and loads devices faster."""
AROUND_MS = 400.0
"""What a move takes besides copying, where no earlier move tells: preparing and settling."""
THOROUGH_MS = 3000.0
"""What looking at how the guest writes takes more where there is a deadline."""
AFTER_SHARE, AFTER_S, AFTER_MOST_S = 0.1, 2.0, 6.0
"""Kept free of a deadline for what comes after the copying: that share, at least and at most so much. Settling takes
half a second, and undoing one (measured on busy hosts: up to five)."""
WARM_UP_MS = {Accelerator.tcg: 55.0, Accelerator.kvm: 2.0}
"""From RESUME to the guest's first answer: TCG translates everything anew (measured: 45 to 65 ms)."""
ENCRYPTED_BYTES_PER_S = {Accelerator.tcg: 1e8, Accelerator.kvm: 1e9}
PLAIN_BYTES_PER_S = {Accelerator.tcg: 2.5e8, Accelerator.kvm: 1e9}
"""Where no earlier move tells, a stream is not faster: by then processors are its limit (TCG: measured with two)."""
LINK_SHARE = 0.94
"""Of what a link carries, what arrives as memory: headers take the rest (1448 of 1538 bytes on the wire)."""
FEW = 3
"""Moves that tell too little alone: one that met a busy moment must not forbid the next."""
PASS_S = 0.1
"""A pass as long as this tells how the guest writes; shorter ones are looked at too late."""
ALIKE = 0.5
WEIGHT = 0.4
"""Of the newer one, where figures of several moves are smoothed."""
SYNC_S = 0.003
"""A pass takes so long however little is sent: QEMU asks which pages are dirty."""
ALLOWED_S = 0.03
"""From the decision to switch over until the manager allows it."""
HEEDED_S = 0.05
"""Until QEMU heeds a new limit, on average: it looks every 0.1 s."""


class Measured(Fact):
    """What the source measured before a move; 0: it did not."""

    link_bytes_per_s: int = 0
    """Between the two agents, over the migration network."""
    rtt_ms: float = 0.0
    resent: float = 0.0
    """Of what was sent for that, the share that had to be sent again."""
    resident_bytes: int = 0
    """Of the VM's memory, what the guest ever touched: the rest is zero and costs next to nothing."""
    dirtied: tuple[Dirtied, ...] = ()
    disk_bytes: dict[str, int] = {}
    """By disk that shall go: what its file takes."""
    idle_cpus: float = 0.0
    """Of the source's, over the last moments."""
    vcpu_share: float | None = None
    """The part of its vCPUs' time that the guest used meanwhile: any QEMU's only word for how it writes just now."""


NOTHING = Measured()


class Past(NamedTuple):
    """What an earlier move took."""

    same_vm: bool
    alike: bool
    """Encrypted, or not, as the one that is foretold."""
    around_ms: float
    """Besides copying and the blackout, and without THOROUGH_MS."""
    fixed_ms: float
    """Of the blackout, what did not depend on what remained; 0: not known."""
    stream_bytes_per_s: float
    sent_bytes: int
    """By the end of the first pass."""
    disk_bytes_per_s: float = 0.0
    """0: no disks went, or not enough to tell."""
    dirtied: tuple[Dirtied, ...] = ()
    """In its passes."""
    vcpu_share: float | None = None
    """The part of its vCPUs' time that the guest used just before it."""


class Grounds(NamedTuple):
    """What a forecast rests on."""

    first_bytes: int
    """To be sent in the first pass."""
    dirtying: Dirtying
    stream_bytes_per_s: float
    fixed_ms: float
    around_ms: float
    warm_up_ms: float
    least_fixed_ms: float = 0.0
    """The shortest that is known: whatever is below it cannot be promised."""
    vcpu_share: float = 1.0
    """The part of its vCPUs' time that the guest uses."""


def grounds(
    measured: Measured,
    past: Sequence[Past],
    *,
    memory_bytes: int,
    accelerator: Accelerator,
    request: MigrationRequest,
) -> Grounds:
    """What was measured now, corrected by what earlier moves over this link (oldest first) really took."""
    around_ms = smoothed([each.around_ms for each in past if each.alike] or [e.around_ms for e in past], AROUND_MS)
    fixed = [each.fixed_ms for each in past if each.fixed_ms and each.alike]
    fixed = fixed or [each.fixed_ms for each in past if each.fixed_ms]
    fixed += [FIXED_MS] if len(fixed) < FEW else []
    mine = [each for each in past if each.same_vm]
    link = measured.link_bytes_per_s * LINK_SHARE or math.inf
    most = (PLAIN_BYTES_PER_S if request.plaintext else ENCRYPTED_BYTES_PER_S)[accelerator]
    stream = smoothed([each.stream_bytes_per_s for each in past if each.stream_bytes_per_s], min(link, most))
    known = min(stream, link, request.bandwidth_bytes_per_s or math.inf)
    first = measured.resident_bytes or memory_bytes
    if mine and mine[-1].sent_bytes:
        first = mine[-1].sent_bytes
    return Grounds(
        first_bytes=first,
        dirtying=_dirtying(measured, mine[-1] if mine else None, memory_bytes),
        stream_bytes_per_s=known,
        fixed_ms=max(LEAST_FIXED_MS, statistics.median_low(fixed)),
        around_ms=around_ms + (THOROUGH_MS if request.deadline_s is not None else 0.0),
        warm_up_ms=WARM_UP_MS[accelerator],
        least_fixed_ms=max(LEAST_FIXED_MS, min(fixed)),
        vcpu_share=1.0 if measured.vcpu_share is None else measured.vcpu_share,
    )


def _dirtying(now: Measured, before: Past | None, memory_bytes: int) -> Dirtying:
    """As it writes now; what one sample cannot tell is as before, if it writes about as fast as then."""
    then = Dirtying(0.0, 0.0)
    if before:
        longer = [each for each in before.dirtied if each.seconds >= PASS_S]
        then = _calmed(dirtying(longer or before.dirtied, memory_bytes=memory_bytes), now, before)
    if not now.dirtied:
        return then
    found = dirtying(now.dirtied, memory_bytes=memory_bytes)
    alike = ALIKE <= found.bytes_per_s / max(then.bytes_per_s, 1.0) <= 1 / ALIKE
    if len(now.dirtied) == 1 and alike:
        return then._replace(bytes_per_s=found.bytes_per_s)
    return found


def _calmed(then: Dirtying, now: Measured, before: Past) -> Dirtying:
    """A guest that uses much less of its vCPUs than before its last move writes less by as much."""
    if now.vcpu_share is None or not before.vcpu_share:
        return then
    share = now.vcpu_share / before.vcpu_share
    return then._replace(bytes_per_s=then.bytes_per_s * share) if share < ALIKE else then


def smoothed(figures: Sequence[float], otherwise: float) -> float:
    """The newest ones count most; without any it is the other one."""
    value = figures[0] if figures else otherwise
    for each in figures[1:]:
        value += WEIGHT * (each - value)
    return value


class Course(NamedTuple):
    """A move as it is expected to go."""

    forecast: Forecast
    last: Decision
    samples: tuple[Sample, ...]


def play(grounds: Grounds, goals: Goals) -> Course:
    """The move, pass by pass, as the governor would steer it through a guest that behaves as modelled."""
    samples: list[Sample] = []
    elapsed_s, left, sent = 0.0, float(grounds.first_bytes), 0.0
    valve, brake = _Valve(goals), Brake(is_ready=goals.deadline_s is not None)
    while True:
        pass_s, goes = left / grounds.stream_bytes_per_s + SYNC_S, left
        elapsed_s, sent = elapsed_s + pass_s, sent + goes
        left = _slowed(grounds, brake.percent).within(pass_s)
        brake.pass_ended(elapsed_s, sent=goes, dirtied=left)
        samples.append(
            Sample(
                pass_number=len(samples) + 1,
                remaining_bytes=int(left),
                bandwidth_bytes_per_s=int(grounds.stream_bytes_per_s),
                dirty_bytes_per_s=int(left / pass_s),
                elapsed_s=elapsed_s,
                throttle_percent=brake.percent,
                vcpu_share=grounds.vcpu_share,
            )
        )
        decision = decide(samples, goals)
        rest_ms = 1000 * left / grounds.stream_bytes_per_s
        if decision.action is Action.give_up or valve.lets_through(rest_ms, decision, elapsed_s):
            if decision.action is not Action.give_up:
                decision = decision._replace(action=Action.switch, predicted_ms=grounds.fixed_ms + rest_ms)
            return Course(_forecast(grounds, samples, decision, sent + left), decision, tuple(samples))
        if decision.action in {Action.throttle, Action.relax}:
            brake.allow(decision.throttle_percent, decision.trigger_percent)


def _slowed(grounds: Grounds, percent: int) -> Dirtying:
    """The guest as it writes then."""
    guest = grounds.dirtying
    return guest._replace(bytes_per_s=guest.bytes_per_s * slowed(percent, grounds.vcpu_share))


class _Valve:
    """QEMU's downtime limit, as the governor opens it and as QEMU heeds it."""

    def __init__(self, goals: Goals) -> None:
        self._goals = goals
        self._limits: list[tuple[float, int]] = []
        """When QEMU heeds each, and what it is."""
        self._passes = 0

    def lets_through(self, rest_ms: float, decision: Decision, now_s: float) -> bool:
        """QEMU switches over at the end of this pass."""
        heeded = max((limit for at_s, limit in self._limits if at_s <= now_s), default=limit_ms(0, self._goals))
        if decision.action is Action.switch:
            self._open(decision.downtime_ms, now_s + HEEDED_S + (0.0 if self._limits else ALLOWED_S))
        self._passes += 1
        if self._limits and self._passes > WIDEN_PASSES and now_s - self._limits[-1][0] >= WIDEN_S - HEEDED_S:
            self._open(limit_ms(2 * self._limits[-1][1], self._goals), now_s + HEEDED_S)
        return rest_ms <= heeded

    def _open(self, limit: int, at_s: float) -> None:
        if not self._limits or limit > self._limits[-1][1]:
            self._limits.append((at_s, limit))
            self._passes = 0


def _forecast(grounds: Grounds, samples: Sequence[Sample], decision: Decision, sent: float) -> Forecast:
    blackout_ms = decision.predicted_ms
    return Forecast(
        total_ms=round(grounds.around_ms + samples[-1].elapsed_s * 1000 + blackout_ms, 1),
        blackout_ms=round(blackout_ms, 1),
        stall_ms=round(blackout_ms + grounds.warm_up_ms, 1),
        transferred_bytes=int(sent),
        passes=len(samples),
        throttle_percent=max(p for p in (0, *(each.throttle_percent for each in samples)) if p != NEVER_PERCENT),
        link_bytes_per_s=int(grounds.stream_bytes_per_s),
        dirty_bytes_per_s=int(grounds.dirtying.bytes_per_s),
        working_set_bytes=int(grounds.dirtying.working_set_bytes),
    )


def time_left_s(now: Sample, goals: Goals, memory_bytes: int) -> float | None:
    """Until the switch-over, the passes to come included, if the guest goes on as it does; none: not to be told yet."""
    if not now.bandwidth_bytes_per_s:
        return None
    writes = Dirtying(float(now.dirty_bytes_per_s), float(memory_bytes))
    here = Grounds(now.remaining_bytes, writes, float(now.bandwidth_bytes_per_s), goals.fixed_ms, 0.0, 0.0)
    return round(play(here, goals._replace(deadline_s=None)).samples[-1].elapsed_s, 2)


def goals(request: MigrationRequest, grounds: Grounds) -> Goals:
    """What the person asks for, as far as is known before.

    Looking thoroughly comes before the copying, and so does half of what is done besides.
    """
    before_ms = (grounds.around_ms + THOROUGH_MS) / 2  # around_ms has THOROUGH_MS in it where there is a deadline
    left_s = copying_s(request, elapsed_s=before_ms / 1000)
    usual = grounds.fixed_ms < request.max_blackout_ms
    return Goals(request.max_blackout_ms, left_s, grounds.fixed_ms if usual else grounds.least_fixed_ms)


def copying_s(request: MigrationRequest, *, elapsed_s: float) -> float | None:
    """What a deadline leaves for the copying, so many seconds after the request; none: there is no deadline."""
    if request.deadline_s is None:
        return None
    return request.deadline_s - elapsed_s - min(max(AFTER_S, AFTER_SHARE * request.deadline_s), AFTER_MOST_S)


def refuse(course: Course, request: MigrationRequest, grounds: Grounds) -> None:
    """Returns if the goals can be met; otherwise `Refused`, with numbers."""
    told = course.forecast
    if grounds.least_fixed_ms > request.max_blackout_ms:
        raise Refused(
            f"{request.vm} cannot be moved within --max-blackout {request.max_blackout_ms} ms: saving and loading its "
            f"devices takes {grounds.least_fixed_ms:.0f} ms here whatever remains; allow that much",
            "blackout-unreachable",
        )
    if request.deadline_s is not None and (told.total_ms or 0) > request.deadline_s * 1000:
        raise Refused(
            f"{request.vm} cannot be moved within --deadline {request.deadline_s:g} s: it needs "
            f"{(told.total_ms or 0) / 1000:.1f} s, {size(grounds.first_bytes)} "
            f"over {size(grounds.stream_bytes_per_s)}/s and {told.passes} pass{'es' if told.passes != 1 else ''}; "
            "allow that, or raise --bandwidth",
            "deadline-unreachable",
        )
    if course.last.action is Action.give_up:
        raise Refused(f"{request.vm} cannot be moved like that: {course.last.reason}", "does-not-converge")
