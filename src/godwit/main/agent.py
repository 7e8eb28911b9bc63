"""Builds the agent of a host from its real parts and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal

from godwit.agent.agent import Agent
from godwit.contract.host import Host, Peer
from godwit.core.config import AgentConfig
from godwit.core.model import QemuFacts
from godwit.qemu.probe import accelerator, qemu_facts
from godwit.rpc.remote import Connection, connect
from godwit.rpc.serve import serve

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
    """The agent answers until SIGTERM or SIGINT; VMs run on when it ends."""
    for directory in (config.state_dir, config.run_dir, config.cache_dir):
        directory.mkdir(parents=True, exist_ok=True)
    asked = asyncio.create_task(_ask_qemu(config))
    peers = Peers(config)
    agent = Agent(config, qemu=lambda: _told(asked), peers=peers)
    await agent.adopt()
    services: dict[type, tuple[object, frozenset[str]]] = {
        Host: (agent, frozenset({"manager"})),
        Peer: (agent, frozenset({"agent"})),
    }
    try:
        async with serve(services, listen=config.listen, tls=config.tls):
            log.info("the agent of %s answers at %s", config.host, ", ".join(config.listen))
            await _told_to_stop()
    finally:
        asked.cancel()
        await agent.close()
        await peers.close()


async def _ask_qemu(config: AgentConfig) -> QemuFacts:
    chosen = await accelerator(
        config.accelerator, binary=config.qemu, kernel=config.probe_kernel, cache_dir=config.cache_dir
    )
    return await qemu_facts(config.qemu, env=config.qemu_env, firmware_dir=config.qemu_firmware_dir, accelerator=chosen)


async def _told(asked: asyncio.Task[QemuFacts]) -> QemuFacts:
    """QEMU is asked once; whoever asks us meanwhile waits."""
    return await asyncio.shield(asked)


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
