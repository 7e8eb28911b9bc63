"""The story on fakes: told once well, and interrupted at every verb in every way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from godwit.contract.host import HandedOver, Host, Order, StartVm, VmRef
from godwit.core.errors import Cancelled, Refused, Unreachable, Unresolved
from godwit.core.looked import Answer, Pulse
from godwit.core.migration import Event, EventKind, MigrationRequest
from godwit.core.phase import Phase
from godwit.core.plan import Move
from godwit.flow.migrate import migrate
from godwit.testing.clock import run
from godwit.testing.diary import MemoryDiary
from godwit.testing.faults import BusyHost, Fault, FaultyHost, faulty
from godwit.testing.world import PINNED, SPEC, World

HAPPY = ["pending", "checking", "reserving", "preparing", "copying", "handing-over", "settling", "done"]

SOURCE_VERBS = ("facts", "reserve", "lay_relay", "prepare_outgoing", "copy", "hand_over", "retire")
REPEATED = (Fault.answer_lost, Fault.too_slow)
"""Of these nobody can tell whether the order was carried out."""
DESTINATION_VERBS = ("facts", "reserve", "prepare_incoming", "settle")
CALLS = [("source", verb) for verb in SOURCE_VERBS] + [("destination", verb) for verb in DESTINATION_VERBS]


def a_move(attempt: int = 1) -> Move:
    return Move(
        migration="m1",
        attempt=attempt,
        epoch=attempt,
        spec=SPEC,
        pinned=PINNED,
        source="host-a",
        destination="host-b",
        request=MigrationRequest(vm=SPEC.name, destination="host-b"),
    )


async def a_world() -> World:
    world = World()
    await world.source.start_vm(StartVm(spec=SPEC, pinned=PINNED))
    return world


async def tell(
    world: World, instead: dict[str, Host] | None = None, *, attempt: int = 1, diary: MemoryDiary | None = None
) -> MemoryDiary:
    """The diary of a migration in that world, with another host in place of one of its sides."""
    diary = diary or MemoryDiary()
    sides: dict[str, Host] = {"source": world.source, "destination": world.destination} | (instead or {})
    await migrate(a_move(attempt), source=sides["source"], destination=sides["destination"], diary=diary)
    return diary


async def moves_again(world: World) -> None:
    """Whatever happened before, the VM can be moved now, and nothing hangs about."""
    if world.runs_on == ["host-b"]:
        return
    diary = await tell(world, attempt=2)
    assert diary.phase == Phase.done, diary.error
    assert world.runs_on == ["host-b"]
    assert world.leftovers() == []


def test_the_vm_runs_at_the_destination_and_nothing_is_left() -> None:
    async def story() -> None:
        world = await a_world()

        diary = await tell(world)

        assert [str(phase) for phase in diary.phases] == HAPPY
        assert world.runs_on == ["host-b"]
        assert world.leftovers() == []
        assert diary.handed is not None
        assert diary.told is not None
        assert [e.kind for e in diary.events].count(EventKind.pass_completed) == 3
        world.check()

    run(story())


@pytest.mark.parametrize("fault", [Fault.fails_before, Fault.fails_after, *REPEATED])
@pytest.mark.parametrize(("side", "verb"), CALLS)
def test_a_verb_that_goes_wrong_leaves_one_running_vm(side: str, verb: str, fault: Fault) -> None:
    async def story() -> None:
        world = await a_world()
        host = faulty(getattr(world, side), verb, fault)

        diary = await tell(world, {side: host})

        world.check()
        if diary.phase == Phase.failed:
            assert world.runs_on == ["host-a"]
            assert world.leftovers() == []
            await moves_again(world)
        elif diary.phase == Phase.done:
            assert verb in {"copy", "hand_over", "retire", "settle"}
            assert fault in REPEATED
        else:
            assert diary.phase == Phase.in_doubt
            assert verb in {"hand_over", "retire", "settle"}
            assert (verb, fault) != ("hand_over", Fault.fails_before)
        assert (diary.error is None) == (diary.phase == Phase.done)

    run(story())


def test_a_source_that_is_restarted_while_memory_goes_tells_on_and_nothing_twice() -> None:
    async def story() -> None:
        world = await a_world()

        diary = await tell(world, {"source": faulty(world.source, "copy", Fault.answer_lost)})

        assert diary.phase == Phase.done, diary.error
        assert [event.kind for event in diary.events].count(EventKind.pass_completed) == 3
        assert sum("listening to the source again" in event.text for event in diary.events) == 1

    run(story())


class Deaf(FaultyHost):
    """A host that says nothing about copying, however often it is asked."""

    def _after(self) -> None:
        raise Unreachable("nobody answers")


def test_a_source_that_stays_away_while_memory_goes_is_not_waited_for() -> None:
    async def story() -> None:
        world = await a_world()

        diary = await tell(world, {"source": cast(Host, Deaf(world.source, "copy", Fault.answer_lost))})

        assert (diary.phase, str(diary.error)) == (Phase.failed, "nobody answers")
        assert world.runs_on == ["host-a"]
        assert world.leftovers() == []

    run(story())


@pytest.mark.parametrize(("side", "verb"), CALLS)
def test_a_verb_that_never_answers_meets_its_deadline(side: str, verb: str) -> None:
    async def story() -> None:
        world = await a_world()

        diary = await tell(world, {side: faulty(getattr(world, side), verb, Fault.hangs)})

        world.check()
        late = verb in {"settle", "retire"}
        assert diary.phase == (Phase.in_doubt if late else Phase.failed)
        if not late:
            assert world.leftovers() == []
            await moves_again(world)

    run(story())


@pytest.mark.parametrize(("side", "verb"), CALLS)
def test_cancelling_during_a_verb(side: str, verb: str) -> None:
    """Before the hand-over it undoes everything; from then on it changes nothing."""

    async def story() -> None:
        world = await a_world()
        host = FaultyHost(getattr(world, side), verb, Fault.hangs)
        diary = MemoryDiary()
        task = asyncio.create_task(tell(world, {side: cast(Host, host)}, diary=diary))
        await host.struck.wait()

        task.cancel()
        await asyncio.wait([task])

        world.check()
        if verb == "hand_over":
            assert "was not switched over" in str(diary.error)
        late = verb in {"settle", "retire"}
        ends = {"hand_over": Phase.failed, "settle": Phase.in_doubt, "retire": Phase.in_doubt}
        assert diary.phase == ends.get(verb, Phase.cancelled)
        if not late:
            assert verb == "hand_over" or isinstance(diary.error, Cancelled)
            assert world.leftovers() == []
            await moves_again(world)

    run(story())


@pytest.mark.parametrize(("side", "verb"), [("source", "prepare_outgoing"), ("destination", "prepare_incoming")])
def test_cancelling_while_a_verb_goes_on_at_its_host(side: str, verb: str) -> None:
    """What it makes after its caller has left is undone as well."""

    async def story() -> None:
        world = await a_world()
        host = BusyHost(getattr(world, side), verb)
        diary = MemoryDiary()
        task = asyncio.create_task(tell(world, {side: cast(Host, host)}, diary=diary))
        await host.struck.wait()
        task.cancel()
        await asyncio.sleep(10)
        host.may_end.set()
        await asyncio.wait([task])

        assert diary.phase == Phase.cancelled
        assert world.leftovers() == []
        await moves_again(world)

    run(story())


def test_an_undo_that_fails_is_told_and_does_not_hide_the_reason() -> None:
    async def story() -> None:
        world = await a_world()
        world.source.passes = 0
        destination = faulty(world.destination, "abort_incoming", Fault.fails_before)

        source = faulty(world.source, "prepare_outgoing", Fault.fails_before)
        diary = await tell(world, {"source": source, "destination": destination})

        assert diary.phase == Phase.failed
        assert "prepare_outgoing" in str(diary.error)
        assert [event.kind for event in diary.events] == [EventKind.warned]
        world.check()

    run(story())


@pytest.mark.parametrize("fault", REPEATED)
@pytest.mark.parametrize(("side", "verb"), [("source", "release"), ("destination", "abort_incoming")])
def test_an_undo_that_nobody_answers_is_ordered_again(side: str, verb: str, fault: Fault) -> None:
    async def story() -> None:
        world = await a_world()
        sides = {
            "source": faulty(world.source, "prepare_outgoing", Fault.fails_after),
            "destination": world.destination,
        }
        diary = await tell(world, sides | {side: faulty(sides[side], verb, fault)})

        assert diary.phase == Phase.failed
        assert "prepare_outgoing" in str(diary.error)
        assert [event.text for event in diary.events] == []
        assert world.leftovers() == []

    run(story())


@pytest.mark.parametrize("fault", REPEATED)
@pytest.mark.parametrize("verb", ["abort_outgoing", "hand_over", "retire"])
def test_a_source_that_is_busy_leaves_nobody_in_doubt(verb: str, fault: Fault) -> None:
    async def story() -> None:
        world = await a_world()
        source: Host = world.source
        if verb == "abort_outgoing":
            source = faulty(source, "copy", Fault.fails_after)
        diary = await tell(world, {"source": faulty(source, verb, fault)})

        assert diary.phase == (Phase.failed if verb == "abort_outgoing" else Phase.done)
        assert world.leftovers() == []
        world.check()

    run(story())


def test_an_obstacle_is_refused_before_anything_is_touched() -> None:
    async def story() -> None:
        world = await a_world()
        world.destination.told = world.destination.told.model_copy(update={"memory_mib": 100})

        diary = await tell(world)

        assert isinstance(diary.error, Refused)
        assert "100 MiB" in diary.error.message
        assert [str(phase) for phase in diary.phases] == ["pending", "checking", "failed"]
        assert world.leftovers() == []

    run(story())


@pytest.mark.parametrize("fault", [Fault.fails_before, Fault.hangs])
def test_nothing_is_ended_while_the_source_cannot_be_asked_to_take_its_vm_back(fault: Fault) -> None:
    """The copy that waits at the destination may be the last one."""

    async def story() -> None:
        world = await a_world()
        source = faulty(faulty(world.source, "copy", Fault.fails_after), "abort_outgoing", fault)

        diary = await tell(world, {"source": source})

        assert diary.phase == Phase.in_doubt
        assert SPEC.name in world.destination.vms
        world.check()

    run(story())


@pytest.mark.parametrize(
    ("pulse", "text"),
    [
        (Pulse(is_running=True), "the guest runs"),
        (Pulse(is_running=True, answers=(Answer(ip="10.0.0.7", after_ms=1.5),)), "10.0.0.7 after 1.5 ms"),
        (Pulse(is_running=False), "its vCPUs do not run"),
        (Pulse(is_running=True, answers=(Answer(ip="10.0.0.7"),)), "10.0.0.7 does not answer"),
        (Pulse(is_running=True, broken_disks=("block0",)), "disk block0 gives errors"),
        (Pulse(is_running=True, failed_operations=2), "2 reads or writes of its disks failed"),
        (Pulse(is_running=True, answers=(Answer(ip="10.0.0.7"),), agent_ms=3.0), "its guest agent after 3.0 ms"),
    ],
)
def test_how_the_vm_is_after_its_move_is_told_and_changes_nothing(pulse: Pulse, text: str) -> None:
    async def story() -> None:
        world = await a_world()

        async def felt(request: VmRef, /) -> Pulse:
            return pulse

        world.destination.feel_pulse = felt  # type: ignore[method-assign]
        diary = await tell(world)
        (event,) = [each for each in diary.events if "pulse" in each.data]
        assert text in event.text
        assert event.kind is (EventKind.warned if pulse.complaint else EventKind.answered)
        assert diary.phase is Phase.done

    run(story())


@pytest.mark.parametrize("fault", Fault)
def test_a_pulse_that_cannot_be_felt_changes_nothing(fault: Fault) -> None:
    async def story() -> None:
        world = await a_world()
        diary = await tell(world, {"destination": faulty(world.destination, "feel_pulse", fault)})
        assert diary.phase is Phase.done
        assert [each for each in diary.events if "pulse" in each.data] == []
        assert world.runs_on == ["host-b"]
        assert world.leftovers() == []

    run(story())


class Silent:
    """A source that gives its VM away and says nothing of it."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._host, verb)

    async def hand_over(self, request: Order, /) -> HandedOver:
        await self._host.hand_over(request)
        await asyncio.get_running_loop().create_future()
        raise AssertionError


