"""The backported QEMU: which sources it comes from, what the cache keeps, and the real one with a guest in it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from godwit.core.config import AgentConfig
from godwit.core.errors import Failed, Unreachable
from godwit.core.model import Accelerator, Image, Pinned, VmSpec
from godwit.lab import image, qemu_tree, shell
from godwit.lab.configs import Outfit, equip
from godwit.lab.image_recipe import READY_LINE
from godwit.lab.places import Lab
from godwit.lab.qemu_tree import backports_sources, fetch_qemu
from godwit.lab.settings import QEMU_IN_TREE, Settings
from godwit.lab.topology import Topology
from godwit.qemu.cmdline import Launch
from godwit.qemu.machine import Machine
from godwit.qemu.probe import qemu_facts

_START_S = 60.0
_BOOT_S = 120.0

_LINES = """\
# deb http://one.example/debian calm main
deb [arch=amd64 signed-by=/keys/one.gpg] http://one.example/debian calm main contrib  # first
deb http://one.example/debian calm-updates main
deb-src http://one.example/debian calm main
deb http://two.example/tools tools-calm main
"""
_STANZAS = """\
Types: deb deb-src
# where it was made from
URIs: http://three.example/debian
Suites: calm
 calm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd

Enabled: no
Types: deb
URIs: http://four.example/debian
Suites: calm
Components: main

Types: deb
URIs: http://five.example/debian-security
Suites: calm-security
Components: main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """What /etc/apt may look like, with nothing in it yet."""
    (tmp_path / "etc/sources.list.d").mkdir(parents=True)
    return tmp_path / "etc"


def test_a_line_of_the_release_is_repeated_with_its_backports(etc: Path) -> None:
    (etc / "sources.list").write_text(_LINES)
    (etc / "sources.list.d/off.list.disabled").write_text("deb http://six.example/debian calm main\n")
    assert backports_sources(etc, "calm")["machine.list"].splitlines() == [
        "deb [arch=amd64 signed-by=/keys/one.gpg] http://one.example/debian calm main contrib  # first",
        "deb [arch=amd64 signed-by=/keys/one.gpg] http://one.example/debian calm-backports main contrib  # first",
    ]


def test_a_stanza_of_the_release_gets_its_backports_and_keeps_its_key(etc: Path) -> None:
    (etc / "sources.list.d/machine.sources").write_text(_STANZAS)
    assert backports_sources(etc, "calm")["machine.sources"].splitlines() == [
        "types: deb",
        "uris: http://three.example/debian",
        "suites: calm calm-backports",
        "components: main",
        "signed-by:",
        " -----BEGIN PGP PUBLIC KEY BLOCK-----",
        " .",
        " abcd",
    ]


def test_without_a_source_of_the_release_there_are_no_backports(etc: Path) -> None:
    (etc / "sources.list").write_text(_LINES)
    with pytest.raises(Unreachable, match=r"no apt source .* is of storm"):
        backports_sources(etc, "storm")


