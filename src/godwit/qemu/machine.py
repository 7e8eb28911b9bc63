"""One QEMU under its keeper: started, found again, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from godwit.core.errors import Failed, Invalid, NotFound, Refused, TimedOut, Unreachable
from godwit.host import process
from godwit.qemu import evidence
from godwit.qemu.cmdline import Launch, argv
from godwit.qemu.evidence import History, LoggedEvent
from godwit.qemu.keeper import EXITED, LOG, RETIRE
from godwit.qemu.monitor import Monitor

_SOCKET_PATH_BYTES = 107
_ADOPT_S = 10.0
_GRACE_S = 5.0
_END_S = 15.0


@dataclass(frozen=True)
class Identity:
    """A process: pids come round again, a start time with them does not."""

    pid: int
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return process.is_alive(self.pid, self.start_ticks)

    async def end(self) -> None:
        """It is gone: asked first, after a few seconds killed."""
        process.kill(self.pid, self.start_ticks, signal.SIGTERM)
        try:
            await process.wait_gone(self.pid, self.start_ticks, timeout_s=_GRACE_S)
        except TimedOut:
            process.kill(self.pid, self.start_ticks, signal.SIGKILL)
            await process.wait_gone(self.pid, self.start_ticks, timeout_s=_GRACE_S)


class Machine:
    """A QEMU, alive or dead, whose keeper answers, or what is left of both.

    `start`, `adopt` and `find` make it; `retire` ends it.
    """

    def __init__(self, run_dir: Path, monitor: Monitor, keeper: Identity, qemu: Identity) -> None:
        """Use `start` or `adopt`."""
        self.run_dir = run_dir
        self.monitor = monitor
        self._keeper = keeper
        self._qemu = qemu
        self.gone = asyncio.Event()
        """Set when QEMU has exited."""
        self._watch = asyncio.create_task(self._watch_end())

    @property
    def keeper_pid(self) -> int:
        """As our process namespace counts."""
        return self._keeper.pid

    @property
    def qemu_pid(self) -> int:
        """As our process namespace counts."""
        return self._qemu.pid

    @property
    def agent_socket(self) -> Path:
        """Where the guest agent inside answers, if the guest has one."""
        return self.run_dir / "agent.sock"

    @property
    def qemu_start_ticks(self) -> int:
        """With the pid it names QEMU for ever."""
        return self._qemu.start_ticks

    @classmethod
    async def start(cls, launch: Launch, *, env: Mapping[str, str], timeout_s: float) -> Machine:
        """QEMU runs under a keeper and answers. On failure nothing is left, and the error has QEMU's last words."""
        tap_fds = [fd for fds in launch.tap_fds for fd in fds]
        return await cls.start_program(argv(launch), launch.run_dir, env=env, timeout_s=timeout_s, tap_fds=tap_fds)

    @classmethod
    async def start_program(
        cls, words: list[str], run_dir: Path, *, env: Mapping[str, str], timeout_s: float, tap_fds: Sequence[int] = ()
    ) -> Machine:
        """As `start`, for any program that answers QMP at `qmp.sock` in that directory."""
        _check_length(run_dir)
        order = {"argv": words, "env": dict(env), "tap_fds": list(tap_fds)}
        try:
            run_dir.mkdir(mode=0o700, parents=True)  # noqa: ASYNC240 - in memory, and nothing goes on before it
        except FileExistsError as error:
            raise Refused(f"{run_dir} exists: {run_dir.name} runs here already, or retire what is left") from error
        try:
            (run_dir / "launch.json").write_text(json.dumps(order))
            await _start_keeper(run_dir, list(tap_fds), timeout_s=timeout_s)
            return await cls._meet(run_dir)
        except BaseException:
            await _remove(run_dir)
            raise

    @classmethod
    async def adopt(cls, run_dir: Path) -> Machine:
        """The machine that an earlier agent started; QEMU never notices.

        A dead keeper is replaced (the log then holds a gap). `NotFound` when keeper and QEMU are dead: the directory
        stays as it is, for whoever wants to know why.
        """
        keeper, qemu = _identity(run_dir / "keeper.json"), _identity(run_dir / "qemu.json")
        if qemu is None or not (qemu.is_alive or (keeper and keeper.is_alive)):
            raise NotFound(f"no QEMU runs in {run_dir} any more; qemu.log there has its last words")
        if keeper and keeper.is_alive:
            try:
                return await cls._meet(run_dir)
            except Unreachable:
                await keeper.end()  # it is about to end already, or serves nobody
        await _start_keeper(run_dir, [], timeout_s=_ADOPT_S)
        return await cls._meet(run_dir)

    @classmethod
    async def find(cls, run_dir: Path) -> Machine:
        """As `adopt`; where keeper and QEMU are dead: what is left of them, which is `gone` and only has a history."""
        try:
            return await cls.adopt(run_dir)
        except Failed:
            if (qemu := _identity(run_dir / "qemu.json")) and qemu.is_alive:
                raise
        except NotFound:
            pass
        nobody = Identity(pid=0, start_ticks=0)
        keeper, qemu = _identity(run_dir / "keeper.json"), _identity(run_dir / "qemu.json")
        left = cls(run_dir, Monitor.dead(run_dir / "keeper.sock"), keeper or nobody, qemu or nobody)
        left.gone.set()
        return left

    @staticmethod
    async def clear(run_dir: Path) -> None:
        """Keeper and QEMU that are named there are gone, whether they answer or not, and so is the directory."""
        await _remove(run_dir)

    async def history(self) -> History:
        """All that QEMU said, and whether it is alive; `Unreachable` if its keeper does not answer."""
        if self.gone.is_set() and self.monitor.closed.done():
            return evidence.left(self.run_dir)
        return evidence.told(await self._ask_log(0))

    async def runstate(self) -> str:
        """QEMU's own word: `running`, `paused`, `inmigrate`, `postmigrate`, ..."""
        return str((await self.monitor.execute("query-status"))["status"])

    async def exit_status(self) -> int | None:
        """As a shell counts, a signal negative; none: it runs, or an adopted QEMU took its status with it."""
        return (await self.history()).exit_status

    async def events_since(self, sequence: int) -> tuple[LoggedEvent, ...]:
        """What the keeper has logged after that number; 0: everything it keeps."""
        return evidence.told(await self._ask_log(sequence)).events

    async def cont(self) -> None:
        """The guest runs. `Failed` if QEMU refuses, as it does when somebody else holds the lock of an image."""
        await self.monitor.execute("cont")

    async def powerdown(self) -> None:
        """The guest has been asked to switch off, as by its power button; await `gone` for the outcome."""
        await self.monitor.execute("system_powerdown")

    async def retire(self) -> None:
        """QEMU, keeper and directory are gone; retiring twice is harmless."""
        with contextlib.suppress(Unreachable, Failed, TimeoutError):
            async with asyncio.timeout(_END_S):
                await self.monitor.execute(RETIRE)
            await process.wait_gone(self._keeper.pid, self._keeper.start_ticks, timeout_s=_GRACE_S)
        await self.close()
        await _remove(self.run_dir, self._keeper, self._qemu)
        self.gone.set()

    async def close(self) -> None:
        """We no longer look at it; keeper and QEMU go on."""
        self._watch.cancel()
        await self.monitor.close()

    @classmethod
    async def _meet(cls, run_dir: Path) -> Machine:
        monitor = await Monitor.connect(run_dir / "keeper.sock")
        keeper, qemu = _identity(run_dir / "keeper.json"), _identity(run_dir / "qemu.json")
        if keeper is None or qemu is None:
            await monitor.close()
            raise NotFound(f"no QEMU runs in {run_dir} any more")
        return cls(run_dir, monitor, keeper, qemu)

    async def _ask_log(self, sequence: int) -> dict[str, Any]:
        answer: dict[str, Any] = await self.monitor.execute(LOG, since=sequence)
        return answer

    async def _watch_end(self) -> None:
        with self.monitor.listening() as listening:
            try:
                is_alive = (await self._ask_log(sys.maxsize))["qemu"]["is_alive"]
                while is_alive:
                    is_alive = (await anext(listening)).name != EXITED
            except Unreachable:
                await process.wait_gone(self._qemu.pid, self._qemu.start_ticks, timeout_s=None)
        self.gone.set()


