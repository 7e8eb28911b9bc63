"""What is answered to "may it move?" and "what would happen?": the shapes of the REST API."""

from __future__ import annotations

from pydantic import Field

from godwit.core.finding import Finding
from godwit.core.model import Fact, Name, Value
from godwit.core.report import Forecast, NetworkReport


class Checked(Fact):
    """`GET /vms/{name}/checks/{host}`."""

    vm: str
    source: str
    destination: str
    movable: bool
    """Nothing stands in the way, `--force` or not."""
    verdict: str
    """One sentence."""
    findings: tuple[Finding, ...] = ()
    forecast: Forecast = Forecast()


class HostChecked(Fact):
    """`GET /hosts/{name}/checks`: what would trouble any VM that came to it from the others."""

    host: str
    others: tuple[str, ...] = ()
    """The hosts that it was looked at with."""
    findings: tuple[Finding, ...] = ()


class Candidate(Fact):
    """One VM and one host, as far as their facts tell without looking closer."""

    vm: str
    host: str
    movable: bool
    why_not: str | None = None
    """The first blocker."""


class RehearsalRequest(Value):
    """`POST /vms/{name}/rehearsals`: what to rehearse."""

    destination: Name
    source: Name | None = None
    """None: where the VM is."""
    max_blackout_ms: int = Field(default=300, ge=1, le=2_000_000)


class Rehearsal(Fact):
    """What happened to a throw-away VM like this one that was really moved, and what the checks of the VM found."""

    vm: str
    probe: str
    """The throw-away VM, which is no more."""
    source: str
    destination: str
    passed: bool
    """It moved, the network learned its new place, and nothing stands in the way of the VM."""
    verdict: str
    """One sentence."""
    findings: tuple[Finding, ...] = ()
    migration: str | None = None
    """See its report; none: it did not come to one."""
    total_ms: float | None = None
    blackout_ms: float | None = None
    network: NetworkReport | None = None
    forecast: Forecast = Forecast()
    """Of the VM itself."""
