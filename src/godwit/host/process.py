"""The one door to other programs: run one to its end, start one that stays, watch or end one by its identity.

A process is named by its pid and the time it started (clock ticks since boot), because pids come round again.
`asyncio` is imported where it is used: the keeper imports this module too, and must start in milliseconds.
"""

from __future__ import annotations

import os
import signal as signals
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from godwit.core.errors import Failed, TimedOut

_SYS_PIDFD_GETFD = 438
_DETACH = 'cd -- "$1" && shift && { "$@" >&2 & echo $!; }'
"""The shell is the first fork and leads the new session; when it ends, init inherits the program."""

_RESET = (signals.SIGPIPE, signals.SIGXFSZ)
"""Python ignores these two, and what is ignored stays ignored in children."""


async def run(
    argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> str:
    """The program ended with status 0, and this is what it wrote to its standard output.

    `env` is added to our own environment. `Failed` carries the last line of standard error when the program is
    absent or ends otherwise; after `timeout_s` seconds, or when the caller is cancelled, it is killed and reaped.
    """
    import asyncio

    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env={**os.environ, **(env or {})},
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise Failed(f"{argv[0]} cannot be started: {error.strerror}; is it installed?", "absent") from error
    try:
        async with asyncio.timeout(timeout_s):
            output, complaint = await process.communicate()
    except TimeoutError as error:
        raise TimedOut(f"{argv[0]} did not end within {timeout_s:g} s and was killed; try again") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Failed(f"{argv[0]} ended with status {process.returncode}: {last_line(complaint)}")
    return output.decode(errors="replace")


def thread_cpu_ms(pid: int, thread: int) -> float:
    """CPU time that this thread of the process has used (proc(5), utime and stime); 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/task/{thread}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def thread_wanted_s(pid: int, thread: int) -> float:
    """How long that thread has run, or waited for a CPU that others had (schedstat); 0 where that is not told."""
    with suppress(OSError):
        ran_ns, waited_ns, _ = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
        return (int(ran_ns) + int(waited_ns)) / 1e9
    return 0.0


def spawn_detached(
    argv: Sequence[str], *, pass_fds: Sequence[int], env: Mapping[str, str], log: Path, cwd: Path
) -> int:
    """The program runs as a child of init, in a session of its own, and survives us; this is its pid.

    Its input is empty, both its outputs are appended to `log`, it keeps `pass_fds` under the same numbers, and its
    environment is ours plus `env`. Blocks for the few milliseconds that a shell takes.
    """
    ours, theirs = os.pipe()
    with open(ours, "rb") as answer:
        try:
            shell = os.posix_spawn(
                "/bin/sh",
                ["/bin/sh", "-c", _DETACH, "sh", str(cwd), *argv],
                {**os.environ, **env},
                file_actions=[*_stdio(log), (os.POSIX_SPAWN_DUP2, theirs, 1), *_kept(pass_fds)],
                setsid=True,
                setsigdef=_RESET,
                setsigmask=(),
            )
        finally:
            os.close(theirs)
        pid = answer.read()
    os.waitpid(shell, 0)
    if not pid:
        raise Failed(f"{argv[0]} cannot be started in {cwd}: {last_line(log.read_bytes())}")
    return int(pid)


def spawn_child(argv: Sequence[str], *, pass_fds: Sequence[int], env: Mapping[str, str], log: Path) -> int:
    """The program runs as our child, to be reaped by us; this is its pid. Outputs, input and `pass_fds` as above."""
    actions = [*_stdio(log), (os.POSIX_SPAWN_DUP2, 2, 1), *_kept(pass_fds)]
    try:
        return os.posix_spawnp(
            argv[0],
            list(argv),
            {**os.environ, **env},
            file_actions=actions,
            setsid=True,
            setsigdef=_RESET,
            setsigmask=(),
        )
    except OSError as error:
        raise Failed(f"{argv[0]} cannot be started: {error.strerror}; is it installed?", "absent") from error


def start_ticks(pid: int) -> int | None:
    """When that process started, in clock ticks since boot (proc(5), stat, field 22); none: it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()  # the command's name in parentheses may hold anything
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether that very process still runs."""
    return pid > 0 and start_ticks(pid) == started


class Seen(NamedTuple):
    """A process that runs."""

    pid: int
    argv: tuple[str, ...]


def in_our_network() -> Iterator[Seen]:
    """Every process that we can see and that is in our network namespace, us included."""
    ours = os.readlink("/proc/self/ns/net")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it has ended, or is somebody else's
                if os.readlink(entry / "ns/net") == ours:
                    words = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                    yield Seen(int(entry.name), tuple(word.decode(errors="replace") for word in words))


def kill(pid: int, started: int, signal: int) -> bool:
    """The signal was sent to that very process, never to a successor of its pid; false: it is gone."""
    pidfd = _open(pid, started)
    if pidfd is None:
        return False
    try:
        signals.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


async def wait_gone(pid: int, started: int, *, timeout_s: float | None) -> None:
    """That process has ended; `TimedOut` after `timeout_s` seconds, if a number is given."""
    import asyncio

    pidfd = _open(pid, started)
    if pidfd is None:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        async with asyncio.timeout(timeout_s):
            await gone.wait()
    except TimeoutError as error:
        raise TimedOut(f"process {pid} did not end within {timeout_s} s; end it by hand") from error
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def last_line(text: bytes) -> str:
    """What a program said last, for a person."""
    lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"


def _open(pid: int, started: int) -> int | None:
    """A pidfd of that very process: opened first and compared then, so that the pid cannot change hands between."""
    if pid <= 0:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if is_alive(pid, started):
        return pidfd
    os.close(pidfd)
    return None


def _stdio(log: Path) -> list[tuple[int, int, str, int, int]]:
    return [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
    ]


def _kept(fds: Sequence[int]) -> list[tuple[int, int, int]]:
    """Duplicating a descriptor onto itself clears close-on-exec in the child only: no other child ever inherits it."""
    return [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds]


def fetch_fd(pid: int, fd: int) -> int:
    """Our own copy of another process's descriptor (pidfd_getfd(2)); `Failed` without the right to it."""
    import ctypes  # here, because keepers must start quickly and never need it

    process = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(_SYS_PIDFD_GETFD, process, fd, 0)
    finally:
        os.close(process)
    if copy < 0:
        reason = os.strerror(ctypes.get_errno())
        raise Failed(
            f"descriptor {fd} of process {pid} cannot be had ({reason}): run the agent as root (CAP_SYS_PTRACE)"
        )
    return int(copy)
