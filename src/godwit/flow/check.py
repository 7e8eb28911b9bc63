"""The checking phase: facts of both hosts in, a complete plan out; nothing is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from godwit.contract.diary import Diary
from godwit.core.case import Case, Rule
from godwit.core.finding import Finding, Severity, refuse
from godwit.core.forecast import NOTHING
from godwit.core.migration import Event, EventKind
from godwit.core.phase import Phase
from godwit.core.plan import Move, Plan, make
from godwit.core.preflight import FORETOLD, LOOKED, find
from godwit.flow.ending import phase
from godwit.flow.foreseeing import Foresight, foreseen, measured
from godwit.flow.looking import ask, look_closer
from godwit.flow.sides import Sides


async def check(move: Move, sides: Sides) -> Plan:
    """The plan; `Refused` says what stands in the way. What does not is in the diary."""
    async with phase(Phase.checking, sides.diary):
        case, seen = await _examine(await ask(move, sides.source, sides.destination), sides)
        if seen:
            told = replace(case, measured=seen.measured, forecast=seen.course.forecast)
            await _judge(told, FORETOLD, sides.diary)
        found, goals = (seen.measured, seen.goals) if seen else (NOTHING, None)
        plan = make(move, case.source, case.destination, measured=found, goals=goals)
        await sides.diary.planned(plan)
        return plan


async def _examine(case: Case, sides: Sides) -> tuple[Case, Foresight | None]:
    """What a close look found, and what the move is expected to take; its source measures meanwhile."""
    measuring = asyncio.create_task(measured(case, sides.source))
    try:
        case = await look_closer(case, sides.source, sides.destination)
        await _judge(case, LOOKED, sides.diary)
        return case, await foreseen(case, await measuring, sides.diary)
    finally:
        measuring.cancel()


async def _judge(case: Case, rules: Sequence[Rule], diary: Diary) -> None:
    findings = find(case, rules)
    refuse(findings, force=case.move.request.force)
    for each in findings:
        if each.severity is not Severity.note:
            await _tell(each, diary)


async def _tell(finding: Finding, diary: Diary) -> None:
    data = {"finding": finding.model_dump(mode="json")}
    await diary.record(Event(at=datetime.now(UTC), kind=EventKind.warned, text=finding.sentence, data=data))
