"""The files of a guest image, chosen from unpacked packages."""

from __future__ import annotations

import lzma
from collections.abc import Iterable
from pathlib import Path

from godwit.core.errors import Failed
from godwit.lab import shell
from godwit.lab.image_cpio import Entry, directory, link, program
from godwit.lab.image_elf import module_dependencies, needed_libraries
from godwit.lab.image_recipe import Recipe, chargen_pattern

_EMPTY = (".", "dev", "proc", "sys", "run", "mnt", "var/log", "var/lib/redis")


def guest_tree(recipe: Recipe, *, root: Path, guest: Path, modules: Path) -> dict[str, Entry]:
    """Every file of the image by its path: programs and libraries from `root`, our own files from `guest`,
    kernel modules from `modules`, in the order in which guest/init loads them.

    `Failed` names the program, library or module that no package has.
    """
    return {
        **{path: directory() for path in _EMPTY},
        "tmp": directory(0o1777),
        **_programs(root, recipe),
        **_modules(modules, recipe.modules),
        **_own_files(guest),
        "usr/share/chargen": Entry(chargen_pattern() * 32),
    }


def _programs(root: Path, recipe: Recipe) -> dict[str, Entry]:
    """All programs in /bin and all libraries in /lib, which the loader searches by itself."""
    by_name = {path.name: path for path in root.rglob("*") if path.is_file() and "bin" in path.parts[-2]}
    chosen = {name: _contents(by_name, name) for name in recipe.programs}
    libraries = _libraries(root, [*chosen.values()], extra=recipe.libraries)
    return {
        **{f"bin/{name}": program(elf) for name, elf in chosen.items()},
        **{f"lib/{name}": program(elf) for name, elf in libraries.items()},
        "lib64": link("lib"),
        "sbin": link("bin"),
    }


def _libraries(root: Path, programs: Iterable[bytes], *, extra: tuple[str, ...]) -> dict[str, bytes]:
    by_name = {path.name: path for path in root.rglob("*.so*") if path.is_file()}
    chosen: dict[str, bytes] = {}
    missing = [*extra, *(name for elf in programs for name in needed_libraries(elf))]
    while missing:
        name = missing.pop()
        if name not in chosen:
            chosen[name] = _contents(by_name, name)
            missing.extend(needed_libraries(chosen[name]))
    return chosen


def _modules(folder: Path, names: tuple[str, ...]) -> dict[str, Entry]:
    """The modules and what they depend on, each after its dependencies; what is built in is left out."""
    files = {_module_name(path): path for path in folder.rglob("*.ko*")}
    built_in = {_module_name(Path(line)) for line in (folder / "modules.builtin").read_text().splitlines()}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name in built_in:
            return
        if name not in files:
            raise Failed(f"the kernel in {folder} has no module {name}; report this with the distribution's name")
        module = _decompressed(files[name])
        for each in module_dependencies(module):
            add(_module_name(Path(each)))
        ordered[name] = module

    for name in names:
        add(_module_name(Path(name)))
    order = "".join(f"{name}\n" for name in ordered).encode()
    return {"lib/modules/order": Entry(order), **{f"lib/modules/{name}.ko": Entry(m) for name, m in ordered.items()}}


def _own_files(guest: Path) -> dict[str, Entry]:
    """The files in guest/ at their places; those that begin with #! can be run."""
    files = {str(path.relative_to(guest)): path.read_bytes() for path in guest.rglob("*") if path.is_file()}
    return {path: program(text) if text.startswith(b"#!") else Entry(text) for path, text in files.items()}


def _contents(by_name: dict[str, Path], name: str) -> bytes:
    try:
        return by_name[name].read_bytes()
    except KeyError:
        raise Failed(f"no package of the guest image has {name}; report this with the distribution's name") from None


def _module_name(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")


def _decompressed(module: Path) -> bytes:
    if module.suffix == ".xz":
        return lzma.decompress(module.read_bytes())
    if module.suffix == ".zst":
        shell.run(["zstd", "-qdf", str(module), "-o", str(module.with_suffix(""))], timeout_s=60)
        return module.with_suffix("").read_bytes()
    return module.read_bytes()
