"""A host's numbers, and the page that shows them."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from contextlib import suppress

import pytest

from godwit.contract.host import GoAnswer, HandedOver, Nothing, Order, Relayed
from godwit.core.errors import Refused
from godwit.core.model import VmState, VmStatus
from godwit.core.report import RelayEnd
from godwit.telemetry.exposition import exposed
from godwit.telemetry.host_metrics import HostMetrics
from godwit.telemetry.metrics import CONTENT_TYPE

HANDED = HandedOver(stopped_at_ms=0, resumed_at_ms=34, blackout_ms=34, clock_error_ms=0, transferred_bytes=1)


def order(migration: str) -> Order:
    return Order(migration=migration, attempt=1, epoch=1, vm="web-1")


def test_what_is_here_and_what_came_and_went() -> None:
    running = VmStatus(name="web-1", state=VmState.running, owned=True, memory_mib=256)
    metrics = HostMetrics(memory_mib=1024, statuses=lambda: [running])
    for migration in ("m1", "m1", "m2"):  # the first one is asked twice
        metrics.answered(order(migration), HANDED)
    metrics.answered(order("m1"), GoAnswer(verdict="running"))
    metrics.answered(order("m3"), GoAnswer(verdict="returned"))
    metrics.answered(order("m4"), Nothing())
    metrics.answered(order("m1"), Relayed(frames_drained=3, frames_relayed=40))  # it stands
    for _ in range(2):
        metrics.answered(order("m1"), Relayed(frames_drained=3, frames_relayed=50, ended=RelayEnd.learned))
    text = metrics.text().decode()
    for line in (
        'godwit_relays_total{ended="learned"} 1.0',
        'godwit_relay_frames_total{how="drained"} 3.0',
        'godwit_relay_frames_total{how="relayed"} 50.0',
        'godwit_vms{state="running"} 1.0',
        'godwit_vms{state="crashed"} 0.0',
        "godwit_vm_memory_bytes 2.68435456e+08",
        "godwit_memory_bytes 1.073741824e+09",
        "godwit_migrations_out_total 2.0",
        "godwit_migrations_in_total 1.0",
        "godwit_blackout_ms_count 2.0",
        'godwit_blackout_ms_bucket{le="50.0"} 2.0',
    ):
        assert line in text.splitlines()


def get(port: int, path: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as page:
            return page.status, page.headers["content-type"], page.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read()


def test_the_page() -> None:
    async def story() -> None:
        async with exposed(lambda: b"number 1\n", "127.0.0.1:0") as port:
            assert await asyncio.to_thread(get, port, "/metrics?x=1") == (200, CONTENT_TYPE, b"number 1\n")
            assert (await asyncio.to_thread(get, port, "/other"))[0] == 404
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"\xff" * 200_000)  # no request, and no end of one
            writer.write_eof()
            with suppress(ConnectionError):  # it may be cut off in the middle
                assert await reader.read() == b""
            writer.close()
            assert (await asyncio.to_thread(get, port, "/"))[0] == 200
            with pytest.raises(Refused, match=f"cannot show metrics at 127.0.0.1:{port} .*ss -ltnp sport = :{port}"):
                async with exposed(lambda: b"", f"127.0.0.1:{port}"):
                    pass

    asyncio.run(story())
