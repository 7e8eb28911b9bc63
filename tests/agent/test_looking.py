"""What an agent tells when it is asked to look closer: QEMU's answers and the kernel's, put into our words."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from godwit.agent.looking import Looking
from godwit.agent.vms import Vms
from godwit.contract.host import VmRef
from godwit.contract.looks import ExchangeFrames, LookAtFiles, SegmentProbe
from godwit.core.config import AgentConfig, Tls
from godwit.core.looked import FileLook, NodeLook, VmLook

NOTHING: dict[str, Any] = {"query-migrate": {}, "query-named-block-nodes": [], "query-chardev": []}


class Agent(Looking):
    """Its one VM answers from a table."""

    def __init__(self, answers: dict[str, Any]) -> None:
        nothing = Path("/nothing")
        tls = Tls(ca=nothing, certificate=nothing, key=nothing)
        self._config = AgentConfig(host="host-a", listen=("127.0.0.1:1",), migration_address="127.0.0.1", tls=tls)

        async def execute(command: str, **_: object) -> Any:
            return answers[command]

        machine = SimpleNamespace(monitor=SimpleNamespace(execute=execute), qemu_pid=os.getpid(), agent_socket=nothing)
        self._vms = cast(Vms, SimpleNamespace(get=lambda _: SimpleNamespace(machine=machine)))


def look(**answers: object) -> VmLook:
    asked = {name.replace("_", "-"): value for name, value in answers.items()}
    return asyncio.run(Agent(NOTHING | asked).look_at_vm(VmRef(name="web-1")))


def node(driver: str, **cache: bool) -> dict[str, Any]:
    modes = {"direct": True, "no-flush": False, "writeback": True}
    return {"drv": driver, "file": "/d/root.raw", "ro": False, "cache": modes | cache}


def test_what_qemu_cannot_move_is_told_in_its_words() -> None:
    assert look(query_migrate={"blocked-reasons": ["VFIO device"]}).blocked == ("VFIO device",)
    assert look().blocked == ()


def test_cache_modes_are_those_of_the_files() -> None:
    (found,) = look(query_named_block_nodes=[node("raw"), node("file", direct=False)]).nodes
    assert found == NodeLook(path="/d/root.raw", direct=False, flushes=True, writable=True)
    (found,) = look(query_named_block_nodes=[node("file", **{"no-flush": True})]).nodes
    assert not found.flushes


@pytest.mark.parametrize("is_open", [True, False])
def test_a_guest_agent_is_there_when_somebody_inside_has_opened_its_port(is_open: bool) -> None:
    channels = [{"label": "console", "frontend-open": True}, {"label": "agent", "frontend-open": is_open}]
    assert look(query_chardev=channels).has_guest_agent is is_open


def test_files_are_told_by_length_and_inode(tmp_path: Path) -> None:
    there, absent = tmp_path / "root.raw", tmp_path / "gone"
    there.write_bytes(b"four")

    looks = asyncio.run(Agent({}).look_at_files(LookAtFiles(paths=(str(there), str(absent), str(tmp_path)))))
    assert looks.files == (
        FileLook(path=str(there), size_bytes=4, inode=there.stat().st_ino),
        FileLook(path=str(absent)),
        FileLook(path=str(tmp_path)),
    )


def test_a_network_that_the_host_does_not_have_is_left_out() -> None:
    asked = ExchangeFrames(token="0" * 16, other="host-b", segments=(SegmentProbe(network="lan"),))
    assert asyncio.run(Agent({}).exchange_frames(asked)).segments == ()
