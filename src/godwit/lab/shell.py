"""The lab's one door to other programs: run one to its end, or start one that stays."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from godwit.core.errors import Failed, TimedOut


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    timeout_s: float,
) -> str:
    """The program ended with status 0 and this is what it wrote to its standard output.

    Otherwise `Failed` is raised with the last line of its standard error; a program that is absent is
    `Failed` too, and one that did not end within `timeout_s` seconds is killed and `TimedOut`.
    """
    try:
        done = subprocess.run(argv, cwd=cwd, env=env, input=input, capture_output=True, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise _absent(argv[0], cwd) from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut(f"{argv[0]} did not end within {timeout_s:g} s and was killed; try again") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv[:3])} ended with status {done.returncode}: {_last_line(done.stderr)}")
    return done.stdout.decode(errors="replace")


def start(
    argv: Sequence[str],
    *,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """The program runs in a session of its own, its input empty, both its outputs appended to `log`."""
    with log.open("ab") as sink:
        try:
            return subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise _absent(argv[0], cwd) from error


def _absent(program: str, cwd: Path | None) -> Failed:
    if cwd is not None and not cwd.is_dir():
        return Failed(f"{program} cannot be started in {cwd}: there is no such directory")
    return Failed(f"{program} is not installed here; tools/setup check names the package to install")


def _last_line(stderr: bytes) -> str:
    lines = [line for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gave no reason"