@pytest.fixture
def calm(etc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of a release whose packages cannot be had: there is no apt-get."""
    (etc / "sources.list").write_text(_LINES)
    monkeypatch.setattr(qemu_tree, "ETC", etc)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"VERSION_CODENAME": "calm"})
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("calm")
def test_without_packages_there_is_no_tree_and_nothing_half_done(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="calm-backports has no QEMU for this machine or cannot be reached"):
        fetch_qemu(cache=tmp_path / "cache", progress=lambda line: None)
    assert [path.name for path in (tmp_path / "cache/qemu").iterdir()] == [".lock"]


@pytest.mark.usefixtures("calm")
def test_a_tree_that_is_there_is_used_without_packages(tmp_path: Path) -> None:
    program = tmp_path / "cache/qemu/99.0" / QEMU_IN_TREE
    program.parent.mkdir(parents=True)
    program.touch()
    (tmp_path / "cache/qemu/calm-backports").symlink_to("99.0")
    said: list[str] = []
    assert fetch_qemu(cache=tmp_path / "cache", progress=said.append) == tmp_path / "cache/qemu/99.0"
    assert said == []


def test_a_cache_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    with pytest.raises(Failed, match="set XDG_CACHE_HOME"):
        fetch_qemu(cache=tmp_path / "cache", progress=lambda line: None)


@pytest.fixture(scope="module")
def tree() -> Path:
    """The real one."""
    try:
        return fetch_qemu(cache=image.default_cache(), progress=lambda line: print(line, file=sys.stderr))
    except Unreachable as obstacle:
        pytest.skip(str(obstacle))


@pytest.fixture
def config(tree: Path, tmp_path: Path) -> AgentConfig:
    """What the lab tells an agent that is to use this tree, its firmware gathered."""
    lab = Lab("try", run_dir=tmp_path / "run", data_dir=tmp_path / "data")
    lab.data_dir.mkdir()
    plan = Topology(Settings(qemu={"host-b": tree}))
    equip(Outfit(lab, plan, {"base": tmp_path}, tmp_path, memory_mib=1024), lambda line: None)
    return AgentConfig.model_validate(tomllib.loads(lab.config_of("host-b").read_text()))


@pytest.mark.lab
def test_every_library_of_qemu_and_its_modules_is_in_the_tree(tree: Path, config: AgentConfig) -> None:
    modules = sorted(Path(config.qemu_env["QEMU_MODULE_DIR"]).glob("*.so"))
    assert {"block-iscsi.so", "block-rbd.so"} <= {module.name for module in modules}
    words = ["ldd", config.qemu, *map(str, modules)]
    needed = [line for line in shell.run(words, env=_env(config), timeout_s=60).splitlines() if "=>" in line]
    outside = {line.split()[0] for line in needed if str(tree) not in line}
    assert outside <= {"libc.so.6", "libm.so.6", "libpthread.so.0", "libresolv.so.2"}  # all the C library's own


@pytest.mark.lab
def test_the_program_says_its_version(config: AgentConfig) -> None:
    assert "emulator version" in shell.run([config.qemu, "--version"], env=_env(config), timeout_s=60)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="gw") as directory:
        yield Path(directory) / "vm"


@pytest.mark.lab
@pytest.mark.anyio
async def test_it_boots_the_guest_as_the_machine_of_the_installed_one(config: AgentConfig, run_dir: Path) -> None:
    facts = await qemu_facts(
        config.qemu, env=config.qemu_env, firmware_dir=config.qemu_firmware_dir, accelerator=Accelerator.tcg
    )
    assert "pc-q35-7.2" in facts.machines
    launch = Launch(
        binary=config.qemu,
        firmware_dir=config.qemu_firmware_dir,
        run_dir=run_dir,
        spec=_spec(image.ensure_image("base", cache=image.default_cache(), progress=lambda line: None)),
        pinned=Pinned(machine="pc-q35-7.2", cpu_model="Nehalem-v1", accelerator=Accelerator.tcg),
    )
    machine = await Machine.start(launch, env=config.qemu_env, timeout_s=_START_S)
    try:
        async with asyncio.timeout(_BOOT_S):
            console, writer = await asyncio.open_unix_connection(run_dir / "console.sock")
            await console.readuntil(f"{READY_LINE}\r\n".encode())
            writer.close()
    finally:
        await machine.retire()


def _env(config: AgentConfig) -> dict[str, str]:
    return {**os.environ, **config.qemu_env}


def _spec(directory: Path) -> VmSpec:
    """A VM of the image in that directory."""
    facts = json.loads((directory / "image.json").read_text())
    files = {name: str(directory / facts[name]) for name in ("kernel", "initrd")}
    return VmSpec(
        name="vm",
        uuid="6f1c7d7e-0f3f-4a55-8f2e-0123456789ab",
        memory_mib=256,
        cpus=1,
        image=Image(name="base", cmdline=facts["cmdline"], **files),
    )
