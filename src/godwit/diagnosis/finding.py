"""What a diagnosis says: values with stable codes, which docs/troubleshooting.md explains."""

from __future__ import annotations

from enum import StrEnum

from godwit.core.model import Value
from godwit.core.report import ConnectionReport


class Severity(StrEnum):
    """How bad it is."""

    blocker = "blocker"
    """Clients cannot reach the VM at its new place."""
    warning = "warning"
    """It works, but late, or not for all."""


class Evidence(Value):
    """Packets of one capture, counted from 1."""

    place: str
    packets: tuple[int, ...]


class Advice(Value):
    """What to change, by the kind of switch that is in use."""

    linux_bridge: str = ""
    open_vswitch: str = ""
    vsphere: str = ""
    """From VMware's documentation; not tried."""
    physical_switch: str = ""


class Finding(Value):
    """One thing that went wrong, and what to do about it."""

    code: str
    severity: Severity
    vm: str
    """Its MAC address."""
    at_ms: float
    """Unix time."""
    what: str
    evidence: tuple[Evidence, ...] = ()
    led_to: tuple[str, ...] = ()
    """What clients suffered by it."""
    advice: Advice = Advice()


class MoveSeen(Value):
    """One move, as the captures show it."""

    at_ms: float
    """Unix time."""
    silence_ms: float
    """How long nothing came from the VM while somebody waited for it."""
    place_before: str | None
    place_after: str | None
    announcements: tuple[str, ...]


class Entry(Value):
    """One line of the timeline."""

    at_ms: float
    """Unix time."""
    place: str
    packet: int
    event: str
    is_bad: bool = False


class VmSeen(Value):
    """One VM in the captures."""

    mac: str
    addresses: tuple[str, ...]
    moves: tuple[MoveSeen, ...]
    connections: tuple[ConnectionReport, ...]
    timeline: tuple[Entry, ...]


class Diagnosis(Value):
    """What the captures tell."""

    captures: tuple[str, ...]
    packets: int
    vms: tuple[VmSeen, ...]
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    """What could not be read, so that something may be missing above."""
