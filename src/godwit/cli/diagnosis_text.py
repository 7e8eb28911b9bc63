"""A diagnosis for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from godwit.cli.show import print_table, warn
from godwit.cli.units import format_ms
from godwit.diagnosis.finding import Diagnosis, Finding, VmSeen

TIMELINE_SHOWN = 40
CONNECTIONS_SHOWN = 20


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """The findings first, then what they were found in."""
    for problem in diagnosis.problems:
        warn(f"note: {problem}")
    print(verdict(diagnosis))
    for finding in diagnosis.findings:
        print()
        for line in _finding(finding):
            print(line)
    for vm in diagnosis.vms:
        _print_vm(vm)


def verdict(diagnosis: Diagnosis) -> str:
    """One line."""
    moves = sum(len(each.moves) for each in diagnosis.vms)
    looked = f"{diagnosis.packets} packets, {moves} moves of {len(diagnosis.vms)} VMs"
    if not diagnosis.findings:
        return f"nothing wrong found: {looked}"
    return f"{', '.join(dict.fromkeys(each.code for each in diagnosis.findings))}: {looked}"


def advice_lines(finding: Finding) -> Iterator[tuple[str, str]]:
    """What to change, by the kind of switch."""
    advice = finding.advice
    yield from (
        ("Linux bridge", advice.linux_bridge),
        ("Open vSwitch", advice.open_vswitch),
        ("vSphere (from its documentation, not tried)", advice.vsphere),
        ("physical switch", advice.physical_switch),
    )


def _finding(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity.value}: {finding.code} ({finding.vm}, {_clock(finding.at_ms)})"
    yield f"  {finding.what}"
    for each in finding.evidence:
        yield f"  packets {', '.join(map(str, each.packets))} of {each.place}"
    for consequence in finding.led_to:
        yield f"  led to: {consequence}"
    for kind, text in advice_lines(finding):
        if text not in ("", "none", "the same"):
            yield f"  {kind}: {text}"


def _print_vm(vm: VmSeen) -> None:
    print(f"\n{vm.mac} {' '.join(vm.addresses)}".rstrip())
    for move in vm.moves:
        way = f", {move.place_before} -> {move.place_after}" if move.place_before != move.place_after else ""
        told = ", ".join(move.announcements) or "nothing"
        print(f"  moved at {_clock(move.at_ms)}{way}; silent for {format_ms(move.silence_ms)}; announced by {told}")
    if vm.timeline:
        print()
        zero_ms = vm.timeline[0].at_ms
        rows = [(f"{e.at_ms - zero_ms:.1f} ms", e.place, e.packet or "", e.event) for e in vm.timeline[:TIMELINE_SHOWN]]
        print_table(("AT", "PLACE", "PACKET", "EVENT"), rows)
    if vm.connections:
        print()
        worst = sorted(vm.connections, key=lambda c: (c.survived, -c.longest_silence_ms))[:CONNECTIONS_SHOWN]
        seen = [
            (c.client, c.server, format_ms(c.longest_silence_ms), c.retransmissions, c.resets, c.survived)
            for c in worst
        ]
        print_table(("CLIENT", "SERVER", "LONGEST SILENCE", "RETRANSMISSIONS", "RESETS", "SURVIVED"), seen)


def _clock(at_ms: float) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
    except (OverflowError, ValueError, OSError):
        return f"{at_ms:.0f} ms"
