"""The tables of the report page: clients, passes, timeline, announcements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from godwit.client.picture_scale import duration
from godwit.client.picture_values import ClientRow
from godwit.core.report import NetworkReport, Report
from godwit.diagnosis.reporting import verdict

CONNECTIONS_SHOWN = 30


def clients_table(clients: Sequence[ClientRow]) -> str:
    """One row a client, one column a window."""
    windows = list(dict.fromkeys(name for each in clients for name, _ in each.stalls_ms))
    longest = max((stall for each in clients for _, stall in each.stalls_ms), default=1.0) or 1.0
    titles = ["client", *(f"silence: {name}" for name in windows), "sent again", "answers", "outcome"]
    return _table(titles, [_client(each, windows, longest) for each in clients])


def migration_section(report: Report, detail: str) -> str:
    """All that the report of one migration knows, with a picture of its blackout where there is one."""
    good = report.outcome == "done"
    error = f'<p class="bad">{escape(report.error)}</p>' if report.error else ""
    tables = [_passes(report), _timeline(report), _announcements(report.network), _connections(report)]
    return (
        f"<section><h2>{escape(report.source)} → {escape(report.destination)} "
        f'<span class="{"good" if good else "bad"}">{escape(report.outcome)}</span></h2>'
        f'<p class="soft">migration {escape(report.id)} of {escape(report.vm)}</p>{error}'
        f'<div class="facts">{"".join(_fact(*each) for each in _facts(report))}</div></section>'
        f'{detail}<div class="pair">{"".join(tables)}</div>'
    )


def _client(client: ClientRow, windows: Sequence[str], longest_ms: float) -> list[str]:
    stalls = dict(client.stalls_ms)
    cells = []
    for name in windows:
        stall = stalls.get(name)
        width = 100.0 * (stall or 0.0) / longest_ms
        cells.append("–" if stall is None else f'{duration(stall)}<span class="bar" style="width:{width:.1f}%"></span>')
    words = "survived, data right"
    if not client.survived:
        words = f"broke: {client.error or 'no reason known'}"
    elif not client.verified:
        words = f"wrong data: {client.error or 'no reason known'}"
    good = client.survived and client.verified
    again = f"{client.retransmissions} ({client.spurious_retransmissions})" if client.congestion_control else "–"
    name = f'{escape(client.name)} <span class="soft">{escape(client.congestion_control)}</span>'
    outcome = f'<span class="{"good" if good else "bad"}">{escape(words)}</span>'
    return [name, *cells, again, f"{client.operations:,}", outcome]


def _facts(report: Report) -> list[tuple[str, str]]:
    forecast = report.forecast
    network = report.network
    facts = [
        (
            _forecast("blackout", forecast.blackout_ms),
            "none" if report.blackout_ms is None else duration(report.blackout_ms),
        ),
        (_forecast("total", forecast.total_ms), duration(report.total_ms)),
        ("sent", size(report.transferred_bytes)),
        ("frames drained, relayed", f"{network.frames_drained}, {network.frames_relayed}"),
    ]
    if network.witnessed_at_ms is not None:
        facts.append(("new place witnessed, after STOP", duration(network.witnessed_at_ms)))
    return facts


def _forecast(name: str, forecast_ms: float | None) -> str:
    return name if forecast_ms is None else f"{name}; forecast {duration(forecast_ms)}"


def _passes(report: Report) -> str:
    rows = [
        [str(each.number), size(each.remaining_bytes), f"{size(each.dirty_rate)}/s", f"{size(each.bandwidth)}/s"]
        for each in report.passes
    ]
    return _titled("Passes", ["pass", "left at its end", "dirtied", "sent at"], rows)


def _timeline(report: Report) -> str:
    rows = [[f"{each.at_ms:+,.1f} ms", escape(each.event)] for each in report.timeline]
    return _titled("Timeline, from STOP", ["at", "event"], rows, text=1)


def _announcements(network: NetworkReport) -> str:
    rows = [
        [f"{each.at_ms:+,.1f} ms", escape(each.kind), escape(", ".join(each.witnessed_by)) or "–"]
        for each in network.announcements
    ]
    return _titled("Announcements, from STOP", ["at", "kind", "witnessed by"], rows, text=1)


def _connections(report: Report) -> str:
    """The ones that suffered most, as the taps saw them."""
    worst = sorted(report.connections or (), key=lambda each: (each.survived, -each.longest_silence_ms))
    rows = [
        [
            f"{escape(each.client)} → {escape(each.server)}",
            duration(each.longest_silence_ms),
            str(each.retransmissions),
            "survived" if each.survived else f'<span class="bad">{"reset" if each.resets else "no answer"}</span>',
        ]
        for each in worst[:CONNECTIONS_SHOWN]
    ]
    title = f"At the taps: {escape(verdict(report.connections, saw_all=report.saw_all))}"
    return _titled(title, ["connection", "longest silence", "sent again", "outcome"], rows)


def _titled(title: str, titles: Sequence[str], rows: Sequence[Sequence[str]], *, text: int = 99) -> str:
    if not rows:
        return ""
    return f'<div><h3>{title}</h3><div class="wide">{_table(titles, rows, text=text)}</div></div>'


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, text: int = 99) -> str:
    """Cells are HTML already; columns from `text` on hold words, not numbers."""
    kinds = [' class="text"' if number >= text else "" for number in range(len(titles))]
    head = "".join(f"<th{kind}>{escape(title)}</th>" for kind, title in zip(kinds, titles, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _fact(name: str, value: str) -> str:
    return f'<div class="fact"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def size(count: float) -> str:
    """For people: `512 B`, `14.2 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
