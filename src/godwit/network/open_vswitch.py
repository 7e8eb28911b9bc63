"""Open vSwitch as a network's switch: each tap by a cable of its own, whose points are thrown in the kernel.

The daemon is told before and after, and never in the blackout. Before, that the VM's address stays at its port wherever
it is heard (a static entry); after, that it does not. What it must learn at once, it learns from a frame of the VM to
itself, which goes no further than the switch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from godwit.core.errors import Failed, GodwitError, NotFound, Refused
from godwit.network import ovs_groups, ovs_tools, tunnel
from godwit.network.filters import Gate
from godwit.network.groups import Group
from godwit.network.netlink import Prepared, index_of
from godwit.network.ovs_tools import OvsBridge
from godwit.network.patch_cable import Cable
from godwit.network.port import mtu_of
from godwit.network.probing import frame
from godwit.network.ring import VNET_NOTHING, Frame, Injector
from godwit.network.siding import Siding
from godwit.network.switch import Call, Habits, Kind, Points, Track, Uplink
from godwit.network.witness import OWN_PORTS


@dataclass(frozen=True)
class OpenVSwitch:
    """Implements `switch.Switch`."""

    bridge: str
    vlan: int | None = None
    kind: Kind = Kind.open_vswitch

    async def plug(self, tap: str, *, muted: bool) -> None:
        """A cable from the tap is a port of the bridge."""
        there, cable = await self._look(), Cable(tap)
        if muted and there.has_stp:
            raise Refused(
                f"bridge {self.bridge} runs STP, and a VM that arrives would wait for it: `ovs-vsctl set Bridge "
                f"{self.bridge} stp_enable=false rstp_enable=false`, if no loop of cables needs it",
                "stp",
            )
        index_of(tap)
        mtu = await asyncio.to_thread(mtu_of, self.bridge)
        await ovs_tools.remove_port(cable.port)
        await asyncio.to_thread(cable.lay, mtu=mtu, muted=muted, makes_checksums=there.in_user_space)
        await ovs_tools.add_port(self.bridge, cable.port, self.vlan)

    async def unplug(self, tap: str) -> None:
        """Port and cable are gone, unless a relay goes through them."""
        if not await self.is_led_out(tap, ""):
            await self._remove(tap)

    async def prepare_unmute(self, tap: str, mac: str) -> Call:
        """The gate, and then the frame from which the bridge learns."""
        cable = Cable(tap)
        return await asyncio.to_thread(_Unmute, cable, mac)

    async def open_again(self, tap: str) -> None:
        """Way and gate."""
        with suppress(NotFound):
            await asyncio.to_thread(_open_again, Cable(tap))

    async def uplinks(self) -> list[Uplink]:
        """Every interface of the host that is a port of the bridge, not ours, and carries the network's VLAN."""
        vlan = self.vlan or 0
        ports = [each for each in (await self._look()).ports if each.carries(vlan)]
        return [
            Uplink(name, port.tags(vlan))
            for port in ports
            for name in port.interfaces
            if not name.startswith(OWN_PORTS) and tunnel.exists(name)
        ]

    async def habits(self) -> Habits:
        """Spanning tree or none, and flows besides the one there is from the start."""
        return Habits((await self._look()).has_stp, await ovs_tools.is_programmed(self.bridge))

    async def lead_out(self, tap: str, mac: str) -> str:
        """The bridge keeps the VM's address where it is."""
        try:
            await ovs_tools.hold(self.bridge, Cable(tap).port, vlan=self.vlan, mac=mac)
        except GodwitError as error:
            return (
                f"bridge {self.bridge} takes no static entry ({error.message}): where the switches beyond it do not "
                "learn at once, frames for the VM may be lost"
            )
        return ""

    async def until_passable(self, ports: Sequence[str], *, longest_s: float) -> bool:
        """They are no ports of the bridge."""
        return True

    async def is_led_out(self, tap: str, mac: str) -> bool:
        """The cable's way says so."""
        return await asyncio.to_thread(Cable(tap).is_led_to, tunnel.tunnel_name(tap))

    def track(self, tap: str) -> Track:
        """By the cable's joint."""
        return Track(tap, self.bridge, Cable(tap).joint, tunnel.tunnel_name(tap))

    def standing(self, tap: str) -> set[str]:
        """The tunnel and the cable."""
        return {tunnel.tunnel_name(tap), Cable(tap).port, Cable(tap).joint}

    def siding(self, tap: str) -> Siding:
        """A tap by itself."""
        return Siding(tap, self.bridge, is_port=False)

    def points(self, tap: str, mac: str, siding: str) -> Points:
        """The cable's way leads elsewhere; at last its gate lets nothing through that is for several."""
        cable, away = Cable(tap), tunnel.tunnel_name(tap)
        what = f"sending {mac} to the destination"
        return Points(
            aside=Prepared(what, cable.leads_to(siding)),
            on=Prepared(what, cable.leads_to(away)),
            back=Prepared(f"taking {mac} back", cable.opened()),
            quiet=Prepared(f"ending broadcasts into {away}", cable.leads_to(away, Gate.single)),
        )

    async def end_lead(self, tap: str, mac: str, *, is_home: bool) -> None:
        """The bridge learns again where the VM is; without it, the cable has no use."""
        with suppress(GodwitError):
            await ovs_tools.let_go(self.bridge, vlan=self.vlan, mac=mac)
        if not is_home:
            await self._remove(tap)
            return
        await self.open_again(tap)
        with suppress(NotFound):
            await asyncio.to_thread(_teach, Cable(tap), mac)

    async def announce(self, tap: str, frames: Sequence[bytes]) -> tuple[str, ...]:
        """The bridge sends them on, tagged as it tags the VM's own, and learns from them."""
        await asyncio.to_thread(_say, Cable(tap), frames)
        return tuple(each.name for each in await self.uplinks())

    async def groups(self, tap: str) -> tuple[Group, ...]:
        """What the bridge has snooped."""
        return await ovs_groups.of_port(self.bridge, Cable(tap).port) if (await self._look()).snoops else ()

    async def prepare_joining(self, tap: str, mac: str, groups: Sequence[Group]) -> Call:
        """Reports of the VM's, which the bridge hears."""
        return ovs_groups.Joining(Cable(tap).joint, mac, [each.address for each in groups])

    async def _look(self) -> OvsBridge:
        found = await ovs_tools.look(self.bridge)
        if found is None:
            raise NotFound(
                f"Open vSwitch knows no bridge {self.bridge} here, or does not answer: see `ovs-vsctl show`",
                "no-bridge",
            )
        return found

    async def _remove(self, tap: str) -> None:
        cable = Cable(tap)
        with suppress(GodwitError):  # ovs-vswitchd is down, which must not keep us from the rest
            await ovs_tools.remove_port(cable.port)
        await asyncio.to_thread(cable.remove)


class _Unmute:
    """Implements `switch.Call`."""

    def __init__(self, cable: Cable, mac: str) -> None:
        self._open = Prepared(f"giving {mac} to {cable.tap}", cable.opened())
        self._injector = Injector(cable.joint)
        self._lesson = Frame(VNET_NOTHING, frame(mac, mac))

    def __call__(self) -> None:
        self._open()
        self._injector.send([self._lesson])

    def close(self) -> None:
        self._open.close()
        self._injector.close()


def _open_again(cable: Cable) -> None:
    with Prepared(f"opening {cable.joint}", cable.opened()) as do:
        do()


def _teach(cable: Cable, mac: str) -> None:
    _say(cable, [frame(mac, mac)])


def _say(cable: Cable, frames: Sequence[bytes]) -> None:
    """The VM seems to say them."""
    index_of(cable.joint)
    injector = Injector(cable.joint)
    try:
        if not injector.send([Frame(VNET_NOTHING, each) for each in frames]):
            raise Failed(f"{cable.joint} takes no frames: see `ip link show {cable.joint}`", "network")
    finally:
        injector.close()
