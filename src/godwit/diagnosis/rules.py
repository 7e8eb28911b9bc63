"""The rules about one move: its story in, what went wrong out. Each knows one kind of mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from godwit.diagnosis.moves import asked
from godwit.diagnosis.sight import EVERYBODY, Kind, text
from godwit.diagnosis.story import Move, Passage, Story

LATE_MS = 500.0
"""A good announcement goes out with the first frames of the new place."""
GRACE_MS = 1000.0
"""So long frames may still come by the old way."""
LONG_MS = 1000.0
SEEN_AFTER_MS = 50.0
ENOUGH = 3


@dataclass(frozen=True)
class Found:
    """What a rule found."""

    code: str
    at_ms: float
    what: str
    passages: tuple[Passage, ...] = ()


def no_announcement(story: Story, move: Move) -> Found | None:
    """The VM came back, or came by another port, and nothing told the network."""
    if move.announcements or _ends_early(story, move):
        return None
    if not move.is_certain and not move.unanswered:
        return None
    came = f"its frames come by {story.port_name(move.port_after)}" if _is_moved(move) else "it came back"
    quiet = f" after {move.silence_ms:.0f} ms without an answer" if move.unanswered else ""
    return Found(
        "no-announcement",
        move.at_ms,
        f"no RARP, gratuitous ARP or neighbour advertisement was seen when {came}{quiet}:"
        " switches go on sending its frames to the old place",
        (*move.unanswered[:2], *_first(story.sent, move.at_ms)),
    )


def not_seen_beyond(story: Story, move: Move) -> Found | None:
    """Announcements were captured where they were sent, and not where they should have passed next."""
    if not move.announcements:
        return None
    sent_at = move.announcements[0]
    missed = [each for each in _expecting(story, move) if not any(each in a.places for a in move.announcements)]
    if not missed:
        return None
    until = move.at_ms + GRACE_MS * 5
    after = [p for p in story.sent if not p.is_announcement and sent_at.at_ms + SEEN_AFTER_MS < p.at_ms]
    passed = [p for p in after if set(p.places) & set(missed)]
    here, there = _places(story, sent_at.places), _places(story, missed)
    shown = (*move.announcements[:3], *passed[:1])
    if passed or _is_answered(story, sent_at.at_ms):
        what = f"the announcement was seen at {here} but not at {there}, though what else the VM sends does get through"
        return Found("announcement-filtered", sent_at.at_ms, f"{what}: something between swallows it", shown)
    since = move.at_ms - GRACE_MS
    origins = _origins(story, sent_at)
    hears = any(story.coverage[p].heard_others(story.mac, since, until, leaving=True) for p in origins)
    others = any(story.coverage[p].heard_others(story.mac, since, until) for p in missed)
    here = _places(story, origins)
    if others and not hears:
        what = (
            f"{here} and {there} do not hear each other: the VM's frames do not get from one to the other, nor does a"
            " broadcast of anybody else"
        )
        return Found("segment-split", sent_at.at_ms, f"{what}: not the same VLAN or segment", shown)
    what = f"nothing that the VM sends at {here} arrives at {there}"
    heard = ", though broadcasts of others do come in" if hears else ""
    return Found("port-blocked", sent_at.at_ms, f"{what}{heard}: the port refuses its address", shown)


def wrong_vlan(story: Story, move: Move) -> Found | None:
    """At one place the VM's frames carried one VLAN before the move and another one after it."""
    for place in range(len(story.places)):
        before = _tags(p for p in story.sent if place in p.places and p.at_ms < move.at_ms - SEEN_AFTER_MS)
        later = [p for p in story.sent if place in p.places and p.at_ms >= move.at_ms and not p.is_announcement]
        after = _tags(later)
        if before and after and not (before.keys() & after.keys()):
            was, now = _tag(before), _tag(after)
            what = f"the VM's frames came {was} before the move and {now} after it (seen at {story.port_name(place)})"
            return Found("vlan-mismatch", move.at_ms, what, tuple(later[:3]))
        if wrong := _answered_in_another(story, move, place):
            return wrong
    return None


def untagged_announcement(story: Story, move: Move) -> Found | None:
    """The VM speaks in a VLAN in which it was not announced."""
    for place in range(len(story.places)):
        told = [each for each in move.announcements if place in each.places]
        spoken = _tags(p for p in story.sent if place in p.places and not p.is_announcement)
        if told and spoken and sum(spoken.values()) >= ENOUGH:
            used = spoken.most_common(1)[0][0]
            if used not in {each.first.vlans for each in told}:
                what = f"announced {_tag(_tags(told))}, but its frames are {_tag(spoken)}: switches learn it elsewhere"
                return Found("announcement-untagged", told[0].at_ms, what, tuple(told[:3]))
    return None


