"""A storage network that breaks: beside a VM, whose move is refused before anything is touched, and under one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.disks import MIB, disk_path, go

from godwit.core.resources import DiskRequest, NicRequest, VmRequest
from godwit.lab.scenario import Scenario, wait_until
from godwit.lab.settings import Settings
from godwit.lab.traffic_records import missing_records

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.lab,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("tgtd") or not shutil.which("iscsi-ls"), reason="needs tgt and libiscsi-bin"),
]


@pytest.fixture(scope="module")
def lab() -> Iterator[Scenario]:
    """`web` runs on host-a, its disk a unit."""
    settings = Settings(storage_node=True)
    with tempfile.TemporaryDirectory(prefix="gw") as directory, Scenario(Path(directory), settings) as lab:
        disk = DiskRequest(name="journal", size_bytes=48 * MIB, datastore="san")
        nics = (NicRequest(network="lan"),)
        lab.client.create_vm(VmRequest(name="web", memory_mib=256, nics=nics, disks=(disk,), host="host-a"))
        lab.wait_ready("web")
        yield lab


def sees(lab: Scenario, host: str) -> bool:
    """By what it told just now; a host looks at a target every ten seconds."""
    lab.client.check("web", "host-a" if lab.client.vm("web").host == "host-b" else "host-b")
    facts = lab.client.host(host).facts
    return facts is not None and any(each.name == "san" for each in facts.datastores)


def test_a_host_that_does_not_see_the_unit_is_refused_before_anything_is_touched(lab: Scenario) -> None:
    lab.fault("storage-link-down:host-b", on=True)
    wait_until("host-b does not see it", lambda: not sees(lab, "host-b"))
    done = lab.run("migrate", "web", "host-b")
    lab.fault("storage-link-down:host-b", on=False)
    wait_until("host-b sees it", lambda: sees(lab, "host-b"))

    assert (done.status, "host-b does not see datastore 'san'" in done.err) == (2, True), done
    assert lab.where_it_runs("web") == ("host-a",)
    go(lab, "host-b")


def test_a_vm_goes_on_when_its_storage_is_back_and_can_be_moved(lab: Scenario) -> None:
    """Its writes wait meanwhile; no acknowledged one is lost."""
    with lab.traffic("web", kinds=("records",)) as traffic:
        lab.fault("storage-link-down:host-b", on=True)
        wait_until("host-b does not see it", lambda: not sees(lab, "host-b"))
        lab.fault("storage-link-down:host-b", on=False)
        wait_until("host-b sees it", lambda: sees(lab, "host-b"))
        go(lab, "host-a")
        (records,) = traffic.stop().clients

    lab.demand("vm", "stop", "web", "--grace", "0s")
    assert (records.survived, records.verified, records.error) == (True, True, None)
    assert missing_records(disk_path(lab), records.last_record) == []
