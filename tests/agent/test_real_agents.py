"""The real agent, over the real wire with real QEMUs, keeps the suite that the fake keeps."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from tests.ports import free_ports

from godwit.contract.host import Host, IncomingReady, Nothing, PrepareIncoming, StopVm
from godwit.core.config import AgentConfig, DatastoreConfig, Tls
from godwit.core.errors import Failed
from godwit.core.model import Image, VmSpec, VmState
from godwit.core.ownership import Ownership
from godwit.core.placement import pin
from godwit.lab.image import default_cache, ensure_image
from godwit.main.agent import run as run_agent
from godwit.qemu import guest_agent
from godwit.qemu.machine import Machine
from godwit.rpc import pki
from godwit.rpc.remote import connect
from godwit.testing.host_suite import SLOW_BYTES_PER_S, SUITE, Pair
from godwit.testing.world import SPEC

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

BUSY_S = 60.0
"""What takes seconds at most, on a machine that does much else."""


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


class RunningAgent:
    """An agent in this process that can be restarted; its VMs run on meanwhile."""

    def __init__(self, config: AgentConfig, manager: Tls) -> None:
        self.config = config
        self._connection = connect(Host, address=config.listen[0], name=config.host, tls=manager)
        self.host = self._connection.verbs
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(run_agent(self.config))
        async with asyncio.timeout(BUSY_S):
            while not self._task.done():
                with contextlib.suppress(Exception):
                    await self.host.facts(Nothing())
                    return
        self._task.result()

    async def stop(self) -> None:
        assert self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def end(self) -> None:
        await self._connection.close()
        await self.stop()
        for run_dir in (self.config.run_dir / "vms").glob("*"):
            await (await Machine.adopt(run_dir)).retire()


@contextlib.asynccontextmanager
async def an_agent(name: str, directory: Path, certificates: Path, manager: Tls) -> AsyncIterator[RunningAgent]:
    (port,) = free_ports(1)
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
        datastores={"default": DatastoreConfig(path=directory, shared=True)},
    )
    agent = RunningAgent(config, manager)
    try:
        await agent.start()
        yield agent
    finally:
        await agent.end()


Story = Callable[[Pair, RunningAgent, RunningAgent], Awaitable[None]]


def tell(story: Story, image: Image, certificates: Path) -> None:
    async def told(directory: Path) -> None:
        manager = pki.issue(certificates, role="manager", name="manager", addresses=["127.0.0.1"])
        async with (
            an_agent("host-a", directory, certificates, manager) as source,
            an_agent("host-b", directory, certificates, manager) as destination,
        ):
            facts = [await each.host.facts(Nothing()) for each in (source, destination)]
            spec: VmSpec = SPEC.model_copy(update={"nics": (), "image": image})
            async with asyncio.timeout(4 * BUSY_S):
                pair = Pair(source.host, destination.host, spec, pin(facts, first="host-a"))
                await story(pair, source, destination)

    with tempfile.TemporaryDirectory(prefix="gw") as directory:  # socket paths are short, pytest's directories long
        asyncio.run(told(Path(directory)))


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case.__name__)
def test_real(case: Callable[[Pair], Awaitable[None]], image: Image, certificates: Path) -> None:
    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await case(pair)

    tell(story, image, certificates)


def test_a_guest_that_is_still_booting_is_switched_off_gently(
    image: Image, certificates: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await pair.source.start_vm(pair.start)
        await pair.source.stop_vm(StopVm(name=pair.spec.name, grace_s=BUSY_S))

    tell(story, image, certificates)
    assert [record.message for record in caplog.records if "did not power down" in record.message] == []


def test_a_guest_agent_shuts_its_guest_down(image: Image, certificates: Path) -> None:
    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        name = pair.spec.name
        await pair.source.start_vm(pair.start)
        agent_socket = source.config.run_dir / "vms" / name / "agent.sock"
        while not await guest_agent.shut_down(agent_socket, timeout_s=1):
            pass  # it boots
        async for status in pair.source.watch(Nothing()):
            if (status.name, status.state) == (name, VmState.stopped):
                return

    tell(story, image, certificates)


async def begin(pair: Pair, *, bandwidth_bytes_per_s: int | None = None) -> None:
    await pair.source.start_vm(pair.start)
    await pair.prepare(bandwidth_bytes_per_s=bandwidth_bytes_per_s)
    async for _ in pair.source.copy(pair.order()):
        break


class Misleading:
    """The destination, but for the address that it tells."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, verb: str) -> object:
        return getattr(self._host, verb)

    async def prepare_incoming(self, request: PrepareIncoming, /) -> IncomingReady:
        return (await self._host.prepare_incoming(request)).model_copy(update={"uri": "nowhere:1"})


