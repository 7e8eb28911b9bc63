"""A host's numbers for Prometheus, made from what its agent is asked and answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel

from godwit.contract.host import GoAnswer, HandedOver, Relayed
from godwit.core.model import MIB, VmState, VmStatus
from godwit.telemetry.metrics import BLACKOUT_BUCKETS_MS

RUNNING = "running"
"""The verdict of a hand-over that was carried out."""


class HostMetrics:
    """Counts what `answered` is told; starts from zero with each agent, as Prometheus expects."""

    def __init__(self, *, memory_mib: int, statuses: Callable[[], Sequence[VmStatus]]) -> None:
        registry = self._registry = CollectorRegistry()
        self._statuses = statuses
        self._vms = Gauge("godwit_vms", "VMs on this host.", ["state"], registry=registry)
        self._used = Gauge("godwit_vm_memory_bytes", "Memory of the VMs on this host.", registry=registry)
        Gauge("godwit_memory_bytes", "Memory for VMs.", registry=registry).set(memory_mib * MIB)
        self._out = Counter("godwit_migrations_out", "VMs that left this host.", registry=registry)
        self._in = Counter("godwit_migrations_in", "VMs that came to this host.", registry=registry)
        self._blackout = Histogram(
            "godwit_blackout_ms", "Of the VMs that left this host.", buckets=BLACKOUT_BUCKETS_MS, registry=registry
        )
        self._relays = Counter("godwit_relays", "Relays of frames that were taken down.", ["ended"], registry=registry)
        self._frames = Counter(
            "godwit_relay_frames",
            "Frames that went after VMs, when their relay was taken down.",
            ["how"],
            registry=registry,
        )
        self._told: set[tuple[str, str]] = set()

    def answered(self, request: BaseModel, answer: BaseModel) -> None:
        """An order was carried out; one that is repeated counts once."""
        key = (type(answer).__name__, str(getattr(request, "migration", "")))
        if key in self._told:
            return
        if isinstance(answer, HandedOver):
            self._out.inc()
            self._blackout.observe(answer.blackout_ms)
        elif isinstance(answer, GoAnswer) and answer.verdict == RUNNING:
            self._in.inc()
        elif isinstance(answer, Relayed) and answer.ended:
            self._relays.labels(answer.ended.value).inc()
            for how in ("replayed", "drained", "held", "late", "relayed"):
                self._frames.labels(how).inc(getattr(answer, f"frames_{how}"))
        else:
            return
        self._told.add(key)

    def text(self) -> bytes:
        """All numbers as they are now, in Prometheus' text format."""
        statuses = self._statuses()
        for state in VmState:
            self._vms.labels(state.value).set(sum(each.state == state for each in statuses))
        self._used.set(sum(each.memory_mib for each in statuses) * MIB)
        return generate_latest(self._registry)
