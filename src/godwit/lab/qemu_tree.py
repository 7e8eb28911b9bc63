"""The distribution's backported QEMU, unpacked beside the installed one, so that a lab has hosts of two versions.

`python -m godwit.lab.qemu_tree` prints the directory for `godwit lab up --qemu HOST=DIR`, filling it first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from godwit.core.errors import Failed, GodwitError, Unreachable
from godwit.lab.image import default_cache
from godwit.lab.image_packages import Apt, Package
from godwit.lab.settings import QEMU_IN_TREE

Progress = Callable[[str], None]

ETC = Path("/etc/apt")
_QEMU = "qemu-system-x86"
_PACKAGES = (_QEMU, "qemu-system-common", "qemu-system-data", "qemu-block-extra", "seabios")
_LIBC = "libc6"
"""Must be the machine's own, because it belongs to the loader that starts every program."""
_LIBRARIES = Path("usr/lib/x86_64-linux-gnu")


def environment(tree: Path) -> dict[str, str]:
    """What the QEMU in that tree must be started with to find its own modules and libraries."""
    return {"QEMU_MODULE_DIR": str(tree / _LIBRARIES / "qemu"), "LD_LIBRARY_PATH": str(tree / _LIBRARIES)}


def firmware(tree: Path) -> tuple[Path, Path]:
    """Its firmware lies in these two directories."""
    return tree / "usr/share/qemu", tree / "usr/share/seabios"


def fetch_qemu(*, cache: Path, progress: Progress) -> Path:
    """The tree of the backported QEMU: the program, its modules and firmware, and all its libraries but the C library.

    It lies in `<cache>/qemu/<version>/` and is never changed; a tree that is there is returned without a look at the
    network, so remove it to have a newer one. The machine's apt sources are read only. Raises `Unreachable` when the
    distribution has no such QEMU or does not answer; then the cache holds no half of one.
    """
    codename = _codename()
    suite = f"{codename}-backports"
    try:
        home = cache / "qemu"
        home.mkdir(parents=True, exist_ok=True)
        latest = home / suite
        with (home / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (latest / QEMU_IN_TREE).is_file():
                apt = _Backports(cache / "apt" / suite, backports_sources(ETC, codename), suite)
                _point(latest, _fetched(apt, home=home, progress=progress))
            return latest.resolve()
    except OSError as error:
        raise Failed(f"the cache {cache} cannot be used ({error}); set XDG_CACHE_HOME to another place") from error


class _Backports(Apt):
    """apt with sources and package lists of its own, in which what that suite has is preferred."""

    def __init__(self, state: Path, sources: dict[str, str], suite: str) -> None:
        super().__init__(state, own_lists=True)
        self.suite = suite
        folder = state / "sources"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in sources.items():
            (folder / name).write_text(text)
        settings = {
            "Dir::Etc::sourcelist": "/dev/null",
            "Dir::Etc::sourceparts": folder,
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Default-Release": suite,
        }
        self._options += [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]

    def qemu(self) -> list[Package]:
        """That suite's QEMU and its libraries; naming the suite makes apt refuse where it has none."""
        packages = self.resolve((*_PACKAGES, f"{_QEMU}/{self.suite}"))
        return [each for each in packages if each.name != _LIBC]


def _fetched(apt: _Backports, *, home: Path, progress: Progress) -> Path:
    """The tree of the version that the suite has now."""
    progress(f"QEMU of {apt.suite}: fetching package lists")
    try:
        with contextlib.suppress(Unreachable):  # some other vendor's source without such a suite is no obstacle
            apt.update()
        packages = apt.qemu()
        version = next(each.version for each in packages if each.name == _QEMU)
        tree = home / version.rpartition(":")[2]  # no epoch: LD_LIBRARY_PATH is split at colons
        if not tree.is_dir():
            _unpack(apt, packages, tree=tree, progress=progress)
    except Unreachable as error:
        raise Unreachable(
            f"{apt.suite} has no QEMU for this machine or cannot be reached: check the network, then try again"
        ) from error
    return tree


def _unpack(apt: _Backports, packages: list[Package], *, tree: Path, progress: Progress) -> None:
    size_mb = sum(each.size_bytes for each in packages) / 1e6
    progress(f"QEMU of {apt.suite}: downloading {len(packages)} packages, {size_mb:.0f} MB")
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=tree.parent) as scratch:
        root = Path(scratch) / "root"
        apt.unpack(packages, debs=Path(scratch) / "debs", root=root)
        _gather_libraries(root)
        root.rename(tree)


def _gather_libraries(root: Path) -> None:
    """One directory has all libraries: older packages put some below /lib, and Ceph's hides one in a folder."""
    for libraries in (root / "usr/lib").glob("*-linux-gnu"):
        for file in (root / "lib" / libraries.name).glob("*.so*"):
            file.rename(libraries / file.name)
        for file in libraries.glob("*/lib*.so*"):
            link = libraries / file.name
            if not link.exists():
                link.symlink_to(file.relative_to(libraries))


def _point(link: Path, tree: Path) -> None:
    """`link` leads to `tree`; at every moment it leads to one or the other."""
    draft = link.with_name(f".{link.name}.new")
    draft.unlink(missing_ok=True)
    draft.symlink_to(tree.name)
    os.replace(draft, link)


def _codename() -> str:
    try:
        codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        codename = ""
    if not codename:
        raise Unreachable("this machine's distribution has no code name, so no backports: unpack a QEMU by hand")
    return codename


def backports_sources(etc: Path, codename: str) -> dict[str, str]:
    """The machine's own sources of that release, its backports added, by file name; the signing keys are kept.

    `Unreachable` when no source in the directory `etc` is of that release.
    """
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    old = [line for file in files if file.suffix == ".list" and file.is_file() for line in _lines(file, codename)]
    new = [stanza for file in files if file.suffix == ".sources" for stanza in _stanzas(file, codename)]
    if not old and not new:
        raise Unreachable(f"no apt source in {etc} is of {codename}, so there are no backports: unpack a QEMU by hand")
    return {"machine.list": "".join(old), "machine.sources": "\n".join(new)}


def _lines(file: Path, codename: str) -> list[str]:
    """One-line sources: `deb [options] uri suite components`, once more with the other suite."""
    source = re.compile(rf"(deb\s+(?:\[[^]]*\]\s*)?\S+\s+{re.escape(codename)})(\s.*)")
    found = [match for line in file.read_text().splitlines() if (match := source.fullmatch(line.strip()))]
    return [f"{match[1]}{ending}{match[2]}\n" for match in found for ending in ("", "-backports")]


def _stanzas(file: Path, codename: str) -> list[str]:
    """The same in the deb822 format; a field's value may go on in lines that begin with a space."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    found = []
    for stanza in re.split(r"\n\s*\n", "\n".join(lines).strip()):
        fields = {key.lower(): value for key, value in re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.M)}
        on = fields.get("enabled", "yes").strip().lower() not in ("no", "false", "without", "off", "disable", "0")
        if on and "deb" in fields.get("types", "").split() and codename in fields.get("suites", "").split():
            fields |= {"types": " deb", "suites": f" {codename} {codename}-backports"}
            found.append("".join(f"{key}:{value}\n" for key, value in fields.items()))
    return found


def main() -> int:
    """Prints the tree's directory, and progress on standard error."""
    try:
        print(fetch_qemu(cache=default_cache(), progress=lambda line: print(line, file=sys.stderr)))
    except GodwitError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
