"""What the demo found, as values and as text: for the terminal, for programs, and for the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from godwit.client.picture_scale import duration
from godwit.client.picture_tables import size
from godwit.client.picture_terminal import terminal_plot
from godwit.client.picture_values import ClientRow, Series, blackouts
from godwit.core.report import Report
from godwit.lab.traffic_result import ClientSummary, TrafficResult

PLOTTED = "echo"
PLOT_ROWS = 8


def document(migrations: Sequence[Report], result: TrafficResult) -> dict[str, Any]:
    """`report.json`."""
    return {
        "migrations": [each.model_dump(mode="json") for each in migrations],
        "clients": [each.model_dump(mode="json") for each in result.clients],
    }


def shortcomings(migrations: Sequence[Report], result: TrafficResult) -> list[str]:
    """Each reason why the demo did not succeed; empty if it did."""
    found = [f"{each.id} ended as {each.outcome}: {each.error}" for each in migrations if each.outcome != "done"]
    for each in result.clients:
        if not each.survived:
            found.append(f"the connection of {each.name} broke: {each.error}")
        elif not each.verified:
            found.append(f"{each.name} got wrong data: {each.error}")
    return found


def rows(result: TrafficResult) -> list[ClientRow]:
    """The clients as the page shows them."""
    return [
        ClientRow(
            name=each.name,
            survived=each.survived,
            verified=each.verified,
            error=each.error,
            stalls_ms=tuple((window.name, window.stall_ms) for window in each.windows),
            operations=each.operations,
            retransmissions=each.retransmissions,
            spurious_retransmissions=each.spurious_retransmissions,
            congestion_control=each.congestion_control,
        )
        for each in result.clients
    ]


def series(result: TrafficResult) -> list[Series]:
    """Their answers over time, as the page shows them."""
    return [Series(name=each.client, points=each.points) for each in result.samples]


def summary(migrations: Sequence[Report], result: TrafficResult, *, width: int) -> str:
    """What a person wants to know, on one screen."""
    plotted = [each for each in series(result) if each.name == PLOTTED]
    parts = [_columns(_migrations(migrations)), _columns(_clients(result.clients))]
    parts.append(f"time to answer ({PLOTTED}); ▲ the VM stood still")
    parts.append(terminal_plot(plotted, blackouts(migrations), width=width, height=PLOT_ROWS))
    return "\n".join(["", *"\n\n".join(parts[:2]).split("\n"), "", *parts[2:], ""])


def _migrations(migrations: Sequence[Report]) -> Iterable[Sequence[str]]:
    yield ("migration", "blackout", "total", "sent", "passes", "outcome")
    for each in migrations:
        blackout = "none" if each.blackout_ms is None else duration(each.blackout_ms)
        sent = size(each.transferred_bytes)
        way = f"{each.source} → {each.destination}"
        yield (way, blackout, duration(each.total_ms), sent, str(len(each.passes)), each.outcome)


def _clients(clients: Sequence[ClientSummary]) -> Iterable[Sequence[str]]:
    windows = [each.name for each in clients[0].windows] if clients else []
    yield ("longest silence", *windows, "answers", "sent again", "connection")
    for each in clients:
        stalls = [duration(window.stall_ms) for window in each.windows]
        again = f"{each.retransmissions}" if each.congestion_control else "–"
        kept = "survived" if each.survived else "BROKE"
        right = "data right" if each.verified else "WRONG DATA"
        yield (each.name, *stalls, f"{each.operations}", again, f"{kept}, {right}")


def _columns(lines: Iterable[Sequence[str]]) -> str:
    table = list(lines)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in (0, last) else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    )
