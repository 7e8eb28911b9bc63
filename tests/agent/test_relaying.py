"""A relay whose switch or peer fails at the wrong moment: the VM goes all the same, or is not let go at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent import relaying, standing
from godwit.agent.local import Plug
from godwit.agent.relaying import Home, Relay
from godwit.agent.relays import Relays
from godwit.agent.standing import RelayRecord
from godwit.contract.host import Heard, Order, Peer
from godwit.core.config import AgentConfig, Tls
from godwit.core.errors import Failed, NotFound, Refused
from godwit.network.relay import Turnout
from godwit.testing.world import GOES, SPEC

pytestmark = pytest.mark.anyio

NOWHERE = Path("/nowhere")
PLUG = Plug(tap="gw-nowhere", bridge="br-nowhere", mac=SPEC.nics[0].mac)


class Switch:
    """Does not answer, as long as it is being restarted."""

    def __init__(self) -> None:
        self.is_away = True
        self.asked = asyncio.Event()

    async def uplinks(self) -> tuple[str, ...]:
        self.asked.set()
        if self.is_away:
            raise NotFound("no such bridge")
        return ()


class Card:
    """A turnout's part in the end of a hand-over, and the tap's handle."""

    turned = None

    def __init__(self) -> None:
        self.diary: list[str] = []
        self.handle = self

    def copy(self) -> Card:
        return self

    def close_aside(self) -> None:
        self.diary.append("let go")

    def hush(self) -> None:
        self.diary.append("hushed")

    def close(self) -> None:
        self.diary.append("closed")


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Switch:
    found = Switch()
    monkeypatch.setattr(Plug, "switch", property(lambda _: found))
    monkeypatch.setattr(standing, "LOOK_S", 0.001)
    return found


def a_relay(tmp_path: Path, heard: Heard | None = None) -> Relay:
    async def tell(_: Order, /) -> Heard:
        assert heard is not None
        return heard

    peer = cast(Peer, SimpleNamespace(heard=tell))
    return Relay(RelayRecord(request=GOES, plugs=(PLUG,)), peer, Home("host-a", "192.0.2.1", tmp_path / "relay.json"))


async def test_a_relay_whose_switch_does_not_answer_is_watched_when_it_does(
    tmp_path: Path, switch: Switch, caplog: pytest.LogCaptureFixture
) -> None:
    relay, card = a_relay(tmp_path), Card()
    relay._turnouts = [cast(Turnout, card)]
    await relay.settle()
    await relay.part()

    assert card.diary == ["hushed", "closed", "let go"], "nothing holds on to the VM's tap"
    watch = cast(Any, relay._standing)
    assert watch._task is not None
    switch.is_away = False
    async with asyncio.timeout(60):
        while not watch._witnesses:
            switch.asked.clear()
            await switch.asked.wait()
    await relay.leave()


async def test_a_relay_that_cannot_be_settled_now_is_settled_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The VM runs at its destination: nobody may call the move refused."""
    tls = Tls(ca=NOWHERE, certificate=NOWHERE, key=NOWHERE)
    config = AgentConfig(host="host-a", listen=("127.0.0.1:1",), migration_address="127.0.0.1", tls=tls)
    relays, asked = Relays(config, lambda host, address: cast(Peer, None)), list[str]()

    async def settle() -> None:
        asked.append("settle")
        raise NotFound("no such bridge")

    relay = relays._all[SPEC.name] = a_relay(tmp_path)
    monkeypatch.setattr(relay, "settle", settle)
    for _ in range(2):
        await relays.settle(SPEC.name)

    assert asked == ["settle", "settle"]


@pytest.mark.parametrize(
    ("heard", "why"),
    [(Heard(moved_on=True), "does not wait for web-1 any more"), (Heard(), "do not get from host-a to host-b")],
)
async def test_a_way_of_which_nobody_tells_is_no_way(
    tmp_path: Path, heard: Heard, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "PROOF_S", 0.01)
    monkeypatch.setattr(relaying, "PROOF_AGAIN_S", 0.001)
    with pytest.raises(Refused, match=why):
        await a_relay(tmp_path, heard)._prove()


class Handle:
    """Of a tap: while it is open, the tap outlives its QEMU."""

    closed = False

    def close(self) -> None:
        self.closed = True


async def test_the_tap_of_a_relay_that_cannot_be_made_ready_is_let_go_of() -> None:
    async def refuse(*_: object) -> bool:
        raise Failed("the bridge does not answer")

    record: Any = SimpleNamespace(request=GOES, plugs=())
    relay = Relay(record, cast(Any, None), Home("host-a", "192.0.2.1", NOWHERE))
    plug: Any = SimpleNamespace(tap="gw-vm", mac=PLUG.mac, switch=SimpleNamespace(is_led_out=refuse))
    handle = Handle()

    with pytest.raises(Failed, match="does not answer"):
        await relay._turnout(0, plug, cast(Any, handle))

    assert handle.closed
