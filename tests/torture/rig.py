"""A lab to torture, as a context."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.torture.cases import DAEMON, Goes, Rig

from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings


@contextmanager
def torture_rig(
    *, keep_logs: Path | None = None, goes: Goes = Goes.memory, settings: Settings | None = None
) -> Iterator[Rig]:
    """Two hosts, their daemons with fault points, a VM that writes and beats; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="gw") as name:
        directory = Path(name)
        points = directory / "p"
        points.mkdir()
        daemon = shlex.join([sys.executable, str(DAEMON)])
        env = {"GODWIT_LAB_DAEMON": daemon, "GODWIT_TORTURE": str(points)}
        with Scenario(directory, settings, env=env) as lab:
            rig = Rig(lab, points, goes)
            try:
                yield rig
            finally:
                rig.close()
                if keep_logs:
                    _save(lab, keep_logs)


def _save(lab: Scenario, place: Path) -> None:
    """What the daemons said, for whoever wants to know why."""
    place.mkdir(parents=True, exist_ok=True)
    for log in (lab.lab.data_dir / "logs").glob("*.log"):
        (place / log.name).write_bytes(log.read_bytes())
    for journal in lab.lab.data_dir.glob("*/state/vms/*/journal"):
        (place / f"{journal.parts[-5 + 1]}.{os.path.basename(journal)}").write_bytes(journal.read_bytes())
