"""What this host can say of a move: its journal first, then its QEMU."""

from __future__ import annotations

from godwit.agent.course import Course
from godwit.agent.local import LocalVm
from godwit.agent.owner import Owner
from godwit.contract.host import Go, GoAnswer, Order, Resolve
from godwit.core.errors import Broken, GodwitError, Refused, Unresolved
from godwit.core.ownership import TABLE, Act, Cue
from godwit.core.verdict import QemuSeen, Statement

VERDICTS = {
    Act.answer_running: "running",
    Act.answer_ran: "running",
    Act.answer_returned: "returned",
    Act.answer_dead: "returned-dead",
    Act.answer_lost: "lost",
}


async def testify(host: str, order: Order, *, owner: Owner, vm: LocalVm | None) -> Statement:
    """Nothing is changed by it."""
    return Statement(
        host=host,
        state=owner.state_for(order),
        now=owner.state,
        qemu=await _look(vm) if vm else QemuSeen.none,
        alarm=vm.alarm if vm else "",
        proof=owner.record.proof,
    )


async def _look(vm: LocalVm) -> QemuSeen:
    try:
        if not (await vm.machine.history()).is_alive:
            return QemuSeen.dead
        return QemuSeen.running if await vm.machine.runstate() == "running" else QemuSeen.frozen
    except GodwitError:
        return QemuSeen.silent


async def resolve(course: Course, request: Resolve) -> None:
    """The journal says what a person has settled, and what follows is begun; `Refused` where it settles nothing."""
    try:
        await course.take(request.cue, proof=request.proof)
    except Broken:
        raise Refused(
            f"{request.cue} settles nothing of {request.vm} here, whose journal says {course.state}", "not-in-doubt"
        ) from None
    course.soon(course.look())


def from_journal(owner: Owner, request: Go, *, host: str) -> GoAnswer:
    """What the table answers to a GO for which nobody waits here any more."""
    state = owner.state_for(request)
    acts = TABLE[state, Cue.went].acts if state and (state, Cue.went) in TABLE else ()
    for act in acts:
        if act in VERDICTS:
            return GoAnswer(verdict=VERDICTS[act], reason=f"the journal of {host} says {state}")
    raise Unresolved(f"{host} cannot say what became of migration {request.migration} of {request.vm}: {state}")
