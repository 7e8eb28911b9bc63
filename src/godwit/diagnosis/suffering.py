"""What clients suffered: connections reset or standing still, large frames that do not pass, missed heartbeats."""

from __future__ import annotations

from collections.abc import Iterator

from godwit.diagnosis.flows import Connection, Datagrams
from godwit.diagnosis.rules import Found
from godwit.diagnosis.story import Passage, Story

STALLED_MS = 1000.0
GAVE_UP_MS = 200.0
AROUND_MS = (5000.0, 60_000.0)
"""Before and after a move: what happens then is put down to it."""
HEARTBEATS = {
    3343: ("Windows failover cluster", 10_000.0),
    5405: ("Corosync", 1000.0),
    5404: ("Corosync", 1000.0),
    694: ("Linux-HA heartbeat", 30_000.0),
}
"""By UDP port: whose heartbeat it is, and after how long a silence it gives a node up by default (it can be set)."""


def sufferings(story: Story, heartbeat_ms: float | None) -> Iterator[Found]:
    """Of this VM's clients, near a move."""
    connections = list(story.flows.connections.values())
    yield from _resets(story, connections)
    yield from _stalls(story, connections)
    yield from _large_frames(story, connections)
    for flow in story.flows.datagrams.values():
        yield from _heartbeat(story, flow, heartbeat_ms)


def _resets(story: Story, connections: list[Connection]) -> Iterator[Found]:
    """A peer that resets without having waited just ends the connection, in the way that many programs do."""
    near = [(c, reset) for c in connections for reset in c.resets if _is_near(story, reset.at_ms)]
    hit = [(c, reset) for c, reset in near if reset.is_from_vm or reset.waited_ms > GAVE_UP_MS]
    if not hit:
        return
    by_vm = sum(reset.is_from_vm for _, reset in hit)
    if by_vm == len(hit):
        why = "the VM's side did: its guest does not know them (another copy, or restarted), or a firewall in its name"
    elif by_vm:
        why = f"{by_vm} by the VM's side, the others by their peers"
    else:
        why = "their peers did: they gave up waiting, or a firewall between did it in their name"
    first, reset = hit[0]
    what = f"{len(hit)} connections were reset, {first.client} to {first.server} the first; {why}"
    yield Found("connection-reset", reset.at_ms, what, tuple(_numbered(story, [r.number for _, r in hit])))


def _stalls(story: Story, connections: list[Connection]) -> Iterator[Found]:
    hit = [c for c in connections if c.from_vm.silence.length_ms >= STALLED_MS and c.retransmissions]
    hit = [c for c in hit if _is_near(story, c.from_vm.silence.start_ms)]
    if not hit:
        return
    worst = max(hit, key=lambda c: c.from_vm.silence.length_ms)
    silence = worst.from_vm.silence
    what = (
        f"{len(hit)} connections stood still for up to {silence.length_ms:.0f} ms ({worst.client} to {worst.server}),"
        f" with {worst.retransmissions} retransmissions"
    )
    numbers = [*worst.to_vm.retransmitted[:3], silence.number]
    yield Found("connection-stalled", silence.start_ms, what, tuple(_numbered(story, numbers)))


def _large_frames(story: Story, connections: list[Connection]) -> Iterator[Found]:
    """The path is alive: somebody was answered meanwhile, by small frames."""
    stuck = [(c, way.stuck) for c in connections for way in (c.from_vm, c.to_vm) if way.stuck]
    for connection, hit in stuck:
        if hit is None or not any(_is_heard(each, connection, hit.at_ms) for each in connections):
            continue
        what = (
            f"segments of {hit.payload_bytes} bytes are sent {hit.times} times and more in {connection.client} to"
            f" {connection.server} and never arrive, while small frames pass both ways: the MTU on the way is smaller"
        )
        yield Found("large-frames-lost", hit.at_ms, what, tuple(_numbered(story, [hit.number])))
        return


def _is_heard(other: Connection, stuck: Connection, since_ms: float) -> bool:
    """Both ends said something new since; of the one that is stuck a word of each is enough."""
    ways = (other.from_vm, other.to_vm)
    return all((way.last_ms if other is stuck else way.new_ms) > since_ms for way in ways)


def _heartbeat(story: Story, flow: Datagrams, limit_ms: float | None) -> Iterator[Found]:
    known, usual_ms = HEARTBEATS.get(flow.port, ("a periodic flow", None))
    limit_ms = limit_ms or usual_ms
    period_ms = flow.period_ms()
    if limit_ms is None or period_ms is None or flow.silence.length_ms <= limit_ms:
        return
    what = (
        f"{known} ({flow.vm} to {flow.peer}, every {period_ms:.0f} ms) was silent for {flow.silence.length_ms:.0f} ms,"
        f" longer than its limit of {limit_ms:.0f} ms"
    )
    yield Found("heartbeat-exceeded", flow.silence.start_ms, what, tuple(_numbered(story, [flow.silence.number])))


def _is_near(story: Story, at_ms: float) -> bool:
    before, after = AROUND_MS
    return any(move.at_ms - before <= at_ms <= move.at_ms + after for move in story.moves)


def _numbered(story: Story, numbers: list[int]) -> list[Passage]:
    """The kept frames of those numbers; those that were thinned out are not shown."""
    wanted = set(numbers)
    return [each for each in (*story.sent, *story.received) if each.number in wanted][:6]
