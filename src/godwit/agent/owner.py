"""The thin shell around the table of ownership: one VM's journal on this host."""

from __future__ import annotations

import asyncio

from godwit.contract.host import Order
from godwit.contract.journal import Journal
from godwit.core.ownership import OWNERS, Act, Cue, Ownership, Record, step

WRITES = {Act.write: False, Act.write_durable: True}


class Owner:
    """Keeps a VM's journal by the table, and tells what to do next.

    Writing blocks the event loop on purpose: where the table says durable, nothing may happen before the disk has
    it, and a hop to a thread would cost the blackout as much as the write.
    """

    def __init__(self, journal: Journal, *, boot_id: str) -> None:
        self._journal = journal
        self._record = journal.last() or Record(state=Ownership.closed, boot_id=boot_id)
        self._boot_id = boot_id
        self.turn = asyncio.Lock()
        """Held from a cue until its acts are begun: one thing at a time happens to a VM."""

    @property
    def record(self) -> Record:
        """The journal's last entry."""
        return self._record

    @property
    def state(self) -> Ownership:
        """What the journal says."""
        return self._record.state

    @property
    def epoch(self) -> int:
        """Of the last hand-over written here."""
        return self._record.epoch

    @property
    def peer(self) -> str:
        """The other host of that hand-over."""
        return self._record.peer

    @property
    def is_owner(self) -> bool:
        """This host may run the VM."""
        return self.state in OWNERS

    @property
    def is_given_away(self) -> bool:
        """Another host runs the VM, or a person said that it shall not run here: what is here may go."""
        return self.state == Ownership.done or (self.state == Ownership.lost and bool(self._record.proof))

    def take(self, cue: Cue, **about: str | int) -> tuple[Act, ...]:
        """The journal says what the table makes of the cue; what remains to be done is returned, in order.

        `about` are fields of the record that the cue changes; a cue by a person needs `proof`. `Broken` (illegal here)
        and `Refused` (no proof) leave all as it was.
        """
        about = {"proof": "", **about}
        following = step(self.state, cue, proof=str(about["proof"]))
        record = self._record.model_copy(update={"state": following.state, "boot_id": self._boot_id, **about})
        for act in following.acts:
            if act in WRITES:
                self._journal.append(record, durable=WRITES[act])
        self._record = record
        return tuple(act for act in following.acts if act not in WRITES)

    def is_about(self, order: Order) -> bool:
        """The last hand-over written here is that of the order."""
        return _is_about(self._record, order)

    def state_for(self, order: Order) -> Ownership | None:
        """The last state written about the order, whatever came after; none: the order never reached this host."""
        records = [each for each in self._journal.records() if _is_about(each, order)]
        return records[-1].state if records else None


def _is_about(record: Record, order: Order) -> bool:
    return (record.migration, record.epoch) == (order.migration, order.epoch)