def test_a_stream_that_qemu_refuses_leaves_the_vm_where_it_is(image: Image, certificates: Path) -> None:
    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await pair.source.start_vm(pair.start)
        await replace(pair, destination=cast(Host, Misleading(pair.destination))).prepare()
        with pytest.raises(Failed, match="runs on where it was: QEMU refused migrate"):
            await pair.copy()
        await pair.undo()

        status = await pair.source.vm_status(pair.ref)
        assert (status.state, status.owned) == (VmState.running, True)
        assert await pids(pair.destination) == []

    tell(story, image, certificates)


async def pids(host: Host) -> list[tuple[int | None, int | None]]:
    return [(vm.keeper_pid, vm.qemu_pid) for vm in (await host.facts(Nothing())).vms]


@pytest.mark.parametrize("restarted", ["source", "destination", "both"])
def test_a_move_goes_on_after_agents_were_restarted(restarted: str, image: Image, certificates: Path) -> None:
    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await begin(pair)
        before = [await pids(host) for host in (pair.source, pair.destination)]
        for agent in {"source": [source], "destination": [destination], "both": [source, destination]}[restarted]:
            await agent.stop()
            await agent.start()

        assert [await pids(host) for host in (pair.source, pair.destination)] == before
        async for _ in pair.source.copy(pair.order()):
            pass
        handed = await pair.source.hand_over(pair.order())
        await pair.destination.settle(pair.order())
        await pair.source.retire(pair.order())

        assert handed.blackout_ms > 0
        assert (await pair.destination.vm_status(pair.ref)).owned
        assert await pids(pair.source) == []

    tell(story, image, certificates)


def test_a_move_is_undone_after_its_agents_were_restarted(image: Image, certificates: Path) -> None:
    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await begin(pair, bandwidth_bytes_per_s=SLOW_BYTES_PER_S)
        for agent in (destination, source):
            await agent.stop()
            await agent.start()
        await pair.undo()

        assert await pids(pair.destination) == []
        status = await pair.source.vm_status(pair.ref)
        assert (status.state, status.owned) == (VmState.running, True)
        await pair.prepare()

    tell(story, image, certificates)


def test_a_qemu_that_was_never_armed_is_gone_after_the_undo(image: Image, certificates: Path) -> None:
    """The destination's agent died between noting what it began and arming it."""

    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await pair.source.start_vm(pair.start)
        await pair.prepare()
        await destination.stop()
        for journal in destination.config.state_dir.glob("vms/*/journal"):
            journal.unlink()
        await destination.start()
        await pair.undo()

        assert await pids(pair.destination) == []
        await pair.prepare()

    tell(story, image, certificates)


