"""TCP connections and UDP flows of one VM, followed frame by frame: silences, retransmissions, resets."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

from godwit.diagnosis.sight import ACK, FIN, RST, SYN, Kind, Segment, Sight

FLOWS_MAX = 4096
"""Of each kind; when there are more, those that were quiet longest are forgotten."""
PAUSE_MS = 50.0
"""A client that says nothing for so long pauses by itself; its silence is not the VM's, shorter ones are."""
STREAMING_MS, STREAMING_FRAMES = 100.0, 4
LARGE_BYTES, STUCK_TIMES = 1000, 4
_REMEMBERED = 64
_HALF = 1 << 31
_EPHEMERAL = 32768


class Span(NamedTuple):
    """A stretch of time: nothing came between the packets at its ends."""

    start_ms: float = 0.0
    end_ms: float = 0.0
    number: int = 0
    """Of the packet that ended it."""

    @property
    def length_ms(self) -> float:
        return self.end_ms - self.start_ms


NEVER = Span()


class Reset(NamedTuple):
    """One RST."""

    at_ms: float
    number: int
    is_from_vm: bool


class Repeated(NamedTuple):
    """A segment that was sent again."""

    at_ms: float
    """The first time."""
    number: int
    payload_bytes: int
    times: int


@dataclass
class Way:
    """One direction of a connection."""

    sent: int | None = None
    """The sequence number after the last byte that was seen."""
    acknowledged: int | None = None
    last_ms: float = 0.0
    new_ms: float = 0.0
    """When it last said anything new: data, or that data had come."""
    asked_ms: float = 0.0
    """When it last sent data that the other side has not answered; 0: all is answered."""
    silence: Span = NEVER
    retransmissions: int = 0
    retransmitted: list[int] = field(default_factory=list)
    """Packet numbers, the first few."""
    zero_windows: int = 0
    repeated: dict[int, Repeated] = field(default_factory=dict)
    """Segments that were sent again, by their end, as long as they are not acknowledged."""
    stuck: Repeated | None = None
    """A large one that never arrived while the other side was heard."""
    is_closed: bool = False
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=STREAMING_FRAMES))
    seen: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def is_streaming(self, at_ms: float) -> bool:
        """It was sending data without being asked each time."""
        return len(self.recent) == STREAMING_FRAMES and at_ms - self.recent[0] < STREAMING_MS


@dataclass
class Connection:
    """One TCP connection of the VM."""

    peer: str
    vm: str
    is_vm_client: bool
    first_ms: float
    last_ms: float = 0.0
    from_vm: Way = field(default_factory=Way)
    to_vm: Way = field(default_factory=Way)
    resets: list[Reset] = field(default_factory=list)

    @property
    def client(self) -> str:
        return self.vm if self.is_vm_client else self.peer

    @property
    def server(self) -> str:
        return self.peer if self.is_vm_client else self.vm

    @property
    def retransmissions(self) -> int:
        return self.from_vm.retransmissions + self.to_vm.retransmissions

    def is_waiting(self) -> bool:
        """The peer asked for something that the VM has not answered."""
        return bool(self.to_vm.asked_ms) and not self.is_closed

    @property
    def is_closed(self) -> bool:
        return self.from_vm.is_closed or self.to_vm.is_closed or bool(self.resets)

    def follow(self, seen: Sight, segment: Segment, *, is_from_vm: bool) -> None:
        """One more segment of it."""
        own, other = (self.from_vm, self.to_vm) if is_from_vm else (self.to_vm, self.from_vm)
        if seen.identity in own.seen:
            return  # the same frame again: captured twice on its way, or sent twice by a relay
        own.seen.append(seen.identity)
        self.last_ms = own.last_ms = seen.at_ms
        if segment.flags & RST:
            if not self.is_closed:
                self.resets.append(Reset(seen.at_ms, seen.number, is_from_vm))
            return
        is_new = _advance(own, other, seen, segment)
        if is_new:
            _end_silence(own, other, seen)
        own.is_closed |= bool(segment.flags & FIN)
        if not segment.window and not segment.flags & SYN:
            own.zero_windows += 1


def _advance(own: Way, other: Way, seen: Sight, segment: Segment) -> bool:
    """Counts what is sent again; true when it says anything new."""
    size = segment.payload_bytes + bool(segment.flags & (SYN | FIN))
    end = (segment.sequence + size) % (1 << 32)
    is_new = own.sent is None or _is_after(end, own.sent)
    if size and not is_new and not _is_probe(own, segment):
        own.retransmissions += 1
        if len(own.retransmitted) < 20:
            own.retransmitted.append(seen.number)
        _repeat(own, other, seen, (end, segment.payload_bytes))
    if is_new:
        own.sent = end
        if segment.payload_bytes:
            own.recent.append(seen.at_ms)
            own.asked_ms = own.asked_ms or seen.at_ms
    if segment.flags & ACK and (own.acknowledged is None or _is_after(segment.acknowledged, own.acknowledged)):
        own.acknowledged = segment.acknowledged
        if other.repeated:
            other.repeated = {e: r for e, r in other.repeated.items() if _is_after(e, segment.acknowledged)}
        is_new = True
    return is_new


def _repeat(own: Way, other: Way, seen: Sight, what: tuple[int, int]) -> None:
    """A large segment that is sent again and again, while its receiver is heard, does not fit through."""
    end, payload_bytes = what
    first = own.repeated.get(end) or Repeated(seen.at_ms, seen.number, payload_bytes, 0)
    if len(own.repeated) < _REMEMBERED or end in own.repeated:
        own.repeated[end] = first._replace(times=first.times + 1)
    is_heard = other.last_ms > first.at_ms
    if first.times + 1 >= STUCK_TIMES and payload_bytes >= LARGE_BYTES and is_heard:
        own.stuck = own.stuck or own.repeated.get(end)


