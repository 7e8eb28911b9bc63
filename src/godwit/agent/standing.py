"""A relay whose VM runs elsewhere by now: it stands until the network has learned the new place, also over a restart.

Learned means two things: a frame of the VM came in by an uplink of its old host, and a probe that the old host sent to
the VM by that uplink arrived at the new one. The first shows that announcements get through; the second, that the
switch between sends the VM's frames there (one that floods an announcement need not have learned from it).
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from godwit.agent.local import Plug
from godwit.contract.host import Peer, PrepareOutgoing, Relayed, Sighted
from godwit.core.errors import GodwitError
from godwit.core.model import Value
from godwit.core.report import RelayEnd
from godwit.network import probing, tunnel
from godwit.network.witness import Sighting, Witness

log = logging.getLogger("godwit.agent")

QUIET_S = 5.0
"""A tunnel by which nothing went for this long is no longer needed, once the new place was learned."""
LONGEST_S = 310.0
"""The usual ageing time of a switch's table (IEEE 802.1D), and what it may take to look: then the last stale entry is
gone too. A relay of just 300 s was gone 40 ms before one."""
LOOK_S = 1.0


class RelayRecord(Value):
    """What an agent must know of a relay after its own restart; lies beside the VM's journal."""

    request: PrepareOutgoing
    plugs: tuple[Plug, ...]
    relayed: Relayed = Relayed()
    begun_at_s: float = 0.0
    """Unix time at which the VM was known to run elsewhere; 0: not yet."""

    def keep(self, file: Path) -> None:
        """It is in the file, whole; best effort, because a relay works without."""
        draft = file.with_suffix(".new")
        try:
            draft.write_text(self.model_dump_json(indent=1))
            os.replace(draft, file)
        except OSError as error:
            log.warning("%s cannot be written (%s): the relay will not outlive this agent", file, error.strerror)

    @property
    def taps(self) -> list[str]:
        """Whose tunnels they are."""
        return [plug.tap for plug in self.plugs]

    @property
    def interfaces(self) -> set[str]:
        """What the relay consists of in the kernel."""
        return {name for plug in self.plugs for name in plug.switch.standing(plug.tap)}


class Standing:
    """Watches over one such relay, and takes it down."""

    def __init__(self, record: RelayRecord, peer: Peer, *, host: str, file: Path) -> None:
        self._record = record
        self._peer = peer
        self._host = host
        self._file = file
        self._witnesses: list[Witness] = []
        self._is_blind = False
        """Nobody can listen to the uplinks now, and that was said."""
        self._task: asyncio.Task[None] | None = None
        self._sighted = {each.kind: each for each in record.relayed.sighted}
        self._learned_at_ms = record.relayed.learned_at_unix_ms

    async def begin(self) -> None:
        """It is watched over by itself; by a switch that does not answer now, as soon as it does."""
        await self._listen()
        self._keep()
        name = f"relay of {self._record.request.vm}"
        self._task = asyncio.create_task(self._until_learned(), name=name)

    async def _listen(self) -> None:
        """Whoever comes in by the uplinks is seen, if they can be listened to."""
        if self._witnesses:
            return
        try:
            for plug in self._record.plugs:
                self._witnesses.append(Witness(plug.mac, await plug.switch.uplinks(), self._on_sight))
            self._is_blind = False
        except (GodwitError, OSError) as error:
            if not self._is_blind:
                log.warning("nobody sees %s come in by the uplinks yet: %s", self._record.request.vm, error)
            self._is_blind = True
            self._close_witnesses()

    def note(self, sighted: Iterable[Sighted]) -> None:
        """What was seen before it stood."""
        self._sighted |= {each.kind: each for each in sighted}

    async def end(self, *, anyway: bool) -> bool:
        """It is gone if the new place was learned, or anyway; whether it is."""
        if self._record.relayed.ended is None and (anyway or self._learned_at_ms):
            await self.leave()
            await self._remove(RelayEnd.moved_on)
            if not anyway:
                await self._tell_destination()
        return self._record.relayed.ended is not None

    async def leave(self) -> None:
        """It stands on, unwatched; for the agent's end."""
        if self._task and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._close_witnesses()

    async def look(self) -> Relayed:
        """What it did so far."""
        relayed = self._record.relayed
        if relayed.ended is None:
            carried = await self._sent() - relayed.frames_drained - relayed.frames_replayed - relayed.frames_held
            relayed = relayed.model_copy(update={"frames_relayed": max(0, carried - relayed.frames_late)})
        seen = {"sighted": tuple(self._sighted.values()), "learned_at_unix_ms": self._learned_at_ms}
        return relayed.model_copy(update=seen)

    def _on_sight(self, sighting: Sighting) -> None:
        if sighting.kind not in self._sighted:
            sighted = Sighted(kind=sighting.kind, by=self._host, at_unix_ms=sighting.at_ms)
            self._sighted[sighting.kind] = sighted

    async def _until_learned(self) -> None:
        """Until the new place was learned and the tunnel has been quiet, or every table must have aged."""
        quiet_since, sent = time.time(), -1
        while not (self._learned_at_ms and time.time() - quiet_since >= QUIET_S):
            if time.time() - self._record.begun_at_s >= LONGEST_S:
                break
            await asyncio.sleep(LOOK_S)
            await self._listen()
            total = await self._sent()
            sent, quiet_since = (total, quiet_since) if total == sent else (total, time.time())
            await self._look_for_the_way()
        vm, host = self._record.request.vm, self._host
        if not self._learned_at_ms:
            log.error("%s never saw the new place of %s, and relays no more: a switch may be stale", host, vm)
        await self._remove(RelayEnd.learned if self._learned_at_ms else RelayEnd.unwitnessed)
        await self._tell_destination()

    async def _look_for_the_way(self) -> None:
        """Whether what is sent to the VM from here by the uplinks arrives there, once it was seen to be there."""
        if self._learned_at_ms or not self._sighted:
            return
        with suppress(GodwitError):
            for plug in self._record.plugs:
                await probing.send(plug.mac, plug.bridge, await plug.switch.uplinks())
            await asyncio.sleep(LOOK_S / 10)
            heard = await self._peer.heard(self._record.request.order())
            if heard.moved_on or (heard.probes and all(heard.probes)):
                self._learned_at_ms = time.time() * 1000
                self._keep()

    async def _sent(self) -> int:
        with suppress(GodwitError):
            return sum([(await tunnel.look(tunnel.tunnel_name(tap))).sent for tap in self._record.taps])
        return 0

    async def _remove(self, end: RelayEnd) -> None:
        self._close_witnesses()
        seen = {"ended": end, "removed_at_unix_ms": time.time() * 1000}
        relayed = (await self.look()).model_copy(update=seen)
        for plug in self._record.plugs:
            await plug.switch.end_lead(plug.tap, plug.mac, is_home=False)
            await tunnel.close(tunnel.tunnel_name(plug.tap))
        self._record = self._record.model_copy(update={"relayed": relayed})
        self._record.keep(self._file)

    def _keep(self) -> None:
        seen = {"sighted": tuple(self._sighted.values()), "learned_at_unix_ms": self._learned_at_ms}
        relayed = self._record.relayed.model_copy(update=seen)
        self._record = self._record.model_copy(update={"relayed": relayed})
        self._record.keep(self._file)

    def _close_witnesses(self) -> None:
        for witness in self._witnesses:
            witness.close()
        self._witnesses = []

    async def _tell_destination(self) -> None:
        """Its end of the tunnels has no use any more."""
        with suppress(GodwitError):
            await self._peer.relay_ended(self._record.request.order())
