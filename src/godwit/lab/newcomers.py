"""Clients that never talked to the VM: at a steady rate, each resolves its address anew, opens a connection, asks once.

Run in the client node; says how many had to send their first packet twice, or never got an answer.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field

REDIS_PORT = 6379
DEVICE = "lan0"
PATIENCE_S = 20.0
_TOTAL_RETRANS = struct.Struct("=100xI")
"""Of struct tcp_info: segments sent again so far."""


@dataclass
class Newcomers:
    """What became of them."""

    answered: int = 0
    repeated: int = 0
    """That sent the first packet again; what follows may come too late from a busy guest, without any loss."""
    failed: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0

    def visit(self, address: str, port: int) -> None:
        """One comes, asks and goes."""
        begun = time.monotonic()
        try:
            with socket.create_connection((address, port), timeout=PATIENCE_S) as connection:
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
        except OSError as error:
            self.failed.append(str(error))
            return
        self.answered += answer == b"+PONG\r\n"
        self.repeated += _TOTAL_RETRANS.unpack_from(info)[0] > 0
        self.slowest_ms = max(self.slowest_ms, (time.monotonic() - begun) * 1000)


def come(address: str, *, port: int, rate: float, seconds: float) -> Newcomers:
    """They have come at that rate for that time, and all are gone."""
    newcomers = Newcomers()
    threads: list[threading.Thread] = []
    begun = time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds:
        if len(threads) < elapsed * rate:
            _forget(address)
            threads.append(threading.Thread(target=newcomers.visit, args=(address, port)))
            threads[-1].start()
        time.sleep(0.2 / rate)
    for thread in threads:
        thread.join()
    return newcomers


def _forget(address: str) -> None:
    """Whoever comes next must ask for it; an entry that somebody waits for just now stays, or that one would fail."""
    words = ["ip", "neigh", "flush", "dev", DEVICE, "to", address, "nud", "reachable"]
    subprocess.run(words, check=False, capture_output=True)


def main() -> None:
    """`python -m godwit.lab.newcomers ADDRESS [--rate N] [--seconds S]` prints the counts as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--port", type=int, default=REDIS_PORT)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=8.0)
    asked = parser.parse_args()
    print(json.dumps(vars(come(asked.address, port=asked.port, rate=asked.rate, seconds=asked.seconds))))


if __name__ == "__main__":
    main()
