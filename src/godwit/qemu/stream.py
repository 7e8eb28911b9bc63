"""A connected socket inside a selector loop: it never blocks; what does not fit waits its turn."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

_CHUNK_BYTES = 256 * 1024


class Stream:
    """Delivers bytes to `on_bytes` as they come, and calls `on_end` once when the peer is gone."""

    def __init__(
        self,
        sock: socket.socket,
        selector: BaseSelector,
        *,
        on_bytes: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._sock = sock
        self._selector = selector
        self._on_bytes = on_bytes
        self._on_end = on_end
        self._waiting = b""
        self.is_open = True
        sock.setblocking(False)
        selector.register(sock, EVENT_READ, self._ready)

    @property
    def waiting_bytes(self) -> int:
        """What the peer has not yet taken."""
        return len(self._waiting)

    def send(self, data: bytes) -> None:
        """The data is on its way; to a peer that is gone it is dropped, and its end will be noticed by reading."""
        if not self.is_open:
            return
        self._waiting += data
        if len(self._waiting) == len(data):
            self._flush()

    def drain(self) -> None:
        """All that the peer had sent is delivered."""
        while self.is_open and self._receive():
            pass

    def finish(self) -> None:
        """All that was sent is with the kernel, and the socket is closed. Blocks for a second at most."""
        if self.is_open:
            self._sock.settimeout(1.0)
            with contextlib.suppress(OSError):
                self._sock.sendall(self._waiting)
            self.close()

    def close(self) -> None:
        """The socket is closed; no callback comes any more."""
        if self.is_open:
            self.is_open = False
            self._selector.unregister(self._sock)
            self._sock.close()

    def _ready(self, mask: int) -> None:
        if mask & EVENT_WRITE and self.is_open:
            self._flush()
        if mask & EVENT_READ and self.is_open:
            self._receive()

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self._waiting)
        self._waiting = self._waiting[sent:]
        self._selector.modify(self._sock, EVENT_READ | (EVENT_WRITE if self._waiting else 0), self._ready)

    def _receive(self) -> bool:
        """Whether there was something, and there may be more."""
        try:
            data = self._sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._on_bytes(data)
        else:
            self.close()
            self._on_end()
        return bool(data)