def _is_probe(own: Way, segment: Segment) -> bool:
    """A keep-alive or a window probe: the byte before the next one, or none."""
    return own.sent is not None and segment.payload_bytes <= 1 and (own.sent - segment.sequence) % (1 << 32) <= 1


def _end_silence(own: Way, other: Way, seen: Sight) -> None:
    """What the other side asked for is answered; the time without a word counts if somebody waited for one."""
    start_ms, asked_ms = own.new_ms, other.asked_ms
    was_streaming = own.is_streaming(start_ms) if own.recent and not asked_ms else False
    own.new_ms = seen.at_ms
    other.asked_ms = seen.at_ms if _is_owing(own, other) else 0.0
    if not start_ms or not (asked_ms or was_streaming):
        return
    if asked_ms - start_ms > PAUSE_MS:
        start_ms = asked_ms
    if seen.at_ms - start_ms > own.silence.length_ms:
        own.silence = Span(start_ms, seen.at_ms, seen.number)


def _is_owing(own: Way, other: Way) -> bool:
    """Some of what the other side sent has not been acknowledged."""
    return other.sent is not None and own.acknowledged is not None and _is_after(other.sent, own.acknowledged)


@dataclass
class Datagrams:
    """One UDP flow of the VM."""

    peer: str
    vm: str
    port: int
    frames_from_vm: int = 0
    frames_to_vm: int = 0
    last_from_ms: float = 0.0
    last_to_ms: float = 0.0
    silence: Span = NEVER
    """The VM's."""
    intervals_ms: deque[float] = field(default_factory=lambda: deque(maxlen=256))
    seen: deque[int] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def follow(self, seen: Sight, *, is_from_vm: bool) -> None:
        """One more datagram of it."""
        if seen.identity in self.seen:
            return
        self.seen.append(seen.identity)
        if not is_from_vm:
            self.frames_to_vm += 1
            self.last_to_ms = seen.at_ms
            return
        if self.frames_from_vm:
            span = Span(self.last_from_ms, seen.at_ms, seen.number)
            self.intervals_ms.append(span.length_ms)
            if span.length_ms > self.silence.length_ms:
                self.silence = span
        self.frames_from_vm += 1
        self.last_from_ms = seen.at_ms

    def period_ms(self) -> float | None:
        """How often the VM sends, when it does so by the clock."""
        ordered = sorted(self.intervals_ms)
        if len(ordered) < 8:
            return None
        middle, late = ordered[len(ordered) // 2], ordered[len(ordered) * 3 // 4]
        return middle if middle > 10.0 and late < 1.5 * middle else None


FlowKey = tuple[bytes, int, bytes, int]


class Flows:
    """All TCP connections and UDP flows of one VM."""

    def __init__(self) -> None:
        self.connections: OrderedDict[FlowKey, Connection] = OrderedDict()
        self.datagrams: OrderedDict[FlowKey, Datagrams] = OrderedDict()
        self.forgotten = 0

    def follow(self, seen: Sight, *, is_from_vm: bool) -> None:
        """One more frame that the VM sent or that was sent to it, in order of time."""
        if not seen.ip_from or not seen.ip_to:
            return
        ends = (seen.ip_to, seen.port_to, seen.ip_from, seen.port_from)
        key = ends if is_from_vm else (*ends[2:], *ends[:2])
        if seen.segment is not None:
            self._connection(key, seen, seen.segment, is_from_vm).follow(seen, seen.segment, is_from_vm=is_from_vm)
        elif seen.kind is Kind.udp:
            self._flow(key).follow(seen, is_from_vm=is_from_vm)

    def _connection(self, key: FlowKey, seen: Sight, segment: Segment, is_from_vm: bool) -> Connection:
        found = self.connections.get(key)
        is_opening = segment.flags & (SYN | ACK) == SYN
        if found is not None and not (is_opening and found.is_closed):
            self.connections.move_to_end(key)
            return found
        is_vm_client = is_from_vm if is_opening else key[3] >= _EPHEMERAL > key[1]
        made = Connection(endpoint(key[0], key[1]), endpoint(key[2], key[3]), is_vm_client, seen.at_ms)
        self.connections[key] = made
        self.forgotten += _shorten(self.connections)
        return made

    def _flow(self, key: FlowKey) -> Datagrams:
        if key not in self.datagrams:
            self.datagrams[key] = Datagrams(endpoint(key[0], key[1]), endpoint(key[2], key[3]), min(key[1], key[3]))
            self.forgotten += _shorten(self.datagrams)
        self.datagrams.move_to_end(key)
        return self.datagrams[key]


def endpoint(address: bytes, port: int) -> str:
    """`10.0.0.1:80` or `[fd00::1]:80`."""
    ip = ip_address(address)
    return f"{ip}:{port}" if ip.version == 4 else f"[{ip}]:{port}"


def _shorten(flows: OrderedDict[FlowKey, Connection] | OrderedDict[FlowKey, Datagrams]) -> int:
    if len(flows) <= FLOWS_MAX:
        return 0
    flows.popitem(last=False)
    return 1


def _is_after(one: int, other: int) -> bool:
    """Of two sequence numbers (RFC 793): the first is the later one."""
    return 0 < (one - other) % (1 << 32) < _HALF
