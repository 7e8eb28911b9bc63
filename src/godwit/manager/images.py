"""The images that VMs boot, as their directories describe them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from godwit.core.config import ImageConfig
from godwit.core.errors import NotFound, Refused
from godwit.core.model import Image
from godwit.manager.disks import is_disk_image


class Images:
    """Read anew at each question: an image may have been rebuilt."""

    def __init__(self, configs: Mapping[str, ImageConfig]) -> None:
        self._configs = configs

    def names(self) -> list[str]:
        """All that are configured."""
        return sorted(self._configs)

    def usable(self) -> list[Image]:
        """All that are described as they should be."""
        found: list[Image] = []
        for name in self.names():
            with suppress(Refused):
                found.append(self.image(name))
        return found

    def image(self, name: str) -> Image:
        """That image with absolute paths; `NotFound`, or `Refused` when its directory does not describe it.

        A disk image is looked at by the host that makes a disk from it.
        """
        if is_disk_image(name):
            return Image(name=name)
        if name not in self._configs:
            known = ", ".join(self.names()) or "none"
            raise NotFound(
                f"there is no image {name!r}: the manager's configuration names {known}; "
                "a disk image is named by its absolute path",
                "no-image",
            )
        path = self._configs[name].path
        try:
            told = json.loads((path / "image.json").read_text())
            kernel, initrd = path / told["kernel"], path / told["initrd"]
            return Image(name=name, kernel=str(kernel), initrd=str(initrd), cmdline=told.get("cmdline", ""))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(
                f"image {name!r} cannot be used: {path}/image.json does not describe a kernel and an initrd ({error}); "
                "build it again",
                "bad-image",
            ) from error
