"""`docs/install.md` with real systemd and the units that are shipped, on machines booted from GODWIT_TEST_TREE.

`tools/try-debian-13` makes that tree; without it nothing of this runs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.debian.booted import Booted, booted
from tests.main.machines import ROOT, Machine, blocks, machine, plug
from tests.main.test_real_hosts import ADDRESSES, CREATE, commands

TREE = os.environ.get("GODWIT_TEST_TREE", "")

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.root,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not TREE, reason="tools/try-debian-13 runs it"),
]


@pytest.fixture(scope="module")
def machines() -> Iterator[Mapping[str, Machine]]:
    """As the document's table has them, and a switch."""
    with tempfile.TemporaryDirectory(prefix="gw") as directory, ExitStack() as stack:
        switch = stack.enter_context(machine("switch", Path(directory)))
        there: dict[str, Machine] = {"switch": switch}
        for card in ("eno1", "eno2"):
            switch.run(f"ip link add br-{card} type bridge; ip link set br-{card} up")
        for name, address in ADDRESSES.items():
            there[name] = stack.enter_context(booted(name, tree=Path(TREE), machines=Path(directory)))
            plug("eno1", there[name], into=switch, address=address)
        for name in ("host-a", "host-b"):
            plug("eno2", there[name], into=switch)
        yield there


@pytest.fixture(scope="module")
def told(machines: Mapping[str, Machine]) -> dict[str, str]:
    """What each command of the document said."""
    said: dict[str, str] = {}
    for kind, places, text in blocks(ROOT / "docs" / "install.md"):
        for place in places:
            name, _, path = place.partition(":")
            if kind == "toml":
                machines[name].write(path, text)
            else:
                said |= {line: machines[name].run(line) for line in commands(text)}
    return said


def test_the_document_leads_to_a_migration(told: Mapping[str, str], machines: Mapping[str, Machine]) -> None:
    assert told["godwit host list"].count("reachable") == 2
    assert "outcome:     done" in told["godwit migration report m1"]
    assert "web-1  running  host-b" in told["godwit vm list"]
    for name, unit in (("manager", "godwit-manager"), ("host-a", "godwit-agent"), ("host-b", "godwit-agent")):
        assert machines[name].run(f"systemctl is-active {unit}").strip() == "active"


AGENT_ENDS = {
    "restarted": "systemctl restart godwit-agent",
    "stopped": "systemctl stop godwit-agent; systemctl start godwit-agent",
    "killed": "old=$(systemctl show -P MainPID godwit-agent); systemctl kill --kill-whom=main -s KILL godwit-agent; "
    'until [ "$(systemctl show -P MainPID godwit-agent)" != $old ] && systemctl is-active -q godwit-agent; do :; done',
    "upgraded": "systemctl daemon-reload; systemctl restart godwit-agent",
}


VM_PIDS = "pgrep qemu-system; pgrep -f '[g]odwit.qemu.keeper'"  # in brackets: else it finds its own shell


@pytest.mark.parametrize("how", AGENT_ENDS)
@pytest.mark.usefixtures("told")
def test_vms_outlive_their_agent(how: str, machines: Mapping[str, Machine]) -> None:
    manager, host = machines["manager"], machines["host-a"]
    pids = host.run(VM_PIDS)
    assert len(pids.split()) == 2
    host.run(AGENT_ENDS[how])
    assert host.run(VM_PIDS) == pids
    for there in ("host-b", "host-a"):
        manager.run(f"godwit migrate web-1 {there}")


@pytest.mark.usefixtures("told")
def test_a_restarted_manager_disturbs_nothing(machines: Mapping[str, Machine]) -> None:
    manager = machines["manager"]
    pids = machines["host-a"].run("pgrep qemu-system")
    manager.run("systemctl restart godwit-manager")
    assert "web-1  running  host-a" in manager.run("godwit vm list")
    assert machines["host-a"].run("pgrep qemu-system") == pids


@pytest.mark.usefixtures("told")
def test_a_vm_is_stopped_by_its_guest_agent(machines: Mapping[str, Machine]) -> None:
    host = machines["host-a"]
    machines["manager"].run("godwit vm stop web-1")
    assert isinstance(host, Booted)
    assert "the guest agent in web-1 shuts it down" in host.logs()
    machines["manager"].run("godwit vm delete web-1; " + CREATE)
