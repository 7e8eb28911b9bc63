"""Builds the agent of a host from its real parts and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from contextlib import AsyncExitStack
from pathlib import Path

from godwit.agent.agent import Agent
from godwit.contract.host import Host, Peer
from godwit.core.config import AgentConfig
from godwit.core.errors import Failed, Refused
from godwit.core.model import QemuFacts
from godwit.host import priority
from godwit.main.ready import tell_ready
from godwit.qemu.probe import accelerator, qemu_facts
from godwit.rpc.remote import Connection, connect
from godwit.rpc.serve import serve
from godwit.telemetry.exposition import exposed
from godwit.telemetry.host_metrics import HostMetrics
from godwit.telemetry.observing import observed

log = logging.getLogger("godwit.agent")


class Peers:
    """Connections to other agents, kept: the hand-over must not wait for a handshake."""

    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._known: dict[tuple[str, str], Connection[Peer]] = {}

    def __call__(self, host: str, address: str) -> Peer:
        """That host's agent, at that address."""
        if (host, address) not in self._known:
            self._known[host, address] = connect(Peer, address=address, name=host, tls=self._config.tls)
        return self._known[host, address].verbs

    async def close(self) -> None:
        """No connection is left."""
        for each in self._known.values():
            await each.close()


async def run(config: AgentConfig) -> None:
    """The agent answers until SIGTERM or SIGINT; VMs run on when it ends. `Failed` on a host that has no use of it."""
    _make_directories(config)
    asked = asyncio.create_task(_ask_qemu(config))
    peers = Peers(config)
    agent = Agent(config, qemu=lambda: _told(asked), peers=peers)
    metrics = HostMetrics(memory_mib=agent.memory_mib, statuses=agent.statuses)
    await agent.adopt()
    _keep_out_of_collections()
    heard = observed(agent, metrics.answered)
    services: dict[type, tuple[object, frozenset[str]]] = {
        Host: (heard, frozenset({"manager"})),
        Peer: (heard, frozenset({"agent"})),
    }
    try:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(serve(services, listen=config.listen, tls=config.tls))
            if config.metrics:
                await stack.enter_async_context(exposed(metrics.text, config.metrics))
            priority.go_first()  # in a blackout others wait for us
            log.info("the agent of %s answers at %s", config.host, ", ".join(config.listen))
            await _told_to_stop(asked, agent)
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await agent.close()
        await peers.close()


def _keep_out_of_collections() -> None:
    """What is there by now stays; looking through it took up to 276 ms on a busy machine, which a blackout may meet."""
    gc.collect()
    gc.freeze()


def _make_directories(config: AgentConfig) -> None:
    for key in ("state_dir", "run_dir", "cache_dir"):
        directory: Path = getattr(config, key)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refused(
                f"{directory} cannot be made: {error.strerror}; name another place with {key} in the agent's "
                "configuration",
                "directory",
            ) from error


async def _ask_qemu(config: AgentConfig) -> QemuFacts:
    try:
        chosen = await accelerator(
            config.accelerator, binary=config.qemu, kernel=config.probe_kernel, cache_dir=config.cache_dir
        )
        return await qemu_facts(
            config.qemu, env=config.qemu_env, firmware_dir=config.qemu_firmware_dir, accelerator=chosen
        )
    except Failed as error:
        if error.code != "absent":
            raise
        raise Failed(
            f"{config.qemu} is not on {config.host}: install QEMU 7.2 or newer (`apt install qemu-system-x86`), or "
            "name it with qemu in the agent's configuration",
            "no-qemu",
        ) from error


async def _told(asked: asyncio.Task[QemuFacts]) -> QemuFacts:
    """QEMU is asked once; whoever asks us meanwhile waits."""
    return await asyncio.shield(asked)


async def _told_to_stop(asked: asyncio.Task[QemuFacts], agent: Agent) -> None:
    """Returns at a signal; raises what is wrong with QEMU, unless there are VMs that need the agent all the same."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({stopped, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done() and (error := asked.exception()):
        if not agent.statuses():
            stopped.cancel()
            raise error
        log.error("no VM can be started here: %s", error)
    tell_ready()
    await stopped
