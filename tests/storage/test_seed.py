"""The volume that cloud-init's NoCloud finds by its label."""

from __future__ import annotations

from io import BytesIO

import pycdlib

from godwit.storage.seed import seed

FILES = {"meta-data": "{}", "network-config": "größer", "user-data": "#cloud-config\n{}"}


def test_the_volume_has_its_label_and_its_files_under_both_kinds_of_long_names() -> None:
    volume = pycdlib.PyCdlib()
    volume.open_fp(BytesIO(seed(FILES)))

    assert volume.pvd.volume_identifier.strip() == b"CIDATA"
    for kind in ("rr_path", "joliet_path"):
        found = {}
        for name in FILES:
            text = BytesIO()
            volume.get_file_from_iso_fp(text, **{kind: f"/{name}"})
            found[name] = text.getvalue().decode()
        assert found == FILES
    volume.close()


def test_it_is_made_of_whole_sectors() -> None:
    assert len(seed(FILES)) % 2048 == 0
