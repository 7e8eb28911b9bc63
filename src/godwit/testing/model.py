"""The hand-over as a model: two QEMUs, two agents that carry out the real table, and a network that does its worst.

`successors` gives every step that can follow a state. An agent works in single steps, so that it can crash between
any two of them: half a look, the other half, the journal, each act. Nothing is budgeted: agents crash, and messages
are lost, doubled, delayed and overtaken, as often as it may be; a stream breaks once per attempt, a QEMU dies once.
Return-path and `-S` behave as read from QEMU's source: see docs/hand-over.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from godwit.core.ownership import Act, Cue, Ownership, Sight, Stream
from godwit.testing.model_nature import nature
from godwit.testing.model_people import ordered, settled
from godwit.testing.model_world import (
    LIVE,
    MESSAGES,
    SAYS,
    Agent,
    At,
    Move,
    Rules,
    Todo,
    Wire,
    World,
    has_current_copy,
    hearer,
    killed,
    moved,
    put,
    take,
    wakes,
)

S, C, A = Ownership, Cue, Act


def successors(world: World, rules: Rules) -> Iterator[Move]:
    """Every step that can follow."""
    yield from nature(world, rules)
    for side in ("source", "destination"):
        agent: Agent = getattr(world, side)
        if side == world.gone:
            continue
        if agent.todo:
            yield _goes_on(world, rules, side)
            yield Move(f"the {side}'s agent crashes", put(world, side, todo=()), is_fault=True)
        else:
            yield from _looks(world, rules, side)
            yield from _hears(world, rules, side)
    yield from ordered(world, rules)
    yield from settled(world, rules)


def _sight(world: World, rules: Rules, side: str) -> Sight:
    qemu = world.leaving if side == "source" else world.arriving
    resumed = qemu.log if rules.evidence else None
    alive = qemu.at != At.dead
    return Sight(alive, _stream(world, side), qemu.at in LIVE, resumed)


def _stream(world: World, side: str) -> Stream:
    qemu = world.leaving if side == "source" else world.arriving
    return Stream.active if qemu.at in {At.sending, At.stopped, At.acking, At.waiting} else qemu.own_stream


def _other_half(world: World, rules: Rules, half: Todo) -> Sight:
    assert isinstance(half.of, Stream)
    now = _sight(world, rules, "source")
    if half.what == "stream":
        return now._replace(stream=half.of)
    return now._replace(runs=half.what == "runs")


def _looks(world: World, rules: Rules, side: str) -> Iterator[Move]:
    """At the source in two halves while QEMU may change by itself in between; elsewhere at once."""
    agent: Agent = getattr(world, side)
    if agent.journal == S.offer and world.leaving.at != At.dead:
        stream = _stream(world, side)
        runs = world.leaving.at in LIVE
        half = Todo("runs" if runs else "frozen", stream) if rules.asks_runstate_first else Todo("stream", stream)
        yield Move(f"the source's agent asks its QEMU: {stream}", put(world, side, todo=(half,)))
        return
    qemu = world.leaving if side == "source" else world.arriving
    cue = rules.look(agent.journal, _sight(world, rules, side), return_path=rules.return_path)
    if cue is not None:
        yield Move(f"the {side}'s agent sees {cue}", put(world, side, todo=take(cue)))
    if agent.journal == S.keep and (qemu.at, world.wire) == (At.waiting, Wire.none):
        yield Move("nobody connects to the destination", put(world, side, todo=take(C.never_came)))
    impatient = agent.journal == S.armed  # a row that only mutants have
    if (qemu.at == At.waiting or impatient) and (agent.journal, C.stalled) in rules.table:
        yield Move(f"the {side}'s agent waited long: stalled", put(world, side, todo=take(C.stalled)), is_fault=True)


def _hears(world: World, rules: Rules, side: str) -> Iterator[Move]:
    agent: Agent = getattr(world, side)
    for message in sorted(world.net):
        name, attempt = message
        if hearer(message) != side:
            continue
        consumed = world._replace(net=world.net - {message})
        is_old = attempt != world.attempt and not rules.hears_old_attempts
        if is_old or agent.journal == S.offer:  # before GO the source has asked nothing that it remembers
            yield Move(f"the {side}'s agent drops an old {name}", consumed)
            continue
        taken = put(consumed, side, todo=take(MESSAGES[name]))
        yield Move(f"the {side}'s agent gets {name}", taken)
        yield Move(
            f"the {side}'s agent gets {name}, and a double follows", taken._replace(net=world.net), is_fault=True
        )


def _goes_on(world: World, rules: Rules, side: str) -> Move:
    """The agent does the next thing that it has in hand."""
    agent: Agent = getattr(world, side)
    first, rest = agent.todo[0].of, agent.todo[1:]
    after = put(world, side, todo=rest)
    if isinstance(first, Stream):
        seen = _other_half(world, rules, agent.todo[0])
        cue = rules.look(agent.journal, seen, return_path=rules.return_path)
        text = f"its QEMU {'runs' if seen.runs else 'does not run'}, so it sees {cue or 'nothing to do'}"
        return Move(text, put(world, side, todo=take(cue) if cue else ()))
    if isinstance(first, Cue):
        return _takes(after, rules, side, first)
    if isinstance(first, Ownership):
        durable = agent.todo[0].what == A.write_durable
        disk = first if durable else agent.disk
        text = f"the {side}'s journal says {first.upper()}{' on disk' if durable else ''}"
        return Move(text, put(after, side, journal=first, disk=disk))
    return _does(after, rules, side, first)


def _takes(world: World, rules: Rules, side: str, cue: Cue) -> Move:
    agent: Agent = getattr(world, side)
    following = rules.table.get((agent.journal, cue))
    text = f"the {side}'s agent takes {cue}"
    if following is None:
        return Move(text, world, broken=f"{cue} came to the {side}, which is {agent.journal}: no row for it")
    writes = {A.write, A.write_durable}
    todo = tuple(Todo(act, following.state) if act in writes else Todo("do", act) for act in following.acts)
    return Move(text, put(world, side, todo=todo))


def _does(world: World, rules: Rules, side: str, act: Act) -> Move:
    text = f"the {side}'s agent: {act}"
    if act in SAYS:
        return Move(text, world._replace(net=world.net | {(SAYS[act], world.attempt)}))
    if act == A.start_sending:
        return Move(text, _begins_to_send(world))
    if act == A.cont:
        return _continues(world, side, text)
    if act == A.quit_qemu:
        qemu = "leaving" if side == "source" else "arriving"
        after = killed(world, qemu) if getattr(world, qemu).at != At.dead else world
        lost = has_current_copy(world) and not has_current_copy(after)
        return Move(text, after, broken="the last current copy was ended" if lost else "")
    return Move(text, world)


def _begins_to_send(world: World) -> World:
    if world.leaving.at not in LIVE:
        return world
    wire = Wire.up if world.arriving.at == At.waiting else Wire.broken
    return moved(world, "leaving", At.sending)._replace(wire=wire)


def _continues(world: World, side: str, text: str) -> Move:
    """QEMU takes `cont` when it is frozen, and refuses while a stream still moves."""
    qemu = "leaving" if side == "source" else "arriving"
    at = getattr(world, qemu).at
    if at in {At.completed, At.failing, At.loaded}:
        return Move(text, wakes(world, qemu))
    return Move(text, world, broken="cont before all was loaded" if at == At.waiting else "")
