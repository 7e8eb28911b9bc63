"""Disks whose datastore is read-only, full, filled meanwhile or gone: refused, or the VM runs on where it was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.lab.disks import assert_whole, files, go, lab_with_disks

from godwit.core.phase import Phase
from godwit.lab.scenario import Scenario, wait_until
from godwit.lab.settings import Settings

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.lab,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("tgtd") or not shutil.which("iscsi-ls"), reason="needs tgt and libiscsi-bin"),
]

AT_A = ["host-a/data.qcow2", "host-a/journal.raw"]
SLOW = ("--bandwidth", "80mbit")
ROOM_MIB = 110
"""More than both disks at their full size, which is 96 MiB."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    with lab_with_disks(Settings(storage_node=True)) as scenario:
        yield scenario


def run_in(lab: Scenario, host: str, *words: str) -> str:
    done = subprocess.run([*lab.look().node(host).enter, *words], capture_output=True, text=True, check=True)
    return done.stdout


@contextmanager
def small(lab: Scenario, host: str, directory: Path, *options: str) -> Iterator[Path]:
    """A file system with little room lies there, as that host sees it."""
    directory.mkdir(exist_ok=True)
    mount = ",".join((f"size={ROOM_MIB}m", *options))
    run_in(lab, host, "mount", "-t", "tmpfs", "-o", mount, "small", str(directory))
    try:
        if not options and not _opens_directly(lab, host, directory):
            pytest.skip("this kernel's tmpfs cannot be opened past the page cache")
        yield directory
    finally:
        run_in(lab, host, "umount", "-l", str(directory))


def _opens_directly(lab: Scenario, host: str, directory: Path) -> bool:
    words = ["dd", "if=/dev/zero", f"of={directory}/probe", "bs=4k", "count=1", "oflag=direct"]
    done = subprocess.run([*lab.look().node(host).enter, *words], capture_output=True, check=False)
    run_in(lab, host, "rm", "-f", f"{directory}/probe")
    return done.returncode == 0


def local(lab: Scenario, host: str) -> Path:
    """That host's own datastore."""
    return lab.lab.data_dir / host / "local"


def sees(lab: Scenario, host: str) -> bool:
    """By what it told just now; a host looks at a target every ten seconds."""
    facts = lab.client.host(host).facts
    return facts is not None and any(each.name == "san" for each in facts.datastores)


def fill(lab: Scenario, host: str, directory: Path) -> None:
    """Somebody else takes all that is free there."""
    run_in(lab, host, "sh", "-c", f"dd if=/dev/zero of={directory}/ballast bs=64k || true")


def test_a_read_only_datastore_is_refused(lab: Scenario) -> None:
    with small(lab, "host-b", local(lab, "host-b"), "ro"):
        done = lab.run("migrate", "web", "host-b", "--datastore", "local")

    assert (done.status, "cannot write into datastore 'local'" in done.err) == (2, True), done
    assert files(lab) == AT_A


def test_one_with_too_little_room_is_refused(lab: Scenario) -> None:
    with small(lab, "host-b", local(lab, "host-b")) as directory:
        fill(lab, "host-b", directory)
        done = lab.run("migrate", "web", "host-b", "--datastore", "local")

    assert (done.status, "journal, data need 96 MiB" in done.err) == (2, True), done


@pytest.mark.parametrize("stays", [False, True])
def test_one_that_is_filled_meanwhile_ends_the_copying_and_the_vm_runs_on(lab: Scenario, stays: bool) -> None:
    """On the other host, and beside it on its own."""
    host, directory = ("host-a", lab.lab.data_dir / "aside") if stays else ("host-b", local(lab, "host-b"))
    with small(lab, host, directory), lab.traffic("web", kinds=("records",)) as traffic:
        if stays:
            lab.demand("datastore", "add", "aside", "--path", str(directory))
        where = ("--datastore", "aside") if stays else ("host-b", "--datastore", "local")
        moving = lab.start("migrate", "web", *where, *SLOW)
        wait_until("disks go", lambda: _is_copying(lab))
        fill(lab, host, directory)
        done = moving.end()
        (records,) = traffic.stop().clients
        left = run_in(lab, host, "find", str(directory), "-type", "f", "-path", "*/web/*")
    if stays:
        lab.demand("datastore", "remove", "aside")

    assert done.status == 1, done
    assert re.search("disk (journal|data) could not be copied", done.err), done
    assert (records.survived, records.verified, records.error) == (True, True, None)
    assert left == ""
    assert files(lab) == AT_A
    assert lab.where_it_runs("web") == ("host-a",)
    lab.wait_tidy()


def _is_copying(lab: Scenario) -> bool:
    id = lab.client.vm("web").migration
    return id is not None and bool((progress := lab.client.migration(id).progress) and progress.transferred_bytes)


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_target_that_is_gone_while_disks_go_there(lab: Scenario, comes_back: bool) -> None:
    """The copying goes on when it is back, and is given up when it is not; the VM runs on."""
    wait_until("host-b sees the target", lambda: sees(lab, "host-b"))
    moving = lab.begin("web", "host-b", "--datastore", "san", *SLOW)
    lab.fault("storage-link-down:host-b", on=True)
    try:
        assert any("stands still" in each.text for each in lab.client.events(moving.id))
        lab.fault("storage-link-down:host-b", on=not comes_back)
        done, migration = moving.end()
    finally:
        lab.mend()

    if comes_back:
        assert (migration.phase, done.status) == (Phase.done, 0), done
        go(lab, "host-a", "--datastore", "local")
    else:
        assert (migration.phase, done.status) == (Phase.failed, 1), done
        assert "the storage on both sides" in done.err, done
    lab.wait_tidy()
    assert [each.rpartition(".")[0] for each in files(lab)] == ["host-a/data", "host-a/journal"]
    assert lab.where_it_runs("web") == ("host-a",)


def test_afterwards_all_is_there(lab: Scenario) -> None:
    """After the tests before this one it goes, and what it holds is whole."""
    with lab.traffic("web", kinds=("records",)) as traffic:
        go(lab, "host-b", "--datastore", "local")
        (records,) = traffic.stop().clients
    lab.demand("vm", "stop", "web", "--grace", "0s")
    assert_whole(lab, records.last_record)
    assert os.path.isdir(local(lab, "host-b") / "web")
