"""Rules over what probe frames found: is each network one layer 2 segment, and is the VM alone with its addresses?"""

from __future__ import annotations

from collections.abc import Iterator

from godwit.core.case import Case, Found, Rule
from godwit.core.finding import blocker, warning
from godwit.core.looked import Heard, SegmentLook

_HEADER = 14

Pair = tuple[SegmentLook, SegmentLook]


def _pairs(case: Case) -> Iterator[Pair]:
    """Each network as both hosts found it."""
    there = {each.network: each for each in case.looked.destination_segments}
    for here in case.looked.source_segments:
        if here.network in there:
            yield here, there[here.network]


def _heard(segment: SegmentLook, host: str) -> Heard | None:
    return next((each for each in segment.heard if each.host == host), None)


def ports_are_not_held_back(case: Case) -> Found:
    """The destination's bridge lets a VM that comes speak at once."""
    for there in case.looked.destination_segments:
        if there.has_stp:
            yield blocker(
                "network-stp",
                f"a VM that comes to {case.destination.host} would be silent until {there.bridge} lets it speak",
                f"STP is on at {there.bridge}",
                f"turn STP off at {there.bridge}, if no loop of cables needs it, or choose another host",
            )


def bridges_switch_by_themselves(case: Case) -> Found:
    """Nobody has programmed them with flows that know nothing of the move."""
    for host, segments in (
        (case.source.host, case.looked.source_segments),
        (case.destination.host, case.looked.destination_segments),
    ):
        for segment in segments:
            if segment.is_programmed:
                yield warning(
                    "network-flows",
                    f"flows in {segment.bridge} of {host} may decide otherwise where frames of a VM go that has moved",
                    "`ovs-ofctl dump-flows` shows more than the one that switches normally",
                    "see that they let a VM be where its address is heard, RARP and ARP of it included",
                )


def frames_arrive(case: Case) -> Found:
    """What one host sends out of the network's uplinks comes in by the other's."""
    for here, there in _pairs(case):
        if not _both(case, here, there):
            yield blocker("network-unreachable", *_parted(case, here, there), overridable=True)
        elif len(_both(case, here, there)) == 1:
            yield blocker("network-one-way", *_parted(case, here, there), overridable=True)


def _parted(case: Case, here: SegmentLook, there: SegmentLook) -> tuple[str, str, str]:
    source, destination = case.source.host, case.destination.host
    closed = [f"{s.bridge} on {h} has no port that leads out" for h, s in _closed(case, here, there)]
    ways = {f"from {destination} to {source}": _heard(here, destination)} | {
        f"from {source} to {destination}": _heard(there, source)
    }
    lost = [way for way, heard in ways.items() if heard is None]
    return (
        f"network {here.network} of {source} and of {destination} is not the same layer 2 segment",
        "; ".join(closed) or f"no probe frame arrived {' nor '.join(lost)}",
        "look at the cable, the VLAN and the switch port behind each host's bridge",
    )


def _closed(case: Case, here: SegmentLook, there: SegmentLook) -> list[tuple[str, SegmentLook]]:
    """Those that have no uplink."""
    both = [(case.source.host, here), (case.destination.host, there)]
    return [(host, segment) for host, segment in both if not segment.uplinks]


def frames_are_untagged(case: Case) -> Found:
    """What one host sends without a VLAN tag arrives without one."""
    for here, there in _pairs(case):
        for host, segment, sender in ((case.source, here, case.destination), (case.destination, there, case.source)):
            heard = _heard(segment, sender.host)
            if heard and heard.vlan:
                yield blocker(
                    "network-tagged",
                    f"frames of network {here.network} arrive at {host.host} with a VLAN tag, which the VM cannot read",
                    f"sent by {sender.host} without one, tag {heard.vlan} on arrival",
                    f"let the switch port of {host.host} deliver that VLAN untagged",
                    overridable=True,
                )


def long_frames_arrive(case: Case) -> Found:
    """As long as the VM may send them now."""
    for here, there in _pairs(case):
        longest = [heard.bytes - _HEADER for heard in _both(case, here, there)]
        if there.mtu < here.mtu or (longest and min(longest) < min(here.mtu, there.mtu)):
            carried = f"; frames of {min(longest)} bytes came through" if longest else ""
            yield blocker(
                "network-mtu",
                f"frames as long as VMs send them on network {here.network} do not pass between {case.source.host} and "
                f"{case.destination.host}",
                f"MTU {here.mtu} and {there.mtu}{carried}",
                "set one MTU on both bridges, their ports, and the switches between",
                overridable=True,
            )


def _both(case: Case, here: SegmentLook, there: SegmentLook) -> list[Heard]:
    both = (_heard(here, case.destination.host), _heard(there, case.source.host))
    return [each for each in both if each]


def addresses_are_its_own(case: Case) -> Found:
    """Nobody beyond the source's uplinks answers for them."""
    for segment in case.looked.source_segments:
        for claim in segment.claims:
            yield warning(
                "ip-conflict",
                f"somebody else on network {segment.network} answers for {claim.ip}, which is {case.vm}'s",
                f"its MAC address is {claim.mac}",
                "find that machine and give one of the two another address",
            )


def frames_do_not_return(case: Case) -> Found:
    """What the destination sends by an uplink is not sent back to it: switches would see the VM at two ports in turn.

    Of the source that is nothing new to the VM.
    """
    host = case.destination.host
    for _, there in _pairs(case):
        if there.returned:
            yield blocker(
                "network-reflected",
                f"{host} hears itself on network {there.network}: the switch does not know its uplinks as one, or "
                "cables form a loop",
                f"probe frames of {host} itself came in by {', '.join(there.returned)}",
                f"make the uplinks of {host} one link on both sides (mode 802.3ad, with LACP on the switch; "
                "active-backup needs nothing there), or find the loop",
                overridable=True,
            )


OF_HOSTS: tuple[Rule, ...] = (
    ports_are_not_held_back,
    frames_arrive,
    frames_are_untagged,
    long_frames_arrive,
    frames_do_not_return,
    bridges_switch_by_themselves,
)
"""They are not about one VM."""
RULES: tuple[Rule, ...] = (*OF_HOSTS, addresses_are_its_own)
"""Worst first."""
