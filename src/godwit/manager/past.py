"""What earlier moves took, from the manager's records: what a forecast is corrected by."""

from __future__ import annotations

from collections.abc import Iterable

from godwit.contract.host import HandedOver
from godwit.contract.store import MigrationRecord
from godwit.core.convergence import SHORT_MS
from godwit.core.forecast import THOROUGH_MS, Past
from godwit.core.migration import Migration
from godwit.core.phase import Phase

NEWEST = 8
"""Older ones tell little of the link and of the VM as they are now."""


def past_of(migration: Migration, records: Iterable[MigrationRecord]) -> tuple[Past, ...]:
    """The newest moves between its two hosts, of whatever real VM and in either direction, oldest first."""
    hosts = {migration.source, migration.destination}
    found = []
    for record in records:
        told, handed = record.migration, record.handed
        if told.rehearsal:
            continue
        if handed and told.phase is Phase.done and {told.source, told.destination} == hosts and handed.copying_ms:
            alike = told.request.plaintext == migration.request.plaintext
            found.append(_past(told, handed, same_vm=told.vm == migration.vm, alike=alike))
    return tuple(found[-NEWEST:])


def _past(told: Migration, handed: HandedOver, *, same_vm: bool, alike: bool) -> Past:
    """A long rest, which was only estimated, hides the fixed part.

    The stream's rate is told by moves that nothing capped or compressed, encrypted or not as this one.
    """
    total_ms = (told.ended_at - told.started_at).total_seconds() * 1000 if told.ended_at else 0.0
    total_ms -= THOROUGH_MS if told.request.deadline_s is not None else 0.0
    is_plain = not told.request.bandwidth_bytes_per_s and handed.compression == "none"
    return Past(
        same_vm=same_vm,
        around_ms=max(0.0, total_ms - handed.copying_ms - handed.blackout_ms),
        fixed_ms=max(0.0, handed.blackout_ms - handed.rest_ms) if handed.rest_ms <= SHORT_MS else 0.0,
        stream_bytes_per_s=1000 * handed.transferred_bytes / handed.copying_ms if is_plain and alike else 0.0,
        sent_bytes=handed.transferred_bytes - sum(each.remaining_bytes for each in handed.passes) if is_plain else 0,
        dirty_bytes_per_s=float(handed.passes[-1].dirty_rate) if handed.passes else 0.0,
    )
