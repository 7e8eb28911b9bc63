"""A host that is silent for ten minutes in the middle of a hand-over: no VM runs twice, and it goes on by itself.

`GODWIT_SILENCE_S` is how long (600).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest
from tests.torture.cases import ALIVE_S, Rig, armed
from tests.torture.rig import torture_rig
from tests.torture.watch import doubled, most_at_once

from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.lab.scenario import wait_until

SILENCE_S = float(os.environ.get("GODWIT_SILENCE_S", "600"))
DOUBT_S = 60.0
"""After so long a hand-over is in doubt."""

pytestmark = [pytest.mark.lab, pytest.mark.acceptance, pytest.mark.timeout(int(SILENCE_S) + 600)]


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with torture_rig() as rig:
        yield rig


def silence(rig: Rig, host: str, *, on: bool) -> None:
    """As when its switch has lost power: nobody reaches its agent, and no memory goes through."""
    for fault in ("control-link-down", "agent-link-down", "migration-link-down"):
        rig.lab.fault(f"{fault}:{host}", on=on)


def stop_agent(rig: Rig, host: str, *, on: bool) -> None:
    if on:
        rig.lab.stop_daemon(host)
    else:
        rig.lab.mend()


@pytest.mark.parametrize(
    ("side", "point", "strike"),
    [
        ("source", "journal given written", silence),
        ("destination", "serve go before", stop_agent),
        ("destination", "journal conting synced", silence),
    ],
    ids=["the source cannot be reached", "the destination's agent is down", "the destination cannot be reached"],
)
def test_it_goes_on_by_itself(rig: Rig, side: str, point: str, strike: Callable[..., None]) -> None:
    source, destination = rig.home, rig.other(rig.home)
    host = source if side == "source" else destination
    since, begun_s = len(rig.beacon.beats), time.time()
    with armed(rig.directory, host, point) as wait:
        migration = rig.migrate()
        line = wait()
        assert line is not None, rig.lab.client.migration(migration.id)
        strike(rig, host, on=True)
        line.close()
    time.sleep(SILENCE_S)
    if SILENCE_S > DOUBT_S + 30:
        assert rig.lab.client.migration(migration.id).phase is Phase.in_doubt
    strike(rig, host, on=False)

    assert rig.wait_ended(migration.id).phase is Phase.done
    wait_until("the VM runs", lambda: rig.lab.client.vm("web").state is VmState.running)
    assert rig.lab.client.vm("web").host == destination
    assert rig.writer is not None
    assert rig.writer.is_alive(ALIVE_S + 60)
    assert doubled(rig.beacon.beats[since:]) == []
    assert most_at_once([each for each in rig.logs.intervals() if each[2] >= begun_s]) == 1
    assert rig.beacon.ports() == {destination}
