"""What QEMU says of itself, and whether KVM can be believed."""

# ruff: noqa: ASYNC240 - files here answer at once

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from godwit.core.errors import Failed
from godwit.core.model import Accelerator
from godwit.qemu import probe

from .conftest import BINARY

pytestmark = pytest.mark.anyio


def program(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.lab
async def test_qemu_tells_its_machines_and_models_by_version() -> None:
    facts = await probe.qemu_facts(BINARY, env={}, firmware_dir=None, accelerator=Accelerator.tcg)

    assert tuple(int(part) for part in facts.version.split(".")) >= (7, 2)
    assert "pc-q35-7.2" in facts.machines
    versions = [tuple(int(part) for part in name.removeprefix("pc-q35-").split(".")) for name in facts.machines]
    assert versions == sorted(versions, reverse=True)
    assert "Nehalem-v1" in facts.cpu_models
    assert not {"max", "host", "base", "qemu64", "EPYC-v1"} & set(facts.cpu_models)  # EPYC-v1 is too much for TCG
    assert facts.multifd
    assert facts.cpu_lacks["EPYC-v1"], "what TCG lacks for it is named"
    assert "Nehalem-v1" not in facts.cpu_lacks
    assert facts.most_cpus == 255, "what TCG gives"


@pytest.mark.lab
async def test_qemu_itself_names_a_device_that_cannot_move() -> None:
    words = [BINARY, "-nodefaults", "-no-user-config", "-display", "none", "-S", "-machine", "q35", "-accel", "tcg"]
    memory = ("-object", "memory-backend-ram,id=m,size=1M,share=on")
    device = ("-device", "ivshmem-plain,memdev=m,master=off")

    (blocked,) = await probe._ask([*words, *memory, *device], {}, ("query-migrate",))
    (free,) = await probe._ask(words, {}, ("query-migrate",))
    assert "ivshmem" in blocked["blocked-reasons"][0]
    assert "blocked-reasons" not in free


async def test_an_absent_qemu_is_named() -> None:
    with pytest.raises(Failed, match="no-such-qemu cannot be started"):
        await probe.qemu_facts("no-such-qemu", env={}, firmware_dir=None, accelerator=Accelerator.tcg)


async def test_an_old_qemu_is_refused_with_its_version(tmp_path: Path) -> None:
    old = program(tmp_path / "old", "echo QEMU emulator version 6.2.0")

    with pytest.raises(Failed, match=r"is QEMU 6\.2: godwit needs 7\.2"):
        await probe.qemu_facts(old, env={}, firmware_dir=None, accelerator=Accelerator.tcg)


async def test_a_qemu_that_does_not_start_says_why(tmp_path: Path) -> None:
    lame = program(tmp_path / "lame", '[ "$1" = --version ] && echo version 8.0 && exit; echo no such card >&2; exit 1')

    with pytest.raises(Failed, match="no such card"):
        await probe.qemu_facts(lame, env={}, firmware_dir=None, accelerator=Accelerator.tcg)


@pytest.mark.parametrize("choice", ["kvm", "tcg"])
async def test_a_choice_is_obeyed_unasked(tmp_path: Path, choice: str) -> None:
    chosen = await probe.accelerator(choice, binary="no-such-qemu", kernel=None, cache_dir=tmp_path)  # type: ignore[arg-type]

    assert chosen == choice
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/kvm").exists(), reason="there is no /dev/kvm to doubt")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("echo Kernel panic: Unable to mount root fs", Accelerator.kvm),
        ("echo SeaBIOS", Accelerator.tcg),
        ("exit 1", Accelerator.tcg),
    ],
)
async def test_kvm_is_believed_after_a_boot_only_and_asked_once(
    tmp_path: Path, answer: str, expected: Accelerator
) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.touch()
    qemu = program(
        tmp_path / "qemu", f'[ "$1" = --version ] && echo version 8.0 && exit; echo boot >> {tmp_path}/boots; {answer}'
    )

    asked = [probe.accelerator("auto", binary=qemu, kernel=kernel, cache_dir=tmp_path / "cache") for _ in range(5)]
    answers = await asyncio.gather(*asked)

    assert answers == [expected] * 5
    assert (tmp_path / "boots").read_text() == "boot\n"


@pytest.mark.skipif(not Path("/dev/kvm").exists(), reason="there is no /dev/kvm to doubt")
async def test_another_boot_of_the_host_asks_again(tmp_path: Path) -> None:
    kernel = tmp_path / "vmlinuz"
    kernel.touch()
    qemu = program(tmp_path / "qemu", '[ "$1" = --version ] && echo version 8.0 && exit; echo Unable to mount root fs')
    cache = tmp_path / "kvm.json"

    await probe.accelerator("auto", binary=qemu, kernel=kernel, cache_dir=tmp_path)
    known = json.loads(cache.read_text())
    known["key"][0], known["runs"] = "an earlier boot", False
    cache.write_text(json.dumps(known))

    assert await probe.accelerator("auto", binary=qemu, kernel=kernel, cache_dir=tmp_path) is Accelerator.kvm


async def test_a_cache_that_is_torn_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "kvm.json").write_text('{"key": [')

    assert probe._recalled(str(tmp_path / "kvm.json"), []) is None
