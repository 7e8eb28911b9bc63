"""What it costs to record for reports what clients see: CPU, memory, and whether blackouts become longer.

    record TAP      run in a host: records at that tap as an agent does, and tells what of it took how much CPU
    frames          run in a host: what the kernel needs for each frame that it records
    flood ADDRESS   run in the client: datagrams to a VM's echo, as many as it answers

Blackouts are those of two labs in turn, with recording and without it, each with fifty clients. An interrupted run goes
on where it stopped; `--fresh` begins anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.figures import Runs, machine, spread, table, write
from godwit.agent.observing import AFTER_MS, BEFORE_MS, KEPT_MS, Observer, Window
from godwit.contract.observed import Observe
from godwit.core.errors import Failed
from godwit.lab.control import Order, Verb, ask
from godwit.lab.scenario import Running, Scenario, wait_until
from godwit.network.headers import Headers
from godwit.network.tap import open_tap

RESULT, RUNS = Path("build/bench-capture.json"), Path("build/bench-capture.runs.jsonl")
FRAMES, TIMES = 100_000, 9
FRAME = bytes(10) + bytes.fromhex("ffffffffffff52540000000108004500005400004000400600000a5a00640a5a0002") + bytes(84)
OUTSTANDING = 64
ECHO = 7
BEFORE_S = 2.5


async def record(tap: str) -> dict[str, Any]:
    """As at a move whose blackout is too short to see, from KEPT_MS before it."""
    window: Window | None = None
    memory_kib, passed = _memory_kib(), _frames(tap)
    observer = Observer([tap], lambda: window)
    begun_s, cpu_s = time.monotonic(), time.process_time()
    await asyncio.sleep(KEPT_MS / 1000)
    now_ms = time.time() * 1000
    window = Window(now_ms - BEFORE_MS, now_ms + AFTER_MS, is_last=True)
    await asyncio.sleep(AFTER_MS / 1000)
    recorded_s, recording_cpu_s = time.monotonic() - begun_s, time.process_time() - cpu_s
    passed = _frames(tap) - passed
    asked = Observe(migration="m1")
    while not (told := await observer.tell(asked)).is_over:  # noqa: ASYNC110 (asked again, as the manager does)
        await asyncio.sleep(0.05)
    return {
        "recorded_s": recorded_s,
        "recording_cpu_s": recording_cpu_s,
        "looking_cpu_s": time.process_time() - cpu_s - recording_cpu_s,
        "frames_per_s": passed / recorded_s,
        "memory_mib": (_memory_kib() - memory_kib) / 1024,
        "is_complete": told.is_complete,
        "flows": len(told.connections or ()) + len(told.datagrams),
    }


def frames() -> dict[str, float]:
    """CPU that the kernel needs more for a frame that is recorded, as the median of several tries."""
    tap = open_tap("gw-cost")
    subprocess.run(["ip", "link", "set", tap.name, "up"], check=True)
    ns = [(_pushed(tap.fd, None), _pushed(tap.fd, tap.name)) for _ in range(TIMES)]
    return {"frame_ns": statistics.median(with_ring - without for without, with_ring in ns)}


def _pushed(fd: int, tap: str | None) -> float:
    """CPU of one frame into that tap, in ns; with a name it is recorded there."""
    headers = Headers(tap) if tap else None
    begun_ns = time.process_time_ns()
    for number in range(FRAMES):
        os.write(fd, FRAME)
        if headers and not number % 10_000:
            headers.forget_before(time.time() * 1000)
    took_ns = time.process_time_ns() - begun_ns
    if headers:
        headers.close()
    return took_ns / FRAMES


def _memory_kib() -> int:
    """The most that this process has had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def _frames(tap: str) -> int:
    """That have passed it, in both directions."""
    line = next(each for each in Path("/proc/self/net/dev").read_text().splitlines() if each.strip().startswith(tap))
    counted = line.partition(":")[2].split()
    return int(counted[1]) + int(counted[9])


