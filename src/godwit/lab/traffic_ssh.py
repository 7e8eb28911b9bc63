"""The client that is a person's session: ssh, and a shell in the guest that counts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
from pathlib import Path
from typing import ClassVar

from godwit.lab.traffic_client import Client, now_ms
from godwit.lab.traffic_process import piped
from godwit.lab.traffic_tcp import Options, connection_of

SSH_PORT = 22

COUNTER = "i=0; while read -r line; do i=$((i+1)); echo $i; done"
"""Runs in the guest and ends with its input; the number lives nowhere but in that shell's memory."""


def ssh_argv(address: str, port: int, key: Path) -> list[str]:
    """An ssh that asks nothing, remembers nothing, and sends nothing on its own account."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "ServerAliveInterval": "0",
        "ConnectTimeout": "5",
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-T", "-F", "/dev/null", "-i", str(key), "-p", str(port), *words, f"root@{address}", COUNTER]


class Count:
    """Reads the numbers that the shell prints: each must be the one before it and one."""

    def __init__(self) -> None:
        self.last = 0
        self._rest = b""

    def feed(self, data: bytes) -> int:
        """So many lines came, all of them right; `ValueError` names the first that is not."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip() != b"%d" % (self.last + 1):
                raise ValueError(f"ssh: {line[:40]!r} came after {self.last}")
            self.last += 1
        return len(lines)


class SshClient(Client, asyncio.Protocol):
    """Sends a line, waits for the next number, one every ten milliseconds at most."""

    kind: ClassVar[str] = "ssh"
    PACE_MS = 10.0

    def __init__(self, address: str, key: Path, port: int = SSH_PORT) -> None:
        super().__init__()
        self._argv = ssh_argv(address, port, key)
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._count = Count()
        self._sent_at_ms = 0.0

    async def attempt(self) -> None:
        """See `Client`."""
        if self._key.stat().st_mode & 0o077:
            self._key.chmod(0o600)
        self._count = Count()
        self._process = piped(self._argv)
        await self._loop.connect_read_pipe(lambda: self, self._process.stdout)
        self._request()

    def connection(self) -> Options | None:
        """See `Client`: a copy of the socket that the ssh process holds."""
        if self._connection is None and self._process is not None:
            self._connection = connection_of(self._process.pid)
        return self._connection

    def disconnect(self) -> None:
        """See `Client`."""
        if self._timer:
            self._timer.cancel()
        if self._connection:
            self._connection.close()
            self._connection = None
        if self._process:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stderr):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()
            self._process = None

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            lines = self._count.feed(data)
        except ValueError as error:
            self.was_wrong(str(error))
            self.broke(str(error))
            return
        latency_ms = now_ms() - self._sent_at_ms
        self.progressed(latency_ms=latency_ms, operations=lines, size_bytes=len(data))
        if lines:
            self._timer = self._loop.call_later(max(self.PACE_MS - latency_ms, 0.0) / 1000.0, self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol: ssh closed its output, so it is ending and its last words are complete."""
        if self._timer:
            self._timer.cancel()
        if self._process and not self._closing:
            assert self._process.stderr is not None
            words = self._process.stderr.read() or b""
            self.broke(f"ssh ended: {words.decode(errors='replace').strip() or 'it gave no reason'}")

    def _request(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._sent_at_ms = now_ms()
        with contextlib.suppress(BrokenPipeError):
            os.write(self._process.stdin.fileno(), b"\n")