def late_announcement(story: Story, move: Move) -> Found | None:
    """The VM had spoken at its new place for a while before the network was told."""
    if not move.announcements or not (_is_moved(move) or move.silence_ms >= LATE_MS):
        return None
    first = move.announcements[0]
    late_ms = first.at_ms - move.at_ms
    if late_ms < LATE_MS:
        return None
    what = f"the first announcement came {late_ms:.0f} ms after the VM's first frame at its new place"
    return Found("announcement-late", move.at_ms, what, (*_first(story.sent, move.at_ms), first))


def stale_switch_entry(story: Story, move: Move) -> Found | None:
    """The network was told, and frames for the VM still go to its old port."""
    if move.port_before is None or not move.announcements:
        return None
    told_ms = move.announcements[0].at_ms
    if any(p.at_ms > told_ms + SEEN_AFTER_MS and _is_sent_from(p, move.port_before) for p in story.sent):
        return None
    old = [p for p in story.received if p.at_ms > told_ms + GRACE_MS and _is_delivered(p, move.port_before)]
    astray = [p for p in old if not p.first.is_to_many and not _is_delivered(p, move.port_after)]
    if len(astray) < ENOUGH:
        return None
    since_ms = astray[-1].at_ms - told_ms
    what = (
        f"{since_ms:.0f} ms after it was announced, frames for the VM still went to {story.port_name(move.port_before)}"
        f" ({len(astray)} of them): a switch has a static, sticky or frozen entry"
    )
    return Found("stale-switch-entry", told_ms, what, (*move.announcements[:1], *astray[:3]))


def old_port_sends(story: Story, move: Move) -> Found | None:
    """After the move something at the old port still sends with the VM's address."""
    if move.port_before is None or move.port_after is None:
        return None
    late = [p for p in story.sent if p.at_ms > move.at_ms + SEEN_AFTER_MS and _is_sent_from(p, move.port_before)]
    later = [m.at_ms for m in story.moves if m.at_ms > move.at_ms]
    late = [p for p in late if move.port_after not in p.places and (not later or p.at_ms < later[0])]
    if len(late) < ENOUGH - 1:
        return None
    what = f"{len(late)} frames with the VM's address came from {story.port_name(move.port_before)} after the move"
    return Found("old-port-sends", late[0].at_ms, f"{what}: each one turns the switches back", tuple(late[:4]))


def long_silence(story: Story, move: Move) -> Found | None:
    """It was announced as soon as it came back, but it had stood still for long."""
    began_ms = move.at_ms - move.silence_ms
    spoke = [p for p in story.sent if began_ms - 2 * LONG_MS < p.at_ms <= began_ms and not p.first.is_to_many]
    if move.silence_ms < LONG_MS or not move.announcements or len(spoke) < ENOUGH:
        return None
    what = f"the VM said nothing for {move.silence_ms:.0f} ms while {len(move.unanswered)} frames waited for an answer"
    return Found("long-silence", move.at_ms - move.silence_ms, what, tuple(move.unanswered[:3]))


RULES: tuple[Callable[[Story, Move], Found | None], ...] = (
    no_announcement,
    not_seen_beyond,
    wrong_vlan,
    untagged_announcement,
    late_announcement,
    stale_switch_entry,
    old_port_sends,
    long_silence,
)


def _origins(story: Story, passage: Passage) -> list[int]:
    """Of each capture, the place where the frame came from: the first by which it came in, or all that saw it."""
    files: dict[int, int] = {}
    for place in passage.entered:
        files.setdefault(story.places[place].file, place)
    plain = [each for each in passage.places if story.places[each].file not in files and each not in passage.left]
    return [*plain, *files.values()]


def _is_answered(story: Story, since_ms: float) -> bool:
    """Long after that time the VM acknowledges ever more: its peers hear it, or they would have stopped."""
    return any(each.from_vm.acked_ms > since_ms + GRACE_MS for each in story.flows.connections.values())


def _answered_in_another(story: Story, move: Move, place: int) -> Found | None:
    """Behind the move, what is sent to the VM carries another VLAN than what it sends, and it used not to."""
    sent = [p for p in story.sent if place in p.places and p.at_ms >= move.at_ms]
    received = [p for p in story.received if place in p.places and p.at_ms >= move.at_ms]
    own, theirs = _tags(sent), _tags(received)
    if sum(own.values()) < ENOUGH or sum(theirs.values()) < ENOUGH or own.keys() & theirs.keys():
        return None
    what = f"at {story.port_name(place)} the VM speaks {_tag(own)} and is spoken to {_tag(theirs)}"
    return Found("vlan-mismatch", move.at_ms, what, (*sent[:2], *received[:2]))


