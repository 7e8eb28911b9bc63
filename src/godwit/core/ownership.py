"""Who may run a VM: the states of a host's journal, and the one table that says what follows what.

A host's journal of a VM holds the last state of that host, whether the VM leaves it or comes to it. The right to
issue `cont` is a token; it is here in `own`, `offer`, `reclaim`, `conting` and `running`, and nowhere else.

    source:       own -> offer -> given -> done          destination:  armed -> hold -> conting -> running
                           |        `-> reclaim -> own                   `-> closed   `-> died

Facts about QEMU on which the table rests (return-path off, vmdesc suppressed, never `migrate_cancel` after STOP):
* the last byte of the stream is its end mark, so a destination that has loaded proves that the source will not
  resume by itself, and a source that resumed by itself proves that no destination can load;
* RESUME is emitted before vCPUs run, so an event log that ended without RESUME proves that they never did.
Nobody takes the token back because time passed.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from godwit.core.errors import Broken
from godwit.core.model import Value


class Ownership(StrEnum):
    """What one host's journal says of one VM."""

    own = "own"
    offer = "offer"
    given = "given"
    done = "done"
    reclaim = "reclaim"
    lost = "lost"
    armed = "armed"
    hold = "hold"
    conting = "conting"
    running = "running"
    closed = "closed"
    died = "died"


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


class Cue(StrEnum):
    """What was seen or asked: orders, messages, and what QEMU said."""

    started = "started"
    """The VM was started here by order."""
    ended = "ended"
    """The VM was ended here by order."""
    offered = "offered"
    """The destination is ready, and the manager wants the move."""
    completed = "completed"
    """The source's QEMU has put the last byte into its socket and can run only by `cont`."""
    failed_running = "failed-running"
    """The source's stream broke and its QEMU says that it runs: status and runstate both."""
    answered_running = "answered-running"
    answered_dead = "answered-dead"
    """The destination's answers to GO."""
    resumed = "resumed"
    """QEMU's RESUME."""
    qemu_died = "qemu-died"
    qemu_died_unrun = "qemu-died-unrun"
    """Died, and its event log ended without RESUME."""
    armed = "armed"
    """An empty QEMU waits here."""
    went = "went"
    """GO came."""
    loaded = "loaded"
    aborted = "aborted"
    """The source says that it runs the VM."""


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
    answer_dead = "answer-dead"
    announce = "announce"


class Step(NamedTuple):
    """Where a cue leads."""

    state: Ownership
    acts: tuple[Act, ...] = ()


S, C, A = Ownership, Cue, Act

TABLE = MappingProxyType(
    {
        # The source.
        (S.own, C.offered): Step(S.offer, (A.write_durable, A.start_sending)),
        (S.running, C.offered): Step(S.offer, (A.write_durable, A.start_sending)),
        (S.offer, C.completed): Step(S.given, (A.write, A.send_go)),
        (S.offer, C.failed_running): Step(S.own, (A.write_durable, A.send_abort)),
        (S.offer, C.qemu_died): Step(S.given, (A.write, A.send_go_last)),
        (S.given, C.qemu_died): Step(S.given, (A.send_go_last,)),
        (S.given, C.answered_running): Step(S.done, (A.write_durable, A.quit_qemu)),
        (S.given, C.answered_dead): Step(S.reclaim, (A.write_durable, A.cont)),
        (S.reclaim, C.resumed): Step(S.own, (A.write_durable, A.send_abort)),
        (S.reclaim, C.qemu_died): Step(S.lost, (A.write_durable,)),
        # The destination.
        (S.armed, C.loaded): Step(S.armed),
        (S.armed, C.went): Step(S.hold, (A.write,)),
        (S.armed, C.aborted): Step(S.closed, (A.write_durable, A.quit_qemu)),
        (S.armed, C.qemu_died): Step(S.closed, (A.write_durable,)),
        (S.armed, C.qemu_died_unrun): Step(S.closed, (A.write_durable,)),
        (S.hold, C.loaded): Step(S.conting, (A.write_durable, A.commit_network, A.cont)),
        (S.hold, C.qemu_died): Step(S.closed, (A.write_durable, A.answer_dead)),
        (S.hold, C.qemu_died_unrun): Step(S.closed, (A.write_durable, A.answer_dead)),
        (S.conting, C.resumed): Step(S.running, (A.write, A.answer_running, A.announce)),
        (S.conting, C.qemu_died_unrun): Step(S.closed, (A.write_durable, A.answer_dead)),
        (S.conting, C.qemu_died): Step(S.died, (A.write_durable,)),
        (S.hold, C.went): Step(S.hold),
        (S.conting, C.went): Step(S.conting),
        (S.running, C.went): Step(S.running, (A.answer_running,)),
        (S.closed, C.went): Step(S.closed, (A.answer_dead,)),
        (S.closed, C.aborted): Step(S.closed),
        (S.running, C.qemu_died): Step(S.died, (A.write,)),
        (S.own, C.qemu_died): Step(S.died, (A.write,)),
        (S.own, C.ended): Step(S.closed, (A.write,)),
        (S.running, C.ended): Step(S.closed, (A.write,)),
    }
    | {(each, C.started): Step(S.own, (A.write_durable,)) for each in (S.closed, S.done, S.died, S.lost)}
    | {(each, C.armed): Step(S.armed, (A.write_durable,)) for each in (S.closed, S.done, S.died, S.lost)}
)
"""(state, cue) -> (state, acts): the whole protocol. A host that never saw the VM is in `closed`."""

OWNERS = frozenset({S.own, S.offer, S.reclaim, S.conting, S.running})
"""States in which this host, and no other, may run the VM."""


def step(state: Ownership, cue: Cue) -> Step:
    """What follows; an illegal pair raises `Broken` and means that nothing may be done."""
    try:
        return TABLE[state, cue]
    except KeyError:
        raise Broken(f"{cue} cannot happen to a VM that is {state} here: nothing was done, see both journals") from None
