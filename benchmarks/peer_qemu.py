"""Bare QEMU over QMP: the least that moves a VM, with QEMU's defaults or with the settings that godwit uses."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.place import OTHER, Moved, Site
from godwit.core.errors import Failed, TimedOut
from godwit.core.model import Nic, VmSpec
from godwit.qemu.cmdline import Launch, argv

TAP = "tapbare"
FD = 99
"""Stands in the command line where the tap's name goes."""
ANSWER_S = 30.0
DETACHED = 'setsid "$@" </dev/null >>"$0" 2>&1 &'
"""QEMU belongs to the lab, not to us: nsenter would stand still with it."""
UNLIMITED = 10**12
SAME = {"downtime-limit": 30, "multifd-channels": 2, "announce-rounds": 5}
"""What godwit sets where QEMU's defaults are others; announcements are left to QEMU here."""


class Qmp:
    """One monitor, spoken to one word after the other; events are kept."""

    def __init__(self, path: Path) -> None:
        deadline = time.monotonic() + ANSWER_S
        while True:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                self._socket.close()
                if time.monotonic() > deadline:
                    raise Failed(f"QEMU does not open {path}") from None
                time.sleep(0.005)
        self._socket.settimeout(ANSWER_S)
        self._rest = b""
        """Read, and no whole line yet."""
        self.events: list[dict[str, Any]] = []
        self._read()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Its answer; `Failed` if it is an error."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            told = self._read()
            if "error" in told:
                raise Failed(f"{command}: {told['error']['desc']}")
            if "return" in told:
                return told["return"]

    def wait(self, is_it: Callable[[dict[str, Any]], bool], *, until_s: float) -> dict[str, Any]:
        """The first such event, past ones included."""
        seen = 0
        while True:
            for event in self.events[seen:]:
                if is_it(event):
                    return event
            seen = len(self.events)
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimedOut("QEMU has not told it in time")
            self._socket.settimeout(left_s)
            try:
                self._read()
            except TimeoutError:
                raise TimedOut("QEMU has not told it in time") from None
            finally:
                self._socket.settimeout(ANSWER_S)

    def _read(self) -> dict[str, Any]:
        """The next message; after a `TimeoutError` it can be asked for again, which a file on the socket forbids."""
        while b"\n" not in self._rest:
            if not (data := self._socket.recv(1 << 16)):
                raise Failed("QEMU closed its monitor")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        told: dict[str, Any] = json.loads(line)
        if "event" in told:
            self.events.append(told)
        return told

    def quit(self) -> None:
        """That QEMU has ended, now or before."""
        with suppress(Failed, OSError):
            self.execute("quit")
            while True:
                self._read()
        self._socket.close()


def at_ms(event: dict[str, Any]) -> float:
    """QEMU's own time of an event."""
    stamp = event["timestamp"]
    return float(stamp["seconds"] * 1000 + stamp["microseconds"] / 1000)


class BareVm:
    """One VM under bare QEMU, which several ways of moving it share."""

    name = "bare"
    address = "10.90.0.60"

    def __init__(self, site: Site) -> None:
        self.site = site
        self.host = "host-a"
        self.generation = 0
        for host in OTHER:
            site.run(host, "ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr")
            site.run(host, "ip", "link", "set", TAP, "master", "br-lan", "up")
        self.qmp = self._start(self.host, incoming=False)

    def _start(self, host: str, *, incoming: bool) -> Qmp:
        self.generation += 1
        run_dir = self.site.directory / f"bare{self.generation}"
        run_dir.mkdir()
        self.site.run(host, "sh", "-c", DETACHED, str(run_dir / "log"), *self._words(run_dir, incoming=incoming))
        return Qmp(run_dir / "qmp.sock")

    def _words(self, run_dir: Path, *, incoming: bool) -> list[str]:
        nic = Nic(network="lan", mac="52:54:00:be:00:60", ip=f"{self.address}/24")
        spec = VmSpec(
            name=self.name,
            uuid="0be00000-0000-4000-8000-000000000060",
            memory_mib=self.site.memory_mib,
            cpus=1,
            image=self.site.image,
            nics=(nic,),
        )
        launch = Launch(
            binary=str(self.site.qemu),
            firmware_dir=None,
            run_dir=run_dir,
            spec=spec,
            pinned=self.site.pinned,
            tap_fds=((FD,),),
            incoming=incoming,
        )
        tap = f"tap,id=tap0,ifname={TAP},script=no,downscript=no,vhost=off"
        words = [tap if word == f"tap,id=tap0,fd={FD},vhost=off" else word for word in argv(launch)]
        return [word for word in words if word != "-S"]  # it runs as soon as it is loaded

    def migrate(self, *, same: bool, limit_s: float) -> Moved:
        """See `Peer`."""
        begun = time.monotonic()
        there = OTHER[self.host]
        qmp = self._start(there, incoming=True)
        try:
            moved = self._move(qmp, there, same=same, until_s=begun + limit_s)
        except BaseException:
            self._give_up(qmp)
            raise
        self.qmp.quit()
        self.host, self.qmp = there, qmp
        return Moved(**moved, command_ms=1000 * (time.monotonic() - begun))

    def _move(self, there: Qmp, host: str, *, same: bool, until_s: float) -> dict[str, Any]:
        parameters = SAME if same else {}
        for side in (self.qmp, there):
            states = [{"capability": "events", "state": True}, {"capability": "multifd", "state": same}]
            side.execute("migrate-set-capabilities", capabilities=states)
            side.execute("migrate-set-parameters", **{"max-bandwidth": UNLIMITED, **parameters})
        there.execute("migrate-incoming", uri=f"tcp:{self.site.migration_address(host)}:0")
        port = there.execute("query-migrate")["socket-address"][0]["port"]
        self.qmp.events.clear()
        self.qmp.execute("migrate", uri=f"tcp:{self.site.migration_address(host)}:{port}")
        ended = self.qmp.wait(_has_ended, until_s=until_s)
        if ended["data"]["status"] != "completed":
            raise Failed(f"the stream ended {ended['data']['status']}")
        resumed = there.wait(lambda event: event["event"] == "RESUME", until_s=until_s)
        stopped = [event for event in self.qmp.events if event["event"] == "STOP"][-1]
        stream = self.qmp.execute("query-migrate")
        return {
            "stopped_ms": at_ms(stopped),
            "resumed_ms": at_ms(resumed),
            "total_ms": float(stream["total-time"]),
            "transferred_bytes": int(stream["ram"]["transferred"]),
        }

    def _give_up(self, there: Qmp) -> None:
        try:
            self.qmp.execute("migrate_cancel")
            self.qmp.wait(_has_ended, until_s=time.monotonic() + ANSWER_S)
        finally:
            there.quit()


def _has_ended(event: dict[str, Any]) -> bool:
    return event["event"] == "MIGRATION" and event["data"]["status"] in {"completed", "failed", "cancelled"}


class Bare:
    """That VM, moved one way: with QEMU's defaults, or with godwit's settings (`same`)."""

    def __init__(self, vm: BareVm, *, same: bool) -> None:
        self.name = "qemu-same" if same else "qemu"
        self.vm, self.address = vm.name, vm.address
        self._vm, self._same = vm, same

    @property
    def host(self) -> str:
        """See `Peer`."""
        return self._vm.host

    def migrate(self, *, limit_s: float) -> Moved:
        """See `Peer`."""
        return self._vm.migrate(same=self._same, limit_s=limit_s)