def _expecting(story: Story, move: Move) -> list[int]:
    """The places that a broadcast of the VM must reach: what it sent passed there before, and they still record."""
    since, until = move.at_ms - SEEN_AFTER_MS, move.at_ms + GRACE_MS
    before: Counter[int] = Counter()
    for passage in story.sent:
        if passage.at_ms < since:
            before.update(passage.left if passage.entered or passage.left else passage.places.keys())
    return [
        place
        for place, count in before.items()
        if count >= ENOUGH and story.coverage[place].spans(since, until) and _records(story, place, since, until)
    ]


def _records(story: Story, place: int, since: float, until: float) -> bool:
    """It is alive: a frame of anybody else was seen there in that time."""
    return story.coverage[place].heard_others(story.mac, since, until) or any(
        place in each.places for each in (*story.received, *story.sent) if since < each.at_ms < until
    )


def _ends_early(story: Story, move: Move) -> bool:
    """No capture goes on long enough to have seen an announcement."""
    return not any(each.spans(move.at_ms, move.at_ms + GRACE_MS) for each in story.coverage)


def _is_moved(move: Move) -> bool:
    return move.port_before != move.port_after


def _is_delivered(passage: Passage, port: int | None) -> bool:
    """It went out by that port, or was captured there."""
    return port is not None and (port in passage.left if passage.entered or passage.left else port in passage.places)


def _is_sent_from(passage: Passage, port: int) -> bool:
    if passage.entered or passage.left:
        return port in passage.entered
    return port in passage.places and not passage.first.is_to_many


def _first(passages: Sequence[Passage], at_ms: float) -> tuple[Passage, ...]:
    return tuple(each for each in passages if each.at_ms >= at_ms)[:1]


def _tags(passages: Iterable[Passage]) -> Counter[tuple[int, ...]]:
    return Counter(each.first.vlans for each in passages)


def _tag(counted: Counter[tuple[int, ...]]) -> str:
    tags = counted.most_common(1)[0][0]
    return f"in VLAN {'.'.join(map(str, tags))}" if tags else "untagged"


def _places(story: Story, places: Iterable[int]) -> str:
    names = [story.places[each].name for each in places]
    return ", ".join(names[:4]) + (" and others" if len(names) > 4 else "")


def stale_arp_entry(story: Story) -> Found | None:
    """Somebody sends the VM's IP packets to an address that nobody has."""
    astray: dict[tuple[bytes, bytes], list[Passage]] = {}
    for passage in story.received:
        seen = passage.first
        is_other = seen.receiver not in (b"", story.mac, EVERYBODY) and not seen.is_to_many
        if is_other and seen.receiver not in story.machines and seen.kind is not Kind.arp_reply:
            astray.setdefault((seen.sender, seen.receiver), []).append(passage)
    for (sender, receiver), frames in astray.items():
        if len(frames) >= ENOUGH:
            what = f"{text(sender)} sends the VM's packets to {text(receiver)}, which nobody here has"
            return Found("stale-arp-entry", frames[0].at_ms, f"{what}: its ARP entry is stale", tuple(frames[:3]))
    return None


def ip_conflict(story: Story) -> Found | None:
    """Another machine says that one of the VM's IP addresses is its own."""
    others = Counter(each.first.sender for each in story.claimed)
    if not others:
        return None
    other, count = others.most_common(1)[0]
    frames = [each for each in story.claimed if each.first.sender == other]
    what = f"{text(other)} claims an IP address of this VM in {count} ARP or neighbour messages"
    return Found("ip-conflict", frames[0].at_ms, what, tuple(frames[:3]))


def vm_silent(story: Story) -> Found | None:
    """Its last frame was long ago, and those who asked since had no answer."""
    if not story.sent:
        return None
    last = story.sent[-1]
    frames = asked(story, last.at_ms, float("inf"))
    if len(frames) < ENOUGH or frames[-1].at_ms - last.at_ms < LONG_MS:
        return None
    if any(each.to_vm.acked_ms > last.at_ms + LONG_MS for each in story.flows.connections.values()):
        return None  # its peers acknowledge what it says: it speaks where no capture was made
    lasted_ms = frames[-1].at_ms - last.at_ms
    what = f"the VM's last frame is followed by {len(frames)} that want an answer, over {lasted_ms:.0f} ms, to the end"
    return Found("vm-silent", last.at_ms, what, (last, *frames[:3]))