def test_a_stream_that_falls_silent_after_the_stop_is_broken_off(image: Image, certificates: Path) -> None:
    """QEMU waits in `send`, with its vCPUs stopped, and answers only out of band."""

    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await begin(pair, bandwidth_bytes_per_s=SLOW_BYTES_PER_S)
        ((_, receiver),) = await pids(pair.destination)
        sender = await Machine.adopt(source.config.run_dir / "vms" / pair.spec.name)
        with sender.monitor.listening() as events:
            os.kill(receiver or 0, signal.SIGSTOP)  # before the STOP, after which all is sent in no time
            await sender.monitor.execute("migrate-set-parameters", {"downtime-limit": 600_000})
            await events.wait_for(lambda event: event.name == "STOP", timeout_s=BUSY_S)
            await events.wait_for(lambda event: event.name == "RESUME", timeout_s=BUSY_S)
        os.kill(receiver or 0, signal.SIGCONT)
        await sender.close()
        with pytest.raises(Failed, match="runs on where it was"):
            await pair.source.hand_over(pair.order())
        await pair.undo()

        status = await pair.source.vm_status(pair.ref)
        assert (status.state, status.owned) == (VmState.running, True)
        assert await pids(pair.destination) == []

    tell(story, image, certificates)


def test_a_move_that_was_handed_over_is_answered_by_restarted_agents(image: Image, certificates: Path) -> None:
    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await begin(pair)
        handed = await pair.source.hand_over(pair.order())
        for agent in (destination, source):
            await agent.stop()
            await agent.start()

        again = await pair.source.hand_over(pair.order())
        await pair.destination.settle(pair.order())
        await pair.source.retire(pair.order())

        assert again.stopped_at_ms == handed.stopped_at_ms
        assert (await pair.destination.vm_status(pair.ref)).owned
        assert await pids(pair.source) == []

    tell(story, image, certificates)


def test_a_move_that_was_only_prepared_leaves_no_mark_when_it_is_released(image: Image, certificates: Path) -> None:
    """Nor after the agent's restart, which reads what the VM's passport says."""

    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await pair.source.start_vm(pair.start)
        await pair.prepare()
        await pair.destination.abort_incoming(pair.order())
        await asyncio.gather(pair.source.release(pair.order()), pair.destination.release(pair.order()))
        await source.stop()
        await source.start()
        await pair.reserve("source", "m2")

    tell(story, image, certificates)


async def until_it_is(state: Ownership, host: Host, pair: Pair) -> None:
    async with asyncio.timeout(BUSY_S):
        while (await host.testify(pair.order())).state != state:  # noqa: ASYNC110 - only the host can tell
            await asyncio.sleep(0.05)


def test_a_source_of_which_everything_died_leaves_the_vm_to_the_destination(image: Image, certificates: Path) -> None:
    """All was sent, nobody was told: its agent finds a journal and a log, and says that this was the last copy."""

    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await begin(pair)
        await destination.stop()
        handing = asyncio.create_task(pair.source.hand_over(pair.order()))
        await until_it_is(Ownership.given, pair.source, pair)
        ((keeper, qemu),) = await pids(pair.source)
        await source.stop()
        await asyncio.gather(handing, return_exceptions=True)
        for victim in (keeper, qemu):
            os.kill(victim or 0, signal.SIGKILL)
        await source.start()
        await until_it_is(Ownership.last, pair.source, pair)
        await destination.start()

        handed = await pair.source.hand_over(pair.order())
        await pair.destination.settle(pair.order())
        await pair.source.retire(pair.order())

        assert handed.blackout_ms > 0
        status = await pair.destination.vm_status(pair.ref)
        assert (status.state, status.owned) == (VmState.running, True)
        assert await pids(pair.source) == []

    tell(story, image, certificates)


def test_a_copy_that_waits_and_dies_with_its_agent_gives_the_vm_back(image: Image, certificates: Path) -> None:
    async def story(pair: Pair, source: RunningAgent, destination: RunningAgent) -> None:
        await begin(pair)
        ((keeper, qemu),) = await pids(pair.destination)
        await destination.stop()
        handing = asyncio.create_task(pair.source.hand_over(pair.order()))
        await until_it_is(Ownership.given, pair.source, pair)
        for victim in (keeper, qemu):
            os.kill(victim or 0, signal.SIGKILL)
        await destination.start()

        with pytest.raises(Failed, match="runs on where it was"):
            await handing
        status = await pair.source.vm_status(pair.ref)
        assert (status.state, status.owned) == (VmState.running, True)
        assert await pids(pair.destination) == []

    tell(story, image, certificates)
