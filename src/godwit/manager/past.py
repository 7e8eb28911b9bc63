"""What earlier moves took, from the manager's records: what a forecast is corrected by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from godwit.contract.host import HandedOver
from godwit.contract.store import MigrationRecord
from godwit.core.convergence import SHORT_MS
from godwit.core.dirtying import Dirtied
from godwit.core.forecast import THOROUGH_MS, Past
from godwit.core.forecast_disks import rate
from godwit.core.migration import Kind, Migration
from godwit.core.phase import Phase
from godwit.core.report import PassReport

FREE = 0.8
"""Of a cap: a stream that was slower was not held back by it."""
UNTHROTTLED = 1
"""Percent; QEMU calls nothing less."""
NEWEST = 8
"""Older ones tell little of the link and of the VM as they are now."""
DISTURBED_MS = 10_000
"""A blackout beyond that was made by something that died meanwhile, and tells nothing of the next one."""


def past_of(migration: Migration, records: Iterable[MigrationRecord]) -> tuple[Past, ...]:
    """The newest moves of its kind between its two hosts, of whatever real VM and in either direction, oldest first."""
    hosts = {migration.source, migration.destination}
    found = []
    for record in records:
        told, handed = record.migration, record.handed
        if told.rehearsal or told.phase is not Phase.done or {told.source, told.destination} != hosts:
            continue
        if told.kind is not migration.kind or told.request.shut_down != migration.request.shut_down:
            continue
        alike = told.request.plaintext == migration.request.plaintext
        if handed and handed.copying_ms:
            found.append(_past(record, handed, same_vm=told.vm == migration.vm, alike=alike))
        elif record.disks and told.kind is not Kind.live:  # of memory that went, nothing is known then
            found.append(_past_of_disks(record, same_vm=told.vm == migration.vm))
    return tuple(found[-NEWEST:])


def _past_of_disks(record: MigrationRecord, *, same_vm: bool) -> Past:
    """Its memory stayed, or there was none."""
    return Past(
        same_vm=same_vm,
        alike=True,
        around_ms=max(0.0, _total_ms(record.migration) - _disks_ms(record)),
        fixed_ms=0.0,
        stream_bytes_per_s=0.0,
        sent_bytes=0,
        disk_bytes_per_s=_disk_rate(record),
    )


def _total_ms(told: Migration) -> float:
    """From the moment on at which its turn had come."""
    return (told.ended_at - told.started_at).total_seconds() * 1000 - told.waited_ms if told.ended_at else 0.0


def _disks_ms(record: MigrationRecord) -> float:
    return max((each.ms for each in record.disks), default=0.0)


def _disk_rate(record: MigrationRecord) -> float:
    return 0.0 if record.migration.request.bandwidth_bytes_per_s else rate(record.disks)


def _past(record: MigrationRecord, handed: HandedOver, *, same_vm: bool, alike: bool) -> Past:
    """A long rest, which was only estimated, hides the fixed part.

    The stream's rate is told by moves that no cap held back and nothing compressed, encrypted or not as this one.
    """
    told = record.migration
    total_ms = _total_ms(told) - (THOROUGH_MS if told.request.deadline_s is not None else 0.0)
    went, cap = 1000 * handed.transferred_bytes / handed.copying_ms, told.request.bandwidth_bytes_per_s
    is_plain = handed.compression == "none"
    tells_fixed = handed.rest_ms <= SHORT_MS and handed.blackout_ms <= DISTURBED_MS
    is_free = is_plain and (cap is None or went < FREE * cap)
    return Past(
        same_vm=same_vm,
        alike=alike,
        around_ms=max(0.0, total_ms - _disks_ms(record) - handed.copying_ms - handed.blackout_ms),
        fixed_ms=max(0.0, handed.blackout_ms - handed.rest_ms) if tells_fixed else 0.0,
        stream_bytes_per_s=went if is_free and alike else 0.0,
        sent_bytes=handed.transferred_bytes - sum(each.remaining_bytes for each in handed.passes) if is_plain else 0,
        disk_bytes_per_s=_disk_rate(record),
        dirtied=tuple(_dirtied(handed.passes)),
        vcpu_share=record.forecast.vcpu_share if record.forecast else None,
    )


def _dirtied(passes: Sequence[PassReport]) -> Iterator[Dirtied]:
    """What the guest dirtied in each pass that was seen from beginning to end, and did not slow it down."""
    number, ended_ms = 0, 0.0
    for each in passes:
        if each.number == number + 1 and each.at_ms > ended_ms and each.throttle_percent <= UNTHROTTLED:
            yield Dirtied(seconds=(each.at_ms - ended_ms) / 1000, bytes=each.remaining_bytes)
        number, ended_ms = each.number, each.at_ms
