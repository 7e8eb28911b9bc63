"""From a VM's description to a QEMU with its taps plugged: the same for a start and for an arrival."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from godwit.agent.local import Place, Plug
from godwit.core.config import AgentConfig
from godwit.core.errors import GodwitError, NotFound, Refused
from godwit.core.model import Pinned, VmSpec
from godwit.network import switches
from godwit.network.tap import Tap, open_tap, tap_name
from godwit.qemu.cmdline import Launch
from godwit.qemu.machine import Machine
from godwit.storage import uefi

START_TIMEOUT_S = 20.0


async def launch(
    config: AgentConfig, place: Place, *, spec: VmSpec, pinned: Pinned, incoming: bool, generation: str
) -> tuple[Machine, tuple[Plug, ...]]:
    """A QEMU with its taps on their bridges, muted if it waits for a VM. On failure nothing of it is left.

    A tap lives as long as somebody holds its descriptor: from here on that is QEMU and its keeper.
    """
    plugs = tuple([await _plug(config, spec, index, generation) for index in range(len(spec.nics))])
    uefi_code = _uefi_code(config) if spec.firmware else ""
    async with _plugged(plugs, muted=incoming) as taps:
        machine = await Machine.start(
            Launch(
                binary=config.qemu,
                firmware_dir=config.qemu_firmware_dir,
                run_dir=place.run_dir,
                spec=spec,
                pinned=pinned,
                tap_fds=tuple((tap.fd,) for tap in taps),
                uefi_code=uefi_code,
                incoming=incoming,
            ),
            env=config.qemu_env,
            timeout_s=START_TIMEOUT_S,
        )
    return machine, plugs


async def end(machine: Machine, plugs: Iterable[Plug]) -> None:
    """Undoes `launch`: QEMU is gone, and so are its ports, but what a relay needs of them."""
    await machine.retire()
    await unplug(plugs)


async def unplug(plugs: Iterable[Plug]) -> None:
    """Of the ports of taps that went with their QEMU nothing is left, but what a relay still needs."""
    for plug in plugs:
        with suppress(GodwitError):
            await plug.switch.unplug(plug.tap)


async def _plug(config: AgentConfig, spec: VmSpec, index: int, generation: str) -> Plug:
    nic = spec.nics[index]
    network = config.networks.get(nic.network)
    if not network:
        raise NotFound(
            f"{config.host} has no network {nic.network!r}: add [networks.{nic.network}] to its configuration",
            "network-missing",
        )
    switch = await switches.find(network.bridge, network.vlan)
    tap = tap_name(spec.name, index, generation)
    return Plug(tap=tap, bridge=network.bridge, mac=nic.mac, kind=switch.kind, vlan=network.vlan)


def _uefi_code(config: AgentConfig) -> str:
    firmware = uefi.find()
    if firmware is None:
        raise Refused(f"{config.host} has no UEFI firmware: install the package {uefi.PACKAGE} there", "no-uefi")
    return firmware.code


@asynccontextmanager
async def _plugged(plugs: tuple[Plug, ...], *, muted: bool) -> AsyncIterator[list[Tap]]:
    """They are open here until whoever shall have them has them."""
    taps: list[Tap] = []
    try:
        for plug in plugs:
            taps.append(open_tap(plug.tap))
        for plug in plugs:
            await plug.switch.plug(plug.tap, muted=muted)
        yield taps
    except BaseException:
        await unplug(plugs)
        raise
    finally:
        for tap in taps:
            os.close(tap.fd)
