"""What the guest does while it moves, asked for by a client in the client node through the guest's own Redis.

dirty RATE_MB   1024 values of 64 KiB (64 MiB), each in turn inverted in place (`BITOP NOT key key`): Redis writes a new
                value of 64 KiB, so RATE_MB of memory are dirtied per second, and nearly nothing goes over the network.
download RATE   values of 64 KiB are fetched at RATE MB/s.
upload RATE     values of 64 KiB are stored at RATE MB/s.

Requests go out by the clock; what could not be sent in time is not caught up. Prints `started` once it does all that;
at the end of its input it prints, as JSON, the longest time without an answer since the last line it was sent.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time

REDIS_PORT = 6379
VALUE = 64 * 1024
VALUES = 1024
BULK_VALUES = 16
MOST_UNDER_WAY = 64
READY_S = 30.0


def command(*words: bytes) -> bytes:
    """One request as Redis reads it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in words)


class Load:
    """One connection; requests go out, answers are counted by their bytes."""

    def __init__(self, kind: str, address: str, rate_mb: float) -> None:
        self.kind = kind
        self.tcp = _connected(address)
        self.period_s = VALUE / (rate_mb * 1e6)
        self.answer_bytes = len(b"$65536\r\n") + VALUE + 2 if kind == "download" else len(b"+OK\r\n")
        if kind == "dirty":
            self.answer_bytes = len(b":65536\r\n")
        self.number = self.answered = self.rest = 0
        self.arrived_s = time.monotonic()
        self.longest_s = 0.0
        self.out = b""

    def fill(self) -> None:
        """The values are there."""
        values = VALUES if self.kind == "dirty" else BULK_VALUES
        for number in range(values):
            self.tcp.sendall(command(b"SET", b"load:%d" % number, os.urandom(VALUE)))
            _read(self.tcp, len(b"+OK\r\n"))

    def request(self) -> bytes:
        """The next one."""
        key = b"load:%d" % (self.number % (VALUES if self.kind == "dirty" else BULK_VALUES))
        self.number += 1
        if self.kind == "dirty":
            return command(b"BITOP", b"NOT", key, key)
        return command(b"GET", key) if self.kind == "download" else command(b"SET", key, bytes(VALUE))

    def run(self) -> None:
        """Until the end of our input; a line in between begins a new measurement."""
        self.tcp.setblocking(False)
        due_s = self.arrived_s = time.monotonic()
        while True:
            now = time.monotonic()
            while due_s <= now:
                due_s += self.period_s
                if self.number - self.answered < MOST_UNDER_WAY and not self.out:
                    self.out += self.request()
            self._send()
            wants = [self.tcp] if self.out else []
            wait_s = min(max(due_s - time.monotonic(), 0.0), 0.01)
            readable = select.select([self.tcp, sys.stdin], wants, [], wait_s)[0]
            if self.tcp in readable:
                self._hear()
            if sys.stdin in readable and not self._obey():
                return

    def _send(self) -> None:
        if self.out:
            try:
                self.out = self.out[self.tcp.send(self.out) :]
            except BlockingIOError:
                return

    def _hear(self) -> None:
        data = self.tcp.recv(1 << 20)
        if not data:
            raise ConnectionError("the guest closed the connection")
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - self.arrived_s)
        self.arrived_s = now
        done, self.rest = divmod(self.rest + len(data), self.answer_bytes)
        self.answered += done

    def _obey(self) -> bool:
        line = sys.stdin.readline()
        silence_s = time.monotonic() - self.arrived_s
        if line:
            self.longest_s = 0.0
            self.begun = (time.monotonic(), self.answered)
            return True
        seconds, answered = time.monotonic() - self.begun[0], self.answered - self.begun[1]
        rate_mb = answered * VALUE / 1e6 / seconds if seconds else 0.0
        print(json.dumps({"stall_ms": 1000 * max(self.longest_s, silence_s), "rate_mb": rate_mb}), flush=True)
        return False


def _read(tcp: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(tcp.recv(size))


def _connected(address: str) -> socket.socket:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            return socket.create_connection((address, REDIS_PORT), timeout=5)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def main() -> None:
    """`load dirty|download|upload ADDRESS RATE_MB`."""
    kind, address, rate = sys.argv[1:4]
    load = Load(kind, address, float(rate))
    load.fill()
    load.begun = (time.monotonic(), 0)
    print("started", flush=True)
    load.run()


if __name__ == "__main__":
    main()
