"""What a move will take, told before it begins: what was measured and what earlier moves took in, times and bytes out.

The guest is modelled by how many bytes it dirties within a time: D(t) = W (1 - exp(-r t / W)), which begins at the rate
`r` and ends at the working set `W` that it writes over and over. Two samples of different length tell both. The passes
of pre-copy are then played through with the very function that will steer them, core/convergence.decide.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from godwit.core.convergence import WIDEN_S, Action, Decision, Goals, Sample, decide, limit_ms
from godwit.core.errors import Refused
from godwit.core.migration import MigrationRequest
from godwit.core.model import Accelerator, Fact
from godwit.core.report import Forecast

FIXED_MS = 12.0
"""Blackout that does not depend on what remains, where no earlier move tells: devices saved and loaded, the token."""
LEAST_FIXED_MS = 2.0
"""Nothing saves and loads devices faster."""
AROUND_MS = 600.0
"""What a move takes besides copying, where no earlier move tells: preparing and settling."""
THOROUGH_MS = 3000.0
"""What looking at how the guest writes takes more where there is a deadline."""
AFTER_S, AFTER_SHARE = 1.0, 0.05
"""Kept free of a deadline for what comes after the copying: the settling, or the undoing."""
WARM_UP_MS = {Accelerator.tcg: 55.0, Accelerator.kvm: 2.0}
"""From RESUME to the guest's first answer: TCG translates everything anew (measured: 45 to 65 ms)."""
LINK_SHARE = 0.94
"""Of what a link carries, what arrives as memory: headers take the rest (1448 of 1538 bytes on the wire)."""
FEW = 3
"""Moves that tell too little alone: one that met a busy moment must not forbid the next."""
PASS_S = 0.1
"""A pass as long as this tells how the guest writes; shorter ones are looked at too late."""
ALIKE = 0.5
WEIGHT = 0.4
"""Of the newer one, where figures of several moves are smoothed."""
_STEPS = 60


class Dirtied(Fact):
    """How many bytes the guest had dirtied after that time, each page counted once."""

    seconds: float
    bytes: int


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


class Dirtying(NamedTuple):
    """How the guest writes."""

    bytes_per_s: float
    """At first."""
    working_set_bytes: float

    def within(self, seconds: float) -> float:
        """Bytes dirtied in that time, each page counted once."""
        if self.working_set_bytes <= 0:
            return 0.0
        return self.working_set_bytes * -math.expm1(-self.bytes_per_s * seconds / self.working_set_bytes)


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


def dirtying(samples: Sequence[Dirtied], *, memory_bytes: int) -> Dirtying:
    """The model that the shortest and the longest sample fit; with one, as if it wrote ever new pages."""
    told = sorted((each for each in samples if each.seconds > 0), key=lambda each: each.seconds)
    if not told or not told[-1].bytes:
        return Dirtying(0.0, 0.0)
    short, long = told[0], told[-1]
    rate = short.bytes / short.seconds
    if short.bytes <= 0 or long.seconds <= short.seconds or long.bytes >= rate * long.seconds * 0.98:
        return Dirtying(long.bytes / long.seconds, float(memory_bytes))
    x = _solve(long.bytes / short.bytes, long.seconds / short.seconds)
    working_set = min(short.bytes / -math.expm1(-x), float(memory_bytes))
    return Dirtying(working_set * x / short.seconds, working_set)


def _solve(ratio: float, times: float) -> float:
    """x such that (1 - exp(-times x)) / (1 - exp(-x)) = ratio; the left side falls from `times` to 1 as x grows."""
    low, high = 1e-6, 40.0
    for _ in range(_STEPS):
        x = (low + high) / 2
        if math.expm1(-times * x) / math.expm1(-x) > ratio:
            low = x
        else:
            high = x
    return (low + high) / 2


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
    stream = smoothed([each.stream_bytes_per_s for each in past if each.stream_bytes_per_s], min(link, 1e9))
    known = min(stream, link, request.bandwidth_bytes_per_s or math.inf)
    first = measured.resident_bytes or memory_bytes
    if mine and mine[-1].sent_bytes:
        first = mine[-1].sent_bytes
    return Grounds(
        first_bytes=first,
        dirtying=_dirtying(measured.dirtied, mine[-1].dirtied if mine else (), memory_bytes),
        stream_bytes_per_s=known,
        fixed_ms=max(LEAST_FIXED_MS, statistics.median_low(fixed)),
        around_ms=around_ms + (THOROUGH_MS if request.deadline_s is not None else 0.0),
        warm_up_ms=WARM_UP_MS[accelerator],
        least_fixed_ms=max(LEAST_FIXED_MS, min(fixed)),
    )


