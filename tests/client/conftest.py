"""A live manager for the tests of the client."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.live import Live, living
from tests.manager.site import make_site


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with tempfile.TemporaryDirectory() as directory, living(make_site(tmp_path), Path(directory) / "m.sock") as live:
        yield live
