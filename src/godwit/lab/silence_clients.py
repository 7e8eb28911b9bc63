"""Fifty clients of different manners, run in the client node: when each asked and was answered, by two clocks.

One is the program's, which reads an answer when the machine gives it a CPU; the other is the kernel's, which stamps
it when it arrives. It talks until a line of JSON on its input says which stretch of time counts.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

ECHO_PORT, REDIS_PORT = 7, 6379
BUFFER_BYTES, TICK_S, LINGER_NOT = 1 << 16, 0.002, struct.pack("ii", 1, 0)
_SO_TIMESTAMPNS = 35
_STAMP = struct.Struct("qq")
VALUE = b"v" * 900
"""So short that it comes in one segment."""

BY_PROGRAM, BY_KERNEL = 0, 1


@dataclass
class Talk:
    """One connection. Times are Unix time in milliseconds."""

    manner: str
    line: socket.socket
    request: bytes
    pause_ms: float
    """Between an answer and the next question, or between questions where nobody waits for answers."""
    waits: bool = True
    most_bytes: int = BUFFER_BYTES
    """Of one answer."""
    name: str = ""
    due_ms: float = 0.0
    asked_ms: float | None = None
    """Since when an answer is waited for."""
    owed_bytes: int = 0
    """Of echoes that have not come yet."""
    answered_ms: list[float | None] = field(default_factory=lambda: [None, None])
    """The last time, by each clock."""
    silences: list[tuple[float, float, float]] = field(default_factory=list)
    """When each ended, by the program's clock; how long it was, by each."""
    is_reset: bool = False
    is_over: bool = False

    def ask(self, now_ms: float) -> None:
        """If it is time for that."""
        if self.is_over or now_ms < self.due_ms or (self.waits and self.asked_ms is not None):
            return
        with suppress(BlockingIOError):
            now_ms = time.time() * 1000  # much may have passed since the caller looked
            self._guarded(lambda: self.line.send(self.request))
            self.owed_bytes += len(self.request)
            if self.asked_ms is None:
                self.asked_ms = now_ms
        self.due_ms = now_ms + self.pause_ms

    def read(self) -> None:
        """What came is an answer to all that was asked before."""
        self._guarded(self._read)

    def _read(self) -> None:
        # the kernel tells when the last byte of what is read arrived: what came later must be read later
        data, control, _, _ = self.line.recvmsg(self.most_bytes, 64)
        if not data:
            self.is_over = True
            return
        now_ms = time.time() * 1000
        came_ms = next((_stamp_ms(each[2]) for each in control if each[1] == _SO_TIMESTAMPNS), now_ms)
        if self.asked_ms is not None:
            lengths = [_silence(self.answered_ms[by], self.asked_ms, at) for by, at in enumerate((now_ms, came_ms))]
            self.silences.append((now_ms, lengths[BY_PROGRAM], lengths[BY_KERNEL]))
        self.answered_ms, self.owed_bytes = [now_ms, came_ms], max(0, self.owed_bytes - len(data))
        self.asked_ms = came_ms if self.owed_bytes and not self.waits else None
        self.due_ms = now_ms + self.pause_ms if self.waits else self.due_ms

    def give_up(self) -> None:
        """The server gets a reset."""
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self.line.close()
        self.is_reset = self.is_over = True

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except BlockingIOError:
            raise
        except OSError:
            self.is_reset = self.is_over = True

    def told(self, start_ms: float, end_ms: float) -> dict[str, object]:
        """Its longest silences between those times."""
        some = [each for each in self.silences if start_ms <= each[0] <= end_ms] or [(0.0, 0.0, 0.0)]
        longest = {name: max(each[by] for each in some) for name, by in (("program_ms", 1), ("kernel_ms", 2))}
        return {"client": self.name, "manner": self.manner, "is_reset": self.is_reset, **longest}


def _silence(answered_ms: float | None, asked_ms: float, now_ms: float) -> float:
    """As reports have it: since the question, or since the last answer if that came after it."""
    return now_ms - max(asked_ms, answered_ms or 0.0)


def _stamp_ms(data: bytes) -> float:
    seconds, nanoseconds = _STAMP.unpack(data[: _STAMP.size])
    return float(seconds * 1000 + nanoseconds / 1e6)


def talks(address: str) -> Iterator[Talk]:
    """Fifty connections: four of them end with a reset, half of those by the server."""
    draw = random.Random(8)
    set_value, get_value = _redis(b"SET", b"silence", VALUE), _redis(b"GET", b"silence")
    for _ in range(16):
        yield _talk("asking", (address, ECHO_PORT), b"x" * 30, draw.uniform(30, 45))
    for _ in range(12):
        yield _talk("thinking", (address, ECHO_PORT), b"x" * 200, draw.uniform(60, 300))
    for _ in range(10):
        talk = _talk("ticking", (address, ECHO_PORT), b"x" * 20, draw.uniform(25, 45))
        talk.waits, talk.most_bytes = False, len(talk.request)
        yield talk
    for number in range(8):
        yield _talk("redis", (address, REDIS_PORT), get_value if number % 2 else set_value, draw.uniform(50, 200))
    for _ in range(2):
        yield _talk("leaving", (address, ECHO_PORT), b"x" * 30, draw.uniform(30, 45))
    for _ in range(2):
        yield _talk("left", (address, REDIS_PORT), get_value, draw.uniform(50, 100))


def _redis(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(each), each) for each in words)


def _talk(manner: str, place: tuple[str, int], request: bytes, pause_ms: float) -> Talk:
    line = socket.create_connection(place, 30)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    line.setblocking(False)
    host, port = line.getsockname()
    return Talk(manner, line, request, pause_ms, name=f"{host}:{port}")


def part(all_of_them: Sequence[Talk]) -> None:
    """The ones that are to be reset are: by this side, and by a server that closes what it has not read."""
    for each in all_of_them:
        if each.manner == "leaving":
            each.give_up()
        elif each.manner == "left":
            with suppress(OSError):
                each.line.send(_redis(b"QUIT") + each.request * 4000)


def main(argv: Sequence[str]) -> int:
    """Says `talking`, talks; at the line `part` some are reset, at a stretch `[start_ms, end_ms]` it tells and ends."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    all_of_them = list(talks(argv[0]))
    print("talking", flush=True)
    with selectors.DefaultSelector() as wait:
        wait.register(sys.stdin, selectors.EVENT_READ)
        for each in all_of_them:
            wait.register(each.line, selectors.EVENT_READ, each)
        while True:
            now_ms = time.time() * 1000
            for each in all_of_them:
                each.ask(now_ms)
            for key, _ in wait.select(TICK_S):
                if key.data is None and (line := sys.stdin.readline()).strip() != "part":
                    print(json.dumps([each.told(*json.loads(line)) for each in all_of_them]), flush=True)
                    return 0
                if key.data is None:
                    part(all_of_them)
                elif key.data.is_over:
                    wait.unregister(key.fileobj)
                else:
                    key.data.read()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
