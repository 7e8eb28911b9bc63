"""`godwit doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from godwit.cli.examples import example
from godwit.cli.show import ManagerOption
from godwit.cli.units import parse_ms
from godwit.core.errors import Invalid, Refused

if TYPE_CHECKING:
    from godwit.diagnosis.finding import Diagnosis

app = typer.Typer()

CAPTURE_HELP = "A pcap or pcapng file; give one for each place where you captured, of the same time."


@app.command(
    epilog=example(
        "godwit doctor",
        "godwit doctor --host host-a --repair",
        "godwit doctor --capture mirror.pcap",
        "godwit doctor --capture host-a.pcap --capture host-b.pcap --mac 52:54:00:12:34:56 --html doctor.html",
    )
)
def doctor(
    capture: Annotated[list[Path] | None, typer.Option("--capture", metavar="FILE", help=CAPTURE_HELP)] = None,
    mac: Annotated[
        list[str] | None, typer.Option(metavar="MAC", help="Look at this VM; else at all that seem to have moved.")
    ] = None,
    heartbeat: Annotated[
        str | None, typer.Option(metavar="TIME", help="The longest silence that the VM's cluster bears, such as 5s.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of captures: write a page for a browser there.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Look at this host only.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Remove leftovers, where that is safe.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the diagnosis as JSON.")] = False,
    manager: ManagerOption = None,
) -> None:
    """Say what is wrong with hosts and their networks, or from captures why clients lost a VM that moved.

    Without --capture hosts send each other probe frames, and are searched for what migrations left there.

    Exit status: 0 nothing found, 1 findings, 2 wrong input.
    """
    if not capture:
        _refuse(
            ("--mac", mac),
            ("--heartbeat", heartbeat),
            ("--html", html),
            why="is about captures: name one with --capture",
        )
        from godwit.cli.host_doctor import examine

        if examine(host, repair=repair, json=json, manager=manager):
            raise typer.Exit(1)
        return
    _refuse(("--host", host), ("--repair", repair), why="is about hosts, not captures: leave it out, or --capture")
    from godwit.cli.diagnosis_text import print_diagnosis
    from godwit.cli.show import print_json

    diagnosis = _diagnose(capture, [_mac(each) for each in mac or ()], heartbeat)
    if html:
        _write_html(diagnosis, html)
    if json:
        print_json(diagnosis)
    elif not html:
        print_diagnosis(diagnosis)
    if diagnosis.findings:
        raise typer.Exit(1)


def _refuse(*words: tuple[str, object], why: str) -> None:
    """Else somebody would believe that what was ignored was heeded."""
    for name, value in words:
        if value:
            raise Invalid(f"{name} {why}")


def _diagnose(files: list[Path], macs: list[bytes], heartbeat: str | None) -> Diagnosis:
    from godwit.diagnosis.diagnose import diagnose
    from godwit.diagnosis.gather import Source

    limit_ms = parse_ms(heartbeat) if heartbeat else None
    with ExitStack() as opened:
        try:
            sources = [Source(_name(each, files), opened.enter_context(each.open("rb"))) for each in files]
            return diagnose(sources, macs=macs, heartbeat_ms=limit_ms)
        except OSError as error:
            name = error.filename or "a capture"
            raise Refused(f"{name} cannot be read: {error.strerror}; name another with --capture", "capture") from error


def _name(file: Path, files: list[Path]) -> str:
    """As short as it can be without being another's."""
    return file.name if sum(each.name == file.name for each in files) == 1 else str(file)


def _mac(text: str) -> bytes:
    digits = text.replace(":", "").replace("-", "").replace(".", "")
    try:
        mac = bytes.fromhex(digits)
    except ValueError:
        mac = b""
    if len(mac) != 6:
        raise Invalid(f"{text} is no MAC address: write it like 52:54:00:12:34:56")
    return mac


def _write_html(diagnosis: Diagnosis, file: Path) -> None:
    from godwit.client.picture_diagnosis import diagnosis_html

    try:
        file.write_text(diagnosis_html(diagnosis), encoding="utf-8")
    except OSError as error:
        raise Refused(f"{file} cannot be written: {error.strerror}; name another file with --html", "html") from error
