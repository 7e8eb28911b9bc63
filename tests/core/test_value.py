"""What every model is made of."""

from __future__ import annotations

from godwit.core.report import Announcement, Forecast


def test_figures_are_told_to_three_decimals_and_kept_whole() -> None:
    told = Announcement(kind="rarp", at_ms=1.23456789)
    assert told.model_dump_json() == '{"kind":"rarp","at_ms":1.235,"vlan":null,"witnessed_by":[]}'
    assert told.model_dump(mode="json")["at_ms"] == 1.235
    assert told.at_ms == 1.23456789
    assert Forecast().model_dump(mode="json")["total_ms"] is None
