"""A small wire to record: frames made by hand, and the places that see them, as captures."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from io import BytesIO
from ipaddress import IPv4Address

from godwit.diagnosis.diagnose import diagnose
from godwit.diagnosis.finding import Diagnosis
from godwit.diagnosis.gather import Source
from godwit.network import frames

VM, CLIENT, OTHER = "52:54:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
VM_IP, CLIENT_IP, OTHER_IP = (IPv4Address(f"10.0.0.{number}") for number in (100, 2, 3))
EVERYBODY = "ff:ff:ff:ff:ff:ff"
START_S = 1_700_000_000.0
STOP_S, RESUME_S = 5.0, 5.06

SYN, RST, PSH, ACK = 2, 4, 8, 16


def raw(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def frame(receiver: str, sender: str, ethertype: int, payload: bytes, *, vlan: int = 0) -> bytes:
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return raw(receiver) + raw(sender) + tag + struct.pack("!H", ethertype) + payload


def tagged(data: bytes, vlan: int) -> bytes:
    return data[:12] + struct.pack("!HH", 0x8100, vlan) + data[12:]


def arp(sender: str, ip: IPv4Address, sought: IPv4Address, *, reply_to: str = "") -> bytes:
    operation = 2 if reply_to else 1
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + raw(sender) + ip.packed
    return frame(reply_to or EVERYBODY, sender, 0x0806, body + raw(reply_to or "00:00:00:00:00:00") + sought.packed)


@dataclass
class Place:
    """One capture."""

    name: str
    packets: list[tuple[float, bytes, int]] = field(default_factory=list)

    def see(self, at_s: float, data: bytes, length: int = 0) -> None:
        self.packets.append((at_s, data, length or len(data)))

    def pcap(self, *, link: int = 1, snaplen: int = 128) -> bytes:
        out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link)]
        for at_s, data, length in sorted(self.packets, key=lambda each: each[0]):
            when = START_S + at_s
            micro = round((when - int(when)) * 1e6)
            cut = data[:snaplen]
            out.append(struct.pack("<IIII", int(when), min(micro, 999_999), len(cut), length) + cut)
        return b"".join(out)


def any_frame(data: bytes, port: int, way: int) -> bytes:
    """The same frame as `tcpdump -i any` writes it: 0 for us, 1 broadcast, 3 for others, 4 sent."""
    return (
        struct.pack("!HHIHBB", struct.unpack_from("!H", data, 12)[0], 0, port, 1, way, 6)
        + data[6:12]
        + b"\0\0"
        + data[14:]
    )


@dataclass
class Talk:
    """A TCP connection in which the client asks and the VM answers."""

    port: int = 40000
    server: int = 6379
    client: str = CLIENT
    client_ip: IPv4Address = CLIENT_IP
    _sent: int = 1000
    _answered: int = 5000
    _ip_id: int = 0

    def ask(self, *, again: bool = False, size: int = 20, receiver: str = VM) -> bytes:
        if not again:
            self._sent += size
        return self._segment(True, self._sent - size, self._answered, size, receiver=receiver)

    def answer(self, *, again: bool = False, size: int = 10) -> bytes:
        if not again:
            self._answered += size
        return self._segment(False, self._answered - size, self._sent, size)

    def acknowledge(self) -> bytes:
        return self._segment(False, self._answered, self._sent, 0)

    def reset(self, *, by_vm: bool) -> bytes:
        return self._segment(not by_vm, self._sent, self._answered, 0, flags=RST)

    def _segment(
        self, is_ask: bool, sequence: int, acknowledged: int, size: int, *, flags: int = PSH | ACK, receiver: str = VM
    ) -> bytes:
        self._ip_id += 1
        ends = (self.port, self.server) if is_ask else (self.server, self.port)
        ips = (self.client_ip, VM_IP) if is_ask else (VM_IP, self.client_ip)
        tcp = struct.pack("!HHIIBBHHH", *ends, sequence, acknowledged, 5 << 4, flags, 512, 0, 0) + bytes(min(size, 40))
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + size, self._ip_id & 0xFFFF, 0x4000, 64, 6, 0)
        macs = (receiver, self.client) if is_ask else (self.client, VM)
        return frame(macs[0], macs[1], 0x0800, ip + ips[0].packed + ips[1].packed + tcp)


def datagram(sequence: int, port: int) -> bytes:
    udp = struct.pack("!HHHH", port, port, 28, 0) + sequence.to_bytes(20)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 48, sequence & 0xFFFF, 0x4000, 64, 17, 0)
    return frame(CLIENT, VM, 0x0800, ip + VM_IP.packed + CLIENT_IP.packed + udp)


def rarp() -> bytes:
    return frames.rarp(VM)


def garp() -> bytes:
    return frames.gratuitous_arp(VM, VM_IP)


@dataclass
class Network:
    """Two hosts' uplinks and the client's own, as three captures of one story."""

    a: Place = field(default_factory=lambda: Place("host-a.pcap"))
    b: Place = field(default_factory=lambda: Place("host-b.pcap"))
    client: Place = field(default_factory=lambda: Place("client.pcap"))
    talk: Talk = field(default_factory=Talk)

    def exchange(self, start_s: float, end_s: float, *places: Place, every_s: float = 0.01) -> None:
        """The client asks, the VM answers, and these places see both."""
        at_s = start_s
        while at_s < end_s:
            self.show(at_s, self.talk.ask(), *reversed(places))
            self.show(at_s + 0.001, self.talk.answer(), *places)
            at_s += every_s

    def chatter(self, start_s: float, end_s: float, *places: Place) -> None:
        """Another machine looks for somebody now and then."""
        at_s = start_s
        while at_s < end_s:
            self.show(at_s, arp(OTHER, OTHER_IP, IPv4Address("10.0.0.9")), *places)
            at_s += 0.4

    def show(self, at_s: float, data: bytes, *places: Place) -> None:
        for number, place in enumerate(places):
            place.see(at_s + number * 0.00002, data)

    def announce(self, at_s: float, *places: Place) -> None:
        for wait_s in (0.0, 0.05, 0.2, 0.45, 0.8):
            self.show(at_s + wait_s, rarp(), *places)
            self.show(at_s + wait_s + 0.001, garp(), *places)

    @property
    def everywhere(self) -> tuple[Place, ...]:
        return (self.a, self.b, self.client)

    def diagnose(self, *places: Place) -> Diagnosis:
        return examine(*(places or self.everywhere))


def examine(*places: Place) -> Diagnosis:
    return diagnose([Source(place.name, BytesIO(place.pcap())) for place in places])


def codes(diagnosis: Diagnosis) -> list[str]:
    return [each.code for each in diagnosis.findings]
