"""The demo: a VM with a real Redis moves there and back while four clients talk to it, and the proof is written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter

from godwit.client.picture import report_html
from godwit.core.errors import Cancelled, Failed, GodwitError, Refused
from godwit.core.migration import Migration
from godwit.core.report import Report
from godwit.lab import lifecycle
from godwit.lab.demo_report import document, rows, series, shortcomings, summary
from godwit.lab.image import default_cache, ensure_image
from godwit.lab.places import find_lab
from godwit.lab.settings import Settings
from godwit.lab.shell import run
from godwit.lab.traffic import Traffic
from godwit.lab.traffic_process import shown
from godwit.lab.traffic_result import TrafficResult

VM = "demo"
ADDRESS = "10.90.0.50"
HOSTS = ("host-a", "host-b")
GODWIT = str(Path(sys.executable).with_name("godwit"))
NODE = (GODWIT, "lab", "exec", "client", "--")
BULK_MBIT = 20
"""Of the download: what an emulated CPU serves without making the other clients wait."""
QUIET_S = 3.0
CREATE_S = 60.0
ANSWER_S = 30.0


def demo(*, keep: bool = False, migrations: int = 2, out: Path = Path("build/demo")) -> int:
    """The exit status: 0 only if every migration was done and every client survived it with the right data.

    `out` holds `report.json` and `report.html`. A lab that was not up before is down again, a VM that this demo
    made is gone, unless `keep`; also after a failure and after Ctrl-C (status 130).
    """
    try:
        _demand_directory(out)
        with _lab(keep=keep) as is_ours, _vm(delete=not keep and not is_ours):
            reports, result = _moves(migrations)
        return _conclude(reports, result, out)
    except (KeyboardInterrupt, Cancelled):
        _say("interrupted; what it started " + ("stays" if keep else "is gone"))
        return Cancelled.exit_status
    except GodwitError as error:
        print(f"godwit: {error.message}", file=sys.stderr)
        return error.exit_status


@contextmanager
def _lab(*, keep: bool) -> Iterator[bool]:
    """A lab is up; whether it was made for this demo, and is down again at the end."""
    lab = find_lab()
    is_ours = lab.running() is None
    try:
        if is_ours:
            lifecycle.up(lab, Settings(), _say)
        yield is_ours
    finally:
        if is_ours and not keep:
            lifecycle.down(lab)


@contextmanager
def _vm(*, delete: bool) -> Iterator[None]:
    """The VM runs, and is deleted at the end; it ends by itself with a lab that goes down."""
    _say(f"starting VM {VM} with Redis on {HOSTS[0]}")
    size = ("--memory", "256MiB", "--cpus", "1", "--network", "lan", "--ip", f"{ADDRESS}/24")
    try:
        run([GODWIT, "vm", "create", VM, "--image", "base", *size, "--host", HOSTS[0]], timeout_s=CREATE_S)
    except KeyboardInterrupt:
        if delete:
            _delete()
        raise
    try:
        yield
    finally:
        if delete:
            _delete()


def _delete() -> None:
    try:
        run([GODWIT, "vm", "stop", VM, "--grace", "0s"], timeout_s=CREATE_S)
        run([GODWIT, "vm", "delete", VM], timeout_s=CREATE_S)
    except GodwitError as error:
        _say(f"VM {VM} is left: {error.message}")


def _moves(count: int) -> tuple[list[Report], TrafficResult]:
    key = ensure_image("base", cache=default_cache(), progress=_say) / "id_ed25519"
    _say("waiting for the guest to answer four clients: redis, echo, bulk download, ssh")
    with Traffic(ADDRESS, node=NODE, key=key, options=[f"--rate-mbit={BULK_MBIT}"]) as traffic:
        time.sleep(QUIET_S)
        ids = []
        for number in range(count):
            destination = HOSTS[(number + 1) % len(HOSTS)]
            traffic.mark(f"to {destination}" if number < len(HOSTS) else f"to {destination} #{number + 1}")
            ids.append(_migrate(destination))
            time.sleep(QUIET_S)
        result = traffic.stop()
    return [_report(each) for each in ids], result


def _migrate(destination: str) -> str:
    """The VM lives there now; the migration's id."""
    _say(f"godwit migrate {VM} {destination}")
    status = shown([GODWIT, "migrate", VM, destination])
    if status in (Cancelled.exit_status, -signal.SIGINT):
        raise Cancelled(f"the migration of {VM} to {destination} was cancelled: it runs where it was")
    if status != 0:
        raise Failed(f"the migration of {VM} to {destination} ended with status {status}: see what it said above")
    listed = run([GODWIT, "migration", "list", "--json"], timeout_s=ANSWER_S)
    known = TypeAdapter(list[Migration]).validate_json(listed)
    return max((each for each in known if each.vm == VM), key=lambda each: each.started_at).id


def _report(migration: str) -> Report:
    return Report.model_validate_json(run([GODWIT, "migration", "report", migration, "--json"], timeout_s=ANSWER_S))


def _demand_directory(out: Path) -> None:
    """It can be written into: better known before than after."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{out} cannot be made: {error.strerror}; name another directory with --out", "html") from error
    if not os.access(out, os.W_OK):
        raise Refused(f"{out} cannot be written: name another directory with --out", "html")


def _conclude(reports: list[Report], result: TrafficResult, out: Path) -> int:
    (out / "report.json").write_text(json.dumps(document(reports, result), indent=2) + "\n")
    (out / "report.html").write_text(report_html(reports, rows(result), series(result)))
    print(summary(reports, result, width=min(shutil.get_terminal_size().columns, 120)))
    print(f"written: {out / 'report.json'} and {out / 'report.html'}")
    problems = shortcomings(reports, result)
    for each in problems:
        print(f"godwit: {each}", file=sys.stderr)
    return 1 if problems else 0


def _say(line: str) -> None:
    print(f"demo: {line}", flush=True)
