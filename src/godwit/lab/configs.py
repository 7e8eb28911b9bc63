"""What the product's daemons are told: their configuration files and certificates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from godwit.core.config import (
    AgentConfig,
    DatastoreConfig,
    HostConfig,
    ImageConfig,
    ManagerConfig,
    ManagerNetworkConfig,
    NetworkConfig,
    Tls,
)
from godwit.core.errors import Refused
from godwit.core.model import Value
from godwit.lab import open_vswitch, qemu_tree, shell
from godwit.lab.daemons import godwit_program
from godwit.lab.places import Lab
from godwit.lab.settings import QEMU_IN_TREE, SwitchKind
from godwit.lab.topology import AGENT_PORT, CONTROL, HOST_BRIDGE, LAN_POOL, MIGRATION, Kind, Node, Topology

_MEMORY_SHARE = 0.8
_MOST_MEMORY_MIB = 4096
_LEAST_MEMORY_MIB = 256
_PKI_TIMEOUT_S = 60


@dataclass(frozen=True)
class Outfit:
    """What all daemons of one lab have in common."""

    lab: Lab
    plan: Topology
    images: Mapping[str, Path]
    cache_dir: Path
    memory_mib: int

    @property
    def authority(self) -> Path:
        """Where all certificates of this lab come from."""
        return self.lab.data_dir / "pki"

    @property
    def datastore(self) -> Path:
        """One directory that all hosts see at the same path."""
        return self.lab.data_dir / "datastore"

    def local(self, node: Node) -> Path:
        """A directory that only this host sees."""
        return self.lab.data_dir / node.name / "local"


def equip(outfit: Outfit, progress: Callable[[str], None]) -> None:
    """Every daemon finds its configuration, certificate and directories."""
    progress("making certificates")
    issued = _certificates(outfit)
    outfit.datastore.mkdir(exist_ok=True)
    if outfit.plan.storage:
        (outfit.lab.data_dir / outfit.plan.storage.name).mkdir()
    for node in outfit.plan.hosts:
        _write(outfit.lab.config_of(node.name), agent_config(outfit, node, issued[node.name]))
        (outfit.lab.data_dir / node.name / "state").mkdir()
        outfit.local(node).mkdir()
        if tree := outfit.plan.settings.qemu.get(node.name):
            _gather_firmware(tree, _firmware(outfit.lab, node))
    manager = outfit.plan.manager.name
    _write(outfit.lab.config_of(manager), manager_config(outfit, issued[manager]))


def agent_config(outfit: Outfit, node: Node, tls: Tls) -> AgentConfig:
    """How that host's agent is told to work."""
    addresses = node.address(CONTROL), node.address(MIGRATION)
    tree = outfit.plan.settings.qemu.get(node.name)
    return AgentConfig(
        host=node.name,
        listen=tuple(f"{address}:{AGENT_PORT}" for address in addresses),
        migration_address=node.address(MIGRATION),
        state_dir=outfit.lab.data_dir / node.name / "state",
        tls=tls,
        memory_mib=outfit.memory_mib,
        probe_kernel=outfit.images["base"] / "vmlinuz",
        cache_dir=outfit.cache_dir,
        networks={"lan": NetworkConfig(bridge=HOST_BRIDGE, vlan=_vlan(outfit.plan, node))},
        datastores={
            "default": DatastoreConfig(path=outfit.datastore, shared=True),
            "local": DatastoreConfig(path=outfit.local(node)),
        },
        **(_unpacked_qemu(tree, _firmware(outfit.lab, node)) if tree else {}),
    )


def _vlan(plan: Topology, node: Node) -> int | None:
    return open_vswitch.VLAN if plan.settings.bridge_of(node.name) is SwitchKind.ovs else None


def manager_config(outfit: Outfit, tls: Tls) -> ManagerConfig:
    """How the manager is told to work."""
    return ManagerConfig(
        socket=outfit.lab.manager_socket,
        store=outfit.lab.data_dir / outfit.plan.manager.name / "manager.sqlite",
        tls=tls,
        hosts={node.name: HostConfig(address=f"{node.address(CONTROL)}:{AGENT_PORT}") for node in outfit.plan.hosts},
        networks={"lan": ManagerNetworkConfig(pool=LAN_POOL)},
        datastores={
            "default": DatastoreConfig(path=outfit.datastore, shared=True),
            "local": DatastoreConfig(path=outfit.lab.data_dir / "HOST" / "local"),
        },
        images={name: ImageConfig(path=path) for name, path in outfit.images.items()},
    )


def memory_share_mib(hosts: int) -> int:
    """What one host may give to guests: most of what is free on this machine, divided; `Refused` if that is nothing."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) // 1024
    share = min(int(available * _MEMORY_SHARE) // hosts, _MOST_MEMORY_MIB)
    if share < _LEAST_MEMORY_MIB:
        raise Refused(
            f"this machine has {available} MiB of memory free, too little for {hosts} hosts: end something or use fewer"
        )
    return share


def to_toml(config: Value) -> str:
    """The file that reads back as that value: JSON's strings, numbers and arrays are TOML's."""
    values = config.model_dump(mode="json", exclude_none=True)
    return "".join(f"{key} = {_inline(value)}\n" for key, value in values.items())


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(each) for each in value) + "]"
    return json.dumps(value)


def _write(path: Path, config: Value) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(to_toml(config))


def _unpacked_qemu(tree: Path, firmware: Path) -> dict[str, Any]:
    return {
        "qemu": str(tree / QEMU_IN_TREE),
        "qemu_env": qemu_tree.environment(tree),
        "qemu_firmware_dir": firmware,
    }


def _firmware(lab: Lab, node: Node) -> Path:
    return lab.data_dir / node.name / "firmware"


def _gather_firmware(tree: Path, place: Path) -> None:
    """One directory shows all of the tree's firmware: Debian spreads it over two, and QEMU's -L takes one."""
    place.mkdir(parents=True)
    for directory in qemu_tree.firmware(tree):
        for file in directory.glob("*"):
            link = place / file.name
            if not link.is_symlink():
                link.symlink_to(file)


def _certificates(outfit: Outfit) -> dict[str, Tls]:
    """One for each node that runs a daemon, by its name."""
    _godwit(["pki", "init", "--dir", str(outfit.authority)])
    nodes = [outfit.plan.manager, *outfit.plan.hosts]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip((node.name for node in nodes), pool.map(partial(_issue, outfit), nodes), strict=True))


def _issue(outfit: Outfit, node: Node) -> Tls:
    role = ["agent", node.name] if node.kind is Kind.host else ["manager"]
    addresses = [word for net in (CONTROL, MIGRATION) if net in node.nets for word in ("--address", node.address(net))]
    places = ["--dir", str(outfit.authority), "--out", str(outfit.lab.data_dir / node.name)]
    told = _godwit(["pki", "issue", *role, *addresses, *places])
    return Tls.model_validate(dict(line.split(": ", 1) for line in told.splitlines()))


def _godwit(arguments: list[str]) -> str:
    return shell.run([godwit_program(), *arguments], timeout_s=_PKI_TIMEOUT_S)
