"""`docs/install.md`, command by command, on three machines that were made without anything of godwit's."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.main.machines import ROOT, Machine, blocks, machine, plug

from godwit.lab.image import default_cache, ensure_image

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(600)]

ASK_REDIS = (
    "/opt/godwit/bin/python -c \"import socket; vm = socket.create_connection(('192.168.7.100', 6379), 20); "
    "vm.sendall(b'PING\\r\\n'); print(vm.recv(9).decode())\""
)
ADDRESSES = {"manager": "10.0.0.10/24", "host-a": "10.0.0.11/24", "host-b": "10.0.0.12/24"}


@pytest.fixture
def machines() -> Iterator[Mapping[str, Machine]]:
    """As the document's table has them, and a switch."""
    ensure_image("base", cache=default_cache(), progress=print)
    with tempfile.TemporaryDirectory(prefix="gw") as directory, ExitStack() as stack:
        there = {name: stack.enter_context(machine(name, Path(directory))) for name in (*ADDRESSES, "switch")}
        switch = there["switch"]
        for card in ("eno1", "eno2"):
            switch.run(f"ip link add br-{card} type bridge; ip link set br-{card} up")
        switch.run("ip address add 192.168.7.1/24 dev br-eno2")
        for name, address in ADDRESSES.items():
            plug("eno1", there[name], into=switch, address=address)
        for name in ("host-a", "host-b"):
            plug("eno2", there[name], into=switch)
        yield there


def test_the_document_leads_to_a_migration(machines: Mapping[str, Machine]) -> None:
    told: dict[str, str] = {}
    for kind, places, text in blocks(ROOT / "docs" / "install.md"):
        for place in places:
            name, _, path = place.partition(":")
            if kind == "toml":
                machines[name].write(path, text)
                continue
            told |= {line: machines[name].run(line) for line in commands(text)}

    assert told["godwit host list"].count("reachable") == 2
    assert "outcome:     done" in told["godwit migration report m1"]
    assert "web-1  running  host-b" in told["godwit vm list"]
    vms = machines["manager"].run("godwit vm list")
    assert "web-1  running  host-a" in vms, "Alice moved it back"
    assert "alice" in machines["manager"].run("cat /var/lib/godwit/audit.jsonl")
    assert machines["switch"].run(ASK_REDIS).strip() == "+PONG", "the VM answers in its network"


@pytest.fixture
def installed(machines: Mapping[str, Machine]) -> Mapping[str, Machine]:
    """As the document leaves them before the first migration."""
    for kind, places, text in blocks(ROOT / "docs" / "install.md"):
        if "godwit migrate" in text:
            break
        for place in places:
            name, _, path = place.partition(":")
            if kind == "toml":
                machines[name].write(path, text)
            else:
                machines[name].run(text)
    return machines


CREATE = "godwit vm create web-1 --image demo --memory 256MiB --network lan --host host-a"


def test_vms_outlive_their_agents(installed: Mapping[str, Machine]) -> None:
    """What the unit's KillMode=process is for."""
    manager, host = installed["manager"], installed["host-a"]
    manager.run(CREATE)
    pids = host.run("pgrep qemu-system")
    host.run("systemctl restart godwit-agent")
    assert host.run("pgrep qemu-system") == pids
    manager.run("godwit migrate web-1 host-b")


@pytest.mark.parametrize("full", ["host-a", "host-b"])
def test_a_full_disk_refuses_the_move_and_loses_no_vm(full: str, installed: Mapping[str, Machine]) -> None:
    """The journal says who may run the VM: where it cannot be written, nothing is done that would have to be in it."""
    manager, host = installed["manager"], installed[full]
    host.run("mkdir -p /var/lib/godwit/vms; mount -t tmpfs -o size=64k tmpfs /var/lib/godwit/vms")
    manager.run(CREATE)
    pids = installed["host-a"].run("pgrep qemu-system")
    host.run("dd if=/dev/zero of=/var/lib/godwit/vms/filler bs=512 2>/dev/null || true")

    told = manager.run("godwit migrate web-1 host-b 2>&1 || echo status $?")

    assert "make room on that disk" in told
    assert "status 1" in told
    assert "web-1  running  host-a" in manager.run("godwit vm list")
    assert installed["host-a"].run("pgrep qemu-system") == pids
    assert installed["host-b"].run("pgrep qemu-system || echo none").strip() == "none"
    host.run("rm /var/lib/godwit/vms/filler")
    manager.run("godwit migrate web-1 host-b")


def commands(text: str) -> list[str]:
    """A line each; what one exports the next ones have."""
    commands, exports = [], ""
    for line in text.splitlines():
        if line.startswith("export "):
            exports += f"{line}; "
        else:
            commands.append(exports + line)
    return commands
