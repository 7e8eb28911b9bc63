"""The shell around the table writes what the table says, and nothing when it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.agent.owner import Owner
from godwit.contract.host import Order
from godwit.core.errors import Broken, Refused
from godwit.core.ownership import Act, Cue, Ownership
from godwit.host.journal_file import JournalFile


def an_owner(path: Path) -> Owner:
    return Owner(JournalFile(path / "journal"), boot_id="boot-1")


def test_a_new_owner_goes_on_where_the_journal_ended(tmp_path: Path) -> None:
    owner = an_owner(tmp_path)
    assert owner.take(Cue.started) == ()
    assert owner.take(Cue.offered, migration="m1", epoch=7, peer="host-b") == (Act.start_sending,)

    later = an_owner(tmp_path)

    assert later.state == Ownership.offer
    assert later.is_about(Order(migration="m1", attempt=2, epoch=7, vm="web-1"))
    assert not later.is_about(Order(migration="m2", attempt=1, epoch=8, vm="web-1"))
    assert later.take(Cue.completed, count=1) == (Act.send_go,)
    assert [record.state for record in JournalFile(tmp_path / "journal").records()] == ["own", "offer", "given"]


def test_what_the_table_refuses_is_not_written(tmp_path: Path) -> None:
    owner = an_owner(tmp_path)
    owner.take(Cue.started)

    with pytest.raises(Broken):
        owner.take(Cue.answered_running)

    assert an_owner(tmp_path).state == Ownership.own


def test_what_a_person_settles_is_written_with_its_proof(tmp_path: Path) -> None:
    owner = an_owner(tmp_path)
    for cue in (Cue.started, Cue.offered, Cue.completed):
        owner.take(cue)

    with pytest.raises(Refused, match="needs proof"):
        owner.take(Cue.restored)
    assert owner.take(Cue.restored, proof="host-b burnt before it had loaded") == (Act.cont,)
    owner.take(Cue.resumed)

    states = [(record.state, record.proof) for record in JournalFile(tmp_path / "journal").records()]
    assert states[2:] == [("given", ""), ("reclaim", "host-b burnt before it had loaded"), ("own", "")]