@pytest.mark.parametrize("fault", [None, Fault.fails_before, Fault.hangs])
def test_a_hand_over_that_nobody_tells_of_and_that_cannot_be_taken_back_is_in_doubt(fault: Fault | None) -> None:
    async def story() -> None:
        world = await a_world()
        hung = faulty(world.source, "hand_over", Fault.hangs)
        source = faulty(hung, "abort_outgoing", fault) if fault else cast(Host, Silent(world.source))

        diary = await tell(world, {"source": source})

        assert diary.phase is Phase.in_doubt
        assert "did not tell in time" in str(diary.error)
        assert world.runs_on == (["host-a"] if fault else ["host-b"])

    run(story())


class Lost:
    """A source that finds while copying that nobody may run the VM any more."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._host, verb)

    async def copy(self, request: Order, /) -> AsyncIterator[Event]:
        raise Unresolved(f"{request.vm} may not run here any more")
        yield


def test_a_copy_of_which_nobody_knows_who_runs_it_is_in_doubt_and_nothing_is_ended() -> None:
    async def story() -> None:
        world = await a_world()
        diary = await tell(world, {"source": cast(Host, Lost(world.source))})
        assert diary.phase is Phase.in_doubt
        assert world.runs_on == ["host-a"]
        assert Phase.undoing not in diary.phases

    run(story())
