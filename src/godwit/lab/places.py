"""Where a lab keeps its things, and whether it is up."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from godwit.client import locate
from godwit.core.errors import Failed, Invalid, Refused
from godwit.core.model import Fact, Name
from godwit.lab.processes import Identity
from godwit.lab.settings import Settings

_LONGEST_SOCKET_PATH = 107
_ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


class Record(Fact):
    """`lab.json`: what this lab is, and its first process once there is one."""

    lab: str
    settings: Settings
    supervisor: Identity | None = None


@dataclass(frozen=True)
class Lab:
    """One lab by its name; its directories need not exist."""

    name: str
    run_dir: Path
    """What the user's shell needs: sockets and `lab.json`."""
    data_dir: Path
    """What is larger, and the logs; removed with the lab."""

    @property
    def control_socket(self) -> Path:
        return self.run_dir / "control.sock"

    @property
    def manager_socket(self) -> Path:
        return self.run_dir / "manager.sock"

    @property
    def log(self) -> Path:
        return self.data_dir / "logs" / "supervisor.log"

    def log_of(self, node: str) -> Path:
        """What that node's daemon printed."""
        return self.data_dir / "logs" / f"{node}.log"

    def config_of(self, node: str) -> Path:
        """What that node's daemon reads."""
        return self.data_dir / node / "config.toml"

    @property
    def environment(self) -> dict[str, str]:
        """What everything inside the lab has around it: the user's own, with administrators' programs in reach.

        The manager is named, because the user's id, which its socket's path may contain, is another one in there.
        """
        path = f"{os.environ.get('PATH', '/usr/local/bin:/usr/bin:/bin')}:{_ADMIN_PATH}"
        return {**os.environ, "PATH": path, "GODWIT_LAB": self.name, "GODWIT_MANAGER": str(self.manager_socket)}

    def record(self) -> Record | None:
        """None: no lab of this name was started, or nothing readable is left of it."""
        try:
            return Record.model_validate_json((self.run_dir / "lab.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def write_record(self, record: Record) -> None:
        """`lab.json` says exactly that, or what it said before."""
        fresh = self.run_dir / f".lab.json.{os.getpid()}"
        fresh.write_text(json.dumps(record.model_dump(mode="json"), indent=2) + "\n")
        fresh.replace(self.run_dir / "lab.json")

    def running(self) -> Record | None:
        """The record, if its first process lives."""
        record = self.record()
        return record if record and record.supervisor and record.supervisor.is_alive else None

    def demand_running(self) -> Record:
        """The record; `Refused` if the lab is not up."""
        record = self.running()
        if record is None:
            raise Refused(f"lab {self.name} is not up: start it with godwit lab up{others_up(self)}")
        return record

    def has_remains(self) -> bool:
        """Something of it is on the disk."""
        return self.run_dir.exists() or self.data_dir.exists()

    def make_dirs(self) -> None:
        """Both directories exist and are the user's own; `Refused` where that is not possible."""
        for directory in (self.run_dir.parent, self.run_dir, self.data_dir, self.log.parent):
            _make_private(directory)

    def remove_dirs(self) -> None:
        """Nothing of the lab is on the disk."""
        for directory in (self.run_dir, self.data_dir):
            shutil.rmtree(directory, ignore_errors=True)
            if directory.exists():
                raise Failed(f"{directory} cannot be removed whole: look who owns what is left and delete it")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else starts or ends a lab of this user meanwhile."""
        _make_private(self.run_dir.parent)
        descriptor = os.open(self.run_dir.parent, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def find_lab(name: str | None = None) -> Lab:
    """The lab of that name, else the one this shell means (`GODWIT_LAB`)."""
    name = name or locate.lab_name()
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise Invalid(f"{name!r} is not a lab's name: set GODWIT_LAB to 1 to 40 of a-z 0-9 . -") from error
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    lab = Lab(name, run_dir=locate.lab_dir(name), data_dir=Path(state) / "godwit" / "labs" / name)
    if len(os.fsencode(lab.control_socket)) > _LONGEST_SOCKET_PATH:
        raise Refused(
            f"{lab.control_socket} is too long for a socket: set GODWIT_LAB or XDG_RUNTIME_DIR to a shorter one"
        )
    return lab


def others_up(lab: Lab) -> str:
    """The last words of who looked for that lab: which others of this user are up; none, if none is."""
    places = sorted(lab.run_dir.parent.glob("*/lab.json"))
    names = [each.parent.name for each in places if each.parent != lab.run_dir]
    found = [name for name in names if replace(lab, name=name, run_dir=lab.run_dir.with_name(name)).running()]
    return f"; up {'is' if len(found) == 1 else 'are'} {', '.join(found)}: name one with GODWIT_LAB" if found else ""


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = directory.stat().st_uid == os.geteuid() and os.access(directory, os.W_OK)
    except OSError as error:
        raise Refused(f"{directory} cannot be made: {error.strerror}; the lab needs a writable HOME") from error
    if not writable:
        raise Refused(f"{directory} is not yours: the lab needs a HOME and an XDG_RUNTIME_DIR of your own")
