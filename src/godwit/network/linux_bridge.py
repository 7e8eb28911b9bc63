"""A Linux bridge as a network's switch: its own entries decide where the VM's frames go."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from godwit.network import announce, groups, port, tunnel, witness
from godwit.network.groups import Group
from godwit.network.netlink import Prepared, index_of
from godwit.network.siding import Siding
from godwit.network.switch import Call, Habits, Kind, Points, Track, Uplink


@dataclass(frozen=True)
class LinuxBridge:
    """Implements `switch.Switch`."""

    bridge: str
    kind: Kind = Kind.linux_bridge
    vlan: int | None = None

    async def plug(self, tap: str, *, muted: bool) -> None:
        """See `port.plug`."""
        await port.plug(tap, self.bridge, muted=muted)

    async def unplug(self, tap: str) -> None:
        """A port goes with its tap."""

    async def prepare_unmute(self, tap: str, mac: str) -> Call:
        """See `port.prepare_unmute`."""
        return await port.prepare_unmute(tap, mac)

    async def open_again(self, tap: str) -> None:
        """See `port.open_again`."""
        await port.open_again(tap, self.bridge)

    async def uplinks(self) -> list[Uplink]:
        """Every port that is not ours."""
        return [Uplink(name) for name in await witness.uplinks(self.bridge)]

    async def habits(self) -> Habits:
        """Spanning tree or none."""
        return Habits(has_stp=await asyncio.to_thread(port.has_stp, self.bridge))

    async def lead_out(self, tap: str, mac: str) -> str:
        """The bridge has a port from which everything goes into the tunnel."""
        await tunnel.open_port(tap, self.bridge)
        return ""

    async def until_passable(self, ports: Sequence[str], *, longest_s: float) -> bool:
        """A kernel that runs STP makes new ports wait."""
        return await port.until_forwarding(ports, longest_s=longest_s)

    async def is_led_out(self, tap: str, mac: str) -> bool:
        """A sticky entry says so."""
        return await port.is_relayed(tunnel.port_name(tap), mac)

    def track(self, tap: str) -> Track:
        """By the port beside the tunnel."""
        return Track(tap, self.bridge, tunnel.port_name(tap), tunnel.tunnel_name(tap))

    def standing(self, tap: str) -> set[str]:
        """Tunnel, port, and that port's other half."""
        return set(tunnel.source_interfaces(tap))

    def siding(self, tap: str) -> Siding:
        """One more port."""
        return Siding(tap, self.bridge, is_port=True)

    def points(self, tap: str, mac: str, siding: str) -> Points:
        """Entry and flags are moved from port to port."""
        home, aside, away = (index_of(each) for each in (tap, siding, self.track(tap).port))
        stp, what = port.has_stp(self.bridge), f"sending {mac} to the destination"
        closed = [*port.to_port(aside, is_open=False), *port.to_port(away, is_open=False)]
        return Points(
            aside=Prepared(what, [*port.to_relay(mac, aside), *port.shut(home, has_stp=stp)]),
            on=Prepared(what, [*port.to_relay(mac, away), *port.to_port(aside, is_open=False)]),
            back=Prepared(f"taking {mac} back", [*port.to_tap(mac, home, has_stp=stp), *closed]),
            quiet=Prepared(f"ending broadcasts into {self.track(tap).port}", port.to_port(away, is_open=False)),
            is_leaky=stp,
        )

    async def end_lead(self, tap: str, mac: str, *, is_home: bool) -> None:
        """With the port go the entries that point to it."""
        if is_home:
            await self.open_again(tap)
        await tunnel.close(tunnel.port_name(tap))

    async def announce(self, tap: str, frames: Sequence[bytes]) -> tuple[str, ...]:
        """See `announce.send`."""
        return await announce.send(tap, frames)

    async def groups(self, tap: str) -> tuple[Group, ...]:
        """See `groups.of_port`."""
        return await groups.of_port(tap)

    async def prepare_joining(self, tap: str, mac: str, groups_: Sequence[Group]) -> Call:
        """See `groups.prepare_joining`."""
        return await groups.prepare_joining(tap, groups_)
