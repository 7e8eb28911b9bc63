"""One guest image being built: packages fetched and unpacked, the initrd packed, the facts written beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from godwit.lab import shell
from godwit.lab.image_cpio import pack
from godwit.lab.image_keys import SshKeys, new_ssh_keys
from godwit.lab.image_packages import Apt, Package
from godwit.lab.image_recipe import CMDLINE, READY_LINE, Recipe
from godwit.lab.image_tree import guest_tree

GUEST = Path(__file__).with_name("guest")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Build:
    """One image being built below `scratch`."""

    name: str
    recipe: Recipe
    packages: list[Package]
    scratch: Path

    def fetch(self, apt: Apt, progress: Progress) -> None:
        """The packages' files are unpacked."""
        size_mb = sum(each.size_bytes for each in self.packages) / 1e6
        progress(f"image {self.name}: downloading {len(self.packages)} packages, {size_mb:.0f} MB")
        apt.unpack(self.packages, debs=self.scratch / "debs", root=self.scratch / "root")

    def pack(self, progress: Progress) -> Path:
        """The directory of the finished image."""
        root, image = self.scratch / "root", self.scratch / "image"
        image.mkdir()
        kernel = max((root / "boot").glob("vmlinuz-*"))
        version = kernel.name.removeprefix("vmlinuz-")
        shutil.copyfile(kernel, image / "vmlinuz")
        keys = new_ssh_keys()
        self._pack_initrd(image / "initrd", modules=_modules_folder(root, version), keys=keys)
        _write_private(image / "id_ed25519", keys.client_private)
        (image / "image.json").write_text(json.dumps(self._facts(version), indent=2) + "\n")
        size_mb = [(image / file).stat().st_size / 1e6 for file in ("vmlinuz", "initrd")]
        progress(f"image {self.name}: kernel {version}, {size_mb[0]:.1f} MB; initrd, {size_mb[1]:.1f} MB")
        return image

    def _pack_initrd(self, initrd: Path, *, modules: Path, keys: SshKeys) -> None:
        tree = guest_tree(self.recipe, root=self.scratch / "root", guest=GUEST, modules=modules)
        archive = self.scratch / "initrd.cpio"
        archive.write_bytes(pack({**tree, **keys.guest_files}))
        shell.run(["zstd", "-q", "-10", str(archive), "-o", str(initrd)], timeout_s=600)

    def _facts(self, kernel_version: str) -> dict[str, object]:
        return {
            "name": self.name,
            "kernel": "vmlinuz",
            "initrd": "initrd",
            "cmdline": CMDLINE,
            "kernel_version": kernel_version,
            "packages": {each.name: each.version for each in self.packages},
            "ready_line": READY_LINE,
            "ssh_key": "id_ed25519",
        }


def _modules_folder(root: Path, version: str) -> Path:
    """Older distributions keep modules in /lib, newer ones in /usr/lib."""
    return next(path for path in (root / "lib/modules" / version, root / "usr/lib/modules" / version) if path.is_dir())


def _write_private(file: Path, text: bytes) -> None:
    file.touch(mode=0o600)
    file.write_bytes(text)
