"""Who gets a CPU before others: nice values (sched(7)) of threads, and of their session where those share as groups.

Without the right to lower a nice value (CAP_SYS_NICE) all of this does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_FIRST = -10
"""About ten times the share of others, and at once."""
_FOREMOST = -15
"""About thirty times: before those that go first, too."""
_USUAL = 0


def go_first() -> None:
    """The threads that we have now get a CPU before others do; what we start later does not."""
    with suppress(OSError):
        for thread in _threads(os.getpid()):
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, thread, _FIRST)


def put_foremost(pid: int) -> None:
    """All threads of a process that has a session of its own get a CPU before others do; undone by `put_back`."""
    with suppress(OSError):
        _autogroup(pid).write_text(str(_FOREMOST))
    _renice(pid, _USUAL, _FOREMOST)


def put_back(pid: int) -> None:
    """They have the usual share; who was given another by somebody else keeps that."""
    with suppress(OSError, ValueError):
        if int(_autogroup(pid).read_text().split()[-1]) == _FOREMOST:
            _autogroup(pid).write_text(str(_USUAL))
    _renice(pid, _FOREMOST, _USUAL)


def _renice(pid: int, had: int, gets: int) -> None:
    with suppress(OSError):
        for thread in _threads(pid):
            with suppress(ProcessLookupError):
                if os.getpriority(os.PRIO_PROCESS, thread) == had:
                    os.setpriority(os.PRIO_PROCESS, thread, gets)


def _threads(pid: int) -> Iterator[int]:
    return map(int, os.listdir(f"/proc/{pid}/task"))


def _autogroup(pid: int) -> Path:
    """Of its session (sched(7), "The autogroup feature"); absent where the kernel has none."""
    return Path(f"/proc/{pid}/autogroup")
