"""Open vSwitch's own tools: what its database says of a bridge, and orders to its daemon. None of it in a blackout.

They take some 10 ms each. Where the daemon's sockets lie the tools know by themselves (or by OVS_RUNDIR).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from godwit.core.errors import Failed, GodwitError, TimedOut
from godwit.host import process

PACKAGE = "openvswitch-switch"
OWN = "gx-"
"""How the names of ports begin that godwit makes."""
_TIMEOUT_S = 10
_BRIDGE = "name,ports,datapath_type,stp_enable,rstp_enable,mcast_snooping_enable"
_PORT = "_uuid,name,tag,trunks,vlan_mode,interfaces"
_INTERFACE = "_uuid,name,type,ofport"
_IN_USER_SPACE = "netdev"

Row = dict[str, Any]


@dataclass(frozen=True)
class OvsPort:
    """A port of a bridge, by its interfaces (a bond has several) and the VLANs whose frames it takes."""

    name: str
    interfaces: tuple[str, ...]
    mode: str = "trunk"
    tag: int = 0
    trunks: frozenset[int] = frozenset()
    """Empty: all of them."""

    def carries(self, vlan: int) -> bool:
        """Frames of that VLAN (0: of none) pass it (ovs-vswitchd.conf.db(5), VLAN configuration)."""
        if self.mode in {"access", "dot1q-tunnel"}:
            return vlan == self.tag
        return not self.trunks or vlan in self.trunks or (self.mode.startswith("native") and vlan == self.tag)

    def tags(self, vlan: int) -> int | None:
        """The tag with which it sends frames of that VLAN; none: without."""
        is_plain = self.mode in {"access", "dot1q-tunnel"} or (self.mode == "native-untagged" and vlan == self.tag)
        return None if is_plain else vlan or None


@dataclass(frozen=True)
class OvsBridge:
    """A bridge as its database describes it."""

    name: str
    ports: tuple[OvsPort, ...]
    """Without that of the bridge itself."""
    has_stp: bool = False
    in_user_space: bool = False
    """Its frames pass through ovs-vswitchd, which makes no checksums."""
    snoops: bool = False
    """It looks into IGMP and MLD."""


async def look(bridge: str) -> OvsBridge | None:
    """The bridge; None if Open vSwitch knows none of that name, is not installed, or does not run."""
    listed = [
        *(f"--columns={_BRIDGE}", "--if-exists", "list", "Bridge", bridge, "--"),
        *(f"--columns={_PORT}", "list", "Port", "--", f"--columns={_INTERFACE}", "list", "Interface"),
    ]
    try:
        text = await order("ovs-vsctl", "--format=json", "--", *listed)
    except GodwitError:
        return None
    return described(text)


def described(text: str) -> OvsBridge | None:
    """Out of three tables, one a line: the bridge, all ports, all interfaces."""
    bridges, ports, interfaces = (_rows(line) for line in text.splitlines() if line.strip())
    if not bridges:
        return None
    bridge, names = bridges[0], {each["_uuid"]: each["name"] for each in interfaces if _is_device(each)}
    own = [each for each in ports if each["_uuid"] in _many(bridge["ports"]) and each["name"] != bridge["name"]]
    return OvsBridge(
        name=bridge["name"],
        ports=tuple(_port(each, names) for each in own),
        has_stp=bool(bridge["stp_enable"] or bridge["rstp_enable"]),
        in_user_space=bridge["datapath_type"] == _IN_USER_SPACE,
        snoops=bool(bridge["mcast_snooping_enable"]),
    )


async def add_port(bridge: str, interface: str, vlan: int | None) -> None:
    """The interface is a port of the bridge, in that VLAN if any. `Failed` if the daemon cannot use it."""
    tag = [f"tag={vlan}"] if vlan else []
    await order("ovs-vsctl", "--may-exist", "add-port", bridge, interface, *tag)
    number = (await order("ovs-vsctl", "get", "Interface", interface, "ofport")).strip()
    if number in {"-1", "[]"}:
        await remove_port(interface)
        raise Failed(f"Open vSwitch cannot use {interface} as a port of {bridge}: see ovs-vswitchd.log", "network")


async def remove_port(interface: str) -> None:
    """It is a port of no bridge. Harmless when repeated."""
    await order("ovs-vsctl", "--if-exists", "del-port", interface)


async def own_ports() -> list[str]:
    """Every port that godwit ever made and that its database still has, of this boot or another."""
    rows = _rows(await order("ovs-vsctl", "--format=json", "--columns=name", "list", "Port"))
    return [each["name"] for each in rows if each["name"].startswith(OWN)]


async def hold(bridge: str, interface: str, *, vlan: int | None, mac: str) -> None:
    """The bridge sends that MAC's frames to that port, wherever it hears it; `Failed` before Open vSwitch 2.16."""
    await order("ovs-appctl", "fdb/add", bridge, interface, str(vlan or 0), mac)


async def let_go(bridge: str, *, vlan: int | None, mac: str) -> None:
    """It has no entry of that MAC, and learns it again."""
    await order("ovs-appctl", "fdb/del", bridge, str(vlan or 0), mac)


async def groups_seen(bridge: str) -> str:
    """What it knows of multicast groups (ovs-appctl mdb/show)."""
    return await order("ovs-appctl", "mdb/show", bridge)


async def is_programmed(bridge: str) -> bool:
    """It has other flows than the one that leaves all to its own table; false if it cannot be asked."""
    try:
        flows = [line for line in (await order("ovs-ofctl", "dump-flows", bridge)).splitlines() if "actions=" in line]
    except GodwitError:
        return False
    return len(flows) != 1 or not flows[0].endswith(" priority=0 actions=NORMAL")


async def order(tool: str, *words: str) -> str:
    """The tool has done it, and this is what it said; `Failed` otherwise."""
    try:
        return await process.run([tool, *words], timeout_s=_TIMEOUT_S)
    except TimedOut as error:  # it waits for the daemon
        why = f"{tool} {words[0]}: ovs-vswitchd does not answer; see `systemctl status openvswitch-switch`"
        raise Failed(why, "network") from error


def _port(row: Row, names: dict[Any, str]) -> OvsPort:
    tag, mode = _many(row["tag"]), _many(row["vlan_mode"])
    return OvsPort(
        name=row["name"],
        interfaces=tuple(names[each] for each in _many(row["interfaces"]) if each in names),
        mode=mode[0] if mode else "access" if tag else "trunk",
        tag=tag[0] if tag else 0,
        trunks=frozenset(_many(row["trunks"])),
    )


def _is_device(interface: Row) -> bool:
    """Not one that exists within Open vSwitch only: patches, tunnels, cards that DPDK drives."""
    return interface["type"] in {"", "system", "internal", "tap", "afxdp"}


def _rows(line: str) -> list[Row]:
    table = json.loads(line)
    return [dict(zip(table["headings"], map(_plain, row), strict=True)) for row in table["data"]]


def _plain(value: Any) -> Any:
    """RFC 7047, 5.1: a UUID and a set are arrays whose first word says so."""
    if isinstance(value, list) and value[0] == "uuid":
        return value[1]
    return tuple(map(_plain, value[1])) if isinstance(value, list) and value[0] == "set" else value


def _many(value: Any) -> Sequence[Any]:
    return value if isinstance(value, tuple) else (value,)
