"""The QEMU that every peer runs: the distribution's, or the backported one in a tree beside it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from godwit.core.errors import Failed
from godwit.lab import qemu_tree
from godwit.lab.image import default_cache
from godwit.lab.settings import QEMU_IN_TREE

SCRIPT = """#!/bin/sh
export {environment}
exec {program} {firmware} "$@"
"""
MODULES = Path("/usr/lib/x86_64-linux-gnu/qemu")
"""Where the installed QEMU has its modules, and where each QEMU looks for those that it does not find elsewhere."""


@dataclass(frozen=True)
class Emulator:
    """One QEMU."""

    version: str
    program: Path
    tree: Path | None = None
    """Where it was unpacked with its own libraries and firmware; None: it is installed."""

    @property
    def modules(self) -> Path | None:
        """The directory of its own modules; None: it is installed."""
        return self.tree and Path(qemu_tree.environment(self.tree)["QEMU_MODULE_DIR"])

    def starter(self, directory: Path) -> Path:
        """A program that is this QEMU for whoever starts it; one in a tree needs a script there that knows the tree."""
        if self.tree is None:
            return self.program
        script = directory / self.program.name
        if not script.exists():
            environment = " ".join(f"{name}={value}" for name, value in qemu_tree.environment(self.tree).items())
            firmware = " ".join(f"-L {place}" for place in qemu_tree.firmware(self.tree))
            script.write_text(SCRIPT.format(environment=environment, program=self.program, firmware=firmware))
            script.chmod(0o755)
        return script


def installed() -> Emulator:
    """The distribution's; `Failed` if there is none."""
    found = shutil.which(QEMU_IN_TREE.name)
    if found is None:
        raise Failed(f"{QEMU_IN_TREE.name} is not installed: `make demo` installs it")
    return Emulator(_version([found]), Path(found))


def chosen(major: str | None) -> Emulator:
    """The installed one, or one of that major version: installed, or the backported; `Failed` if neither is."""
    found = installed()
    if major is None or found.version.startswith(f"{major}."):
        return found
    tree = qemu_tree.fetch_qemu(cache=default_cache(), progress=print)
    version = _version([str(tree / QEMU_IN_TREE)], qemu_tree.environment(tree))
    if not version.startswith(f"{major}."):
        raise Failed(f"there is no QEMU {major} here: installed is {found.version}, backported {version}")
    return Emulator(version, tree / QEMU_IN_TREE, tree)


def _version(program: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    told = subprocess.run([*program, "--version"], env=environment, capture_output=True, text=True, check=True).stdout
    return told.split()[3]