async def _start_keeper(run_dir: Path, tap_fds: list[int], *, timeout_s: float) -> None:
    """A keeper serves that directory; otherwise it is gone again, and `Failed` has QEMU's last words."""
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as ready:
        try:
            pid = process.spawn_detached(
                [sys.executable, "-m", "godwit.qemu.keeper", str(run_dir), str(theirs)],
                pass_fds=[*tap_fds, theirs],
                env={},
                log=run_dir / "keeper.log",
                cwd=Path("/"),
            )
        finally:
            os.close(theirs)
        keeper = Identity(pid, process.start_ticks(pid) or 0)
        try:
            if not await _is_told(ready.fileno(), timeout_s=timeout_s):
                raise Failed(
                    f"QEMU did not start in {run_dir}: it says {_last_words(run_dir)!r}; change what it complains of"
                )
        except BaseException:
            await keeper.end()
            raise


async def _is_told(pipe: int, *, timeout_s: float) -> bool:
    """Whether a byte came before the pipe's end."""
    loop = asyncio.get_running_loop()
    is_readable = asyncio.Event()
    loop.add_reader(pipe, is_readable.set)
    try:
        async with asyncio.timeout(timeout_s):
            await is_readable.wait()
    except TimeoutError as error:
        raise TimedOut(f"QEMU did not answer within {timeout_s:g} s; try again when the host is less busy") from error
    finally:
        loop.remove_reader(pipe)
    return os.read(pipe, 1) != b""


async def _remove(run_dir: Path, *known: Identity) -> None:
    """Keeper, QEMU and directory are gone. The keeper first: while it lives it might still start QEMU."""
    named = (_identity(run_dir / "keeper.json"), _identity(run_dir / "qemu.json"))
    for each in known or named:
        if each is not None:
            await each.end()
    shutil.rmtree(run_dir, ignore_errors=True)


def _identity(path: Path) -> Identity | None:
    try:
        return Identity(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def _last_words(run_dir: Path) -> str:
    for name in ("qemu.log", "keeper.log"):
        with contextlib.suppress(FileNotFoundError):
            if text := (run_dir / name).read_bytes().strip():
                return process.last_line(text).removeprefix("qemu-system-x86_64: ")
    return "it gave no reason"


def _check_length(run_dir: Path) -> None:
    longest = run_dir / "console.sock"
    if len(os.fsencode(longest)) > _SOCKET_PATH_BYTES:
        raise Invalid(
            f"{run_dir} is too long a path for sockets ({_SOCKET_PATH_BYTES} bytes); choose a shorter run_dir"
        )
