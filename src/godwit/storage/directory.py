"""A datastore that is a directory: one folder per VM in it, one file per disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from godwit.core.errors import Failed, Refused


def place_of(datastore: Path, *, vm: str, disk: str, format: str) -> Path:
    """Where that disk lies; `Refused` if following links there leads out of the datastore."""
    place = datastore / vm / f"{disk}.{format}"
    if place.is_symlink() or not place.resolve().is_relative_to(datastore.resolve()):
        raise Refused(f"{place} leads out of its datastore {datastore}: remove the link that is there", "leaves")
    return place


@contextmanager
def claimed(place: Path) -> Iterator[None]:
    """An empty file of ours, which only its owner may read, is there; if the block fails, it is gone again.

    `Refused` if anything was there before.
    """
    try:
        place.parent.mkdir(exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise Refused(
            f"{place} is there already and belongs to no VM that is known: move it away, or choose another name",
            "disk-exists",
        ) from None
    except OSError as error:
        raise Failed(f"{place} cannot be made ({error.strerror}): look at its datastore", "datastore") from error
    try:
        yield
    except BaseException:
        remove(place)
        raise


def remove(place: Path) -> None:
    """The file is gone, and its VM's folder too if it was the last one."""
    try:
        place.unlink(missing_ok=True)
    except OSError as error:
        raise Failed(f"{place} cannot be removed ({error.strerror}): look at its datastore", "datastore") from error
    with suppress(OSError):
        place.parent.rmdir()


def write(place: Path, content: bytes) -> None:
    """The file holds these bytes, also after a power cut."""
    try:
        with place.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Failed(f"{place} cannot be written: {error.strerror}; free some space there", "disk-full") from error


def free_bytes(datastore: Path) -> int:
    """What can still be written there."""
    told = os.statvfs(datastore)
    return told.f_bavail * told.f_frsize
