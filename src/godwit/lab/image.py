"""The lab's guest images: built from the distribution's packages without root, kept in a cache.

`python -m godwit.lab.image base` prints the image's directory, building it first where it is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from godwit.core.errors import Failed, GodwitError, NotFound, Unreachable
from godwit.lab.image_build import GUEST, Build, Progress
from godwit.lab.image_packages import LISTS, Apt
from godwit.lab.image_recipe import KERNELS, RECIPES, Recipe


def default_cache() -> Path:
    """Where images are kept: `$XDG_CACHE_HOME/godwit`, else `~/.cache/godwit`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "godwit"


def ensure_image(name: str, *, cache: Path, progress: Progress) -> Path:
    """The directory of that image: `vmlinuz`, `initrd`, `image.json` and `id_ed25519` (for root in the guest).

    An image is named after everything that went into it, so one that exists is never changed. While the
    machine's package lists stay as they are, and when there are no packages to be had, the image that was
    built last from the same recipe is returned. Raises `NotFound` for an unknown name and `Unreachable` when
    there is neither an image nor a way to the packages; then the cache holds nothing half-built.
    """
    recipe = RECIPES.get(name)
    if recipe is None:
        raise NotFound(f"there is no lab image {name!r}; choose one of {', '.join(RECIPES)}")
    try:
        images = cache / "images"
        images.mkdir(parents=True, exist_ok=True)
        with _locked(images / f".{name}.lock"):
            latest = _Latest(images, name)
            return latest.current() or _renewed(recipe, latest, apt_state=cache / "apt", progress=progress)
    except OSError as error:
        raise Failed(
            f"the image cache {cache} cannot be used ({error}); set XDG_CACHE_HOME to another place"
        ) from error


class _Latest:
    """The image of this name that was built last, and what it was made from."""

    def __init__(self, images: Path, name: str) -> None:
        self.images, self.name = images, name
        self._file = images / f".{name}.latest.json"

    def current(self) -> Path | None:
        """The image, if neither the recipe nor the machine's package lists have changed since."""
        return self._found({"recipe": recipe_digest(), "lists": lists_stamp()})

    def of_same_recipe(self) -> Path | None:
        """The image, if at least the recipe has not changed since."""
        return self._found({"recipe": recipe_digest()})

    def remember(self, directory: Path) -> None:
        facts = {"directory": directory.name, "recipe": recipe_digest(), "lists": lists_stamp()}
        _write_whole(self._file, json.dumps(facts))

    def _found(self, wanted: dict[str, str]) -> Path | None:
        try:
            facts: dict[str, str] = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        directory = self.images / facts.get("directory", "?")
        return directory if wanted.items() <= facts.items() and directory.is_dir() else None


def _renewed(recipe: Recipe, latest: _Latest, *, apt_state: Path, progress: Progress) -> Path:
    """The image for the packages there are now: from the machine's lists, else from fresh lists of our own."""
    try:
        directory = _from_packages(recipe, latest, apt=Apt(apt_state / "machine"), progress=progress)
    except Unreachable as obstacle:
        if older := latest.of_same_recipe():
            progress(f"using the image built before: {obstacle}")
            return older
        progress("the machine's package lists are missing or old: fetching lists of our own")
        apt = Apt(apt_state / "own", own_lists=True)
        apt.update()
        directory = _from_packages(recipe, latest, apt=apt, progress=progress)
    latest.remember(directory)
    return directory


def _from_packages(recipe: Recipe, latest: _Latest, *, apt: Apt, progress: Progress) -> Path:
    packages = apt.resolve((apt.first_known(KERNELS), *recipe.packages))
    versions = json.dumps([(each.name, each.version) for each in packages])
    digest = hashlib.sha256(f"{recipe_digest()} {versions}".encode()).hexdigest()
    directory = latest.images / f"{latest.name}-{digest[:12]}"
    if not directory.is_dir():
        with tempfile.TemporaryDirectory(prefix=f".{latest.name}-", dir=latest.images) as scratch:
            build = Build(latest.name, recipe, packages, Path(scratch))
            build.fetch(apt, progress)
            build.pack(progress).rename(directory)
    return directory


def recipe_digest() -> str:
    """A digest of every file of ours that shapes an image."""
    here = Path(__file__).parent
    files = [*here.glob("image*.py"), *(path for path in GUEST.rglob("*") if path.is_file())]
    digest = hashlib.sha256()
    for path in sorted(files):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(here)} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def lists_stamp() -> str:
    """Changes whenever the machine's package lists do."""
    return str(LISTS.stat().st_mtime_ns) if LISTS.is_dir() else "none"


def _write_whole(file: Path, text: str) -> None:
    """A reader sees the old content or the new one, nothing between."""
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.replace(file)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main(argv: list[str]) -> int:
    """Prints the directory of the image named, and progress on standard error."""
    try:
        name = argv[0] if argv else "base"
        print(ensure_image(name, cache=default_cache(), progress=lambda line: print(line, file=sys.stderr)))
    except GodwitError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
