"""TCP connections and UDP flows of one VM, followed frame by frame: silences, retransmissions, resets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple, TypeVar

from godwit.diagnosis.sight import ACK, FIN, RST, SYN, Kind, Segment, Sight

FLOWS_MAX = 4096
"""Of each kind; when there are more, those that were quiet longest are forgotten."""
STREAMING_MS, STREAMING_FRAMES = 100.0, 4
SPEAKING_MS = 1000.0
LARGE_BYTES, STUCK_TIMES = 1000, 4
_REMEMBERED, _INTERVALS = 32, 256
_HALF = 1 << 31
_EPHEMERAL = 32768
LEFT_WAITING_MS = 1000.0


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
    waited_ms: float = 0.0
    """How long its sender had been waiting for an answer."""


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
    acked_ms: float = 0.0
    """When it last acknowledged more than before."""
    data_ms: float = 0.0
    """When it last sent data."""
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
    """A large one that was sent many times."""
    is_closed: bool = False
    recent: list[float] = field(default_factory=list)
    """When it sent its last few segments with data."""
    seen: list[int] = field(default_factory=list)
    """Its last frames, to know one that comes again."""

    @property
    def is_speaking(self) -> bool:
        """It answers with data, so that an acknowledgement alone, which its kernel gives, is no answer."""
        return bool(self.data_ms) and self.new_ms - self.data_ms < SPEAKING_MS

    def forget(self) -> None:
        """What it counts begins anew."""
        self.silence, self.stuck = NEVER, None
        self.retransmissions = self.zero_windows = 0
        self.retransmitted.clear()

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
    is_left_waiting: bool = False
    """At the end of what was seen, the VM had not answered for long, or its answers had not arrived."""

    @property
    def client(self) -> str:
        return self.vm if self.is_vm_client else self.peer

    @property
    def server(self) -> str:
        return self.peer if self.is_vm_client else self.vm

    @property
    def retransmissions(self) -> int:
        return self.from_vm.retransmissions + self.to_vm.retransmissions

    @property
    def is_waiting(self) -> bool:
        """The peer asked for something that the VM has not answered."""
        return bool(self.to_vm.asked_ms) and not self.is_closed

    @property
    def unheard_since_ms(self) -> float | None:
        """The VM says again what its peer has not acknowledged: since the last time that it did."""
        if self.is_closed or not self.from_vm.repeated or not _is_owing(self.to_vm, self.from_vm):
            return None
        return self.to_vm.acked_ms or None

    @property
    def is_closed(self) -> bool:
        return self.from_vm.is_closed or self.to_vm.is_closed or bool(self.resets)

    def follow(self, seen: Sight, segment: Segment, *, is_from_vm: bool) -> None:
        """One more segment of it."""
        own, other = (self.from_vm, self.to_vm) if is_from_vm else (self.to_vm, self.from_vm)
        if seen.identity in own.seen:
            return  # the same frame again: captured twice on its way, or sent twice by a relay
        _remember(own.seen, seen.identity, _REMEMBERED)
        self.last_ms = own.last_ms = seen.at_ms
        if segment.flags & RST:
            if not self.is_closed:
                waited_ms = seen.at_ms - own.asked_ms if own.asked_ms else 0.0
                self.resets.append(Reset(seen.at_ms, seen.number, is_from_vm, waited_ms))
            return
        is_new = _advance(own, other, seen, segment)
        if is_new and (segment.payload_bytes or not own.is_speaking):
            _end_silence(own, other, seen)
        if segment.payload_bytes:
            own.data_ms = seen.at_ms
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
        _repeat(own, seen, (end, segment.payload_bytes))
    if is_new:
        own.sent = end
        if segment.payload_bytes:
            _remember(own.recent, seen.at_ms, STREAMING_FRAMES)
            own.asked_ms = own.asked_ms or seen.at_ms
    if segment.flags & ACK and (own.acknowledged is None or _is_after(segment.acknowledged, own.acknowledged)):
        own.acknowledged = segment.acknowledged
        own.acked_ms = seen.at_ms
        if other.repeated:
            other.repeated = {e: r for e, r in other.repeated.items() if _is_after(e, segment.acknowledged)}
        is_new = True
    return is_new


def _repeat(own: Way, seen: Sight, what: tuple[int, int]) -> None:
    """A large segment that is sent again and again may be too large for the way."""
    end, payload_bytes = what
    first = own.repeated.get(end) or Repeated(seen.at_ms, seen.number, payload_bytes, 0)
    if len(own.repeated) < _REMEMBERED or end in own.repeated:
        own.repeated[end] = first._replace(times=first.times + 1)
    if first.times + 1 >= STUCK_TIMES and payload_bytes >= LARGE_BYTES and own.stuck is None:
        own.stuck = own.repeated.get(end)


def _is_probe(own: Way, segment: Segment) -> bool:
    """A keep-alive or a window probe: the byte before the next one, or none."""
    return own.sent is not None and segment.payload_bytes <= 1 and (own.sent - segment.sequence) % (1 << 32) <= 1


def _end_silence(own: Way, other: Way, seen: Sight) -> None:
    """What the other side asked for is answered; the time without a word counts since somebody waited for one."""
    start_ms, asked_ms = own.new_ms, other.asked_ms
    was_streaming = own.is_streaming(start_ms) if own.recent and not asked_ms else False
    own.new_ms = seen.at_ms
    other.asked_ms = seen.at_ms if _is_owing(own, other) else 0.0
    if not (asked_ms or was_streaming):
        return
    start_ms = max(start_ms, asked_ms)
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
    intervals_ms: list[float] = field(default_factory=list)

    def follow(self, seen: Sight, *, is_from_vm: bool) -> None:
        """One more datagram of it."""
        if not is_from_vm:
            self.frames_to_vm += 1
            self.last_to_ms = seen.at_ms
            return
        if self.frames_from_vm:
            span = Span(self.last_from_ms, seen.at_ms, seen.number)
            _remember(self.intervals_ms, span.length_ms, _INTERVALS)
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


Item = TypeVar("Item")


def _remember(items: list[Item], item: Item, most: int) -> None:
    items.append(item)
    if len(items) > most:
        del items[0]


FlowKey = tuple[str, str]
"""The peer and the VM."""


class Flows:
    """All TCP connections and UDP flows of one VM."""

    def __init__(self, connections: Iterable[Connection] = (), datagrams: Iterable[Datagrams] = ()) -> None:
        """With those that were followed elsewhere before."""
        self.connections: OrderedDict[FlowKey, Connection] = OrderedDict(((c.peer, c.vm), c) for c in connections)
        self.datagrams: OrderedDict[FlowKey, Datagrams] = OrderedDict(((d.peer, d.vm), d) for d in datagrams)
        self.forgotten = 0
        self._endpoints: dict[tuple[bytes, int], str] = {}

    def close(self, at_ms: float) -> None:
        """Nothing more is seen after that time: whoever waits then, waits still, and who was not heard never is."""
        for each in self.connections.values():
            if each.is_waiting and at_ms - each.to_vm.asked_ms > each.from_vm.silence.length_ms:
                each.from_vm.silence = Span(each.to_vm.asked_ms, at_ms)
                each.is_left_waiting = at_ms - each.to_vm.asked_ms > LEFT_WAITING_MS
            since_ms = each.unheard_since_ms
            if since_ms is not None and at_ms - since_ms > max(LEFT_WAITING_MS, each.from_vm.silence.length_ms):
                each.from_vm.silence = Span(since_ms, at_ms)
                each.is_left_waiting = True

    def count_from(self, at_ms: float) -> None:
        """What was seen before that time counts no more, but what is being waited for since then does."""
        self.connections = OrderedDict(
            (key, each) for key, each in self.connections.items() if each.is_waiting or each.last_ms >= at_ms
        )
        for each in self.connections.values():
            each.from_vm.forget()
            each.to_vm.forget()
        self.datagrams.clear()

    def follow(self, seen: Sight, *, is_from_vm: bool) -> None:
        """One more frame that the VM sent or that was sent to it, in order of time."""
        if not seen.ip_from or not seen.ip_to:
            return
        sender, receiver = (seen.ip_from, seen.port_from), (seen.ip_to, seen.port_to)
        peer, vm = (receiver, sender) if is_from_vm else (sender, receiver)
        key = (self._endpoint(*peer), self._endpoint(*vm))
        if seen.segment is not None:
            opener = _opener(seen.segment, is_from_vm, is_vm_high=vm[1] >= _EPHEMERAL > peer[1])
            self._connection(key, seen, seen.segment, opener).follow(seen, seen.segment, is_from_vm=is_from_vm)
        elif seen.kind is Kind.udp:
            self._flow(key, min(peer[1], vm[1])).follow(seen, is_from_vm=is_from_vm)

    def _endpoint(self, address: bytes, port: int) -> str:
        """Remembered, because making the text is slow."""
        known = self._endpoints.get((address, port))
        if known is None:
            if len(self._endpoints) > 2 * FLOWS_MAX:
                self._endpoints.clear()
            known = self._endpoints[address, port] = endpoint(address, port)
        return known

    def _connection(self, key: FlowKey, seen: Sight, segment: Segment, is_vm_client: bool) -> Connection:
        found = self.connections.get(key)
        is_opening = segment.flags & (SYN | ACK) == SYN
        if found is not None and not (is_opening and found.is_closed):
            self.connections.move_to_end(key)
            return found
        made = Connection(*key, is_vm_client, seen.at_ms)
        self.connections[key] = made
        self.forgotten += _shorten(self.connections)
        return made

    def _flow(self, key: FlowKey, port: int) -> Datagrams:
        if key not in self.datagrams:
            self.datagrams[key] = Datagrams(*key, port)
            self.forgotten += _shorten(self.datagrams)
        self.datagrams.move_to_end(key)
        return self.datagrams[key]


def endpoint(address: bytes, port: int) -> str:
    """`10.0.0.1:80` or `[fd00::1]:80`."""
    ip = ip_address(address)
    return f"{ip}:{port}" if ip.version == 4 else f"[{ip}]:{port}"


def _opener(segment: Segment, is_from_vm: bool, *, is_vm_high: bool) -> bool:
    """Whether the VM opened the connection: a SYN tells, else its port number does."""
    if segment.flags & SYN:
        return is_from_vm is not bool(segment.flags & ACK)
    return is_vm_high


def _shorten(flows: OrderedDict[FlowKey, Connection] | OrderedDict[FlowKey, Datagrams]) -> int:
    if len(flows) <= FLOWS_MAX:
        return 0
    flows.popitem(last=False)
    return 1


def _is_after(one: int, other: int) -> bool:
    """Of two sequence numbers (RFC 793): the first is the later one."""
    return 0 < (one - other) % (1 << 32) < _HALF
