"""The checking phase: facts of both hosts in, a complete plan out; nothing is touched."""

from __future__ import annotations

from datetime import UTC, datetime

from godwit.contract.diary import Diary
from godwit.core.finding import Finding, Severity, refuse
from godwit.core.migration import Event, EventKind
from godwit.core.phase import Phase
from godwit.core.plan import Move, Plan, make
from godwit.core.preflight import find
from godwit.flow.ending import phase
from godwit.flow.foreseeing import foreseen
from godwit.flow.looking import look
from godwit.flow.sides import Sides


async def check(move: Move, sides: Sides) -> Plan:
    """The plan; `Refused` says what stands in the way. What does not is in the diary."""
    async with phase(Phase.checking, sides.diary):
        case = await look(move, sides.source, sides.destination)
        findings = find(case)
        refuse(findings, force=move.request.force)
        for each in findings:
            if each.severity is not Severity.note:
                await _tell(each, sides.diary)
        measured, goals = await foreseen(case, sides)
        plan = make(move, case.source, case.destination, measured=measured, goals=goals)
        await sides.diary.planned(plan)
        return plan


async def _tell(finding: Finding, diary: Diary) -> None:
    data = {"finding": finding.model_dump(mode="json")}
    await diary.record(Event(at=datetime.now(UTC), kind=EventKind.warned, text=finding.sentence, data=data))
