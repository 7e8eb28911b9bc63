"""The story of a migration: its phases in their order, each with its undo."""

from __future__ import annotations

from godwit.contract.diary import Diary
from godwit.contract.host import Host
from godwit.core.plan import Move
from godwit.flow.check import check
from godwit.flow.disks import mirrored, placed
from godwit.flow.ending import ended
from godwit.flow.following import follow
from godwit.flow.guest import notified
from godwit.flow.hand_over import hand_over, settle
from godwit.flow.sides import Sides
from godwit.flow.states import reserved
from godwit.flow.ways import WAYS


async def migrate(move: Move, *, source: Host, destination: Host, diary: Diary) -> None:
    """The VM runs at the destination, or where it was, or the diary says that a person must look.

    The diary's last phase tells which; errors are recorded there and not raised. Cancelling the task before the
    hand-over undoes everything; from the hand-over on, it changes nothing. What differs between a VM that runs, one
    that stays and one that is off is in `flow.ways`; the plan says which.
    """
    sides = Sides(source, destination, diary)
    async with ended(diary):
        plan = await check(move, sides)  # every choice made once, before anything is touched
        way = WAYS[move.kind]
        async with (
            reserved(plan, sides),  # the VM is ours to move; room for it is kept at the destination
            placed(plan, sides),  # files are there for the disks that go
            way.prepared(plan, sides),  # an empty QEMU listens; its taps are plugged but muted
            mirrored(plan, sides),  # each disk that goes has an equal copy, and keeps it
            notified(plan, sides),  # the guest knows, if it is to, and had its time
            way.copied(plan, sides),  # memory copied until the rest fits the blackout budget
        ):
            await hand_over(way.commit, plan, sides)  # the blackout: the VM changes owner; the only irreversible step
        await settle(way.complete, plan, sides)  # announced; the source retires
    await follow(move, sides)  # relay and witness go on in the agents
