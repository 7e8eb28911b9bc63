"""Rehearsals between all hosts as a matrix: from the host on the left to the host above."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from godwit.client.picture import STYLE
from godwit.core.checked import Rehearsal
from godwit.core.finding import Severity


def cells(rehearsals: Sequence[Rehearsal]) -> dict[tuple[str, str], str]:
    """By source and destination: how it went, in a few words."""
    return {(each.source, each.destination): _words(each) for each in rehearsals}


def names(rehearsals: Sequence[Rehearsal]) -> list[str]:
    """All hosts that take part, by name."""
    return sorted({host for each in rehearsals for host in (each.source, each.destination)})


def matrix_html(rehearsals: Sequence[Rehearsal]) -> str:
    """A whole page: the matrix, then what was found on each way."""
    title = f"Rehearsals of {', '.join(sorted({each.vm for each in rehearsals}))}"
    failed = sum(not each.passed for each in rehearsals)
    summary = f"{len(rehearsals) - failed} of {len(rehearsals)} ways passed"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>"
        f'<p class="{"bad" if failed else "good"}">{summary}</p>'
        f'<div class="wide"><table>{_rows(rehearsals)}</table></div>'
        f"{''.join(_section(each) for each in rehearsals)}</body></html>\n"
    )


def _words(rehearsal: Rehearsal) -> str:
    if rehearsal.passed:
        return f"{rehearsal.blackout_ms:.0f} ms" if rehearsal.blackout_ms is not None else "passed"
    return next((each.code for each in rehearsal.findings if each.severity is not Severity.note), "failed")


def _rows(rehearsals: Sequence[Rehearsal]) -> str:
    hosts, told = names(rehearsals), cells(rehearsals)
    passed = {(each.source, each.destination): each.passed for each in rehearsals}

    def cell(source: str, destination: str) -> str:
        way = (source, destination)
        if way not in told:
            return "<td>-</td>"
        return f'<td class="{"good" if passed[way] else "bad"}">{escape(told[way])}</td>'

    head = "".join(f"<th>to {escape(host)}</th>" for host in hosts)
    rows = (f"<tr><td>from {escape(here)}</td>{''.join(cell(here, there) for there in hosts)}</tr>" for here in hosts)
    return f"<tr><th></th>{head}</tr>{''.join(rows)}"


def _section(rehearsal: Rehearsal) -> str:
    found = "".join(
        f'<tr><td class="text">{each.severity}</td><td class="text">{escape(each.code)}</td>'
        f'<td class="text">{escape(each.sentence)}</td></tr>'
        for each in rehearsal.findings
    )
    table = f'<div class="wide"><table>{found}</table></div>' if found else ""
    way = f"{rehearsal.source} → {rehearsal.destination}"
    told = f"<p>forecast of {escape(rehearsal.vm)}: {escape(rehearsal.forecast.sentence)}</p>"
    forecast = told if rehearsal.forecast.total_ms is not None else ""
    mood = "good" if rehearsal.passed else "bad"
    return (
        f'<section><h2>{escape(way)}</h2><p class="{mood}">{escape(rehearsal.verdict)}</p>{forecast}{table}</section>'
    )
