"""Rules over the running VM, as its QEMU and the kernel tell of it."""

from __future__ import annotations

from godwit.core.case import Case, Found, Rule
from godwit.core.finding import blocker, warning
from godwit.core.guest import GUEST_COMMANDS, HOOK_COMMAND

SWAPPED_MIB = 16
"""Less is read back in no time."""


def qemu_lets_it_go(case: Case) -> Found:
    """No device of it is one that cannot move."""
    for reason in case.looked.vm.blocked if case.looked.vm else ():
        yield blocker(
            "device-stays",
            f"{case.vm} has a device that cannot move",
            f"QEMU says: {reason}",
            "take it away from the VM, or move the VM stopped",
        )


def caches_are_safe(case: Case) -> Found:
    """What the guest has flushed is on the disk, where the destination reads it."""
    for node in case.looked.vm.nodes if case.looked.vm else ():
        if node.writable and not node.flushes:
            yield blocker(
                "cache-unsafe",
                f"{case.vm} has a disk whose flushes QEMU ignores",
                f"cache mode unsafe on {node.path}",
                "start it with cache mode none",
            )
        elif node.writable and not node.direct:
            yield warning(
                "cache-buffered",
                f"{case.vm} has a disk in the page cache of {case.source.host}",
                f"cache mode writeback on {node.path}; it is written out during the blackout",
                "start it with cache mode none",
            )


def memory_is_not_swapped(case: Case) -> Found:
    """The source's swap is not the destination's: what lies there is read back before it can be sent."""
    swapped_mib = case.looked.vm.swapped_mib if case.looked.vm else 0
    if swapped_mib >= SWAPPED_MIB:
        yield warning(
            "memory-swapped",
            f"memory of {case.vm} lies in the swap of {case.source.host}, which {case.destination.host} cannot see",
            f"{swapped_mib} MiB, all of which is read back",
            "expect a longer migration, and give the host fewer VMs",
        )


def guest_agent_answers(case: Case) -> Found:
    """The guest can be asked and told."""
    if case.looked.vm and not case.looked.vm.has_guest_agent:
        yield warning(
            "guest-agent-absent",
            f"no guest agent runs in {case.vm}",
            "nobody has opened its port org.qemu.guest_agent.0",
            "install and start qemu-guest-agent in the guest",
        )


def guest_agent_is_able(case: Case) -> Found:
    """It knows what is asked of it: `guest-exec` is for hooks only, and some distributions forbid it."""
    wanted = GUEST_COMMANDS if case.move.request.notify_s else GUEST_COMMANDS - {HOOK_COMMAND}
    lacks = sorted(wanted.intersection(case.looked.vm.guest_agent_lacks if case.looked.vm else ()))
    if lacks:
        yield warning(
            "guest-agent-old",
            f"the guest agent in {case.vm} does not do all that it is asked for after a move",
            f"it does not know {', '.join(lacks)}, or may not do it",
            "install a newer qemu-guest-agent in the guest, and look at its list of forbidden commands",
        )


def all_was_looked_at(case: Case) -> Found:
    """What could not be looked at is said."""
    for failure in case.looked.failures:
        yield warning(
            "not-looked",
            "something could not be checked",
            failure,
            "mend that and check again, or go on without",
        )


RULES: tuple[Rule, ...] = (
    qemu_lets_it_go,
    caches_are_safe,
    memory_is_not_swapped,
    guest_agent_answers,
    guest_agent_is_able,
    all_was_looked_at,
)
"""Worst first."""
