"""A diagnosis as one page of HTML that needs nothing else: findings, and a timeline with a lane for each place."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from godwit.client.picture import STYLE
from godwit.diagnosis.finding import Diagnosis, Entry, Finding, VmSeen

WIDTH, LANE, LEFT = 960.0, 30.0, 200.0
LANES_MAX = 40


def diagnosis_html(diagnosis: Diagnosis) -> str:
    """A whole page."""
    title = "What the captures tell"
    head = f'<h1>{title}</h1><p class="soft">{escape(", ".join(diagnosis.captures))} · {diagnosis.packets} packets</p>'
    words = "nothing wrong found" if not diagnosis.findings else f"{len(diagnosis.findings)} findings"
    head += f'<p class="{"bad" if diagnosis.findings else "good"}">{words}</p>'
    head += "".join(f'<p class="soft">{escape(each)}</p>' for each in diagnosis.problems)
    body = "".join((head, *map(_finding, diagnosis.findings), *map(_vm, diagnosis.vms)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{title}</title><style>{STYLE}.label{{font:12px system-ui;fill:var(--soft)}}"
        ".lane{stroke:var(--line)}.dot{fill:var(--good)}.hit{fill:var(--bad)}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def _finding(finding: Finding) -> str:
    shown = "".join(
        f'<p class="soft">packets {", ".join(map(str, each.packets))} of {escape(each.place)}</p>'
        for each in finding.evidence
    )
    led = "".join(f"<p>led to: {escape(each)}</p>" for each in finding.led_to)
    advice = finding.advice
    rows = (
        ("Linux bridge", advice.linux_bridge),
        ("Open vSwitch", advice.open_vswitch),
        ("vSphere (documentation, not tried)", advice.vsphere),
        ("physical switch", advice.physical_switch),
    )
    changes = "".join(f'<tr><td>{name}</td><td class="text">{escape(text)}</td></tr>' for name, text in rows if text)
    return (
        f'<section><h2><span class="bad">{escape(finding.code)}</span> {escape(finding.severity.value)}</h2>'
        f"<p>{escape(finding.what)}</p>{shown}{led}<h3>What to change</h3><table>{changes}</table></section>"
    )


def _vm(vm: VmSeen) -> str:
    if not vm.timeline:
        return ""
    return (
        f"<section><h2>{escape(vm.mac)} {escape(' '.join(vm.addresses))}</h2>"
        f'<div class="plot">{_lanes(vm.timeline)}</div>{_entries(vm.timeline)}</section>'
    )


def _lanes(entries: Sequence[Entry]) -> str:
    """Time from left to right, a lane for each place."""
    places = list(dict.fromkeys(each.place or "connections" for each in entries))[:LANES_MAX]
    start_ms, end_ms = entries[0].at_ms, max(entries[-1].at_ms, entries[0].at_ms + 1.0)
    height = LANE * (len(places) + 1)
    parts = []
    for number, place in enumerate(places):
        y = LANE * (number + 0.5)
        parts.append(f'<text class="label" x="4" y="{y + 4:.1f}">{escape(place[:30])}</text>')
        parts.append(f'<line class="lane" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for entry in entries:
        place = entry.place or "connections"
        if place in places:
            x = LEFT + 8 + (WIDTH - LEFT - 16) * (entry.at_ms - start_ms) / (end_ms - start_ms)
            y = LANE * (places.index(place) + 0.5)
            kind = "hit" if entry.is_bad else "dot"
            title = f"<title>{escape(entry.event)}</title>"
            parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4">{title}</circle>')
    end = f'<text class="label" x="{WIDTH - 80:.0f}" y="{height - 8:.0f}">{(end_ms - start_ms) / 1000:.3g} s</text>'
    return f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}">{"".join(parts)}{end}</svg>'


def _entries(entries: Sequence[Entry]) -> str:
    zero_ms = entries[0].at_ms
    rows = "".join(
        f'<tr><td>{each.at_ms - zero_ms:+,.1f} ms</td><td class="text">{escape(each.place)}</td>'
        f'<td>{each.packet or ""}</td><td class="text">{escape(each.event)}</td></tr>'
        for each in entries
    )
    return f'<div class="wide"><table>{rows}</table></div>'