def _dirtying(now: Sequence[Dirtied], before: Sequence[Dirtied], memory_bytes: int) -> Dirtying:
    """As it writes now; what one sample cannot tell is as before, if it writes about as fast as then."""
    then = dirtying([each for each in before if each.seconds >= PASS_S] or before, memory_bytes=memory_bytes)
    if not now:
        return then
    found = dirtying(now, memory_bytes=memory_bytes)
    alike = ALIKE <= found.bytes_per_s / max(then.bytes_per_s, 1.0) <= 1 / ALIKE
    return found._replace(working_set_bytes=then.working_set_bytes) if len(now) == 1 and alike else found


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
    elapsed_s, left, sent, throttle = 0.0, float(grounds.first_bytes), 0.0, 0
    while True:
        pass_s = left / grounds.stream_bytes_per_s
        elapsed_s, sent = elapsed_s + pass_s, sent + left
        slowed = grounds.dirtying._replace(bytes_per_s=grounds.dirtying.bytes_per_s * (100 - throttle) / 100)
        left = slowed.within(pass_s)
        rate = left / pass_s if pass_s else 0.0
        number = len(samples) + 1
        samples.append(Sample(number, int(left), int(grounds.stream_bytes_per_s), int(rate), elapsed_s, throttle))
        decision = decide(samples, goals)
        throttle = decision.throttle_percent
        if decision.action in {Action.switch, Action.give_up}:
            decision, waited_s = _taken(grounds, decision, goals, guest=slowed, left=left)
            told = _forecast(grounds, samples, decision, sent + left, waited_s=waited_s)
            return Course(told, decision, tuple(samples))


def _taken(
    grounds: Grounds, decision: Decision, goals: Goals, *, guest: Dirtying, left: float
) -> tuple[Decision, float]:
    """The decision with the blackout that comes of it, and the wait: QEMU takes the first pass within the limit."""
    if decision.action is not Action.switch:
        return decision, 0.0
    limit, waited_s, in_all_s = decision.downtime_ms, 0.0, 0.0
    for _ in range(_STEPS):
        rest_s = left / grounds.stream_bytes_per_s
        if 1000 * rest_s <= limit:
            break
        left, waited_s, in_all_s = guest.within(rest_s), waited_s + rest_s, in_all_s + rest_s
        if waited_s >= WIDEN_S:
            limit, waited_s = limit_ms(2 * limit, goals), 0.0
    rest_ms = 1000 * left / grounds.stream_bytes_per_s
    blackout_ms = grounds.fixed_ms + min(rest_ms, decision.predicted_ms - grounds.fixed_ms)
    return decision._replace(predicted_ms=blackout_ms), in_all_s


def _forecast(
    grounds: Grounds, samples: Sequence[Sample], decision: Decision, sent: float, *, waited_s: float
) -> Forecast:
    blackout_ms = decision.predicted_ms
    return Forecast(
        total_ms=round(grounds.around_ms + (samples[-1].elapsed_s + waited_s) * 1000 + blackout_ms, 1),
        blackout_ms=round(blackout_ms, 1),
        stall_ms=round(blackout_ms + grounds.warm_up_ms, 1),
        transferred_bytes=int(sent),
        passes=len(samples),
        throttle_percent=max(each.throttle_percent for each in samples),
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
    """What the person asks for, as far as is known before: half of what is done besides copying comes before it."""
    left_s = copying_s(request, elapsed_s=grounds.around_ms / 2000)
    usual = grounds.fixed_ms < request.max_blackout_ms
    return Goals(request.max_blackout_ms, left_s, grounds.fixed_ms if usual else grounds.least_fixed_ms)


def copying_s(request: MigrationRequest, *, elapsed_s: float) -> float | None:
    """What a deadline leaves for the copying, so many seconds after the request; none: there is no deadline."""
    if request.deadline_s is None:
        return None
    return request.deadline_s - elapsed_s - max(AFTER_S, AFTER_SHARE * request.deadline_s)


def refuse(course: Course, request: MigrationRequest, grounds: Grounds) -> None:
    """Returns if the goals can be met; otherwise `Refused`, with numbers."""
    told, rate = course.forecast, grounds.stream_bytes_per_s / 1e6
    if grounds.least_fixed_ms > request.max_blackout_ms:
        raise Refused(
            f"{request.vm} cannot be moved within --max-blackout {request.max_blackout_ms} ms: saving and loading its "
            f"devices takes {grounds.least_fixed_ms:.0f} ms here whatever remains; allow that much",
            "blackout-unreachable",
        )
    if request.deadline_s is not None and (told.total_ms or 0) > request.deadline_s * 1000:
        raise Refused(
            f"{request.vm} cannot be moved within --deadline {request.deadline_s:g} s: it needs "
            f"{(told.total_ms or 0) / 1000:.1f} s, {grounds.first_bytes / 1e6:.0f} MB over {rate:.0f} MB/s and "
            f"{told.passes} passes; allow that, or raise --bandwidth",
            "deadline-unreachable",
        )
    if course.last.action is Action.give_up:
        raise Refused(f"{request.vm} was not moved: {course.last.reason}", "does-not-converge")
