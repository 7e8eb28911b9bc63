"""Who may run a VM: the states of a host's journal, and the one table that says what follows what.

A host's journal of a VM holds the last state of that host, whether the VM leaves it or comes to it. The right to
issue `cont` is a token; it is here in `own`, `offer`, `reclaim`, `conting` and `running`, and nowhere else.

    source:       own -> offer -> given -> done           destination:  armed -> hold -> conting -> running -> died
                           |       |`-> reclaim -> own                    |       |`-> returned -> closed
                           `-> last (QEMU dead) -> lost                   `-> keep (told by `last`) -> conting

Facts about QEMU on which the table rests (return-path off, vmdesc suppressed, never `migrate_cancel` after STOP):
* the last byte of the stream is its end mark, so a destination that has loaded proves that the source will not
  resume by itself, and a source that resumed by itself proves that no destination can load;
* RESUME is emitted before vCPUs run, so an event log that ended without RESUME proves that they never did.
Nobody takes the token back because time passed. Messages may be lost, doubled, late and out of order; one that is not
about the epoch and attempt of the journal is not a cue, and an attempt is offered once. testing/model.py runs this
table through every fault.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from godwit.core.errors import Broken, Refused
from godwit.core.model import Value


class Ownership(StrEnum):
    """What one host's journal says of one VM."""

    own = "own"
    offer = "offer"
    """The source's QEMU may stop the VM, and may resume it, by itself."""
    given = "given"
    """The destination may run it; the source keeps a frozen copy."""
    last = "last"
    """Given, and the source's QEMU is dead: nobody but the destination can run it."""
    done = "done"
    reclaim = "reclaim"
    lost = "lost"
    """Nobody may run what is left of it: it counts as crashed."""
    armed = "armed"
    hold = "hold"
    """Told to run it once it is loaded."""
    keep = "keep"
    """As `hold`, by `last`: a stream that stalls is waited for."""
    returned = "returned"
    """The stream stalled: the token went back, and what may still be loaded never runs."""
    conting = "conting"
    running = "running"
    closed = "closed"
    """It never ran here, and what waited here is gone."""
    died = "died"
    """It ran here, and its QEMU is gone: crashed, or ended by order."""


class Record(Value):
    """One entry of a journal."""

    state: Ownership
    migration: str = ""
    epoch: int = 0
    count: int = 0
    """Of hand-overs within the migration."""
    peer: str = ""
    """The other host."""
    boot_id: str
    qemu_pid: int = 0
    qemu_start_ticks: int = 0
    """Start time of that process in clock ticks since boot (proc(5), stat field 22): pids come round again."""
    proof: str = ""
    """What a person said of the other side when settling it."""


class Cue(StrEnum):
    """What was seen or asked: orders, messages, and what QEMU said."""

    started = "started"
    """The VM was started here by order."""
    ended = "ended"
    """The VM was ended here by order."""
    went_cold = "went-cold"
    """The VM is off, and belongs to another host from now on."""
    came_cold = "came-cold"
    """The VM is off, and belongs to this host from now on."""
    offered = "offered"
    """The destination is ready, and the manager wants the move."""
    completed = "completed"
    """The source's QEMU has put the last byte into its socket and can run only by `cont`."""
    withdrawn = "withdrawn"
    """As `completed`, and the move is not wanted any more, or the destination's agent is out of reach."""
    failed_running = "failed-running"
    """The source's QEMU runs, and no stream can carry the VM away: status asked first, then runstate."""
    failed_frozen = "failed-frozen"
    """The stream broke and its QEMU does not run: it waited in vain to be resumed by itself."""
    answered_running = "answered-running"
    """The destination runs it, or did."""
    answered_returned = "answered-returned"
    answered_dead = "answered-dead"
    """The destination never ran it and never will."""
    answered_lost = "answered-lost"
    """The destination's QEMU is dead, and nobody knows whether it ran."""
    frozen = "frozen"
    """Taken back, and QEMU still waits for `cont`."""
    resumed = "resumed"
    """QEMU's RESUME."""
    refused = "refused"
    """QEMU refused `cont`: somebody else holds the lock of an image."""
    qemu_died = "qemu-died"
    qemu_died_unrun = "qemu-died-unrun"
    """Died (or failed to load, which ends the same), and its event log ended without RESUME."""
    qemu_died_run = "qemu-died-run"
    """Died, and may have resumed by itself after all was sent: possible with return-path on only."""
    again = "again"
    """Time to say or do it again: by a timer, or after a restart."""
    armed = "armed"
    """An empty QEMU waits here."""
    went = "went"
    """GO came."""
    went_last = "went-last"
    """GO_LAST came: the source's QEMU is dead."""
    loaded = "loaded"
    stalled = "stalled"
    """Told to go, and the stream does not move and is not all here."""
    never_came = "never-came"
    """Told to go by a source whose QEMU is dead, and after long nobody has connected: nobody will."""
    aborted = "aborted"
    """The source says that it runs the VM, or that nothing may run that is here."""
    taken_over = "taken-over"
    """A person at the destination: the source is dead and never took the VM back."""
    restored = "restored"
    """A person at the source: the destination is dead and never ran the VM."""
    given_up = "given-up"
    """A person: the other side is dead, or runs it; nothing may run here."""


