"""A VM moves between the distribution's QEMU and its backported one, both ways, with its connections."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.core.errors import Unreachable
from godwit.lab.image import default_cache
from godwit.lab.qemu_tree import fetch_qemu
from godwit.lab.scenario import Scenario
from godwit.lab.settings import Settings

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def mixed() -> Iterator[Scenario]:
    """A lab whose host-b has the other QEMU."""
    try:
        tree = fetch_qemu(cache=default_cache(), progress=print)
    except Unreachable as error:
        pytest.skip(str(error))
    with (
        tempfile.TemporaryDirectory(prefix="gw") as directory,
        Scenario(Path(directory), Settings(qemu={"host-b": str(tree)})) as scenario,
    ):
        yield scenario


def test_the_hosts_have_different_versions(mixed: Scenario) -> None:
    versions = {host.facts.qemu.version for host in mixed.client.hosts() if host.facts}

    assert len(versions) == 2


@pytest.mark.parametrize("first", ["host-a", "host-b"])
def test_there_and_back(mixed: Scenario, first: str) -> None:
    second = {"host-a": "host-b", "host-b": "host-a"}[first]
    name = f"on-{first}"
    mixed.create_vm(name, first)
    mixed.wait_ready(name)

    with mixed.traffic(name, kinds=("redis", "echo")) as traffic:
        there = mixed.migrate(name, second)
        back = mixed.migrate(name, first)
        clients = traffic.stop().clients

    assert (there.outcome, back.outcome) == ("done", "done")
    assert [(each.survived, each.verified) for each in clients] == [(True, True)] * 2
    mixed.delete_vm(name)
