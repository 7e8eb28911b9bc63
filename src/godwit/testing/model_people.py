"""What managers and persons order in the model of the hand-over."""

from __future__ import annotations

from collections.abc import Iterator

from godwit.core.ownership import Cue, Ownership
from godwit.testing.model_world import LIVE, Agent, At, Move, Qemu, Rules, Wire, World, killed, put, take

S, C = Ownership, Cue
MAY_STOP_ASKING = {S.own, S.died, S.lost}
"""Of the source: the manager may have the destination ended."""


def ordered(world: World, rules: Rules) -> Iterator[Move]:
    """What managers order."""
    source, destination = world.source, world.destination
    if source.todo or world.gone == "source":
        return
    if (source.journal, destination.journal) == (S.own, S.armed) and (rules.offers_twice or not world.offered):
        yield Move("the manager orders the move", put(world, "source", todo=take(C.offered))._replace(offered=True))
    if source.journal == S.offer and world.leaving.at == At.completed:
        withdrawn = put(world, "source", todo=take(C.withdrawn))
        yield Move("the source's agent withdraws", withdrawn, is_fault=True)
    if destination == Agent(S.running, destination.disk) and world.arriving.at == At.running and rules.qemus_die:
        ended = killed(world, "arriving")._replace(qemu_died=True)
        ended = put(ended, "destination", todo=take(C.ended))
        yield Move("the VM is ended at the destination by order", ended, is_fault=True)
    abort = ("ABORT", world.attempt)
    if abort not in world.net and (source.journal in MAY_STOP_ASKING or rules.manager_aborts_unasked):
        yield Move("the manager has the destination ended", world._replace(net=world.net | {abort}, offered=True))
    if world.attempt < rules.attempts and (source.journal, destination) == (S.own, Agent(S.closed, S.closed)):
        yield from _tried_again(world)


def _tried_again(world: World) -> Iterator[Move]:
    if world.arriving.at == At.dead and world.leaving.at in LIVE and not world.gone:
        again = world._replace(
            destination=Agent(S.armed, S.armed),
            arriving=Qemu(At.waiting),
            leaving=world.leaving._replace(at=At.idle),
            wire=Wire.none,
            attempt=world.attempt + 1,
            offered=False,
        )
        yield Move("the manager tries again: another QEMU waits", again)


def settled(world: World, rules: Rules) -> Iterator[Move]:
    """What a person says once a host is gone for good, having read the disk of its journal."""
    other = {"source": "destination", "destination": "source"}.get(world.gone)
    if other is None or getattr(world, other).todo:
        return
    dead: Agent = getattr(world, world.gone)
    state: Ownership = getattr(world, other).journal
    never_back = {S.given, S.last} | (set() if rules.return_path else {S.offer})
    never_ran = {S.armed, S.hold, S.keep, S.returned, S.closed}
    if other == "destination":
        cue = C.taken_over if dead.journal in never_back else C.given_up
    else:
        cue = C.restored if dead.journal in never_ran and state == S.given else C.given_up
    if (state, cue) in rules.table:
        yield Move(f"a person at the {other}: {cue}", put(world, other, todo=take(cue)))