class Act(StrEnum):
    """What to do upon a cue, in the order given."""

    write = "write"
    """Journal the new state; a page-cache write."""
    write_durable = "write-durable"
    """Journal the new state so that it survives a power cut."""
    start_sending = "start-sending"
    send_go = "send-go"
    send_go_last = "send-go-last"
    send_abort = "send-abort"
    quit_qemu = "quit-qemu"
    commit_network = "commit-network"
    cont = "cont"
    answer_running = "answer-running"
    answer_ran = "answer-ran"
    """The same answer as `running`; the VM has ended since, or goes on in another way."""
    answer_returned = "answer-returned"
    answer_dead = "answer-dead"
    answer_lost = "answer-lost"
    announce = "announce"
    alarm = "alarm"
    """A person must look; never force it."""


class Step(NamedTuple):
    """Where a cue leads."""

    state: Ownership
    acts: tuple[Act, ...] = ()


S, C, A = Ownership, Cue, Act
Rows = dict[tuple[Ownership, Cue], Step]

_OFFER = Step(S.offer, (A.write_durable, A.start_sending))
_LAST = Step(S.last, (A.write, A.send_go_last))
_RECLAIM = Step(S.reclaim, (A.write_durable, A.cont))
_DONE = Step(S.done, (A.write_durable, A.quit_qemu))
_OWN_AGAIN = Step(S.own, (A.write_durable, A.send_abort))
_LOST = Step(S.lost, (A.write_durable,))
_LOST_AND_TOLD = Step(S.lost, (A.write_durable, A.send_abort))
_KEEP = Step(S.keep, (A.write,))
_CLOSED = Step(S.closed, (A.write_durable,))
_CLOSED_BY_ORDER = Step(S.closed, (A.write_durable, A.quit_qemu))
_CLOSED_AND_TOLD = Step(S.closed, (A.write_durable, A.answer_dead))
_CONTING = Step(S.conting, (A.write_durable, A.commit_network, A.cont))

_SOURCE: Rows = {
    (S.own, C.offered): _OFFER,
    (S.running, C.offered): _OFFER,
    (S.offer, C.completed): Step(S.given, (A.write, A.send_go)),
    (S.offer, C.withdrawn): _RECLAIM,
    (S.offer, C.failed_running): _OWN_AGAIN,
    (S.offer, C.failed_frozen): _RECLAIM,
    (S.offer, C.qemu_died): _LAST,
    (S.offer, C.qemu_died_unrun): _LAST,
    (S.offer, C.qemu_died_run): _LOST_AND_TOLD,
    (S.given, C.again): Step(S.given, (A.send_go,)),
    (S.given, C.qemu_died): _LAST,
    (S.given, C.answered_running): _DONE,
    (S.given, C.answered_returned): _RECLAIM,
    (S.given, C.answered_dead): _RECLAIM,
    (S.given, C.answered_lost): _LOST,
    (S.last, C.again): Step(S.last, (A.send_go_last,)),
    (S.last, C.qemu_died): Step(S.last),
    (S.last, C.answered_running): _DONE,
    (S.last, C.answered_returned): Step(S.last, (A.send_go_last,)),
    (S.last, C.answered_dead): _LOST,
    (S.last, C.answered_lost): _LOST,
    (S.reclaim, C.frozen): Step(S.reclaim, (A.cont,)),
    (S.reclaim, C.refused): Step(S.reclaim, (A.alarm,)),
    (S.reclaim, C.resumed): _OWN_AGAIN,
    (S.reclaim, C.qemu_died_unrun): Step(S.last, (A.write_durable, A.send_go_last)),
    (S.reclaim, C.qemu_died): _LOST_AND_TOLD,
    (S.done, C.again): Step(S.done, (A.quit_qemu,)),
    (S.done, C.qemu_died): Step(S.done),
    (S.done, C.answered_running): Step(S.done),
}

