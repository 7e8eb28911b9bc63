"""The real agent, over the real wire with real QEMUs, keeps the suite that the fake keeps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from godwit.contract.host import Host, Nothing
from godwit.core.config import AgentConfig, Tls
from godwit.core.model import Image, VmSpec
from godwit.core.placement import pin
from godwit.lab.image import default_cache, ensure_image
from godwit.main.agent import run as run_agent
from godwit.qemu.machine import Machine
from godwit.rpc import pki
from godwit.rpc.remote import connect
from godwit.testing.host_suite import SUITE, Pair
from godwit.testing.world import SPEC

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def image() -> Image:
    directory = ensure_image("base", cache=default_cache(), progress=print)
    told = json.loads((directory / "image.json").read_text())
    return Image(
        name="base",
        kernel=str(directory / "vmlinuz"),
        initrd=str(directory / "initrd"),
        cmdline=told["cmdline"],
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    pki.init(directory)
    return directory


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def short_directory(tmp_path: Path) -> Iterator[Path]:
    """Socket paths are short, pytest's directories are not."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gw") as directory:
        yield Path(directory)


@contextlib.asynccontextmanager
async def an_agent(name: str, directory: Path, certificates: Path, manager: Tls) -> AsyncIterator[Host]:
    port = free_port()
    config = AgentConfig(
        host=name,
        listen=(f"127.0.0.1:{port}",),
        migration_address="127.0.0.1",
        state_dir=directory / name / "state",
        run_dir=directory / name / "run",
        cache_dir=directory / "cache",
        tls=pki.issue(certificates, role="agent", name=name, addresses=["127.0.0.1"]),
        memory_mib=700,
        accelerator="tcg",
    )
    task = asyncio.create_task(run_agent(config))
    connection = connect(Host, address=config.listen[0], name=name, tls=manager)
    try:
        async with asyncio.timeout(30):
            while not task.done():
                with contextlib.suppress(Exception):
                    await connection.verbs.facts(Nothing())
                    break
        yield connection.verbs
    finally:
        await connection.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for run_dir in (config.run_dir / "vms").glob("*"):
            await (await Machine.adopt(run_dir)).retire()


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.__name__)
def test_real(case: Callable[[Pair], Awaitable[None]], image: Image, certificates: Path, tmp_path: Path) -> None:
    async def story(directory: Path) -> None:
        manager = pki.issue(certificates, role="manager", name="manager", addresses=["127.0.0.1"])
        async with (
            an_agent("host-a", directory, certificates, manager) as source,
            an_agent("host-b", directory, certificates, manager) as destination,
        ):
            facts = [await each.facts(Nothing()) for each in (source, destination)]
            spec: VmSpec = SPEC.model_copy(update={"nics": (), "image": image})
            async with asyncio.timeout(60):
                await case(Pair(source, destination, spec, pin(facts, first="host-a")))

    with short_directory(tmp_path) as directory:
        asyncio.run(story(directory))
