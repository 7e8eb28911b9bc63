"""A migration is struck while memory is copied: the VM runs on, nothing is left behind, the next attempt works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from godwit.core.migration import Migration
from godwit.core.model import VmState
from godwit.core.phase import Phase
from godwit.lab.scenario import Done, Moving, Scenario, kill
from godwit.lab.traffic import Traffic

pytestmark = pytest.mark.lab

SLOW = ("--bandwidth", "20mbit")
HOSTS = ("host-a", "host-b")
STATUS = {Phase.failed: 1, Phase.cancelled: 130, Phase.done: 0}


@dataclass
class Attempt:
    """A slow migration of `web` under clients, wherever it is to wherever it is not."""

    lab: Scenario
    traffic: Traffic
    source: str
    destination: str

    def begin(self, *flags: str) -> Moving:
        return self.lab.begin("web", self.destination, *(flags or SLOW))

    def assert_as_before(self, done: Done, migration: Migration, *allowed: Phase) -> None:
        """It ended in one of those ways, which the exit status says as well, with a reason; `web` never noticed."""
        assert migration.phase in allowed, migration
        assert done.status == STATUS[migration.phase], done
        assert "Traceback" not in done.err
        if migration.phase is not Phase.done:
            self._assert_undone(done, migration)
        vm = self.lab.client.vm("web")
        home = self.destination if migration.phase is Phase.done else self.source
        assert (vm.state, vm.host, vm.migration) == (VmState.running, home, None)
        self.lab.wait_tidy()
        assert self.lab.where_it_runs("web") == (home,)
        self._assert_next_works(home)

    def _assert_undone(self, done: Done, migration: Migration) -> None:
        assert migration.error
        said = done.err.strip().splitlines()
        assert said[-1].startswith("godwit: "), done
        assert migration.error in said[-1]

    def _assert_next_works(self, home: str) -> None:
        self.traffic.mark("next attempt")
        there = next(host for host in HOSTS if host != home)
        assert self.lab.migrate("web", there).outcome == "done"
        result = self.traffic.stop()
        for client in result.clients:
            assert (client.survived, client.verified, client.error) == (True, True, None), client.name
            assert client.windows[-1].operations > 0
        assert self.lab.where_it_runs("web") == (there,)


@pytest.fixture
def attempt(lab: Scenario) -> Iterator[Attempt]:
    home = lab.client.vm("web").host
    assert home is not None
    with lab.traffic("web") as traffic:
        yield Attempt(lab, traffic, home, next(host for host in HOSTS if host != home))


def kill_source_agent(attempt: Attempt) -> None:
    attempt.lab.kill_daemon(attempt.source)


def kill_destination_agent(attempt: Attempt) -> None:
    attempt.lab.kill_daemon(attempt.destination)


def kill_manager(attempt: Attempt) -> None:
    attempt.lab.kill_daemon("manager")


def kill_everything(attempt: Attempt) -> None:
    """As when all machines' daemons are upgraded at once."""
    attempt.lab.kill_daemon("manager", *HOSTS)


def kill_source_keeper(attempt: Attempt) -> None:
    kill(attempt.lab.keeper_pid("web", attempt.source))


def kill_destination_keeper(attempt: Attempt) -> None:
    kill(attempt.lab.keeper_pid("web", attempt.destination))


@pytest.mark.parametrize(
    "strike",
    [
        pytest.param(kill_source_agent, marks=pytest.mark.acceptance),  # tests/torture kills each alone, too
        pytest.param(kill_destination_agent, marks=pytest.mark.acceptance),
        pytest.param(kill_manager, marks=pytest.mark.acceptance),
        kill_everything,
        pytest.param(kill_source_keeper, marks=pytest.mark.acceptance),
        pytest.param(kill_destination_keeper, marks=pytest.mark.acceptance),
    ],
)
def test_a_process_is_killed(attempt: Attempt, strike: Callable[[Attempt], None]) -> None:
    moving = attempt.begin("--bandwidth", "250mbit")
    strike(attempt)
    attempt.lab.wait_answering()
    attempt.assert_as_before(*moving.end(), Phase.failed, Phase.cancelled, Phase.done)


def test_the_destinations_qemu_is_killed(attempt: Attempt) -> None:
    moving = attempt.begin()
    kill(attempt.lab.qemu_pid("web", attempt.destination))
    attempt.assert_as_before(*moving.end(), Phase.failed)


def test_the_migration_link_is_cut(attempt: Attempt) -> None:
    moving = attempt.begin()
    attempt.lab.fault("migration-link-down:host-b", on=True)
    done, migration = moving.end()
    attempt.lab.mend()
    attempt.assert_as_before(done, migration, Phase.failed)


def test_it_is_cancelled(attempt: Attempt) -> None:
    moving = attempt.begin()
    said = attempt.lab.demand("migration", "cancel", moving.id)
    assert said == f"{moving.id} is cancelled: web runs on {attempt.source}\n"
    attempt.assert_as_before(*moving.end(), Phase.cancelled)


def test_it_is_interrupted(attempt: Attempt) -> None:
    moving = attempt.begin()
    moving.running.interrupt()
    attempt.assert_as_before(*moving.end(), Phase.cancelled)


@pytest.mark.acceptance  # a machine with much else to do foretells more than that deadline, and refuses
def test_it_does_not_end_in_time(attempt: Attempt) -> None:
    """It could have, when it was foretold; then the link is cut, and its time is over before the silence is noticed."""
    moving = attempt.begin("--deadline", "12s", "--bandwidth", "400mbit")
    attempt.lab.fault("migration-link-down:host-b", on=True)
    done, migration = moving.end()
    attempt.lab.mend()
    assert "its deadline has come" in str(migration.error)
    attempt.assert_as_before(done, migration, Phase.failed)
