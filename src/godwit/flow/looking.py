"""Looking at both sides of a move that is being thought about: nothing is changed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from godwit.contract.host import Host, Nothing, VmRef
from godwit.contract.looks import ExchangeFrames, FilesLook, LookAtFiles, SegmentProbe, SegmentsLook
from godwit.core.case import Case
from godwit.core.errors import GodwitError
from godwit.core.looked import Looked, VmLook
from godwit.core.migration import Kind
from godwit.core.model import VmSpec
from godwit.core.plan import Move
from godwit.core.preflight_files import paths

Q = TypeVar("Q")
T = TypeVar("T")

LOOK_S = 5.0
"""Longer than any look may rightly take."""


async def look(move: Move, source: Host, destination: Host) -> Case:
    """What both hosts tell, and what looking closer found; only a host that tells nothing at all raises."""
    return await look_closer(await ask(move, source, destination), source, destination)


async def ask(move: Move, source: Host, destination: Host) -> Case:
    """What both hosts tell of themselves."""
    return Case(move, *await asyncio.gather(source.facts(Nothing()), destination.facts(Nothing())))


async def look_closer(case: Case, source: Host, destination: Host) -> Case:
    """With what hosts tell only when asked; what could not be looked at is among the failures."""
    move, tries = case.move, _Tries()
    if move.kind is not Kind.live:
        return case  # nothing that runs changes its host
    vm, files, segments = await asyncio.gather(
        _vm(case, source, tries),
        _files(move, source, destination, tries),
        _segments(move, source, destination, tries),
    )
    return replace(case, looked=Looked(vm=vm, **files, **segments, failures=tuple(tries.failures)))


async def look_between(case: Case, source: Host, destination: Host) -> Case:
    """With what frames between the two hosts found, on the networks of the VM."""
    tries = _Tries()
    segments = await _segments(case.move, source, destination, tries)
    return replace(case, looked=Looked(**segments, failures=tuple(tries.failures)))


@dataclass
class _Tries:
    failures: list[str] = field(default_factory=list)

    async def ask(self, what: str, verb: Callable[[Q], Awaitable[T]], request: Q, *, otherwise: T) -> T:
        """The answer; without one, that is noted."""
        try:
            async with asyncio.timeout(LOOK_S):
                return await verb(request)
        except (GodwitError, TimeoutError) as error:
            self.failures.append(f"{what}: {str(error) or 'no answer in time'}")
            return otherwise


async def _vm(case: Case, source: Host, tries: _Tries) -> VmLook | None:
    """None: it does not answer, or is not there, which is no failure to look."""
    if not any(each.name == case.vm for each in case.source.vms):
        return None
    return await tries.ask("the VM", source.look_at_vm, VmRef(name=case.vm), otherwise=None)


async def _files(move: Move, source: Host, destination: Host, tries: _Tries) -> dict[str, Any]:
    request, none = LookAtFiles(paths=paths(move.spec)), FilesLook(files=())
    here, there = await asyncio.gather(
        tries.ask("files at the source", source.look_at_files, request, otherwise=none),
        tries.ask("files at the destination", destination.look_at_files, request, otherwise=none),
    )
    return {"source_files": here.files, "destination_files": there.files}


async def _segments(move: Move, source: Host, destination: Host, tries: _Tries) -> dict[str, Any]:
    """Both are asked at one moment, because each hears only what the other sends meanwhile."""
    token, none = secrets.token_hex(8), SegmentsLook(segments=())
    outward, inward = (_frames(move.spec, token, other) for other in (move.destination, move.source))
    here, there = await asyncio.gather(
        tries.ask("networks at the source", source.exchange_frames, outward, otherwise=none),
        tries.ask("networks at the destination", destination.exchange_frames, inward, otherwise=none),
    )
    return {"source_segments": here.segments, "destination_segments": there.segments}


def _frames(spec: VmSpec, token: str, other: str) -> ExchangeFrames:
    """One probe for each network of the VM, with the addresses that it has there."""
    asked: dict[str, tuple[str, ...]] = {nic.network: () for nic in spec.nics}
    for nic in spec.nics:
        if nic.ip:
            asked[nic.network] += (str(nic.ip.ip),)
    segments = tuple(SegmentProbe(network=name, addresses=own) for name, own in asked.items())
    return ExchangeFrames(token=token, other=other, segments=segments)