_DESTINATION: Rows = {
    (S.armed, C.loaded): Step(S.armed),
    (S.armed, C.went): Step(S.hold, (A.write,)),
    (S.armed, C.went_last): _KEEP,
    (S.armed, C.aborted): _CLOSED_BY_ORDER,
    (S.armed, C.qemu_died): _CLOSED,
    (S.armed, C.qemu_died_unrun): _CLOSED,
    (S.hold, C.went): Step(S.hold),
    (S.hold, C.went_last): _KEEP,
    (S.hold, C.loaded): _CONTING,
    (S.hold, C.stalled): Step(S.returned, (A.write_durable, A.answer_returned)),
    (S.hold, C.qemu_died): _CLOSED_AND_TOLD,
    (S.hold, C.qemu_died_unrun): _CLOSED_AND_TOLD,
    (S.keep, C.went): Step(S.keep),
    (S.keep, C.went_last): Step(S.keep),
    (S.keep, C.loaded): _CONTING,
    (S.keep, C.stalled): Step(S.keep, (A.alarm,)),
    (S.keep, C.never_came): Step(S.closed, (A.write_durable, A.answer_dead, A.quit_qemu)),
    (S.keep, C.qemu_died): _CLOSED_AND_TOLD,
    (S.keep, C.qemu_died_unrun): _CLOSED_AND_TOLD,
    (S.returned, C.went): Step(S.returned, (A.answer_returned,)),
    (S.returned, C.went_last): _KEEP,
    (S.returned, C.loaded): Step(S.returned),
    (S.returned, C.aborted): _CLOSED_BY_ORDER,
    (S.returned, C.qemu_died): _CLOSED,
    (S.returned, C.qemu_died_unrun): _CLOSED,
    (S.conting, C.went): Step(S.conting),
    (S.conting, C.went_last): Step(S.conting),
    (S.conting, C.loaded): Step(S.conting, (A.commit_network, A.cont)),
    (S.conting, C.refused): Step(S.conting, (A.alarm,)),
    (S.conting, C.resumed): Step(S.running, (A.write, A.answer_running, A.announce)),
    (S.conting, C.qemu_died_unrun): _CLOSED_AND_TOLD,
    (S.conting, C.qemu_died): Step(S.lost, (A.write_durable, A.answer_lost)),
    (S.running, C.qemu_died): Step(S.died, (A.write,)),
    (S.running, C.ended): Step(S.died, (A.write,)),
    (S.closed, C.again): Step(S.closed, (A.quit_qemu,)),
    (S.closed, C.aborted): Step(S.closed),
    (S.lost, C.aborted): Step(S.lost),
}

_HOME: Rows = {
    (S.own, C.qemu_died): Step(S.died, (A.write,)),
    (S.own, C.ended): Step(S.died, (A.write,)),
}

_ANSWERS: Rows = {
    (S.running, C.went): Step(S.running, (A.answer_running,)),
    (S.running, C.went_last): Step(S.running, (A.answer_running,)),
    (S.closed, C.went): Step(S.closed, (A.answer_dead,)),
    (S.closed, C.went_last): Step(S.closed, (A.answer_dead,)),
    (S.lost, C.went): Step(S.lost, (A.answer_lost,)),
    (S.lost, C.went_last): Step(S.lost, (A.answer_lost,)),
    (S.own, C.went): Step(S.own, (A.answer_ran,)),
    (S.own, C.went_last): Step(S.own, (A.answer_ran,)),
    (S.died, C.went): Step(S.died, (A.answer_ran,)),
    (S.died, C.went_last): Step(S.died, (A.answer_ran,)),
}
"""To a GO that was answered before: the same answer, from the journal."""

_LATE: Rows = {
    (state, cue): Step(state)
    for state in (S.reclaim, S.own, S.died, S.lost)
    for cue in (C.answered_returned, C.answered_dead)
} | {
    (S.lost, C.answered_lost): Step(S.lost),
    (S.lost, C.answered_running): Step(S.lost),
    (S.done, C.answered_returned): Step(S.done),
    (S.done, C.answered_lost): Step(S.done),
}
"""Answers whose doubles were heeded before."""

