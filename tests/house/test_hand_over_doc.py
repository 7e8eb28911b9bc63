"""docs/hand-over.md says what the table of ownership says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from godwit.core.ownership import BY_A_PERSON, TABLE, Ownership
from godwit.testing.model_sequence import RETURNED, SUCCESS, Story, sequence

TEXT = (Path(__file__).parents[2] / "docs" / "hand-over.md").read_text()


@pytest.mark.parametrize("story", [SUCCESS, RETURNED], ids=["success", "returned"])
def test_the_pictures_are_those_of_the_table(story: Story) -> None:
    assert sequence(story) in TEXT, "run `python -m godwit.testing.model_sequence` and paste it into docs/hand-over.md"


def test_every_state_is_one_of_a_journal_and_each_is_explained() -> None:
    rows = "\n".join(line for line in TEXT.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`([a-z]+)`", rows)) - {"cont", "proof"}

    assert named == {str(state) for state in Ownership}


def test_what_a_person_may_settle_is_what_the_table_allows() -> None:
    section = TEXT.split("## Settled by a person")[1].split("## ")[0]
    listed = {
        word
        for line in section.splitlines()
        if line.startswith("| ") and "needs proof" not in line
        for word in re.findall(r"`([a-z]+)`", line.split("|")[2])
    }

    assert listed == {str(state) for state, cue in TABLE if cue in BY_A_PERSON}
