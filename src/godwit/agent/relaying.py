"""The source's relay of a VM that goes: ready before, turned at STOP, left standing once the VM runs elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from godwit.agent.local import LocalVm, Plug
from godwit.agent.pointsman import Pointsman
from godwit.agent.standing import RelayRecord, Standing
from godwit.contract.host import Peer, Relayed, Sighted
from godwit.core.errors import GodwitError, Refused
from godwit.core.report import RelayEnd
from godwit.network import probing, tunnel
from godwit.network.delivered import Delivered
from godwit.network.port import mtu_of
from godwit.network.relay import Turned, Turnout
from godwit.network.ring import VNET_NOTHING, Frame, Injector, TapHandle
from godwit.network.witness import Sighting, Witness
from godwit.qemu.receive_ring import receive_ring

log = logging.getLogger("godwit.agent")

PROOF_S = 2.0
"""How long the tunnel may take to carry one probe."""
PROOF_AGAIN_S = 0.05
FORWARDING_S = 40.0
"""A kernel that runs STP makes a port wait twice its forward delay, which is 15 s unless somebody set it."""


@dataclass(frozen=True)
class Home:
    """Where a relay works."""

    host: str
    address: str
    """On the migration network."""
    file: Path
    """For its record."""


class Relay:
    """All network cards of one VM that goes, or went."""

    def __init__(self, record: RelayRecord, peer: Peer, home: Home) -> None:
        self.order = record.request.order()
        self.notes: tuple[str, ...] = ()
        self._record = record
        self._peer = peer
        self._home = home
        self._turnouts: list[Turnout] = []
        self._witnesses: list[Witness] = []
        self._pointsman: Pointsman | None = None
        self._sighted: dict[str, Sighted] = {}
        self._standing: Standing | None = None
        self._parting: asyncio.Task[None] | None = None
        self._kept: list[TapHandle] = []
        """So that QEMU and its keeper end without taking down the tap, for which the kernel takes 10 to 30 ms."""

    @property
    def interfaces(self) -> set[str]:
        """What it consists of while it stands."""
        return self._record.interfaces

    @classmethod
    async def found_again(cls, record: RelayRecord, peer: Peer, home: Home) -> Relay:
        """One that an earlier agent left, standing or ended."""
        if record.relayed.ended is None and not all(tunnel.exists(each) for each in record.interfaces):
            gone = record.relayed.model_copy(update={"ended": RelayEnd.unwitnessed})  # with its host's last boot
            record = record.model_copy(update={"relayed": gone})
        relay = cls(record, peer, home)
        if record.begun_at_s:
            relay._standing = Standing(record, peer, host=home.host, file=home.file)
            if record.relayed.ended is None:
                await relay._standing.begin()
        return relay

    async def lay(self, vm: LocalVm) -> None:
        """Tunnels and points are there, and nothing goes by them. On failure nothing of it is left."""
        if self._turnouts or not self._record.plugs:
            return
        try:
            fds = json.loads((vm.machine.run_dir / "launch.json").read_text())["tap_fds"]
            for index, plug in enumerate(self._record.plugs):
                handle = TapHandle.of(vm.machine.qemu_pid, fds[index])
                self._turnouts.append(await self._turnout(index, plug, handle))
                self._turnouts[-1].delivered = await _delivered(vm, index)
                self._witnesses.append(Witness(plug.mac, await plug.switch.uplinks(), self._on_sight))
        except BaseException:
            await self._remove()
            raise

    async def prepare(self, vm: LocalVm, *, is_proven: bool = False) -> None:
        """The points can be thrown, and the way is open; `Refused` if it is not. On failure nothing of it is left."""
        if self._pointsman or not self._record.plugs:
            return
        await self.lay(vm)
        try:
            if not (is_proven or self.is_turned):
                await self._until_passable()
                await self._prove()
            self._pointsman = await Pointsman.at(vm.machine.run_dir / "events.sock", self._turnouts, self._on_turn)
            self._pointsman.start()
        except BaseException:
            await self._remove()
            raise

    @property
    def is_turned(self) -> bool:
        """The VM's frames go to the destination."""
        return any(each.turned for each in self._turnouts)

    async def settle(self) -> None:
        """The VM runs at the destination: broadcasts are its bridge's affair, and the new place is waited for.

        What was needed for the turn is given back meanwhile, which the kernel takes its time for: see `part`.
        """
        if self._standing:
            return
        for turnout in self._turnouts:
            turnout.hush()
        begun = {"begun_at_s": time.time(), "relayed": self._counted()}
        self._record = self._record.model_copy(update=begun)
        self._standing = Standing(self._record, self._peer, host=self._home.host, file=self._home.file)
        if self._turnouts:
            await self._standing.begin()
            self._standing.note(self._sighted.values())
            self._kept = [each.handle.copy() for each in self._turnouts]
            self._parting = asyncio.create_task(self._let_go(), name=f"parting from {self.order.vm}")
        else:
            await self._standing.end(anyway=True)

    async def part(self) -> None:
        """Of a relay that stands nothing holds on to the VM's QEMU any more, and soon nothing to its tap."""
        if self._parting:
            await asyncio.shield(self._parting)
        kept, self._kept = self._kept, []
        for each in kept:
            each.close_aside()

    async def end(self, *, anyway: bool) -> bool:
        """The relay is gone if its VM's new place was learned, or anyway; whether it is."""
        await self.part()
        if self._standing:
            return await self._standing.end(anyway=anyway)
        if anyway:
            await self._remove()
        return anyway

    async def leave(self) -> None:
        """The agent ends: what the VM's frames go through stands on, what they do not is gone."""
        await self.part()
        if self._standing:
            await self._standing.leave()
        elif self.is_turned:
            await self._let_go()
        else:
            await self._remove()

    async def look(self) -> Relayed:
        """What it did so far."""
        return await self._standing.look() if self._standing else self._counted()

    def _counted(self) -> Relayed:
        turned = [each.turned for each in self._turnouts if each.turned]
        counts = {
            f"frames_{name}": sum(getattr(each, f"frames_{name}") for each in turned)
            for name in ("replayed", "drained", "held", "late")
        }
        ended = {} if self._record.plugs else {"ended": RelayEnd.learned, "removed_at_unix_ms": time.time() * 1000}
        return self._record.relayed.model_copy(update=(counts if any(counts.values()) else {}) | ended)

    async def _turnout(self, index: int, plug: Plug, handle: TapHandle) -> Turnout:
        """Ready; or as an earlier agent left it, if the VM's frames go through it already. On failure the handle is
        given back.
        """
        inbound = tunnel.inbound_name(plug.tap)
        try:
            is_turned = await plug.switch.is_led_out(plug.tap, plug.mac)
            if not is_turned:
                await self._open(index, plug)
            earlier = inbound if tunnel.exists(inbound) else None
            turnout = await asyncio.to_thread(Turnout, plug.switch, plug.tap, plug.mac, handle, inbound=earlier)
        except BaseException:
            handle.close()
            raise
        turnout.turned = Turned(time.time() * 1000) if is_turned else None
        return turnout

    async def _until_passable(self) -> None:
        """The bridges let frames through the relay's ports; `Refused` if they do not for long."""
        for turnout in self._turnouts:
            if not await turnout.switch.until_passable(turnout.ports, longest_s=FORWARDING_S):
                bridge = turnout.track.bridge
                raise Refused(
                    f"bridge {bridge} on {self._home.host} lets nothing through a new port for {FORWARDING_S:.0f} s: "
                    f"shorten its STP's forward delay, or `ip link set {bridge} type bridge stp_state 0`, if no loop "
                    "of cables needs it",
                    "stp",
                )

    async def _open(self, index: int, plug: Plug) -> None:
        is_whole = await tunnel.open_source_end(
            plug.tap,
            bridge=plug.bridge,
            vni=tunnel.tunnel_id(self.order.migration, index),
            local=self._home.address,
            remote=self._record.request.destination_address,
        )
        self._tell(await plug.switch.lead_out(plug.tap, plug.mac))
        if not is_whole:
            self._tell(
                f"the migration network of {self._home.host} is too narrow for relayed frames, which are cut in two "
                f"there: an MTU {tunnel.OVERHEAD_BYTES} bytes larger than the VM's network's spares that"
            )

    def _tell(self, note: str) -> None:
        """A person should know of it, once."""
        self.notes = tuple(dict.fromkeys([*self.notes, *([note] if note else [])]))

    async def _prove(self) -> None:
        """The longest frames get through the tunnels; `Refused` if they do not."""
        for _ in range(int(PROOF_S / PROOF_AGAIN_S)):
            for turnout in self._turnouts:
                await asyncio.to_thread(_probe, turnout)
            heard = await self._peer.heard(self.order)
            if heard.moved_on:
                there = self._record.request.destination
                raise Refused(f"{there} does not wait for {self.order.vm} any more: start the migration again")
            if len(heard.relayed) == len(self._record.plugs) and all(heard.relayed):
                return
            await asyncio.sleep(PROOF_AGAIN_S)
        raise Refused(
            f"relayed frames do not get from {self._home.host} to {self._record.request.destination} through the "
            f"migration network: let UDP port {tunnel.UDP_PORT} pass between {self._home.address} and "
            f"{self._record.request.destination_address}, fragments too",
            "relay-blocked",
        )

    async def _remove(self) -> None:
        """Nothing of it is left on this host, and a VM that is here hears all; removing twice is harmless."""
        await self._let_go()
        for plug in self._record.plugs:
            with suppress(GodwitError):  # its QEMU is dead
                await plug.switch.end_lead(plug.tap, plug.mac, is_home=True)
            await tunnel.close(tunnel.tunnel_name(plug.tap))

    async def _let_go(self) -> None:
        """No thread, socket or descriptor is ours any more."""
        if self._pointsman:
            self._pointsman.end()
            if self._pointsman.error:
                log.error("the relay of %s failed: %s", self.order.vm, self._pointsman.error)
            self._pointsman = None
        witnesses, self._witnesses = self._witnesses, []
        turnouts, self._turnouts = self._turnouts, []
        for witness in witnesses:
            witness.close()
        for turnout in turnouts:
            await asyncio.to_thread(turnout.close)

    def _on_turn(self) -> None:
        """What an agent that comes after us must know."""
        self._record = self._record.model_copy(update={"relayed": self._counted()})
        self._record.keep(self._home.file)

    def _on_sight(self, sighting: Sighting) -> None:
        if self.is_turned and sighting.kind not in self._sighted:
            sighted = Sighted(kind=sighting.kind, by=self._home.host, at_unix_ms=sighting.at_ms)
            self._sighted[sighting.kind] = sighted


async def _delivered(vm: LocalVm, index: int) -> Delivered | None:
    """Tells what the guest has of that card; none where its QEMU or its kernel does not let us look."""
    ring = await receive_ring(vm.machine.monitor, f"nic{index}")
    with suppress(OSError):
        return Delivered(vm.machine.qemu_pid, ring) if ring else None
    return None


def _probe(turnout: Turnout) -> None:
    """As long as the VM's longest, and from the VM itself, so that the other end keeps it out of the tap."""
    size = mtu_of(turnout.track.port) + probing.ETHERNET_BYTES
    injector = Injector(turnout.track.tunnel)
    injector.send([Frame(VNET_NOTHING, probing.frame(turnout.mac, turnout.mac, size))])
    injector.close()
