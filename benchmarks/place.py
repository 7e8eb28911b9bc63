"""Where everybody is measured: one lab, one guest image, one device list; and how programs run in its nodes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from benchmarks.emulator import Emulator, installed
from godwit.core.errors import Failed, TimedOut
from godwit.core.model import Image, Pinned
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.scenario import MEMORY_MIB, Scenario
from godwit.lab.topology import CONTROL, MIGRATION

HERE = Path(__file__).parent
HOSTS = ("host-a", "host-b")
OTHER = {"host-a": "host-b", "host-b": "host-a"}
GODWIT_VM = "moved"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Moved:
    """What one migration was, by whoever drove it. Unix time and durations in milliseconds."""

    stopped_ms: float
    resumed_ms: float
    command_ms: float
    total_ms: float | None
    transferred_bytes: int | None
    migration_ms: float | None = None
    """From the request to the end, by whoever drove it: what a forecast of the time is about."""
    forecast_total_ms: float | None = None
    forecast_blackout_ms: float | None = None


class Peer(Protocol):
    """One way to move a VM."""

    name: str
    vm: str
    address: str

    @property
    def host(self) -> str:
        """Where its VM runs."""
        ...

    def migrate(self, *, limit_s: float) -> Moved:
        """Its VM runs on the other host; `Failed` or `Refused` says why it does not: it runs where it was."""
        ...


class Site:
    """A lab that is up, and what runs in it."""

    def __init__(self, lab: Scenario, directory: Path, emulator: Emulator | None = None) -> None:
        """Without an emulator it is the installed one."""
        self.lab = lab
        self.directory = directory
        self.emulator = emulator or installed()
        self.qemu = self.emulator.starter(directory)
        """The program that every peer starts."""
        self._nodes = {node.name: node for node in lab.look().nodes}
        self._programs: list[Program] = []

    @cached_property
    def image(self) -> Image:
        """The guest's, as the manager has it."""
        directory = ensure_image("base", cache=default_cache(), progress=lambda _: None)
        facts = json.loads((directory / "image.json").read_text())
        return Image(
            name="base",
            kernel=str(directory / facts["kernel"]),
            initrd=str(directory / facts["initrd"]),
            cmdline=facts["cmdline"],
        )

    @cached_property
    def pinned(self) -> Pinned:
        """What godwit has bound its VM to; every peer's VM is the same machine."""
        vm = self.lab.client.vm(GODWIT_VM)
        assert vm.machine is not None
        assert vm.cpu_model is not None
        assert vm.accelerator is not None
        return Pinned(machine=vm.machine, cpu_model=vm.cpu_model, accelerator=vm.accelerator)

    @property
    def memory_mib(self) -> int:
        """Of every VM."""
        return MEMORY_MIB

    def enter(self, node: str) -> tuple[str, ...]:
        """The words before a command that make it run there."""
        return self._nodes[node].enter

    def control_address(self, host: str) -> str:
        """Its address in the control network."""
        return self._nodes[host].addresses[CONTROL.name]

    def migration_address(self, host: str) -> str:
        """Its address in the migration network."""
        return self._nodes[host].addresses[MIGRATION.name]

    def run(self, node: str, *words: str, limit_s: float = PATIENCE_S) -> str:
        """What the command printed in that node; `Failed` if it did not succeed, `TimedOut` if it was killed."""
        try:
            done = subprocess.run(
                [*self.enter(node), *words], capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise TimedOut(f"{' '.join(words)} did not end within {limit_s:g} s") from None
        if done.returncode:
            raise Failed(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start(self, node: str, *words: str, log: Path | None = None) -> Program:
        """The command runs there, and ends with the site at the latest."""
        program = Program([*self.enter(node), *words], log)
        self._programs.append(program)
        return program

    def python(self, module: str, *words: str) -> Program:
        """That file of this package runs in the client node."""
        return self.start("client", sys.executable, "-u", str(HERE / f"{module}.py"), *words)

    def freeze(self, peer: Peer, *, frozen: bool) -> None:
        """Its QEMU stands still, so that it takes no time from the one that is measured; or goes on."""
        number = signal.SIGSTOP if frozen else signal.SIGCONT
        for node in self.lab.look().nodes:
            for qemu in node.qemus:
                if qemu.vm == peer.vm:
                    os.kill(qemu.pid, number)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for program in self._programs:
            program.end()


class Program:
    """A command that is spoken to by lines."""

    def __init__(self, words: Sequence[str], log: Path | None) -> None:
        self._words = words
        self._errors = log.open("ab") if log else subprocess.DEVNULL
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, bufsize=0, start_new_session=True
        )
        self._rest = b""

    def tell(self, line: str) -> None:
        """It was sent that line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def line(self, *, limit_s: float = PATIENCE_S) -> str:
        """The next line that it printed."""
        assert self.process.stdout is not None
        until = time.monotonic() + limit_s
        while b"\n" not in self._rest:
            left_s = until - time.monotonic()
            if left_s <= 0 or not select.select([self.process.stdout], [], [], left_s)[0]:
                raise TimedOut(f"{self._words[-3:]} said nothing for {limit_s:g} s")
            if not (data := os.read(self.process.stdout.fileno(), 1 << 20)):
                raise Failed(f"{self._words[-3:]} ended by itself")
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()

    def json(self, *, limit_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next line, as JSON."""
        found: dict[str, Any] = json.loads(self.line(limit_s=limit_s))
        return found

    def close_input(self) -> None:
        """It reads the end of its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> None:
        """It is gone. Harmless when repeated."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()
