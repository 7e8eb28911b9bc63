"""The three ways to move a VM: what differs between them, step by step of the one story."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType

from godwit.core.migration import Kind
from godwit.core.plan import Plan
from godwit.flow import cold, hand_over, states, storage
from godwit.flow.hand_over import Act
from godwit.flow.sides import Sides

State = Callable[[Plan, Sides], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Way:
    """How one kind of move takes the steps that differ; the acts may be done again."""

    prepared: State
    copied: State
    commit: Act
    complete: Act


WAYS = MappingProxyType(
    {
        Kind.live: Way(states.prepared, states.copied, hand_over.commit, hand_over.complete),
        Kind.storage: Way(storage.ready, storage.ready, storage.commit, storage.complete),
        Kind.cold: Way(cold.prepared, cold.copied, cold.commit, cold.complete),
    }
)
"""By the kind of the move."""
