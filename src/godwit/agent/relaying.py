"""The source's relay of a VM that goes: ready before, turned at STOP, kept until its new place was witnessed."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress

from godwit.agent.local import LocalVm, Plug
from godwit.agent.pointsman import Pointsman
from godwit.contract.host import Peer, PrepareOutgoing, Relayed, Sighted
from godwit.core.errors import GodwitError
from godwit.network import tunnel
from godwit.network.relay import Track, Turned, Turnout
from godwit.network.ring import TapHandle
from godwit.network.witness import Sighting, Witness, uplinks

log = logging.getLogger("godwit.agent")

QUIET_S = 5.0
"""A tunnel by which nothing went for this long is no longer needed, once the new place was seen."""
LONGEST_S = 300.0
"""The usual ageing time of a switch's table (IEEE 802.1D): then the last stale entry is gone too."""
LOOK_S = 1.0


class Relay:
    """All network cards of one VM that goes."""

    def __init__(self, vm: LocalVm, request: PrepareOutgoing, peer: Peer, *, host: str, address: str) -> None:
        self.order = request.order()
        self._vm = vm
        self._request = request
        self._peer = peer
        self._host = host
        self._address = address
        self._turnouts: list[Turnout] = []
        self._witnesses: list[Witness] = []
        self._pointsman: Pointsman | None = None
        self._turned: list[Turned] = []
        self._sighted: dict[str, Sighted] = {}
        self._relayed = 0
        self._removed_at_ms: float | None = None
        self._watch: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """The points can be thrown. On failure nothing of it is left."""
        if self._pointsman or not self._vm.passport.plugs:
            return
        try:
            fds = json.loads((self._vm.machine.run_dir / "launch.json").read_text())["tap_fds"]
            for index, plug in enumerate(self._vm.passport.plugs):
                self._turnouts.append(await self._turnout(index, plug, fds[index]))
                self._witnesses.append(Witness(plug.mac, await uplinks(plug.bridge), self._on_sight))
            self._pointsman = Pointsman(self._vm.machine.run_dir / "events.sock", self._turnouts, self._on_turn)
            self._pointsman.start()
        except BaseException:
            await self.remove()
            raise

    async def settle(self) -> None:
        """The VM runs at the destination: broadcasts are its bridge's affair, and the new place is waited for."""
        if self._watch:
            return
        for turnout in self._turnouts:
            turnout.hush()
        self._dismiss()
        if self._turnouts:
            self._watch = asyncio.create_task(self._until_learned(), name=f"relay of {self.order.vm}")
        else:
            self._removed_at_ms = time.time() * 1000

    async def end(self, *, anyway: bool) -> bool:
        """The relay is gone if its VM's new place was seen, or anyway; whether it is."""
        if self._removed_at_ms is None and (anyway or self._sighted):
            if self._watch and self._watch is not asyncio.current_task():
                self._watch.cancel()
            await self.remove()
            if not anyway:
                await self._tell_destination()
        return self._removed_at_ms is not None

    async def remove(self) -> None:
        """Nothing of it is left on this host; removing twice is harmless."""
        self._dismiss()
        witnesses, self._witnesses = self._witnesses, []
        turnouts, self._turnouts = self._turnouts, []
        for witness in witnesses:
            witness.close()
        for turnout in turnouts:
            with suppress(GodwitError):
                self._relayed += (await tunnel.look(turnout.track.tunnel)).sent
            await asyncio.to_thread(turnout.close)
            await tunnel.close_source_end(turnout.track.tap)
        self._removed_at_ms = self._removed_at_ms or time.time() * 1000

    async def look(self) -> Relayed:
        """What it did so far."""
        sent = self._relayed
        for turnout in self._turnouts:
            sent += (await tunnel.look(turnout.track.tunnel)).sent
        drained = sum(each.frames_drained for each in self._turned)
        replayed = sum(each.frames_replayed for each in self._turned)
        return Relayed(
            frames_replayed=replayed,
            frames_drained=drained,
            frames_relayed=max(0, sent - drained - replayed),
            sighted=tuple(self._sighted.values()),
            removed_at_unix_ms=self._removed_at_ms,
        )

    async def _turnout(self, index: int, plug: Plug, fd: int) -> Turnout:
        inbound = tunnel.inbound_name(plug.tap)
        await tunnel.open_source_end(
            plug.tap,
            bridge=plug.bridge,
            vni=tunnel.tunnel_id(self.order.migration, index),
            local=self._address,
            remote=self._request.destination_address,
        )
        track = Track(plug.tap, plug.bridge, tunnel.port_name(plug.tap), tunnel.tunnel_name(plug.tap))
        handle = TapHandle.of(self._vm.machine.qemu_pid, fd)
        earlier = inbound if tunnel.exists(inbound) else None
        return await asyncio.to_thread(Turnout, track, plug.mac, handle, inbound=earlier)

    def _dismiss(self) -> None:
        if self._pointsman:
            self._pointsman.end()
            if self._pointsman.error:
                log.error("the relay of %s failed: %s", self.order.vm, self._pointsman.error)
            self._pointsman = None

    def _on_turn(self, turned: list[Turned]) -> None:
        self._turned = turned

    def _on_sight(self, sighting: Sighting) -> None:
        if self._turned and sighting.kind not in self._sighted:
            sighted = Sighted(kind=sighting.kind, by=self._host, at_unix_ms=sighting.at_ms)
            self._sighted[sighting.kind] = sighted

    async def _until_learned(self) -> None:
        """Until the new place was seen and the tunnel has been quiet, or every table must have aged."""
        started = quiet_since = asyncio.get_running_loop().time()
        sent = -1
        while True:
            await asyncio.sleep(LOOK_S)
            now = asyncio.get_running_loop().time()
            total = sum([(await tunnel.look(each.track.tunnel)).sent for each in self._turnouts])
            sent, quiet_since = (total, quiet_since) if total == sent else (total, now)
            if (self._sighted and now - quiet_since >= QUIET_S) or now - started >= LONGEST_S:
                break
        if not self._sighted:
            log.warning("%s never saw the new place of %s: a switch may be stale", self._host, self.order.vm)
        await self.remove()
        await self._tell_destination()

    async def _tell_destination(self) -> None:
        """Its end of the tunnels has no use any more."""
        with suppress(GodwitError):
            await self._peer.relay_ended(self.order)
