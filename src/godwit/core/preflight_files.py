"""Rules over the files that a VM needs on both hosts: its disks, and the kernel that it was booted from."""

from __future__ import annotations

from collections.abc import Iterator

from godwit.core.case import Case, Found, Rule
from godwit.core.finding import blocker
from godwit.core.looked import FileLook
from godwit.core.model import VmSpec
from godwit.core.plan import disk_moves


def paths(spec: VmSpec) -> tuple[str, ...]:
    """Of all files that must be there on both hosts."""
    return (*_disks(spec), *_image(spec))


def _disks(spec: VmSpec) -> tuple[str, ...]:
    return tuple(volume.path for volume in spec.volumes)


def _staying(case: Case) -> tuple[str, ...]:
    """Of its disks that do not go."""
    go = {move.disk.path for move in disk_moves(case.move, case.source, case.destination)}
    return tuple(path for path in _disks(case.move.spec) if path not in go)


def _image(spec: VmSpec) -> tuple[str, ...]:
    return tuple(each for each in (spec.image.kernel, spec.image.initrd) if each)


def _pairs(case: Case, wanted: tuple[str, ...]) -> Iterator[tuple[FileLook, FileLook]]:
    """Each of these files as source and destination see it, where both were asked."""
    here = {each.path: each for each in case.looked.source_files}
    there = {each.path: each for each in case.looked.destination_files}
    return ((here[path], there[path]) for path in wanted if path in here and path in there)


def files_are_there(case: Case) -> Found:
    """The destination can read each one."""
    for here, there in _pairs(case, (*_staying(case), *_image(case.move.spec))):
        if there.size_bytes is None and here.size_bytes is not None:
            yield blocker(
                "file-missing",
                f"{case.destination.host} cannot read {there.path}, which {case.vm} needs",
                f"{case.source.host} can: {here.size_bytes} bytes",
                "share it, or put it there",
            )


def disks_are_the_same(case: Case) -> Found:
    """A file of that name is no proof: a share that is not mounted shows what lies beneath."""
    for here, there in _pairs(case, _staying(case)):
        if there.size_bytes is not None and (here.size_bytes, here.inode) != (there.size_bytes, there.inode):
            yield blocker(
                "file-differs",
                f"{here.path} on {case.destination.host} is another file than on {case.source.host}",
                f"inode {here.inode} with {here.size_bytes} bytes here, {there.inode} with {there.size_bytes} there",
                "mount the same share on both",
                overridable=True,
            )


def images_are_equal(case: Case) -> Found:
    """QEMU refuses a kernel of another length."""
    for here, there in _pairs(case, _image(case.move.spec)):
        if there.size_bytes is not None and here.size_bytes is not None and here.size_bytes != there.size_bytes:
            yield blocker(
                "image-differs",
                f"{here.path} on {case.destination.host} is another file than on {case.source.host}",
                f"{there.size_bytes} bytes there, {here.size_bytes} here",
                "put the same image on all hosts",
            )


RULES: tuple[Rule, ...] = (files_are_there, disks_are_the_same, images_are_equal)
"""Worst first."""
