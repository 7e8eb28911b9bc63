"""The distribution's packages, found, fetched and unpacked as an ordinary user."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from godwit.core.errors import Failed, Unreachable
from godwit.lab import shell

LISTS = Path("/var/lib/apt/lists")
_NEEDED = re.compile(r"(z?lib|linux-image-\d|linux-modules-\d)")
"""Of what the solver adds, only libraries and the kernel itself can be of use in an image."""


@dataclass(frozen=True)
class Package:
    """One package as the machine's package lists offer it."""

    name: str
    version: str
    size_bytes: int


class Apt:
    """apt with the machine's sources and keys, writing only below `state`; what apt cannot do is `Unreachable`.

    With `own_lists` the package lists are its own too, and fetched by `update`; else they are the machine's.
    """

    def __init__(self, state: Path, *, own_lists: bool = False) -> None:
        for folder in ("archives/partial", "lists/partial"):
            (state / folder).mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        lists = state / "lists" if own_lists else LISTS
        settings = {
            "Dir::State::status": state / "status",  # nothing is installed, so the solver names every library
            "Dir::State::lists": lists,
            "Dir::Cache": state,
            "APT::Sandbox::User": "root",  # apt's own user cannot write below somebody's home directory
            "APT::Install-Recommends": "0",
            "APT::Update::Post-Invoke": "",
            "Acquire::Languages": "none",
        }
        self._options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def update(self) -> None:
        """The own lists are as fresh as the machine's sources; a source that does not answer is left out."""
        self._run(["apt-get", "-qq", "update"], timeout_s=300)

    def first_known(self, names: tuple[str, ...]) -> str:
        """The first of these packages that the lists know."""
        known = self._run(["apt-cache", "policy", *names], timeout_s=60)
        for name in names:
            if re.search(rf"^{re.escape(name)}:\n.*\n +Candidate: \d", known, re.MULTILINE):
                return name
        raise Unreachable(
            f"the package lists know none of {', '.join(names)}; check the network and run apt-get update"
        )

    def resolve(self, names: tuple[str, ...]) -> list[Package]:
        """These packages and the libraries and kernel that they need, sorted by name."""
        plan = self._run(["apt-get", "-qq", "-y", "install", "--print-uris", *names], timeout_s=120)
        found = [_package(line) for line in plan.splitlines() if line.startswith("'")]
        return sorted((each for each in found if each.name in names or _NEEDED.match(each.name)), key=lambda p: p.name)

    def unpack(self, packages: list[Package], *, debs: Path, root: Path) -> None:
        """The packages' files lie below `root`; apt has checked their hashes; no package script has run."""
        debs.mkdir()
        wanted = [f"{each.name}={each.version}" for each in packages]
        self._run(["apt-get", "-qq", "download", *wanted], cwd=debs, timeout_s=1800)
        for deb in sorted(debs.glob("*.deb")):
            shell.run(["dpkg", "-x", str(deb), str(root)], timeout_s=120)

    def _run(self, argv: list[str], *, timeout_s: float, cwd: Path | None = None) -> str:
        argv = [argv[0], *self._options, *argv[1:]]
        try:
            return shell.run(argv, cwd=cwd, env={**os.environ, "LC_ALL": "C"}, timeout_s=timeout_s)
        except Failed as error:
            what = f"the distribution's packages cannot be had ({error}): check the network, then try again"
            raise Unreachable(what) from error


def _package(line: str) -> Package:
    """One line of --print-uris: 'address' name_version_architecture.deb bytes hash."""
    _, file, size, *_ = line.split()
    name, version, _ = unquote(file).split("_")
    return Package(name, version, int(size))
