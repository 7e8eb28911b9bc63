"""What comes to a destination for a VM: frames by the relay, and probes by the uplinks."""

from __future__ import annotations

from collections.abc import Callable

from godwit.agent.local import Plug
from godwit.contract.host import Heard
from godwit.network import probing, tunnel
from godwit.network.witness import Sighting, Witness


class Hearing:
    """Counts it, from `listen` to `close`."""

    def __init__(self, plugs: tuple[Plug, ...]) -> None:
        self._plugs = plugs
        self._probes = [0] * len(plugs)
        self._witnesses: list[Witness] = []

    async def listen(self) -> None:
        """Probes are counted from now on."""
        for index, plug in enumerate(self._plugs):
            uplinks = await plug.switch.uplinks()
            self._witnesses.append(Witness(plug.mac, uplinks, self._counter(index), ethertype=probing.ETHERTYPE))

    async def look(self) -> Heard:
        """So far."""
        ends = [await tunnel.look(tunnel.inbound_name(plug.tap)) for plug in self._plugs]
        return Heard(relayed=tuple(end.received for end in ends), probes=tuple(self._probes))

    def close(self) -> None:
        """Nobody listens any more; closing twice is harmless."""
        for witness in self._witnesses:
            witness.close()
        self._witnesses = []

    def _counter(self, index: int) -> Callable[[Sighting], None]:
        def saw(sighting: Sighting) -> None:
            self._probes[index] += 1

        return saw
