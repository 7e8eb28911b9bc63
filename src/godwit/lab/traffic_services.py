"""The clients that ask one question at a time: echo and Redis."""

from __future__ import annotations

from typing import ClassVar

from godwit.lab.traffic_client import now_ms
from godwit.lab.traffic_connection import TcpClient
from godwit.lab.traffic_redis import Replies, command, value_of

ECHO_PORT = 7
REDIS_PORT = 6379


class EchoClient(TcpClient):
    """Sends 32 numbered bytes and waits for them; the next ones follow after the answer, one a millisecond at most."""

    kind: ClassVar[str] = "echo"
    PACE_MS = 1.0

    def __init__(self, address: str, port: int = ECHO_PORT) -> None:
        super().__init__(address, port)
        self._number = 0
        self._sent_at_ms = 0.0
        self._got = b""

    def opened(self) -> None:
        """See `TcpClient`."""
        self._got = b""
        self.request()

    def request(self) -> None:
        """See `TcpClient`."""
        self._number += 1
        self._sent_at_ms = now_ms()
        self.send(b"%032d" % self._number)

    def arrived(self, data: bytes) -> None:
        """See `TcpClient`."""
        self._got += data
        if len(self._got) < 32:
            return
        if self._got != b"%032d" % self._number:
            self.was_wrong(f"echo number {self._number} came back as {self._got[:64]!r}")
        latency_ms = now_ms() - self._sent_at_ms
        self.progressed(latency_ms=latency_ms, operations=1, size_bytes=len(self._got))
        self._got = b""
        self.later(self.PACE_MS - latency_ms)


class RedisClient(TcpClient):
    """Sets and gets in turn; each GET must return what the last acknowledged SET of that key had stored."""

    kind: ClassVar[str] = "redis"
    PACE_MS = 2.0
    KEYS = 1024

    def __init__(self, address: str, port: int = REDIS_PORT) -> None:
        super().__init__(address, port)
        self._reset()

    def opened(self) -> None:
        """See `TcpClient`."""
        self._reset()
        self.request()

    def _reset(self) -> None:
        self._replies = Replies()
        self._counter = self._acknowledged = 0
        self._expected = self._question = b""
        self._sent_at_ms = 0.0

    def request(self) -> None:
        """See `TcpClient`: a SET when the last one was checked, else the GET of one of the last thousand."""
        if self._counter == self._acknowledged:
            self._counter += 1
            self._ask(b"OK", b"SET", _key(self._counter), value_of(self._counter))
        else:
            age = (self._counter * 37) % min(self._counter, self.KEYS)
            self._acknowledged = self._counter
            self._ask(value_of(self._counter - age), b"GET", _key(self._counter - age))

    def arrived(self, data: bytes) -> None:
        """See `TcpClient`."""
        for reply in self._replies.feed(data):
            if reply != self._expected:
                self.was_wrong(f"redis: {self._question!r} was answered with {reply!r} instead of {self._expected!r}")
            latency_ms = now_ms() - self._sent_at_ms
            self.progressed(latency_ms=latency_ms, operations=1, size_bytes=len(data))
            self.later(self.PACE_MS - latency_ms)

    def _ask(self, expected: bytes, *words: bytes) -> None:
        self._expected, self._question = expected, b" ".join(words[:2])
        self._sent_at_ms = now_ms()
        self.send(command(*words))


def _key(counter: int) -> bytes:
    return b"traffic:%d" % (counter % RedisClient.KEYS)
