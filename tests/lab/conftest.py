"""Labs for scenarios: one per module, and another one after a test that failed or did not leave it as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from godwit.core.errors import GodwitError
from godwit.core.model import VmState
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings

FAILED = pytest.StashKey[bool]()


class OneLab:
    """Two hosts and a VM `web` whose services answer; made when somebody wants it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._scenario: Scenario | None = None

    def get(self) -> Scenario:
        if self._scenario is None:
            directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gw"))
            scenario = self._stack.enter_context(Scenario(Path(directory), self._settings))
            scenario.create_vm("web", "host-a")
            scenario.wait_ready("web")
            self._scenario = scenario
        return self._scenario

    def end(self) -> None:
        self._scenario = None
        self._stack.close()


@pytest.fixture(scope="module")
def one_lab(request: pytest.FixtureRequest) -> Iterator[OneLab]:
    """With the module's SETTINGS, if it has any."""
    lab = OneLab(getattr(request.module, "SETTINGS", None))
    yield lab
    lab.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fixtures know how their test ended."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def lab(one_lab: OneLab, request: pytest.FixtureRequest) -> Iterator[Scenario]:
    """The module's lab: `web` runs and nothing moves. What its daemons say is shown if the test fails."""
    scenario = one_lab.get()
    said = {log: log.stat().st_size for log in logs(scenario)}
    yield scenario
    for log in logs(scenario):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[said.get(log, 0) :]}")
    if request.node.stash.get(FAILED, False) or not is_whole(scenario):
        one_lab.end()


def logs(scenario: Scenario) -> list[Path]:
    return sorted((scenario.lab.data_dir / "logs").glob("*.log"))


def is_whole(scenario: Scenario) -> bool:
    try:
        scenario.mend()
        moving = [each.id for each in scenario.client.migrations() if not each.is_ended]
        states = {vm.name: vm.state for vm in scenario.client.vms()}
        return not moving and states == {"web": VmState.running}
    except GodwitError as error:
        print(error.message)
        return False
