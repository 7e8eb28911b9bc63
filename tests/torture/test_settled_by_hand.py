"""A host dies for good in the middle of a hand-over: nobody guesses, a person settles it, the rest is removed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.torture.cases import ALIVE_S, VM, Rig, armed
from tests.torture.rig import torture_rig
from tests.torture.watch import doubled

from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.lab.scenario import kill, wait_until

PROOF = "its disk controller burnt; its power is off"

pytestmark = [pytest.mark.lab, pytest.mark.acceptance, pytest.mark.timeout(400)]


@pytest.fixture
def rig() -> Iterator[Rig]:
    with torture_rig() as rig:
        yield rig


@contextmanager
def dead(rig: Rig, host: str) -> Iterator[None]:
    """Everything of the VM there is killed, and nobody reaches the host; afterwards it is back, without them."""
    rig.lab.stop_daemon(host)
    for pid in (rig.lab.keeper_pid(VM, host), rig.lab.qemu_pid(VM, host)):
        kill(pid)
    yield
    rig.lab.mend()


def test_the_source_dies_before_it_gives_the_word(rig: Rig) -> None:
    source, destination = rig.home, rig.other(rig.home)
    since = len(rig.beacon.beats)
    with armed(rig.directory, source, "ask go before") as wait:
        running = rig.lab.start("migrate", VM, destination, "--max-blackout", "2s")
        line = wait()
        assert line is not None
        id = rig.lab.client.migrations()[-1].id
        with dead(rig, source):
            line.close()
            done = running.end()
            assert done.status == 3, done
            assert done.err.count(f"`godwit migration show {id}`") == 1
            assert rig.lab.client.vm(VM).state is VmState.in_doubt
            wait_until("both were asked", lambda: f"settle {id}" in rig.lab.demand("migration", "show", id))
            shown = rig.lab.demand("migration", "show", id)
            assert f"{source} does not answer; the journal of {destination} says armed" in shown
            assert rig.beacon.ports() == set()

            refused = rig.lab.run("migration", "settle", id, "--runs-on", "nowhere", "--proof", PROOF)
            assert refused.status == 2, refused
            rig.lab.demand("migration", "settle", id, "--runs-on", destination, "--proof", PROOF)
            wait_until("it runs there", lambda: rig.lab.client.vm(VM).state is VmState.running)
            assert rig.lab.client.vm(VM).host == destination
            assert rig.writer is not None
            assert rig.writer.is_alive(ALIVE_S + 60)
            assert rig.lab.client.migration(id).phase is Phase.done
            assert PROOF in rig.lab.demand("migration", "show", id)

    assert rig.beacon.ports() == {destination}
    assert doubled(rig.beacon.beats[since:]) == []
    wait_until("its agent knows", lambda: f"{VM}, given away" in rig.lab.run("doctor", "--host", source).out)
    rig.lab.demand("doctor", "--host", source, "--repair")
    assert "nothing" in rig.lab.run("doctor", "--host", source).out
    assert rig.lab.leftovers(source) == []
    assert rig.wait_ended(rig.migrate().id).phase is Phase.done
