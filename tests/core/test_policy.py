"""Rules of a VM's owner as people write them."""

from __future__ import annotations

import pytest

from godwit.core.errors import Invalid
from godwit.core.policy import Policy, parse


def test_every_rule_is_read_and_written() -> None:
    words = ("never-migrate", "keep-apart=db", "keep-apart=rack-1", "max-stall=1500ms")
    policy = Policy(never_migrate=True, keep_apart=("db", "rack-1"), max_stall_ms=1500)

    assert parse(words) == policy
    assert policy.words == words
    assert parse(["max-stall=1.5s"]).max_stall_ms == 1500
    assert parse([]) == Policy()


@pytest.mark.parametrize("word", ["never", "keep-apart", "keep-apart=A B", "max-stall=soon", "max-stall=0s", ""])
def test_what_is_no_rule_is_refused_with_those_that_are(word: str) -> None:
    with pytest.raises(Invalid, match="never-migrate, keep-apart=GROUP, max-stall=TIME"):
        parse([word])
