"""Counts datagrams: a UDP echo at a steady rate, run in the client node; says what was lost, doubled, disordered."""

from __future__ import annotations

import argparse
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

SOCKET_BYTES = 8 << 20
GRACE_S = 2.0
"""For the last answers."""


@dataclass
class Count:
    """What became of the datagrams."""

    sent: int = 0
    answers: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, int]:
        """Counts only."""
        distinct = set(self.answers)
        pairs = zip(self.answers, self.answers[1:], strict=False)
        return {
            "sent": self.sent,
            "lost": self.sent - len(distinct),
            "duplicates": len(self.answers) - len(distinct),
            "reordered": sum(1 for before, after in pairs if after < before),
        }


def probe(address: str, *, port: int, rate: int, seconds: float) -> Count:
    """Sends numbered datagrams at that rate for that time, and waits for the last answers."""
    count, over = Count(), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
        datagrams.settimeout(0.2)
        datagrams.connect((address, port))
        listener = threading.Thread(target=_listen, args=(datagrams, count, over))
        listener.start()
        _send(datagrams, count, rate, seconds)
        time.sleep(GRACE_S)
        over.set()
        listener.join()
    return count


def _send(datagrams: socket.socket, count: Count, rate: int, seconds: float) -> None:
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds:
        while count.sent < elapsed * rate:
            datagrams.send(struct.pack("!I60x", count.sent))
            count.sent += 1
        time.sleep(0.0005)


def _listen(datagrams: socket.socket, count: Count, over: threading.Event) -> None:
    while not over.is_set():
        try:
            count.answers.append(struct.unpack_from("!I", datagrams.recv(2048))[0])
        except (TimeoutError, ConnectionRefusedError):
            continue


def main() -> None:
    """`python -m godwit.lab.udp_probe ADDRESS [--rate N] [--seconds S]` prints the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--port", type=int, default=7)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    count = probe(asked.address, port=asked.port, rate=asked.rate, seconds=asked.seconds)
    print(json.dumps(count.summary()))


if __name__ == "__main__":
    main()
