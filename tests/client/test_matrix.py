"""The matrix of rehearsals."""

from __future__ import annotations

from godwit.client.matrix import cells, matrix_html, names
from godwit.core.checked import Rehearsal
from godwit.core.finding import blocker, note


def way(source: str, destination: str, **more: object) -> Rehearsal:
    words = {"vm": "web-1", "probe": "rehearsal-1", "source": source, "destination": destination}
    return Rehearsal.model_validate(words | {"passed": True, "verdict": "it moved", "blackout_ms": 12.4} | more)


FOUND = (blocker("wall", "no <way>", "seen", "turn round"), note("fact", "so it is", "seen", "nothing"))
WAYS = [way("host-a", "host-b"), way("host-b", "host-a", passed=False, findings=FOUND, verdict="<no>")]


def test_each_way_says_how_it_went() -> None:
    assert names(WAYS) == ["host-a", "host-b"]
    assert cells(WAYS) == {("host-a", "host-b"): "12 ms", ("host-b", "host-a"): "wall"}


def test_the_page_has_all_of_it_and_no_markup_of_others() -> None:
    page = matrix_html(WAYS)

    assert "1 of 2 ways passed" in page
    assert '<td class="bad">wall</td>' in page
    assert "no &lt;way&gt; (seen): turn round" in page
    assert "<no>" not in page
    assert "forecast" not in page


def test_what_is_foretold_of_the_vm_itself_is_there_if_anything_is() -> None:
    assert "<p>forecast of web-1: 2.0 s" in matrix_html([way("host-a", "host-b", forecast={"total_ms": 2000.0})])
