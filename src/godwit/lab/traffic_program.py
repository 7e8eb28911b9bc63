"""The traffic program: all clients in one process, told by lines of JSON, telling by lines of JSON.

    us <- {"event": "started"}                  every service has answered; measuring begins (window `baseline`)
    us -> {"command": "mark", "name": "there"}  a new window begins
    us <- {"event": "marked", "at_ms": ...}
    us -> {"command": "stop"}                   or the end of our input
    us <- {"event": "stopped", "result": {"clients": [...], "samples": [...]}}
Instead of `started`: {"event": "failed", "reason": ...}, exit status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from godwit.core.errors import Cancelled, GodwitError
from godwit.lab.traffic_client import Client, now_ms
from godwit.lab.traffic_records import RecordsClient
from godwit.lab.traffic_result import TrafficResult
from godwit.lab.traffic_services import EchoClient, RedisClient
from godwit.lab.traffic_ssh import SshClient
from godwit.lab.traffic_stream import BulkClient, UploadClient

MAKERS: Mapping[str, Callable[[argparse.Namespace], Client]] = MappingProxyType(
    {
        "redis": lambda options: RedisClient(options.address, options.redis_port),
        "echo": lambda options: EchoClient(options.address, options.echo_port),
        "bulk": lambda options: BulkClient(options.address, options.redis_port, rate_mbit=options.rate_mbit),
        "upload": lambda options: UploadClient(options.address, options.redis_port, rate_mbit=options.rate_mbit),
        "records": lambda options: RecordsClient(options.address, options.records_port),
        "ssh": lambda options: SshClient(options.address, options.key, options.ssh_port),
    }
)

ALL = ("redis", "echo", "bulk", "ssh")


def main(argv: Sequence[str]) -> int:
    """Runs until told to stop; exit status 0 whatever became of the connections: the summaries tell."""
    options = _parser().parse_args(argv)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    try:
        result = asyncio.run(_serve(options))
    except GodwitError as error:
        _say(event="failed", reason=error.message)
        return 1
    if options.out:
        _write(options.out, result)
    _say(event="stopped", result=result.model_dump())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="traffic", description="Talk to a guest's services and measure silence.")
    parser.add_argument("kind", help=f"all, or some of {','.join(MAKERS)}")
    parser.add_argument("address", help="the guest's IP address")
    parser.add_argument("--out", type=Path, help="write one line of JSON per client there")
    parser.add_argument("--key", type=Path, default=Path("id_ed25519"), help="private key for ssh")
    parser.add_argument("--rate-mbit", type=float, default=40.0, help="of bulk and upload; 0: as fast as it goes")
    parser.add_argument("--ready-s", type=float, default=60.0, help="how long to wait for each service's first answer")
    parser.add_argument("--warm-up-s", type=float, default=1.0, help="how long to talk before measuring begins")
    parser.add_argument("--grace-s", type=float, default=3.0, help="how long to wait for a last answer at the end")
    for name, port in (("echo", 7), ("redis", 6379), ("ssh", 22), ("records", 2000)):
        parser.add_argument(f"--{name}-port", type=int, default=port)
    return parser


async def _serve(options: argparse.Namespace) -> TrafficResult:
    kinds = ALL if options.kind == "all" else tuple(options.kind.split(","))
    clients = [MAKERS[kind](options) for kind in kinds]
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    try:
        order = await _started(clients, orders, options)
        for client in clients:
            client.begin()
        _say(event="started", at_ms=now_ms())
        await _obey(clients, order, orders)
        await asyncio.gather(*(client.finish(options.grace_s) for client in clients))
    finally:
        for client in clients:
            client.disconnect()
    return TrafficResult(
        clients=tuple(client.summary() for client in clients), samples=tuple(client.samples() for client in clients)
    )


async def _started(
    clients: Sequence[Client], orders: asyncio.StreamReader, options: argparse.Namespace
) -> asyncio.Task[bytes]:
    """Every service has answered, and has been talked to for a while; the wait for the first order goes on.

    `Cancelled` if it comes before that: nobody wants to know any more.
    """
    order = asyncio.create_task(orders.readline())
    answers = asyncio.gather(*(client.start(options.ready_s) for client in clients))
    first: list[asyncio.Future[Any]] = [order, answers]
    await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    if not answers.done():
        answers.cancel()
        raise Cancelled("told to stop before every service had answered")
    await answers
    await asyncio.sleep(options.warm_up_s)
    gc.collect()
    gc.freeze()
    return order


async def _obey(clients: Sequence[Client], order: asyncio.Task[bytes], orders: asyncio.StreamReader) -> None:
    while line := await order:
        command = json.loads(line)
        if command["command"] == "stop":
            return
        for client in clients:
            client.tally.mark(command["name"], now_ms(), client.counters())
        _say(event="marked", at_ms=now_ms())
        order = asyncio.create_task(orders.readline())


def _write(out: Path, result: TrafficResult) -> None:
    with out.open("w") as file:
        for summary, samples in zip(result.clients, result.samples, strict=True):
            file.write(json.dumps(summary.model_dump() | {"samples": samples.points}) + "\n")


def _say(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()
