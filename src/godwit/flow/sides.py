"""The two hosts of a migration and the diary that records it: what every step of the story needs."""

from __future__ import annotations

from dataclasses import dataclass

from godwit.contract.diary import Diary
from godwit.contract.host import Host, Order
from godwit.core.plan import Move


@dataclass(frozen=True)
class Sides:
    """Source, destination, diary."""

    source: Host
    destination: Host
    diary: Diary


def order(move: Move) -> Order:
    """The words by which both hosts know this attempt."""
    return Order(migration=move.migration, attempt=move.attempt, epoch=move.epoch, vm=move.spec.name)
