"""A datastore that is a directory: one folder per VM in it, one file per disk."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from godwit.core.errors import Failed, Refused

TOKEN = ".godwit-datastore"


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
    refuse_existing(place)
    try:
        place.parent.mkdir(exist_ok=True)
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise _exists(place) from None
    except OSError as error:
        raise Failed(f"{place} cannot be made ({error.strerror}): look at its datastore", "datastore") from error
    try:
        yield
    except BaseException:
        remove(place)
        raise


def refuse_existing(place: Path) -> None:
    """`Refused` if anything is there."""
    if place.exists():
        raise _exists(place)


def _exists(place: Path) -> Refused:
    return Refused(
        f"{place} is there already and belongs to no VM that is known: move it away, or choose another name",
        "disk-exists",
    )


def mark_moved(place: Path, where: str) -> None:
    """A file beside it says where this disk has gone, or may have; it survives a power cut."""
    write(_mark(place), where.encode())


def unmark(place: Path) -> None:
    """It has gone nowhere."""
    _mark(place).unlink(missing_ok=True)


def moved_to(place: Path) -> str | None:
    """Where this disk has gone, or may have: nobody may start from what is left of it here."""
    mark = _mark(place)
    return mark.read_text() if mark.exists() else None


def _mark(place: Path) -> Path:
    return place.with_name(place.name + ".moved")


def remove(place: Path) -> None:
    """The file is gone, its mark with it, and its VM's folder too if it was the last one."""
    try:
        place.unlink(missing_ok=True)
        unmark(place)
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


def token(datastore: Path) -> str:
    """What tells this directory from every other one; empty before anything was put there.

    Hosts that read the same one see the same files, whatever the directory is called and whoever says what of it.
    """
    try:
        return (datastore / TOKEN).read_text()
    except FileNotFoundError:
        return ""


def make_token(datastore: Path) -> None:
    """The directory has one, whoever was first."""
    if token(datastore):
        return
    draft = datastore / f"{TOKEN}.{uuid.uuid4().hex}"
    try:
        draft.write_text(uuid.uuid4().hex)
        with suppress(FileExistsError):
            os.link(draft, datastore / TOKEN)  # whole, or not there
        draft.unlink()
    except OSError as error:
        raise Failed(f"{datastore} cannot be written: {error.strerror}; look at that datastore", "datastore") from error


def free_bytes(datastore: Path) -> int:
    """What can still be written there."""
    told = os.statvfs(datastore)
    return told.f_bavail * told.f_frsize
