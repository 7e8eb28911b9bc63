"""`up` and `down`: a lab exists whole or not at all."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from godwit.core.errors import Failed, Refused, TimedOut, Unreachable
from godwit.lab import control, open_vswitch, processes, shell, storage_node
from godwit.lab.answering import add_storage, last_line, wait_answering
from godwit.lab.configs import Outfit, equip, memory_share_mib
from godwit.lab.control import Order, Verb
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.places import Lab, Record
from godwit.lab.privilege import demand_namespaces, demand_programs, demand_tun, unshare_words
from godwit.lab.processes import Identity
from godwit.lab.settings import Settings
from godwit.lab.topology import Topology

Progress = Callable[[str], None]

_BUILD_S = 60.0
_LAUNCH_S = 60.0
_GONE_S = 60.0
_DETACHED = 'setsid "$@" </dev/null >>"$0" 2>&1 & echo $!'


def up(lab: Lab, settings: Settings, progress: Progress) -> bool:
    """The lab is up with these settings and everything in it answers; false if it was up already.

    `Refused` if it is up with others. What a killed lab left is removed first; if this one cannot be made, or somebody
    interrupts us, nothing of it is left either. Only a daemon that does not answer leaves the lab up, for its log to be
    read.
    """
    if settings.daemons:
        demand_tun()
    demand_namespaces()
    if settings.has_open_vswitch:
        demand_programs(open_vswitch.PROGRAMS, open_vswitch.PACKAGE)
    if settings.storage_node:
        demand_programs(storage_node.PROGRAMS, storage_node.PACKAGE)
    images = _images(settings, progress)
    with lab.locked():
        running = lab.running()
        if running is None:
            _make(lab, settings, images, progress)
        elif running.settings != settings:
            raise Refused(f"lab {lab.name} is up with other options: end it with godwit lab down first")
    if settings.daemons:
        try:
            progress("waiting for agents and manager")
            wait_answering(lab, settings)
            if running is None and settings.storage_node:
                add_storage(lab, settings)
        except KeyboardInterrupt:
            if running is None:
                progress("interrupted: removing what was made")
                down(lab)
            raise
    return running is None


def down(lab: Lab) -> bool:
    """Nothing of the lab is left: no process, namespace or file; false if there was nothing."""
    with lab.locked():
        if not lab.has_remains():
            return False
        _clear(lab)
        return True


def _images(settings: Settings, progress: Progress) -> dict[str, Path]:
    if not settings.daemons:
        return {}
    cache = default_cache()
    return {name: ensure_image(name, cache=cache, progress=progress) for name in settings.images}


def _make(lab: Lab, settings: Settings, images: dict[str, Path], progress: Progress) -> None:
    _clear(lab)
    try:
        lab.make_dirs()
        lab.write_record(Record(lab=lab.name, settings=settings))
        plan = Topology(settings)
        if settings.daemons:
            memory_mib = memory_share_mib(settings.hosts)
            equip(Outfit(lab, plan, images, default_cache(), memory_mib), progress)
        progress(f"making {len(plan.nodes)} nodes")
        _launch(lab)
    except BaseException:
        _clear(lab)
        raise


def _launch(lab: Lab) -> None:
    """The lab's first process runs, detached from this terminal, and has made every node."""
    places = [str(path) for path in (lab.run_dir, lab.data_dir, default_cache())]
    program = [sys.executable, "-P", "-m", "godwit.lab.supervisor", lab.name, *places]
    words = ["sh", "-c", _DETACHED, str(lab.log), *unshare_words(), *program]
    pid = int(shell.run(words, cwd=lab.data_dir, env=lab.environment, timeout_s=_LAUNCH_S))
    _wait_listening(lab, processes.identify(pid))
    try:
        control.ask(lab, Order(verb=Verb.status), timeout_s=_BUILD_S)
    except Unreachable as error:
        raise Failed(f"lab {lab.name} ended while its nodes were made: {last_line(lab.log)}") from error


def _wait_listening(lab: Lab, launcher: Identity | None) -> None:
    deadline = time.monotonic() + _LAUNCH_S
    while not lab.control_socket.exists():
        if launcher is None or not launcher.is_alive:
            raise Failed(f"lab {lab.name} ended while it started: {last_line(lab.log)}")
        if time.monotonic() > deadline:
            raise TimedOut(f"lab {lab.name} did not start within {_LAUNCH_S:g} s; try again on a less busy machine")
        time.sleep(0.01)


def _clear(lab: Lab) -> None:
    """No process of the lab lives and none of its files is left. The kernel ends all of its pid namespace at once."""
    record = lab.running()
    if record is not None and record.supervisor is not None:
        family = [record.supervisor, processes.parent(record.supervisor)]
        _kill(record.supervisor)
        if not processes.wait_gone([each for each in family if each], _GONE_S):
            raise TimedOut(f"lab {lab.name}'s processes did not end within {_GONE_S:g} s: repeat godwit lab down")
    lab.remove_dirs()


def _kill(process: Identity) -> None:
    """It was killed, and nobody else: the descriptor stays its own whatever becomes of the number."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        if process.is_alive:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)
