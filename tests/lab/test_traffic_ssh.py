"""The counting session: every number follows the one before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from godwit.lab.traffic_ssh import Count, ssh_argv


def test_lines_are_counted_however_they_are_cut() -> None:
    count = Count()
    assert [count.feed(data) for data in (b"1\n2\n", b"", b"3", b"\n4\n")] == [2, 0, 0, 2]
    assert count.last == 4


@pytest.mark.parametrize("data", [b"1\n3\n", b"1\n1\n", b"2\n", b"1\n\n", b"1\nKilled\n"])
def test_a_number_that_is_not_the_next_is_wrong(data: bytes) -> None:
    with pytest.raises(ValueError, match="came after"):
        Count().feed(data)


def test_ssh_is_told_never_to_ask() -> None:
    argv = ssh_argv("10.90.0.50", 22, Path("key"))
    assert argv[0] == "ssh"
    assert "BatchMode=yes" in argv
    assert argv[-2] == "root@10.90.0.50"
