"""Which kind of switch a bridge on this host is: found by looking, so that nobody has to say it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

from godwit.core.errors import GodwitError, NotFound, Refused
from godwit.network import ovs_tools
from godwit.network.linux_bridge import LinuxBridge
from godwit.network.open_vswitch import OpenVSwitch
from godwit.network.patch_cable import Cable, all_ports
from godwit.network.port import bridge_exists
from godwit.network.switch import Kind, Switch
from godwit.network.tunnel import exists


async def find(bridge: str, vlan: int | None = None) -> Switch:
    """The switch of that name; `NotFound` if there is none, `Refused` if it cannot put ports into a VLAN."""
    if await bridge_exists(bridge):
        if vlan:
            raise Refused(
                f"{bridge} is a Linux bridge, which godwit puts no ports into a VLAN of: make one bridge for each VLAN "
                "and leave `vlan` out, or use Open vSwitch",
                "vlan",
            )
        return LinuxBridge(bridge)
    if await ovs_tools.look(bridge):
        return OpenVSwitch(bridge, vlan)
    raise NotFound(
        f"there is no bridge {bridge} here, neither of Linux nor of Open vSwitch: `ip link show type bridge` and "
        "`ovs-vsctl list-br` list those there are",
        "no-bridge",
    )


def known(kind: Kind, bridge: str, vlan: int | None) -> Switch:
    """One that was found before."""
    return OpenVSwitch(bridge, vlan) if kind is Kind.open_vswitch else LinuxBridge(bridge)


async def ports_of_nobody(taps: Collection[str]) -> list[str]:
    """Ports that godwit made for other taps than these, and that did not go with them."""
    needed = {Cable(tap).port for tap in taps}
    with suppress(GodwitError):  # there is no Open vSwitch, most likely
        known = await ovs_tools.own_ports()
        return sorted({*known, *all_ports()} - needed)
    return sorted({*all_ports()} - needed)


async def remove_dead_ports(kept: Collection[str]) -> list[str]:
    """Of the others, those whose tap is gone are gone too, of a host's last boot for instance; returns their names."""
    dead = [name for name in await ports_of_nobody(()) if name not in kept and not exists(Cable.of(name).tap)]
    for name in dead:
        await remove_port(name)
    return dead


async def remove_port(name: str) -> None:
    """It is gone, and the cable whose end it is."""
    with suppress(GodwitError):
        await ovs_tools.remove_port(name)
    await asyncio.to_thread(Cable.of(name).remove)
