"""A journal on a guest's disk: records acknowledged once they are there to stay, and the look for them after."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from godwit.lab.traffic_client import now_ms
from godwit.lab.traffic_connection import TcpClient
from godwit.lab.traffic_redis import value_of

RECORDS_PORT = 2000
RECORD_BYTES = 512
"""One record, one sector: the guest's records service (guest/bin/records) puts number N into sector N."""


class RecordsClient(TcpClient):
    """Asks for one record after the other, each after the one before was acknowledged, from number 1 on."""

    kind: ClassVar[str] = "records"
    PACE_MS = 5.0

    def __init__(self, address: str, port: int = RECORDS_PORT) -> None:
        super().__init__(address, port)
        self._sent_at_ms = 0.0
        self._got = b""

    def opened(self) -> None:
        """See `TcpClient`."""
        self._got = b""
        self.request()

    def request(self) -> None:
        """See `TcpClient`."""
        self._sent_at_ms = now_ms()
        number = self.last_record + 1
        self.send(b"%d %b\n" % (number, value_of(number)))

    def arrived(self, data: bytes) -> None:
        """See `TcpClient`."""
        self._got += data
        if not self._got.endswith(b"\n"):
            return
        if int(self._got) != self.last_record + 1:
            raise ValueError(f"record {self.last_record + 1} was acknowledged as {self._got[:64]!r}")
        self.last_record += 1
        latency_ms = now_ms() - self._sent_at_ms
        self.progressed(latency_ms=latency_ms, operations=1, size_bytes=len(self._got))
        self._got = b""
        self.later(self.PACE_MS - latency_ms)


def record(number: int) -> bytes:
    """What lies in the sector of that number."""
    return b"godwit %-504b\n" % (b"%d %b" % (number, value_of(number)))


def missing_records(disk: Path, last: int) -> list[int]:
    """The numbers up to `last` whose records are not on that raw disk; empty when every one is there."""
    with disk.open("rb") as file:
        file.seek(RECORD_BYTES)
        return [number for number in range(1, last + 1) if file.read(RECORD_BYTES) != record(number)]
