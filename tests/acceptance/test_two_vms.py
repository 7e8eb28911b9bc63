"""Two VMs that are moved at the same time, in opposite directions, under clients that never connect twice."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from godwit.lab.scenario import Scenario

pytestmark = [pytest.mark.lab, pytest.mark.acceptance, pytest.mark.timeout(900)]

ROUNDS = 5
OTHER = {"host-a": "host-b", "host-b": "host-a"}


def test_two_vms_that_pass_each_other_lose_no_connection() -> None:
    homes = {"one": "host-a", "two": "host-b"}
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="gw"))
        lab = stack.enter_context(Scenario(Path(directory)))
        for vm, host in homes.items():
            lab.create_vm(vm, host)
        traffics = [stack.enter_context(lab.traffic(vm)) for vm in homes]
        for _ in range(ROUNDS):
            homes = {vm: OTHER[host] for vm, host in homes.items()}
            moves = [lab.start("migrate", vm, host) for vm, host in homes.items()]
            assert [move.end().status for move in moves] == [0, 0]
        clients = [client for traffic in traffics for client in traffic.stop().clients]

        assert [(each.survived, each.verified, each.error) for each in clients] == [(True, True, None)] * 4
        lab.wait_tidy()
        assert {vm: lab.where_it_runs(vm) for vm in homes} == {vm: (host,) for vm, host in homes.items()}
