"""The model's values: two QEMUs, two agents, a stream and a network, and the rules that mutants bend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from godwit.core.ownership import TABLE, Act, Cue, Ownership, Step, Stream, look

S, C, A = Ownership, Cue, Act
Look = Callable[..., Cue | None]


class At(StrEnum):
    """Where a QEMU is."""

    idle = "runs, sends nothing"
    sending = "runs and sends"
    stopped = "stopped, its tail not sent"
    acking = "stopped, all sent, the acknowledgement not here"
    completed = "completed, frozen"
    failing = "its stream failed, about to resume"
    waiting = "waits for memory"
    loaded = "loaded, frozen"
    failed = "failed to load"
    waking = "told to run, RESUME said"
    running = "runs"
    dead = "dead"


class Wire(StrEnum):
    """The memory stream."""

    none = "not begun"
    up = "up"
    tail = "all sent, perhaps not all there"
    broken = "broken"


class Todo(NamedTuple):
    """What an agent has in hand: half a look, a cue to take, a state to journal, or an act to do."""

    what: str
    of: Cue | Act | Ownership | Stream


class Agent(NamedTuple):
    """A journal, what of it survives a power cut, and what is in the agent's hands."""

    journal: Ownership
    disk: Ownership
    todo: tuple[Todo, ...] = ()


class Qemu(NamedTuple):
    """A QEMU. `log`: RESUME stands in its event log (source: since STOP). `stale`: the VM ran elsewhere since."""

    at: At
    log: bool | None = False
    stale: bool = False
    own_stream: Stream = Stream.none
    """What `query-migrate` says while no stream moves."""


class World(NamedTuple):
    """One state of everything."""

    source: Agent
    destination: Agent
    leaving: Qemu
    arriving: Qemu
    wire: Wire = Wire.none
    net: frozenset[tuple[str, int]] = frozenset()
    """Messages on their way, each with its attempt."""
    attempt: int = 1
    offered: bool = False
    """The attempt was offered, or ended before."""
    qemu_died: bool = False
    gone: str = ""
    """The host that is gone for good."""


class Move(NamedTuple):
    """One step: who did what, what came of it, whether nature did not have to do it, and what it breaks."""

    text: str
    world: World
    is_fault: bool = False
    broken: str = ""


@dataclass(frozen=True)
class Rules:
    """What is run: the table and the shells' behaviour, each open to mutants, and which faults nature has."""

    table: Mapping[tuple[Ownership, Cue], Step] = field(default_factory=lambda: TABLE)
    look: Look = look
    return_path: bool = False
    evidence: bool = True
    """Event logs outlive agents and QEMUs."""
    qemus_die: bool = True
    hosts_reboot: bool = False
    hosts_die: bool = False
    attempts: int = 1
    came_by_migration: bool = False
    """The source's QEMU still says `completed` of the stream by which the VM came."""
    destination_autostarts: bool = False
    cancels: bool = False
    """A stream is broken off by `migrate_cancel` instead of `yank`."""
    asks_runstate_first: bool = False
    hears_old_attempts: bool = False
    offers_twice: bool = False
    """An attempt that went back to the source is offered once more."""
    manager_aborts_unasked: bool = False
    """The manager has the destination ended without the source's word."""


LIVE = {At.idle, At.sending, At.running}
AWAKE = {*LIVE, At.waking}
FROZEN_COPY = {At.stopped, At.acking, At.completed, At.failing, At.waking, At.loaded}
MESSAGES = {
    "GO": C.went,
    "GO_LAST": C.went_last,
    "ABORT": C.aborted,
    "RUNNING": C.answered_running,
    "RETURN": C.answered_returned,
    "RETURN_DEAD": C.answered_dead,
    "LOST": C.answered_lost,
}
SAYS = {
    A.send_go: "GO",
    A.send_go_last: "GO_LAST",
    A.send_abort: "ABORT",
    A.answer_running: "RUNNING",
    A.answer_ran: "RUNNING",
    A.answer_returned: "RETURN",
    A.answer_dead: "RETURN_DEAD",
    A.answer_lost: "LOST",
}
TO_DESTINATION = {"GO", "GO_LAST", "ABORT"}


def beginning(rules: Rules) -> World:
    """The VM runs at the source, and an empty QEMU waits for it."""
    stream = Stream.completed if rules.came_by_migration else Stream.none
    return World(
        source=Agent(S.own, S.own),
        destination=Agent(S.armed, S.armed),
        leaving=Qemu(At.idle, own_stream=stream),
        arriving=Qemu(At.waiting),
    )


def has_current_copy(world: World) -> bool:
    """The VM runs, or can: some copy of its newest state is alive or still in the wire."""
    here, there = world.leaving, world.arriving
    if not here.stale and (here.at in LIVE or here.at in FROZEN_COPY):
        return True
    if there.stale:
        return False
    return there.at in LIVE or there.at in FROZEN_COPY or (there.at == At.waiting and world.wire == Wire.tail)


def running(world: World) -> int:
    """How many copies run, or were told to."""
    return (world.leaving.at in AWAKE) + (world.arriving.at in AWAKE)


def put(world: World, side: str, **changes: object) -> World:
    """One agent is changed."""
    return world._replace(**{side: getattr(world, side)._replace(**changes)})


def moved(world: World, qemu: str, at: At, **changes: object) -> World:
    """One QEMU is elsewhere."""
    return world._replace(**{qemu: getattr(world, qemu)._replace(at=at, **changes)})


def wakes(world: World, qemu: str) -> World:
    """RESUME is said; it counts as run, for nobody can tell whether vCPUs ran after it: the other copy is stale."""
    other = "arriving" if qemu == "leaving" else "leaving"
    return moved(world, qemu, At.waking, log=True)._replace(**{other: getattr(world, other)._replace(stale=True)})


def begins_to_run(world: World, qemu: str) -> Move:
    """vCPUs run; if the VM ran on the other side since this copy was made, that breaks P1."""
    this: Qemu = getattr(world, qemu)
    side = "source" if qemu == "leaving" else "destination"
    broken = f"a stale copy was started at the {side}" if this.stale else ""
    return Move(f"the VM runs at the {side}", moved(world, qemu, At.running), broken=broken)


def hearer(message: tuple[str, int]) -> str:
    """The side that the message is for."""
    return "destination" if message[0] in TO_DESTINATION else "source"


def killed(world: World, qemu: str) -> World:
    """A process that ended; its unsent tail goes with it, what the kernel has goes on."""
    wire = Wire.broken if world.wire == Wire.up else world.wire
    if qemu == "arriving" and wire == Wire.tail:
        wire = Wire.broken
    return moved(world, qemu, At.dead)._replace(wire=wire)


def take(cue: Cue) -> tuple[Todo, ...]:
    """The agent has that cue in hand."""
    return (Todo("take", cue),)
