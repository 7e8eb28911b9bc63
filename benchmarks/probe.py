"""The client that measures, run in the client node: one TCP connection asked again and again, and datagrams.

On the connection (echo, port 7) 32 bytes go out, the answer is awaited, and a millisecond after the last question the
next one follows: an application's view. Datagrams (echo, port 7 of UDP) go out by the clock, answered or not: they say
when the guest answered again, and how many frames were lost. Spoken to by lines of JSON on standard input.

    us <- {"event": "started"}
    us -> {"from_ms": ..., "stopped_ms": ..., "resumed_ms": ..., "to_ms": ...}   Unix time
    us <- {"stall_ms": ..., "hold_ms": ..., "warm_up_ms": ..., "lost": ..., "rto": ..., ...}
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

ECHO_PORT = 7
PACE_S = 0.001
DATAGRAM_PACE_S = 0.002
READY_S = 30.0
NETSTAT = ("TCPTimeouts", "TCPLossProbes")
SNMP = ("RetransSegs", "EstabResets", "OutRsts")
TCPI_TOTAL_RETRANS = 100
TCPI_DSACK_DUPS = 216
_UNIX_S = time.time() - time.monotonic()


class Probe:
    """Everything it asked, and when it was answered; times are monotonic seconds."""

    def __init__(self, address: str) -> None:
        self.questions: list[list[float]] = []
        self.datagrams: list[list[float]] = []
        self._tcp = _connected(address)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.connect((address, ECHO_PORT))
        self._udp.setblocking(False)
        self._got = b""
        self._next_s = self._next_datagram_s = 0.0
        self.error: str | None = None

    def turn(self, wait_s: float) -> bool:
        """What is due is sent, what came is noted; whether standard input has something."""
        now = time.monotonic()
        if not self.error and not self._is_waiting and now >= self._next_s:
            self.questions.append([now, 0.0])
            self._next_s = now + PACE_S
            self._guarded(lambda: self._tcp.sendall(b"%032d" % len(self.questions)))
        if now >= self._next_datagram_s:
            self._next_datagram_s = max(self._next_datagram_s + DATAGRAM_PACE_S, now)
            self.datagrams.append([now, 0.0])
            self._send_datagram()
        ready = select.select([self._tcp, self._udp, sys.stdin], [], [], wait_s)[0]
        if self._tcp in ready:
            self._guarded(self._hear)
        if self._udp in ready:
            self._hear_datagrams()
        return sys.stdin in ready

    @property
    def _is_waiting(self) -> bool:
        return bool(self.questions) and not self.questions[-1][1]

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except OSError as error:
            self.error = str(error)

    def _hear(self) -> None:
        data = self._tcp.recv(4096)
        if not data:
            raise ConnectionError("the guest closed the connection")
        self._got += data
        if len(self._got) >= 32:
            if self._got != b"%032d" % len(self.questions):
                self.error = f"a wrong answer: {self._got!r}"
            self.questions[-1][1] = time.monotonic()
            self._got = b""

    def _send_datagram(self) -> None:
        try:
            self._udp.send(b"%08d" % (len(self.datagrams) - 1))
        except OSError:
            return  # counted as lost

    def _hear_datagrams(self) -> None:
        now = time.monotonic()
        while True:
            try:
                number = int(self._udp.recv(64))
            except OSError:
                return
            if not self.datagrams[number][1]:
                self.datagrams[number][1] = now

    def connection(self) -> dict[str, int | str]:
        """What the kernel counts of it."""
        info = self._tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        name = self._tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).split(b"\0")[0].decode()
        number = {at: int.from_bytes(info[at : at + 4], sys.byteorder) for at in (TCPI_TOTAL_RETRANS, TCPI_DSACK_DUPS)}
        return {
            "retransmissions": number[TCPI_TOTAL_RETRANS],
            "reported_twice": number[TCPI_DSACK_DUPS],
            "congestion_control": name,
        }


def window(probe: Probe, *, from_ms: float, stopped_ms: float, resumed_ms: float, to_ms: float) -> dict[str, Any]:
    """What was seen between two moments, around a STOP and a RESUME in between."""
    begun, stopped, resumed, ended = (each / 1000 - _UNIX_S for each in (from_ms, stopped_ms, resumed_ms, to_ms))
    asked = [each for each in probe.questions if each[0] <= ended and (each[1] or ended) >= begun]
    stalls = [(answered or ended) - sent for sent, answered in asked if (answered or ended) > stopped]
    holds = [answered - sent for sent, answered in asked if answered and answered <= stopped]
    datagrams = [each for each in probe.datagrams if begun <= each[0] <= ended]
    warm = [answered - resumed for sent, answered in probe.datagrams if sent >= resumed and answered]
    calm = [answered - sent for sent, answered in probe.questions if answered and answered < begun]
    return {
        "stall_ms": 1000 * max(stalls, default=0.0),
        "hold_ms": 1000 * max(holds, default=0.0),
        "calm_ms": 1000 * max(calm, default=0.0),
        "warm_up_ms": 1000 * min(warm) if warm else None,
        "lost": sum(1 for _, answered in datagrams if not answered),
        "sent": len(datagrams),
        "error": probe.error,
        **probe.connection(),
        **counters(),
    }


def counters() -> dict[str, int]:
    """What this node's kernel counted since it began; only our own connections are in it."""
    found: dict[str, int] = {}
    for file, names in (("netstat", NETSTAT), ("snmp", SNMP)):
        lines = Path(f"/proc/self/net/{file}").read_text().splitlines()
        for heads, values in zip(lines[::2], lines[1::2], strict=True):
            pairs = zip(heads.split(), values.split(), strict=True)
            found |= {name: int(value) for name, value in pairs if name in names}
    return found


def _connected(address: str) -> socket.socket:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            tcp = socket.create_connection((address, ECHO_PORT), timeout=2)
            tcp.settimeout(2)
            tcp.sendall(b"%032d" % 0)
            if tcp.recv(64):
                break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tcp


def main() -> None:
    """`probe ADDRESS`, until the end of standard input."""
    os.nice(-10) if os.geteuid() == 0 else None
    probe = Probe(sys.argv[1])
    print(json.dumps({"event": "started", **counters()}), flush=True)
    while True:
        if probe.turn(PACE_S / 4):
            line = sys.stdin.readline()
            if not line:
                return
            order = json.loads(line)
            while time.time() * 1000 < order["to_ms"]:
                probe.turn(PACE_S / 4)
            print(json.dumps(window(probe, **order)), flush=True)


if __name__ == "__main__":
    main()