def flood(address: str) -> None:
    """Until the end of our input."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.connect((address, ECHO))
        for _ in range(OUTSTANDING):
            line.send(bytes(64))
        print("flooding", flush=True)
        while sys.stdin not in (ready := select.select([line, sys.stdin], [], [], 0.05)[0]):
            if line in ready:
                line.recv(64)
            line.send(bytes(64))


def at_full_rate(lab: Scenario) -> dict[str, Any]:
    """What recording takes while the VM answers as fast as it can, beside fifty clients."""
    here = lab.where_it_runs("web")[0]
    node = lab.look().node(here).enter
    own = ["env", f"PYTHONPATH={Path(__file__).parents[1]}", sys.executable, "-m", "benchmarks.capture_cost"]
    tap = next(each["ifname"] for each in _links(node) if each["ifname"].startswith("gw-"))
    clients = _clients(lab)
    flooding = Running([*lab.look().node("client").enter, *own, "flood", _address(lab)])
    time.sleep(BEFORE_S)
    told = _told([*node, *own, "record", tap])
    for each in (clients, flooding):
        each.close()
    return told | _told([*node, *own, "frames"])


def _told(words: list[str]) -> dict[str, Any]:
    done = Running(words).end()
    if done.status:
        raise Failed(f"{' '.join(words)}: {done.err}")
    return dict(json.loads(done.out))


def _links(node: Sequence[str]) -> list[dict[str, Any]]:
    return list(json.loads(subprocess.run([*node, "ip", "-j", "link"], check=True, capture_output=True).stdout))


def _address(lab: Scenario) -> str:
    return str(lab.client.vm("web").nics[0].ip.ip)  # type: ignore[union-attr]


def _clients(lab: Scenario) -> Running:
    words = [sys.executable, "-m", "godwit.lab.silence_clients", _address(lab)]
    clients = Running([*lab.look().node("client").enter, *words])
    assert clients.process.stdout is not None
    clients.process.stdout.readline()
    return clients


def blackout_ms(lab: Scenario) -> float | None:
    """Of one move under fifty clients."""
    here = lab.where_it_runs("web")[0]
    there = next(host for host in lab.settings.host_names if host != here)
    clients = _clients(lab)
    time.sleep(BEFORE_S)
    moved = lab.migrate("web", there)
    time.sleep(AFTER_MS / 1000)
    clients.close()
    wait_until("it is settled", lambda: lab.client.migration(moved.id).settled)
    report = lab.client.report(moved.id)
    return report.blackout_ms


def _lab(stack: ExitStack, *, observe: bool) -> Scenario:
    """One whose agents record, or do not, with a VM."""
    directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="gw"))
    lab = stack.enter_context(Scenario(Path(directory)))
    for host in () if observe else lab.settings.host_names:
        file = lab.lab.config_of(host)
        lines = [line for line in file.read_text().splitlines() if not line.startswith("observe")]
        file.write_text("\n".join(["observe = false", *lines]) + "\n")
        lab.stop_daemon(host)
        ask(lab.lab, Order(verb=Verb.start_daemon, node=host))
    lab.wait_answering()
    lab.create_vm("web", "host-a")
    lab.wait_ready("web")
    return lab


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of all runs."""
    rates = [each for each in runs if each["what"] == "rate"]
    found: dict[str, Any] = {"machine": machine()}
    for name in ("on", "off"):
        found[f"blackout_ms_{name}"] = spread(each["blackout_ms"] for each in runs if each["what"] == name)
    for each in rates[-1:]:
        kernel = 100 * each["frames_per_s"] * each["frame_ns"] / 1e9
        found |= {
            "moves": len(runs) - len(rates),
            "frames_per_s": round(each["frames_per_s"]),
            "kernel_cpu_percent": round(kernel, 2),
            "agent_cpu_percent": round(100 * each["recording_cpu_s"] / each["recorded_s"], 2),
            "looking_cpu_s": round(each["looking_cpu_s"], 2),
            "memory_mib": round(each["memory_mib"], 1),
        }
    return found


def bench(pairs: int) -> dict[str, Any]:
    """What is missing is measured; the figures of all."""
    runs = Runs(RUNS)
    wanted = {"on": pairs, "off": pairs}
    if any(len(runs.of(what=name)) < most for name, most in wanted.items()) or not runs.of(what="rate"):
        with ExitStack() as stack:
            labs = {name: _lab(stack, observe=name == "on") for name in wanted}
            if not runs.of(what="rate"):
                runs.add({"what": "rate", **at_full_rate(labs["on"])})
            while name := min(wanted, key=lambda each: len(runs.of(what=each))):
                if len(runs.of(what=name)) >= wanted[name]:
                    break
                runs.add({"what": name, "blackout_ms": blackout_ms(labs[name])})
                print(f"{name} {len(runs.of(what=name))}/{pairs}", flush=True)
    return summary(runs.all)


def main() -> int:
    """The figures are printed and written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="record TAP | frames | flood ADDRESS")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    match options.words:
        case ["record", tap]:
            print(json.dumps(asyncio.run(record(tap))))
        case ["frames"]:
            print(json.dumps(frames()))
        case ["flood", address]:
            flood(address)
        case _:
            if options.fresh:
                RUNS.unlink(missing_ok=True)
            found = bench(options.pairs)
            write(RESULT, found)
            print(table(("what", "value"), [(name, value) for name, value in found.items() if name != "machine"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
