"""The volume from which cloud-init's NoCloud reads what the guest shall be."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO

import pycdlib

LABEL = "CIDATA"


def seed(files: Mapping[str, str]) -> bytes:
    """An ISO 9660 volume labelled CIDATA with these files, under their own names by Rock Ridge and Joliet."""
    volume = pycdlib.PyCdlib()
    volume.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    for number, (name, text) in enumerate(sorted(files.items())):
        content = text.encode()
        volume.add_fp(
            BytesIO(content),
            len(content),
            f"/FILE{number}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
            file_mode=0o100400,
        )
    written = BytesIO()
    volume.write_fp(written)
    volume.close()
    return written.getvalue()