_BY_A_PERSON: Rows = {
    (S.armed, C.taken_over): _KEEP,
    (S.hold, C.taken_over): _KEEP,
    (S.returned, C.taken_over): _KEEP,
    (S.given, C.restored): _RECLAIM,
    (S.lost, C.restored): _RECLAIM,
    (S.given, C.given_up): _LOST,
    (S.last, C.given_up): _LOST,
}

TABLE = MappingProxyType(
    _SOURCE
    | _DESTINATION
    | _HOME
    | _ANSWERS
    | _LATE
    | _BY_A_PERSON
    | {(each, C.given_up): _CLOSED_BY_ORDER for each in (S.armed, S.hold, S.keep, S.returned)}
    | {(each, C.started): Step(S.own, (A.write_durable,)) for each in (S.closed, S.done, S.died, S.lost)}
    | {(each, C.armed): Step(S.armed, (A.write_durable,)) for each in (S.closed, S.done, S.died, S.lost)}
    | {(each, C.went_cold): Step(S.done, (A.write_durable,)) for each in (S.closed, S.died, S.lost)}
    | {(each, C.came_cold): Step(each) for each in (S.closed, S.died, S.lost)}
    | {(S.done, C.came_cold): _CLOSED}
)
"""(state, cue) -> (state, acts): the whole protocol. A host that never saw the VM is in `closed`."""

OWNERS = frozenset({S.own, S.offer, S.reclaim, S.conting, S.running})
"""States in which this host, and no other, may run the VM."""

BY_A_PERSON = frozenset({C.taken_over, C.restored, C.given_up})
"""Cues that rest on what somebody knows of a host that does not answer."""


def step(state: Ownership, cue: Cue, *, proof: str = "") -> Step:
    """What follows; an illegal pair raises `Broken` and means that nothing may be done.

    `Refused` if a person settles it and does not say how the other side's death is known.
    """
    if cue in BY_A_PERSON and not proof:
        raise Refused(f"{cue} needs proof: say how it is known that the other host cannot run the VM", "proof")
    try:
        return TABLE[state, cue]
    except KeyError:
        raise Broken(f"{cue} cannot happen to a VM that is {state} here: nothing was done, see both journals") from None


class Stream(StrEnum):
    """How far a stream has come, by `query-migrate` on either side."""

    none = "none"
    active = "active"
    completed = "completed"
    failed = "failed"


class Sight(NamedTuple):
    """One look at a QEMU: its stream first, then its runstate, for the other order shows what never was."""

    alive: bool
    stream: Stream = Stream.none
    runs: bool = False
    resumed: bool | None = None
    """RESUME stands in its event log, at the source since the last STOP; none: the log has a gap or is gone."""


def look(state: Ownership, seen: Sight, *, return_path: bool = False) -> Cue | None:
    """The cue that lies in what is seen, if any: after a restart, after each event, and by each timer, the same."""
    return _living(state, seen) if seen.alive else _dead(state, seen.resumed, return_path)


def _living(state: Ownership, seen: Sight) -> Cue | None:
    match state:
        case S.offer if seen.runs:
            # a VM that came here says `completed` of that stream until it has another one
            return None if seen.stream == Stream.active else C.failed_running
        case S.offer:
            return {Stream.completed: C.completed, Stream.failed: C.failed_frozen}.get(seen.stream)
        case S.reclaim:
            return C.resumed if seen.runs or seen.resumed else C.frozen
        case S.conting:
            return C.resumed if seen.runs or seen.resumed else C.loaded
        case S.hold | S.keep if seen.stream == Stream.completed:
            return C.loaded
        case S.armed | S.hold | S.keep | S.returned if seen.stream == Stream.failed:
            return C.qemu_died_unrun
        case S.given | S.done | S.closed:
            return C.again
    return None


def _dead(state: Ownership, resumed: bool | None, return_path: bool) -> Cue | None:
    match state:
        case S.offer if return_path and resumed is not False:
            return C.qemu_died_run
        case S.reclaim:
            return C.qemu_died_unrun if resumed is False else C.qemu_died
        case S.conting:
            return {True: C.resumed, False: C.qemu_died_unrun, None: C.qemu_died}[resumed]
        case S.offer | S.given | S.own | S.running | S.armed | S.hold | S.keep | S.returned:
            return C.qemu_died
        case S.last:
            return C.again
    return None
