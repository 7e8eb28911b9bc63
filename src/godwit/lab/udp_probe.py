"""Counts datagrams at a steady rate, run in the client node: says what was lost, doubled, disordered.

They are echoed by the guest (both directions), or recorded by it and fetched at the end (towards the guest only).
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

ECHO_PORT, RECORDER_PORT, RECORD_PORT = 7, 9, 1009
SOCKET_BYTES = 8 << 20
GRACE_S = 2.0
"""Without an answer: no more will come."""
GRACE_MOST_S = 30.0
"""A guest that got no CPU for a while answers late, and what is late is not lost."""
PACE_S, LOOK_S = 0.0005, 0.05
RECORD_S = 60.0
_DATAGRAM = struct.Struct("!I60x")


@dataclass
class Count:
    """What became of the datagrams."""

    sent: int = 0
    arrived: list[int] = field(default_factory=list)
    """Their numbers in the order in which they came."""
    sent_at_ms: list[float] = field(default_factory=list)
    arrived_at_ms: list[float] = field(default_factory=list)
    """Unix time, of those that are echoed."""

    told: threading.Event = field(default_factory=threading.Event)
    """Set: no more shall be sent."""

    def summary(self) -> dict[str, int]:
        """Counts only."""
        distinct = set(self.arrived)
        pairs = zip(self.arrived, self.arrived[1:], strict=False)
        return {
            "sent": self.sent,
            "lost": self.sent - len(distinct),
            "duplicates": len(self.arrived) - len(distinct),
            "reordered": sum(1 for before, after in pairs if after < before),
        }


def echoed(address: str, count: Count, *, rate: int, seconds: float) -> None:
    """Sends numbered datagrams at that rate for that time at most, and counts the answers."""
    over = threading.Event()
    with _towards(address, ECHO_PORT) as datagrams:
        listener = threading.Thread(target=_listen, args=(datagrams, count, over))
        listener.start()
        _send(datagrams, count, rate, seconds)
        _await_the_last(count)
        over.set()
        listener.join()


def recorded(address: str, count: Count, *, rate: int, seconds: float) -> None:
    """The same, counted by what the guest has recorded."""
    _record(address)
    with _towards(address, RECORDER_PORT) as datagrams:
        _send(datagrams, count, rate, seconds)
    time.sleep(GRACE_S)
    count.arrived = [number for (number,) in _DATAGRAM.iter_unpack(_record(address))]


def _towards(address: str, port: int) -> socket.socket:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    datagrams.settimeout(0.2)
    datagrams.connect((address, port))
    return datagrams


def _send(datagrams: socket.socket, count: Count, rate: int, seconds: float) -> None:
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds and not count.told.is_set():
        while count.sent < elapsed * rate:
            datagrams.send(_DATAGRAM.pack(count.sent))
            count.sent_at_ms.append(time.time() * 1000)
            count.sent += 1
        time.sleep(PACE_S)


def _listen(datagrams: socket.socket, count: Count, over: threading.Event) -> None:
    while not over.is_set():
        try:
            count.arrived.append(_DATAGRAM.unpack_from(datagrams.recv(2048))[0])
            count.arrived_at_ms.append(time.time() * 1000)
        except (TimeoutError, ConnectionRefusedError):
            continue


def _await_the_last(count: Count) -> None:
    begun_ms = time.time() * 1000
    while (now_ms := time.time() * 1000) < begun_ms + GRACE_MOST_S * 1000:
        if now_ms > max([begun_ms, *count.arrived_at_ms[-1:]]) + GRACE_S * 1000:
            return
        time.sleep(LOOK_S)


def _await_word(count: Count) -> None:
    sys.stdin.readline()
    count.told.set()


def _record(address: str) -> bytes:
    """What was recorded since the last time."""
    with socket.create_connection((address, RECORD_PORT), timeout=RECORD_S) as record, record.makefile("rb") as lines:
        return lines.read()


def main() -> None:
    """`python -m godwit.lab.udp_probe ADDRESS` prints the counts as JSON; `--help` tells the rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--recorded", action="store_true", help="the guest records instead of echoing")
    parser.add_argument("--times", action="store_true", help="say when each was sent and came")
    parser.add_argument("--until-told", action="store_true", help="stop before the time is over if a line comes")
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    sys.setswitchinterval(0.0005)
    count = Count()
    if asked.until_told:
        threading.Thread(target=_await_word, args=(count,), daemon=True).start()
    probe = recorded if asked.recorded else echoed
    probe(asked.address, count, rate=asked.rate, seconds=asked.seconds)
    times = {"sent_at_ms": count.sent_at_ms, "arrived": list(zip(count.arrived, count.arrived_at_ms, strict=False))}
    print(json.dumps(count.summary() | (times if asked.times else {})))


if __name__ == "__main__":
    main()
