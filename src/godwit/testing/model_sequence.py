"""Draws a run of the table as a Mermaid sequence diagram, for docs/hand-over.md."""

from __future__ import annotations

from godwit.core.ownership import Act, Cue, Ownership, step
from godwit.testing.model_world import MESSAGES, SAYS

S, C, A = Ownership, Cue, Act
Story = tuple[tuple[str, Cue], ...]

SUCCESS: Story = (
    ("source", C.offered),
    ("source", C.completed),
    ("destination", C.went),
    ("destination", C.loaded),
    ("destination", C.resumed),
    ("source", C.answered_running),
)
RETURNED: Story = (
    ("source", C.offered),
    ("source", C.completed),
    ("destination", C.went),
    ("destination", C.qemu_died_unrun),
    ("source", C.answered_dead),
    ("source", C.resumed),
    ("destination", C.aborted),
)
BEGINNING = {"source": S.own, "destination": S.armed}
QEMU = {"source": "leaving", "destination": "arriving"}
BY_MESSAGE = set(MESSAGES.values())
TO_QEMU = {A.start_sending: "migrate", A.cont: "cont", A.quit_qemu: "quit"}
TO_NETWORK = {A.commit_network: "the network leads here", A.announce: "announcements"}
HEADER = (
    "sequenceDiagram",
    "    participant leaving as QEMU at the source",
    "    participant source as source's agent",
    "    participant destination as destination's agent",
    "    participant arriving as QEMU at the destination",
)


def sequence(story: Story) -> str:
    """The run as the table tells it; a cue for which it has no row raises `Broken`."""
    states = dict(BEGINNING)
    lines = list(HEADER)
    for side, cue in story:
        following = step(states[side], cue)
        lines += _cue(side, cue)
        for act in following.acts:
            lines += _act(side, act, following.state)
        states[side] = following.state
    return "\n".join(lines) + "\n"


def _cue(side: str, cue: Cue) -> list[str]:
    if cue == C.offered:
        return ["    Note over source,destination: the manager orders the move"]
    if cue in BY_MESSAGE:
        return []  # drawn where it was sent
    return [f"    {QEMU[side]}->>{side}: {cue}"]


def _act(side: str, act: Act, state: Ownership) -> list[str]:
    other = "destination" if side == "source" else "source"
    if act in {A.write, A.write_durable}:
        return [f"    Note over {side}: {state.upper()}{' (on disk)' if act == A.write_durable else ''}"]
    if act in SAYS:
        return [f"    {side}->>{other}: {SAYS[act]}"]
    if act in TO_QEMU:
        return [f"    {side}->>{QEMU[side]}: {TO_QEMU[act]}"]
    return [f"    Note over {side}: {TO_NETWORK[act]}"]


if __name__ == "__main__":
    print(sequence(SUCCESS), sequence(RETURNED), sep="\n")
