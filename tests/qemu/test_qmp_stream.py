"""QMP objects come whole, however the bytes were cut."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from godwit.qemu.qmp_stream import Objects, encode

MESSAGES = st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.booleans())), min_size=1)


@given(messages=MESSAGES, cut=st.integers(min_value=1, max_value=20), end=st.sampled_from(["\n", "\r\n", "", " "]))
def test_objects_come_whole_and_in_order(messages: list[dict[str, Any]], cut: int, end: str) -> None:
    data = b"".join(encode(each).rstrip() + end.encode() for each in messages)
    objects = Objects()

    found = [one for start in range(0, len(data), cut) for one in objects.feed(data[start : start + cut])]

    assert found == messages


def test_a_line_that_is_no_object_is_obeyed_by_nobody_and_harms_no_other() -> None:
    assert Objects().feed(b'{"a":1}\nnonsense\n[2]\n\xff\n{"b":2}\n') == [{"a": 1}, {}, {}, {}, {"b": 2}]
