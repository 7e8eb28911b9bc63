"""What QEMUs, streams, networks and power supplies do by themselves in the model of the hand-over."""

from __future__ import annotations

from collections.abc import Iterator

from godwit.core.ownership import Stream
from godwit.testing.model_world import (
    Agent,
    At,
    Move,
    Rules,
    Wire,
    World,
    begins_to_run,
    hearer,
    killed,
    moved,
    put,
    wakes,
)


def nature(world: World, rules: Rules) -> Iterator[Move]:
    """Every step that nobody takes on purpose, and those of the QEMUs."""
    yield from _source_qemu(world, rules)
    yield from _destination_qemu(world, rules)
    if world.wire in {Wire.up, Wire.tail}:
        yield Move("the stream breaks", world._replace(wire=Wire.broken), is_fault=True)
    for message in world.net:
        yield Move(f"{message[0]} is lost", world._replace(net=world.net - {message}), is_fault=True)
    for qemu, side in (("leaving", "source"), ("arriving", "destination")):
        if getattr(world, qemu).at != At.dead:
            yield from _deaths(world, rules, qemu, side)


def _deaths(world: World, rules: Rules, qemu: str, side: str) -> Iterator[Move]:
    agent: Agent = getattr(world, side)
    if rules.qemus_die:
        yield Move(f"the {side}'s QEMU dies", killed(world, qemu)._replace(qemu_died=True), is_fault=True)
    if not (rules.hosts_reboot or rules.hosts_die):
        return
    cut = moved(killed(world, qemu), qemu, At.dead, log=None)._replace(qemu_died=True)
    cut = put(cut, side, journal=agent.disk, todo=())
    cut = cut._replace(net=frozenset(each for each in world.net if hearer(each) != side))
    if rules.hosts_reboot:
        yield Move(f"the {side} loses power and comes back", cut, is_fault=True)
    if rules.hosts_die and not world.gone:
        yield Move(f"the {side} is gone for good", cut._replace(gone=side), is_fault=True)


def _source_qemu(world: World, rules: Rules) -> Iterator[Move]:
    at, wire = world.leaving.at, world.wire
    if at == At.sending and wire == Wire.broken:
        yield Move("the source's stream fails, its VM never stopped", _failed(world, At.running))
    elif at == At.sending:
        yield Move("STOP at the source", moved(world, "leaving", At.stopped, log=False))
    elif at == At.stopped and wire == Wire.up:
        after = At.acking if rules.return_path else At.completed
        sent = moved(world, "leaving", after, own_stream=Stream.active if rules.return_path else Stream.completed)
        yield Move("the last byte leaves the source", sent._replace(wire=Wire.tail))
        if rules.cancels:
            yield Move("migrate_cancel after the last byte", _failed(sent, At.failing)._replace(wire=Wire.tail))
    elif at in {At.stopped, At.acking} and wire == Wire.broken:
        yield Move("the source's stream fails after STOP", _failed(world, At.failing))
    elif at == At.acking and world.arriving.at in {At.loaded, At.waking, At.running}:
        done = moved(world, "leaving", At.completed, own_stream=Stream.completed)
        yield Move("the acknowledgement reaches the source", done)
    elif at == At.failing:
        yield Move("the source's QEMU says RESUME by itself", wakes(world, "leaving"))
    elif at == At.waking:
        yield begins_to_run(world, "leaving")


def _failed(world: World, at: At) -> World:
    return moved(world, "leaving", at, own_stream=Stream.failed)


def _destination_qemu(world: World, rules: Rules) -> Iterator[Move]:
    at, wire = world.arriving.at, world.wire
    if at == At.waiting and wire == Wire.tail:
        yield Move("loaded at the destination", moved(world, "arriving", At.loaded, own_stream=Stream.completed))
    elif at == At.waiting and wire == Wire.broken:
        yield Move("the destination fails to load", moved(world, "arriving", At.failed, own_stream=Stream.failed))
    elif at == At.loaded and rules.destination_autostarts:
        yield Move("the destination starts by itself", wakes(world, "arriving"))
    elif at == At.waking:
        yield begins_to_run(world, "arriving")
