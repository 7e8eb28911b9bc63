"""The clients that keep data flowing, in either direction, through values of Redis."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import ClassVar

from godwit.lab.traffic_client import now_ms
from godwit.lab.traffic_connection import TcpClient
from godwit.lab.traffic_redis import Replies, command, value_of
from godwit.lab.traffic_services import REDIS_PORT


class StreamClient(TcpClient):
    """Keeps data flowing at a steady rate: numbered requests go out by the clock, not by the answers.

    So no silence hides in a buffer: data that the network holds back is missed at once.
    """

    CHUNK_BYTES = 16 * 1024
    CHUNKS = 8
    WINDOW = 64
    """Requests without an answer; with a longer silence than that the rate falls behind instead of bursting."""

    def __init__(self, address: str, port: int = REDIS_PORT, *, rate_mbit: float) -> None:
        super().__init__(address, port)
        self._period_ms = self.CHUNK_BYTES * 8 / (rate_mbit * 1000.0) if rate_mbit else 0.0
        chunks = [value_of(number) * (self.CHUNK_BYTES // 32) for number in range(self.CHUNKS)]
        self._setup, self._requests, self._answers = self.script(chunks)
        self._reset()

    @abstractmethod
    def script(self, chunks: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """What is sent first (each answered with OK), then the requests in turn and their answers."""

    def opened(self) -> None:
        """See `TcpClient`."""
        self._reset()
        self.send(b"".join(self._setup))
        if not self._setup:
            self.request()

    def _reset(self) -> None:
        self._replies = Replies()
        self._setup_left = len(self._setup)
        self._next_at_ms = 0.0
        self._sent = self._answered = 0
        self._sent_at_ms: deque[float] = deque()

    def request(self) -> None:
        """See `TcpClient`: all that is due by now."""
        at_ms = now_ms()
        self._next_at_ms = self._next_at_ms or at_ms
        due = []
        while self._next_at_ms <= at_ms and len(self._sent_at_ms) < self.WINDOW:
            due.append(self._requests[self._sent % self.CHUNKS])
            self._sent += 1
            self._sent_at_ms.append(at_ms)
            self._next_at_ms += self._period_ms
        self.send(b"".join(due))
        if len(self._sent_at_ms) == self.WINDOW:
            self._next_at_ms = max(self._next_at_ms, at_ms)
        if self._period_ms:
            self.later(max(self._next_at_ms - now_ms(), 1.0))

    def arrived(self, data: bytes) -> None:
        """See `TcpClient`."""
        replies = self._replies.feed(data)
        setup, replies = replies[: self._setup_left], replies[self._setup_left :]
        self._setup_left -= len(setup)
        latency_ms = 0.0
        if len(replies) > len(self._sent_at_ms):
            raise ValueError(f"{self.kind}: an answer came that nobody had asked for")
        for reply in replies:
            if reply != self._answers[self._answered % self.CHUNKS]:
                self.was_wrong(f"{self.kind}: answer {self._answered} is not what was stored")
            self._answered += 1
            latency_ms = max(latency_ms, now_ms() - self._sent_at_ms.popleft())
        if setup and not self._setup_left:
            self.request()
        elif not self._setup_left:
            size_bytes = len(data) if self.kind == "bulk" else len(replies) * self.CHUNK_BYTES
            self.progressed(latency_ms=latency_ms, operations=len(replies), size_bytes=size_bytes)
            if not self._period_ms and replies:
                self.request()


class BulkClient(StreamClient):
    """Downloads: gets values whose content it knows."""

    kind: ClassVar[str] = "bulk"

    def script(self, chunks: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """See `StreamClient`."""
        keys = [b"bulk:%d" % number for number in range(len(chunks))]
        setup = [command(b"SET", key, chunk) for key, chunk in zip(keys, chunks, strict=True)]
        return setup, [command(b"GET", key) for key in keys], chunks


class UploadClient(StreamClient):
    """Uploads: sets values, each of which the server must acknowledge."""

    kind: ClassVar[str] = "upload"

    def script(self, chunks: list[bytes]) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """See `StreamClient`."""
        requests = [command(b"SET", b"upload:%d" % number, chunk) for number, chunk in enumerate(chunks)]
        return [], requests, [b"OK"] * len(chunks)
