"""From a VM's description to a QEMU with its taps plugged: the same for a start and for an arrival."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from godwit.agent.local import Place, Plug
from godwit.core.config import AgentConfig
from godwit.core.errors import NotFound, Refused
from godwit.core.model import Pinned, VmSpec
from godwit.network import port
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
    plugs = tuple(_plugs(config, spec, generation))
    uefi_code = _uefi_code(config) if spec.firmware else ""
    with _opened(plugs) as taps:
        for plug in plugs:
            await port.plug(plug.tap, plug.bridge, muted=incoming)
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


def _plugs(config: AgentConfig, spec: VmSpec, generation: str) -> Iterator[Plug]:
    for index, nic in enumerate(spec.nics):
        network = config.networks.get(nic.network)
        if not network:
            raise NotFound(
                f"{config.host} has no network {nic.network!r}: add [networks.{nic.network}] to its configuration",
                "network-missing",
            )
        yield Plug(tap=tap_name(spec.name, index, generation), bridge=network.bridge, mac=nic.mac)


def _uefi_code(config: AgentConfig) -> str:
    firmware = uefi.find()
    if firmware is None:
        raise Refused(f"{config.host} has no UEFI firmware: install the package {uefi.PACKAGE} there", "no-uefi")
    return firmware.code


@contextmanager
def _opened(plugs: tuple[Plug, ...]) -> Iterator[list[Tap]]:
    taps: list[Tap] = []
    try:
        for plug in plugs:
            taps.append(open_tap(plug.tap))
        yield taps
    finally:
        for tap in taps:
            os.close(tap.fd)
