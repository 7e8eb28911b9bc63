"""Bare QEMU in the lab's hosts: started by its command line, migrated by QMP, with QEMU's own defaults."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from godwit.lab.image import default_cache, ensure_image

ADDRESS = "10.90.0.210"
"""Outside the pool from which godwit's VMs take theirs."""
MAC = "52:54:00:00:b0:01"
BRIDGE = "br-lan"
MEMORY_KIB = 256 * 1024 - 8
"""As godwit gives its VMs, for the same reason: before 9.0 a QEMU without KVM that has a multiple of 256 KiB loses some
of what the guest writes while it is copied, and now and then a guest did not survive that."""
PATIENCE_S = 60.0
CONNECT_AGAIN_S = 0.05


class Monitor:
    """A QMP connection."""

    def __init__(self, path: Path) -> None:
        self._socket = _connected(path)
        self._lines = self._socket.makefile("rwb", buffering=0)
        self.events: list[dict[str, Any]] = []
        self._read()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns."""
        self._lines.write(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = self._read()
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def wait(self, event: str, status: str | None = None) -> float:
        """Unix time in milliseconds of that event, which has come."""
        while True:
            for each in self.events:
                if each["event"] == event and status in (None, each.get("data", {}).get("status")):
                    stamp = each["timestamp"]
                    return float(stamp["seconds"] * 1000 + stamp["microseconds"] / 1000)
            self._read()

    def close(self) -> None:
        """The connection is gone."""
        self._lines.close()
        self._socket.close()

    def _read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._lines.readline())
        if "event" in message:
            self.events.append(message)
        return message


class BareVm:
    """One VM of bare QEMU, and where it is."""

    def __init__(self, directory: Path, enter: Mapping[str, Sequence[str]], migration_address: dict[str, str]) -> None:
        self._directory = directory
        self._enter = enter
        self._address = migration_address
        self._count = 0
        self.host = next(iter(enter))
        self._process, self._monitor = self._start(self.host)

    def migrate(self, there: str) -> dict[str, float]:
        """It has moved; STOP and RESUME in Unix time, and how long it took from the order to its end."""
        process, monitor = self._start(there, incoming=True)
        begun = time.monotonic()
        uri = f"tcp:{self._address[there]}:4446"
        monitor.ask("migrate-incoming", uri=uri)
        self._monitor.events.clear()
        self._monitor.ask("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        self._monitor.ask("migrate", uri=uri)
        self._monitor.wait("MIGRATION", "completed")
        resumed = monitor.wait("RESUME")
        total_ms = (time.monotonic() - begun) * 1000
        stopped = self._monitor.wait("STOP")
        self.close()
        self.host, self._process, self._monitor = there, process, monitor
        return {"stopped_at_ms": stopped, "resumed_at_ms": resumed, "total_ms": total_ms}

    def close(self) -> None:
        """Its QEMU is gone."""
        with suppress(OSError, ValueError):  # it ends before it answers, or has ended
            self._monitor.ask("quit")
        self._monitor.close()
        self._process.wait(PATIENCE_S)

    def _start(self, host: str, *, incoming: bool = False) -> tuple[subprocess.Popen[bytes], Monitor]:
        self._count += 1
        tap, path = f"bare{self._count % 2}", self._directory / f"bare{self._count}.sock"
        for words in (f"tuntap add dev {tap} mode tap", f"link set {tap} master {BRIDGE} up txqueuelen 1000"):
            subprocess.run([*self._enter[host], "ip", *words.split()], check=not incoming, capture_output=True)
        image = ensure_image("base", cache=default_cache(), progress=lambda _: None)
        argv = [*self._enter[host], *_argv(image, tap, path), *(["-incoming", "defer"] if incoming else [])]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return process, Monitor(path)


def _argv(image: Path, tap: str, monitor: Path) -> list[str]:
    facts = json.loads((image / "image.json").read_text())
    append = f"{facts['cmdline']} ip={ADDRESS}:::255.255.255.0:bare:eth0:off"
    words = "qemu-system-x86_64 -nodefaults -no-user-config -display none -machine q35 -accel tcg -cpu Nehalem"
    return [
        *words.split(),
        *("-m", f"size={MEMORY_KIB}K"),
        *("-kernel", str(image / facts["kernel"]), "-initrd", str(image / facts["initrd"]), "-append", append),
        *("-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no,vhost=off"),
        *("-device", f"virtio-net-pci,netdev=n0,mac={MAC}", "-serial", "null"),
        *("-qmp", f"unix:{monitor},server=on,wait=off"),
    ]


def _connected(path: Path) -> socket.socket:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            connection.settimeout(PATIENCE_S)
            return connection
        except OSError:
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(CONNECT_AGAIN_S)
