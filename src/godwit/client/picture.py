"""The report as one page of HTML that needs nothing else: for the screen, light or dark, and for paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from godwit.client.picture_scale import duration
from godwit.client.picture_svg import blackout_svg, latency_svg
from godwit.client.picture_tables import clients_table, migration_section
from godwit.client.picture_values import ClientRow, Series, blackouts
from godwit.core.report import Report

STYLE = """
:root{--ground:#fff;--panel:#f6f8fa;--ink:#1c2530;--soft:#5b6773;--line:#dfe5eb;
--good:#0f7b5f;--bad:#c92a2a;--bar:#d9480f;color-scheme:light dark}
@media screen and (prefers-color-scheme:dark){:root{--ground:#12171d;--panel:#1a2129;--ink:#e6ebf1;--soft:#9aa6b3;
--line:#2b343f;--good:#3ec9a0;--bad:#ff8787;--bar:#ff922b}}
*{box-sizing:border-box}
body{margin:0 auto;padding:32px 20px 64px;max-width:1020px;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,sans-serif;-webkit-print-color-adjust:exact;print-color-adjust:exact}
h1{font-size:26px;margin:0 0 2px}
h2{font-size:18px;margin:40px 0 10px}
h3{font-size:14px;margin:22px 0 6px;color:var(--soft)}
p{margin:4px 0}
.soft{color:var(--soft)}
.good{color:var(--good);font-weight:600}
.bad{color:var(--bad);font-weight:600}
svg{display:block;width:100%;height:auto}
.plot{border:1px solid var(--line);border-radius:8px;padding:8px;margin:8px 0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:8px;margin:8px 0}
.fact{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:8px 12px}
.fact b{display:block;font-size:20px;font-variant-numeric:tabular-nums}
.fact span{color:var(--soft);font-size:13px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
td{font-variant-numeric:tabular-nums}
th{color:var(--soft);font-weight:600}
th:first-child,td:first-child,td.text,th.text{text-align:left}
td.text{white-space:normal}
.bar{display:block;height:3px;margin-top:2px;margin-left:auto;background:var(--bar);border-radius:2px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr));gap:0 32px;align-items:start}
section,.plot,table{break-inside:avoid}
"""


def report_html(migrations: Sequence[Report], clients: Sequence[ClientRow], series: Sequence[Series]) -> str:
    """A whole page about these migrations; without clients or series it tells of the migrations alone."""
    parts = [_head(migrations, clients)]
    if any(each.points for each in series):
        parts.append(_overview(migrations, series))
    if clients:
        parts.append(
            f'<section><h2>Connections</h2><div class="wide">{clients_table(clients)}</div>{_honesty()}</section>'
        )
    for each in migrations:
        parts.append(migration_section(each, _detail(each, series)))
    title = escape(_title(migrations))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body>{''.join(parts)}</body></html>\n"
    )


def _title(migrations: Sequence[Report]) -> str:
    names = sorted({each.vm for each in migrations})
    return f"Live migration of {', '.join(names)}" if names else "Live migration"


def _head(migrations: Sequence[Report], clients: Sequence[ClientRow]) -> str:
    way = " → ".join([each.source for each in migrations[:1]] + [each.destination for each in migrations])
    when = f"{migrations[0].started_at:%Y-%m-%d %H:%M:%S %Z}" if migrations else ""
    lines = [f'<h1>{escape(_title(migrations))}</h1><p class="soft">{escape(way)} · {escape(when)}</p>']
    if clients:
        kept = sum(each.survived and each.verified for each in clients)
        words = f"{kept} of {len(clients)} connections survived with every answer right"
        lines.append(f'<p class="{"good" if kept == len(clients) else "bad"}">{words}</p>')
    return "".join(lines)


def _overview(migrations: Sequence[Report], series: Sequence[Series]) -> str:
    picture = latency_svg(series, blackouts(migrations), width=960, height=300)
    return (
        '<section><h2>Time to answer, as the clients saw it</h2><p class="soft">The slowest answer of each moment, on '
        f'a logarithmic scale. Bands: the VM stood still.</p><div class="plot">{picture}</div></section>'
    )


def _detail(report: Report, series: Sequence[Series]) -> str:
    marks = blackouts([report])
    if not marks or not any(each.points for each in series):
        return ""
    picture = blackout_svg(series, marks[0], width=960, height=260)
    error = report.clock_error_ms
    bound = f" The two hosts' clocks are compared to within {duration(error)}." if error is not None else ""
    return (
        '<h3>The blackout, close up</h3><p class="soft">Milliseconds from STOP. Each line is one request, from its '
        f'sending to its answer (the dot), as high as it was long.{bound}</p><div class="plot">{picture}</div>'
    )


def _honesty() -> str:
    return (
        '<p class="soft">Silence: the longest time between two signs of progress on that connection, with the '
        "client's own pause between requests and any delay of the machine that runs it. Sent again: by the "
        "client's kernel; in brackets those that the server already had.</p>"
    )
