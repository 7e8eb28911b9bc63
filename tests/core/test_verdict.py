"""What two hosts say of a move, and what that means."""

from __future__ import annotations

import pytest

from godwit.core.ownership import Ownership
from godwit.core.verdict import QemuSeen, Statement, Verdict, verdict

S, V = Ownership, Verdict


def says(state: Ownership | None, *, now: Ownership | None = None, qemu: QemuSeen = QemuSeen.frozen) -> Statement:
    return Statement(host="host-a", state=state, now=now or state or S.closed, qemu=qemu)


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (says(S.own), says(S.armed), V.stayed),
        (says(S.own), None, V.stayed),
        (says(None, now=S.own), says(None), V.stayed),
        (says(None, now=S.running), None, V.stayed),
        (says(S.offer), says(S.armed), V.stayed),
        (says(S.reclaim), says(S.closed), V.stayed),
        (says(S.died), says(S.closed), V.stayed),
        (says(S.done), None, V.moved),
        (says(S.given), says(S.running), V.moved),
        (None, says(S.running, now=S.offer), V.moved),
        (says(S.done), says(S.died), V.moved),
        (says(S.given), says(S.conting), V.unknown),
        (says(S.given), says(S.hold), V.unknown),
        (says(S.last), says(S.closed), V.unknown),
        (says(S.given), None, V.unknown),
        (None, says(S.armed), V.unknown),
        (None, None, V.unknown),
        (says(S.lost, qemu=QemuSeen.none), says(S.closed), V.lost),
        (says(S.lost, qemu=QemuSeen.dead), None, V.lost),
        (says(S.lost, qemu=QemuSeen.frozen), says(S.lost), V.unknown),
    ],
)
def test_one_word_of_the_owner_is_enough(
    source: Statement | None, destination: Statement | None, expected: Verdict
) -> None:
    assert verdict(source, destination) is expected


def test_a_statement_reads_as_a_sentence() -> None:
    given = says(S.given).model_copy(update={"alarm": "somebody holds its disk"})

    assert str(given) == "the journal of host-a says given, its QEMU is frozen (somebody holds its disk)"
