"""Two detectors of a split brain that know nothing of each other: what the guest sends, and what QEMUs said."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.guest import end

from godwit.lab.scenario import Scenario
from godwit.lab.traffic_process import piped

LOOK_S = 0.02
ENOUGH = 5
"""Beats, 50 ms apart: two copies that run are both heard in them."""
SILENCE_S = 5.0
BEACON = Path(__file__).with_name("beacon.py")
WRAP = 1 << 16


@dataclass(frozen=True)
class Beat:
    """A ping of the VM as the LAN's switch saw it come."""

    at_ms: float
    port: str
    number: int


class Beacon:
    """Everything that the VM's beacon sent, at the ports by which it came."""

    def __init__(self, node: tuple[str, ...], mac: str, ports: tuple[str, ...]) -> None:
        self.beats: list[Beat] = []
        self._process = piped([*node, sys.executable, str(BEACON), mac, *ports])
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise AssertionError("the beacon cannot be captured")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            at_ms, port, number = line.split()
            self.beats.append(Beat(float(at_ms), port.decode(), int(number)))

    def close(self) -> None:
        end(self._process)
        self._reader.join()
        with self._process:
            pass

    def ports(self) -> set[str]:
        """Where it is heard from now on, over some beats; none if it falls silent."""
        since, until_s = len(self.beats), time.monotonic() + SILENCE_S
        while len(self.beats) < since + ENOUGH and time.monotonic() < until_s:
            time.sleep(LOOK_S)
        return {beat.port for beat in self.beats[since:]}


def doubled(beats: list[Beat]) -> list[str]:
    """Numbers that were counted twice: two copies ran, or a stale one did."""
    found, newest = [], None
    for beat in beats:
        if newest is None or 0 < (beat.number - newest.number) % WRAP < WRAP // 2:
            newest = beat
        else:
            found.append(f"{beat.number} at {beat.port} after {newest.number} at {newest.port}")
    return found


class EventLogs:
    """The event log of every QEMU of one VM, kept open so that it outlives its directory."""

    def __init__(self, lab: Scenario, vm: str) -> None:
        self._vm = vm
        self._nodes = {node: lab.look().node(node).pid for node in lab.settings.host_names}
        self._files: dict[tuple[str, int], int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for file in self._files.values():
            os.close(file)

    def intervals(self) -> list[tuple[str, float, float]]:
        """(host, from, to) in Unix time, seconds: when vCPUs ran, as far as the logs are whole."""
        found = []
        for (host, _), file in list(self._files.items()):
            text = os.pread(file, 1 << 22, 0).decode()
            events = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
            found += [(host, begin, end) for begin, end in running(events, now=time.time())]
        return found

    def _collect(self) -> None:
        while not self._over.wait(LOOK_S):
            for host, pid in self._nodes.items():
                with suppress(OSError):
                    self._keep(host, Path(f"/proc/{pid}/root/run/godwit/vms/{self._vm}/events.jsonl"))

    def _keep(self, host: str, path: Path) -> None:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        key = host, os.fstat(file).st_ino
        if key in self._files:
            os.close(file)
        else:
            self._files[key] = file


def running(events: list[dict[str, Any]], *, now: float) -> list[tuple[float, float]]:
    """From RESUME to STOP or the end; what a gap in the log may hide is not claimed."""
    found: list[tuple[float, float]] = []
    begun: float | None = None
    for event in events:
        at = event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6
        if event["event"] == "RESUME":
            begun = at
        elif event["event"] == "__org.godwit_GAP":
            begun = None
        elif event["event"] in {"STOP", "__org.godwit_EXITED"} and begun is not None:
            found.append((begun, at))
            begun = None
    return [*found, (begun, now)] if begun is not None else found


def most_at_once(intervals: list[tuple[str, float, float]]) -> int:
    """How many ran at the same moment."""
    edges = sorted([(begin, 1) for _, begin, _ in intervals] + [(end, -1) for _, _, end in intervals])
    most = now = 0
    for _, change in edges:
        now += change
        most = max(most, now)
    return most
