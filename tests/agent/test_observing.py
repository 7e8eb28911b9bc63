"""What passed a VM's taps is told when it is over: since when it counts, whether all was seen, how much is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.diagnosis.wire import Talk

from godwit.agent import observing
from godwit.agent.observing import Observer, Observers, Window
from godwit.contract.host import Order
from godwit.contract.observed import Observe, Observed
from godwit.diagnosis.capture import ETHERNET, Packet
from godwit.diagnosis.reporting import reported

ASKED = Observe(migration="m1")


class Ring:
    """Holds what it is given, and knows whether it had to give something up."""

    kept: tuple[Packet, ...] = ()
    forgotten_ms = 0.0
    closed: list[str]

    def __init__(self, tap: str) -> None:
        self.missed = 0
        self._tap = tap

    def forget_before(self, at_ms: float) -> int:
        return 0

    def take(self) -> Iterator[Packet]:
        yield from self.kept

    def close(self) -> None:
        self.closed.append(self._tap)


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> type[Ring]:
    class Own(Ring):
        closed: list[str] = []

    monkeypatch.setattr(observing, "Headers", Own)
    return Own


def frames(*at_ms: float) -> tuple[Packet, ...]:
    """Asked and answered in turn."""
    talk = Talk()
    datas = [(talk.answer() if number % 2 else talk.ask(), bool(number % 2)) for number in range(len(at_ms))]
    return tuple(
        Packet(number, at, 0, ETHERNET, data, len(data), not is_answer)
        for number, (at, (data, is_answer)) in enumerate(zip(at_ms, datas, strict=True), 1)
    )


async def told(window: Window) -> Observed:
    observer = Observer(["gw-1"], lambda: window)
    try:
        return await observer.tell(ASKED)
    finally:
        observer.close()


@pytest.mark.anyio
@pytest.mark.parametrize(("forgotten_ms", "is_complete"), [(0.0, True), (999.0, True), (1001.0, False)])
async def test_what_was_given_up_matters_if_it_belongs_to_what_counts(
    ring: type[Ring], forgotten_ms: float, is_complete: bool
) -> None:
    ring.kept, ring.forgotten_ms = frames(1000.0, 1010.0), forgotten_ms

    assert (await told(Window(1000.0, 5000.0))).is_complete is is_complete


@pytest.mark.anyio
async def test_at_the_destination_everything_counts(ring: type[Ring]) -> None:
    ring.kept = frames(1000.0, 1001.0, 1002.0, 1012.0)
    seen = await told(Window(0.0, 5000.0, is_last=True))
    assert seen.is_complete
    assert seen.connections
    assert reported(seen.connections[0]).longest_silence_ms == pytest.approx(10.0)


@pytest.mark.anyio
async def test_what_was_asked_before_is_waited_for_since_then(ring: type[Ring]) -> None:
    ring.kept = frames(100.0, 700.0, 990.0, 1090.0)
    seen = await told(Window(1000.0, 5000.0))
    assert seen.connections
    assert reported(seen.connections[0]).longest_silence_ms == pytest.approx(100.0)


@pytest.mark.anyio
async def test_who_said_nothing_more_is_not_told_of(ring: type[Ring]) -> None:
    ring.kept = frames(100.0, 700.0)
    assert (await told(Window(1000.0, 5000.0))).connections == ()


@pytest.mark.anyio
async def test_it_is_not_over_yet(ring: type[Ring]) -> None:
    assert not (await told(Window(0.0, time.time() * 1000 + 60_000))).is_over


@pytest.mark.anyio
async def test_no_more_than_eight_rings_are_kept(ring: type[Ring]) -> None:
    observers = Observers(is_on=True)
    for number, taps in enumerate((["a"], ["b", "c"], [f"t{each}" for each in range(6)], [f"u{n}" for n in range(12)])):
        order = Order(migration=f"m{number}", attempt=1, epoch=1, vm="web")
        observers.watch(order, taps, lambda: None)
        await observers.tell(Observe(migration=order.migration))
        if number == 2:
            assert ring.closed == ["a"]
    assert ring.closed == ["a", "b", "c", *(f"t{each}" for each in range(6))]
    observers.close()
    assert ring.closed[-8:] == [f"u{each}" for each in range(8)]
