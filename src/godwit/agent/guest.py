"""What a host says to a guest that moves, and asks of it, through the guest agent inside."""

from __future__ import annotations

import time
from contextlib import suppress

from godwit.agent.local import LocalVm
from godwit.agent.vms import Vms
from godwit.contract.guest import SetGuestClock, TellGuest
from godwit.core.errors import Failed, Refused, Unreachable
from godwit.core.guest import GUEST_COMMANDS, GuestClock, Heed, Notice
from godwit.qemu.guest_agent import GuestAgent, talking

HOOK = "/etc/godwit/move-hook"
"""A program of the guest's owner; its arguments are the moment, the source, and the destination."""
ANSWER_S = 2.0
CLOSE_MS = 10.0
"""A clock that is so near the host's is right."""
TRIES = 3
ABSENT = "no guest agent listens inside"


class GuestVerbs:
    """The verbs of contract.guest.GuestHost."""

    _vms: Vms

    async def tell_guest(self, request: TellGuest, /) -> Notice:
        """The guest knows, and its hook has ended or its time is over."""
        begun = time.monotonic()
        heed, why = await _heed(self._vms.get(request.vm), request)
        return Notice(moment=request.moment, heed=heed, why=why, ms=round((time.monotonic() - begun) * 1000, 1))

    async def set_guest_clock(self, request: SetGuestClock, /) -> GuestClock:
        """The guest's clock is right, if that could be done without setting it back."""
        vm = self._vms.get(request.vm)
        if not await has_guest_agent(vm):
            return GuestClock(why=ABSENT)
        try:
            async with talking(vm.machine.agent_socket, timeout_s=ANSWER_S) as agent:
                return await _set(agent, request.most_ms)
        except (Refused, Unreachable) as error:
            return GuestClock(why=error.message)


async def has_guest_agent(vm: LocalVm) -> bool:
    """Somebody inside has opened its port, as far as QEMU knows."""
    channels = await vm.machine.monitor.execute("query-chardev")
    return any(each["label"] == "agent" and each["frontend-open"] for each in channels)


async def lacking(vm: LocalVm) -> tuple[str, ...]:
    """Of what it will be asked to do, what its guest agent does not know or may not do; nothing if it does not tell."""
    with suppress(Refused, Unreachable):
        async with talking(vm.machine.agent_socket, timeout_s=1.0) as agent:
            return tuple(sorted(GUEST_COMMANDS - await agent.commands()))
    return ()


async def answered_ms(vm: LocalVm) -> float | None:
    """How long its guest agent took to answer; none: there is none, or it does not within a second."""
    begun = time.monotonic()
    with suppress(Failed):
        if await has_guest_agent(vm):
            async with talking(vm.machine.agent_socket, timeout_s=1.0):
                return (time.monotonic() - begun) * 1000
    return None


async def _heed(vm: LocalVm, request: TellGuest) -> tuple[Heed, str]:
    if not await has_guest_agent(vm):
        return Heed.unheard, ABSENT
    is_running = False
    try:
        async with talking(vm.machine.agent_socket, timeout_s=request.wait_s) as agent:
            is_running = True
            status = await agent.run(HOOK, request.moment, request.source, request.destination)
    except Unreachable as error:
        late = f"{HOOK} had not ended after {request.wait_s:g} s"
        return (Heed.still_busy, late) if is_running else (Heed.unheard, error.message)
    except Refused as error:
        return Heed.unheard, error.message
    return (Heed.heeded, "") if status == 0 else (Heed.complained, f"{HOOK} ended with status {status}")


async def _set(agent: GuestAgent, most_ms: float) -> GuestClock:
    skew_ms, error_ms = await agent.skew_ms()
    read = GuestClock(skew_ms=round(skew_ms, 1), error_ms=round(error_ms, 1))
    if abs(skew_ms) <= CLOSE_MS + error_ms:
        return read
    if not -most_ms <= skew_ms < 0:
        way = "ahead, and no clock is set back" if skew_ms > 0 else "further behind than the move can have put it"
        return read.model_copy(update={"why": f"it is {way}"})
    left_ms = skew_ms
    for _ in range(TRIES):  # a guest that was given no CPU meanwhile has set what was right some time ago
        if left_ms < -CLOSE_MS:
            await agent.set_clock(later_ms=error_ms)
            left_ms, _ = await agent.skew_ms(1)
    return read.model_copy(update={"left_ms": round(left_ms, 1)})
